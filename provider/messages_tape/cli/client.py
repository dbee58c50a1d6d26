"""Runs a client program with a tape server; environment variables give the client the server's address.

The tape is saved however the client ends. Therefore this process survives the signals that end a program (ctrl-c,
SIGTERM, a closed terminal) and forwards them to the client. One case is special: on ctrl-c a terminal signals every
process in its foreground, so the client has got the signal already and must not get it twice.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from messages_tape.errors import Report, TapeUsageError
from messages_tape.http.selection import TapeSelection
from messages_tape.http.server import TapeServer, serving

from .files import TapeFile
from .terminal import print_message, print_result

_HANGUP = getattr(signal, "SIGHUP", None)
"""Sent when the terminal is closed; not available on every platform."""
_SIGNALS = tuple(filter(None, (signal.SIGINT, signal.SIGTERM, _HANGUP)))
_NOT_FOUND, _NOT_EXECUTABLE, _SIGNALLED = 127, 126, 128
"""Exit codes, as shells use them."""
_HOST = "127.0.0.1"


def environment(url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a client.

    Args:
        url: Address of the tape server.
        inherited: The environment to extend.
    """
    unproxied = {name: ",".join(filter(None, [inherited.get(name, ""), _HOST])) for name in ("NO_PROXY", "no_proxy")}
    addresses = {"TAPE_URL": url, "OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url}
    return {**inherited, **unproxied, **addresses}


class Played(NamedTuple):
    """The result of playing a tape.

    Args:
        code: The exit code of the client.
        report: The report of the session.
        unplayed: Positions of the exchanges that were not played.
    """

    code: int
    report: Report
    unplayed: list[int]


def play(file: TapeFile, command: Sequence[str], *, pace: bool = False, port: int = 0) -> Played:
    """Serve a tape until the client exits.

    Args:
        file: The file of the tape.
        command: The command of the client; empty to serve clients that are started elsewhere.
        pace: Play at recorded speed.
        port: The port to listen on; 0 picks a free one.
    """
    hint = f"To record it again: messages-tape record --again --upstream URL {file.path} -- COMMAND"
    selection = TapeSelection(file.folder, hint=hint)
    session = selection.select(file.name)
    with listening(selection, port, pace=pace) as url:
        code = run_client(command, url, f"playing {file.path}")
        unplayed = session.unplayed
        report = selection.eject(keep=False) or session.report()
    return Played(code, report, unplayed)


def run_client(command: Sequence[str], url: str, doing: str) -> int:
    """Run a client and return its exit code; without a command wait for ctrl-c and return 0.

    Args:
        command: The command of the client; empty to serve clients that are started elsewhere.
        url: Address of the tape server.
        doing: Text for the message that is printed while waiting.
    """
    if command:
        return _run_command(command, environment(url, os.environ))
    stopped = threading.Event()
    with _at_signals(lambda _number: stopped.set()):
        print_message(f"{doing} at the address below; press ctrl-c to stop")
        print_result(f"{url}\n")
        stopped.wait()
    return 0


def _run_command(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command; return its exit code. Signals are forwarded to it: this process continues, to save the tape."""
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int) -> None:
        if not (number == signal.SIGINT and _terminal_signals_client()):
            for process in running:
                process.send_signal(number)

    with _at_signals(pass_on):
        try:
            running.append(subprocess.Popen(command, env=env))  # noqa: S603 - the user's own command
        except FileNotFoundError:
            print_message(f"the command {command[0]} was not found; correct the command after --")
            return _NOT_FOUND
        except OSError as error:
            print_message(f"{command[0]} cannot be run ({error.strerror}); correct the command after --")
            return _NOT_EXECUTABLE
        code = running[0].wait()
    return code if code >= 0 else _SIGNALLED - code


def _terminal_signals_client() -> bool:
    """Return whether the terminal sends ctrl-c to the command directly: its process group is in the foreground."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def _at_signals(do: Callable[[int], None]) -> Iterator[None]:
    def handler(number: int, _: FrameType | None) -> None:
        do(number)

    # under nohup SIGHUP stays ignored
    handled = [number for number in _SIGNALS if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def listening(selection: TapeSelection, port: int, *, pace: bool = False) -> Iterator[str]:
    """Run a tape server while the block runs; yield its address.

    Args:
        selection: The tape selection that it serves.
        port: The port to listen on; 0 picks a free one.
        pace: Play at recorded speed.

    Raises:
        TapeUsageError: The port is in use.
    """
    with ExitStack() as stack:
        try:
            url = stack.enter_context(serving(TapeServer(selection, pace=pace), port=port))
        except OSError as error:
            raise TapeUsageError(
                f"cannot listen on port {port} ({error.strerror}); choose another with --port, or leave --port out"
            ) from None
        yield url
