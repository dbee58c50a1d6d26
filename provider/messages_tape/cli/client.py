"""Runs a client beside a tape server: it learns the server's address from its environment."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from messages_tape.errors import TapeUsageError
from messages_tape.http.runner import serving
from messages_tape.http.selection import TapeSelection
from messages_tape.http.server import TapeServer

from .terminal import give, tell

_HANGUP = getattr(signal, "SIGHUP", None)
"""That the terminal is closed; not on every platform."""
_SIGNALS = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, _HANGUP)))
_NO_SUCH_COMMAND, _NOT_TO_BE_RUN, _BY_SIGNAL = 127, 126, 128
"""Exit codes as shells have them."""
_HOST = "127.0.0.1"


def environment(url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a client.

    Args:
        url: Of the tape server.
        inherited: What else is in it.
    """
    unproxied = {name: ",".join(filter(None, [inherited.get(name, ""), _HOST])) for name in ("NO_PROXY", "no_proxy")}
    addresses = {"TAPE_URL": url, "OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url}
    return {**inherited, **unproxied, **addresses}


def accompany(command: Sequence[str], url: str, doing: str) -> int:
    """Wait for a client's end; return its exit code, or 0 where a person ended the wait.

    Args:
        command: What to run; empty: clients come on their own, until ctrl-c.
        url: Of the tape server.
        doing: What is done meanwhile, for people.
    """
    if command:
        return _run(command, environment(url, os.environ))
    over = threading.Event()
    with _at_signals(lambda _number: over.set()):
        tell(f"{doing} at the address below; ctrl-c ends it")
        give(f"{url}\n")
        over.wait()
    return 0


def _run(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command; return its exit code. A ctrl-c is the command's: this process lives on to save the tape."""
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int) -> None:
        if not (number == signal.SIGINT and _is_told_by_terminal()):
            for process in running:
                process.send_signal(number)

    with _at_signals(pass_on):
        try:
            running.append(subprocess.Popen(command, env=env))  # noqa: S603 - what the person who calls this wants run
        except FileNotFoundError:
            tell(f"there is no command {command[0]}; correct what stands behind --")
            return _NO_SUCH_COMMAND
        except OSError as error:
            tell(f"{command[0]} cannot be run ({error.strerror}); correct what stands behind --")
            return _NOT_TO_BE_RUN
        code = running[0].wait()
    return code if code >= 0 else _BY_SIGNAL - code


def _is_told_by_terminal() -> bool:
    """Say whether a ctrl-c reaches the command without this process: both are in the foreground of a terminal."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def _at_signals(do: Callable[[int], None]) -> Iterator[None]:
    def handler(number: int, _: FrameType | None) -> None:
        do(number)

    # what nohup asked for holds
    heard = [number for number in _SIGNALS if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def listening(deck: TapeSelection, port: int, *, pace: bool = False) -> Iterator[str]:
    """Give the address of a tape server until the block ends.

    Args:
        deck: With the tape.
        port: Where to listen; 0 is a free one.
        pace: Play at recorded speed.

    Raises:
        TapeUsageError: The port is taken.
    """
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serving(TapeServer(deck, pace=pace), port=port))
        except OSError as error:
            raise TapeUsageError(
                f"cannot listen on port {port} ({error.strerror}); choose another with --port, or leave --port out"
            ) from None
        yield url
