"""A stack in a child process: started, waited for, stopped.

The platform logs some hundred lines while it starts. They are not printed; if the stack does not get ready, the last
one says why. Once it is ready, its log goes to stdout as it comes.

Stopping: the stack gets SIGTERM. It ends open streams of the Messages API with an ``error`` event at once
(``streaming/stop.py`` of the API) and lets other requests finish. uvicorn would wait for them without limit, and also
for streams of other APIs, so the process is killed after ``STOP_SECONDS``.
"""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click
import httpx

STOP_SECONDS = 8.0
"""How long a stack may take to stop; less than the ten seconds after which Docker kills a container."""
_POLL_SECONDS = 0.3
_PROBE_SECONDS = 300.0
"""Timeout of the first request: a large model is loaded by it."""
_PROBE = {"model": "any", "max_tokens": 1, "messages": [{"role": "user", "content": "Hello"}]}


class StopRequested(BaseException):
    """SIGINT or SIGTERM has arrived."""


@contextmanager
def stop_requests() -> Iterator[None]:
    """Raise ``StopRequested`` in the block when SIGINT or SIGTERM arrives."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        raise StopRequested

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_port(port: int, setting: str = "--port or PORT=...") -> None:
    """Raise a ClickException if a port of 127.0.0.1 is in use; ``setting`` names how to choose another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            problem = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise click.ClickException(f"Port {port} {problem}; choose another with {setting}") from None


def llama_command() -> str:
    """Return the path of the platform's command: that of this environment.

    Raises:
        click.ClickException: It is not installed.
    """
    beside = Path(sys.executable).with_name("llama")
    found = str(beside) if beside.exists() else shutil.which("llama")
    if found is None:
        raise click.ClickException("the command llama is missing; install llama-stack into this environment")
    return found


class Server:
    """A ``llama stack run`` on 127.0.0.1.

    Args:
        config: Path of the run.yaml.
        port: The port to listen on.
        environ: Its complete environment.
        verbose: Print its log from the start.

    Attributes:
        url: Its base URL, without ``/v1``.
    """

    def __init__(self, config: Path, port: int, environ: Mapping[str, str], *, verbose: bool = False) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._verbose = verbose
        self._is_shown = verbose
        self._last = ""
        self._process = subprocess.Popen(  # noqa: S603 - the platform's own command
            [llama_command(), "stack", "run", str(config), "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environ),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_healthy(self) -> None:
        """Wait until the stack answers; there is no limit while its process runs.

        Raises:
            click.ClickException: The process ended.
        """
        while self._ask("GET", "/v1/health", 5) is None:
            time.sleep(_POLL_SECONDS)

    def wait_until_ready(self, waiting: Callable[[str], None]) -> None:
        """Wait until the default model answers a request.

        Args:
            waiting: Called with the error message if its backend does not answer yet.

        Raises:
            click.ClickException: The process ended, or the request was rejected with a status below 500.
        """
        while True:
            response = self._ask("POST", "/v1/messages", _PROBE_SECONDS)
            if response is not None and response.is_success:
                return
            if response is not None:
                message = _message(response)
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise click.ClickException(f"the first request failed with {response.status_code}: {message}")
                waiting(message)
            time.sleep(_POLL_SECONDS)

    def show_log(self) -> None:
        """Print the log from now on."""
        self._is_shown = True

    def wait(self) -> None:
        """Wait until the process ends by itself, which is an error.

        Raises:
            click.ClickException: Always.
        """
        self._process.wait()
        raise self._end_error()

    def stop(self) -> None:
        """Stop the process; kill it after ``STOP_SECONDS``, or at once on another signal."""
        self._is_shown = self._verbose
        try:
            with stop_requests():
                self._process.terminate()
                self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, StopRequested):
            self._process.kill()
        self._process.wait()
        self._reader.join(1)  # it ends with the process, unless a child of it keeps the pipe open

    def _ask(self, method: str, path: str, seconds: float) -> httpx.Response | None:
        """Return the response to a request, None if there is none.

        Raises:
            click.ClickException: The process ended.
        """
        if self._process.poll() is not None:
            raise self._end_error()
        body: dict[str, Any] = {"json": _PROBE} if method == "POST" else {}
        try:
            return httpx.request(method, self.url + path, timeout=seconds, trust_env=False, **body)
        except httpx.TransportError:
            return None

    def _end_error(self) -> click.ClickException:
        self._reader.join(STOP_SECONDS)
        reason = f"its last words: {self._last}" if self._last else "it printed nothing"
        code = self._process.returncode
        return click.ClickException(f"the stack ended with code {code}; {reason} (--verbose prints all of its log)")

    def _read(self) -> None:
        """Read the log until the process ends, so that it is never blocked by a full pipe."""
        stream = self._process.stdout
        for raw in stream or ():
            line = raw.decode(errors="replace").rstrip()
            self._last = line or self._last
            if self._is_shown:
                with suppress(OSError):  # the reader of a pipe has closed it; the stack goes on
                    click.echo(line)


def _message(response: httpx.Response) -> str:
    """Return the message of an error response."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return response.text[:200]


def stack_environment(folder: Path, apis_dir: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a stack whose databases are in ``folder``; variables that are set stay as they are."""
    own = {
        "MESSAGES_APIS_DIR": str(apis_dir),
        "LLAMA_STACK_LOG_FORMAT": "json",  # the other format costs a millisecond for each request
        "SQLITE_STORE_DIR": str(folder),  # the default is shared by all stacks, and keeps models of other ones
    }
    return {**own, **os.environ, **more}
