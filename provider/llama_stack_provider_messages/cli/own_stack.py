"""A stack for one client: ``messages launch`` starts it on a free port, and stops it when the client ends.

The stack is in a session of its own, so that Ctrl-C reaches the client only, as in a shell. It ends with this process,
even if that is killed. Its files are in a temporary folder, which is kept if the stack ended by itself.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from .plan import StackOptions, Waiting, make_plan, prepare
from .server import Server, StopRequested, stop_requests

_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP")
STOPPED_EXIT_CODE = 130
"""The exit code of a command that was stopped by a signal before the client was started."""


@contextmanager
def own_stack(options: StackOptions) -> Iterator[Server]:
    """Start a stack and wait until it is ready; stop it at the end of the block.

    Args:
        options: What it serves.

    Raises:
        click.ClickException: It cannot be started.
        SystemExit: A signal arrived before it was ready.
    """
    plan = make_plan(options)
    folder = Path(tempfile.mkdtemp(prefix="messages-launch-"))
    log, server, has_failed = folder / "stack.log", None, True
    try:
        prepared = prepare(plan, folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        click.echo(f"messages: Starting {plan.title}, on port {port} for this client ...", err=True)
        with stop_requests():
            server = Server(prepared.file, port, prepared.environ, log=log, own_session=True)
            server.wait_until_healthy(prepared.config, err=True)
            if plan.probe:
                server.wait_until_ready(Waiting(prepared.config, err=True))
        has_failed = False
        try:
            yield server
        finally:  # the client may not have been started: a stop of the command is not a failure of the stack
            if has_failed := server.has_ended:
                click.echo(f"messages: the stack ended before the client; its log is {log}", err=True)
    except StopRequested:
        has_failed = False
        raise SystemExit(STOPPED_EXIT_CODE) from None
    finally:
        if server:
            server.stop()
        if not has_failed or not log.exists():
            shutil.rmtree(folder, ignore_errors=True)


def run_client(path: str, words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a client until it ends, and return its exit code; 128 + N after signal N.

    SIGTERM and SIGHUP are passed on to it, unless they are ignored, as after ``nohup``. So is SIGINT, except where the
    terminal has sent it to the client, too.

    Args:
        path: The path of its program.
        words: Its name and arguments.
        environment: Its complete environment.

    Raises:
        OSError: It cannot be started.
    """
    client: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        if client is None:
            early.append(number)
        elif number != signal.SIGINT or not _is_in_foreground():
            client.send_signal(number)

    numbers = (number for name in _PASSED_ON if (number := getattr(signal, name, None)))  # Windows has no SIGHUP
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in handled}
    try:
        client = subprocess.Popen([*words], executable=path, env=dict(environment))  # noqa: S603 - the user's command
        for number in early:
            client.send_signal(number)
        code = client.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _is_in_foreground() -> bool:
    """Return whether this process and its client are the ones to which the terminal sends Ctrl-C."""
    if os.name == "nt":
        return True  # a console sends it to every process
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
