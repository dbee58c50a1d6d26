"""A stack in a child process: started, waited for, stopped.

The platform logs some hundred lines while it starts. They go to a file; if the stack does not get ready, the last ones
are printed. Once it is ready, its log goes to stdout as it comes.

Stopping: the stack gets SIGTERM. It ends open streams of the Messages API with an ``error`` event at once
(``streaming/stop.py`` of the API) and lets other requests finish. uvicorn would wait for them without limit, and also
for streams of other APIs, so the process is killed after ``STOP_SECONDS``.
"""

import errno
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Any, Self, TextIO

import click
import httpx

from .run_config import RunConfig
from .running_stack import DEFAULT_URL, local_no_proxy
from .stack_child import STOP_SECONDS

_POLL_SECONDS = 0.3
_SLOW_START_SECONDS = 15.0
"""After this time without readiness, a line says what the stack may be waiting for."""
_PROBE_SECONDS = 300.0
"""Timeout of the first request: a large model is loaded by it."""
_TAIL_LINES, _MAX_LINE_CHARACTERS = 100, 2000
"""How much of the log is kept in memory."""
_SHOWN_LINES, _SHOWN_CHARACTERS = 5, 300
"""How much of it is shown if the stack ends."""
_MAX_LOG_BYTES = 16 * 1024 * 1024
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


class Server:
    """A ``llama stack run`` in a child process, which ends when this process ends, even if it is killed.

    Args:
        config: Path of the run.yaml.
        port: The port to listen on.
        environ: Its complete environment.
        url: Its base URL, without ``/v1``, if it does not listen on 127.0.0.1.
        log: The file for the part of its log that is not printed, which is lost without a writable file.
        verbose: Print its log from the start.
        own_session: Start it in a session of its own, so that Ctrl-C in the terminal does not reach it.

    Attributes:
        url: Its base URL.
        log: The file of its log, None without one.

    Raises:
        click.ClickException: The platform is not installed.
    """

    def __init__(
        self,
        config: Path,
        port: int,
        environ: Mapping[str, str],
        *,
        url: str = "",
        log: Path | None = None,
        verbose: bool = False,
        own_session: bool = False,
    ) -> None:
        if not entry_points(group="console_scripts", name="llama"):
            raise click.ClickException("the command llama is missing; install llama-stack into this environment")
        self.url = url or f"http://127.0.0.1:{port}"
        # a process of this command: nothing is gained by a proxy, or by checking its certificate
        self._http = httpx.Client(base_url=self.url, trust_env=False, verify=False)  # noqa: S501
        self._verbose = self._is_shown = verbose
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._file = None if verbose or log is None else _LogFile.open(log)
        self.log = log if self._file else None
        child = [sys.executable, "-P", "-m", f"{__package__}.stack_child"]
        self._process = subprocess.Popen(  # noqa: S603 - the platform's own command
            [*child, "stack", "run", str(config), "--port", str(port)],
            stdin=subprocess.PIPE,  # its end stops the child
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environ, **local_no_proxy(environ)},
            start_new_session=own_session,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            if own_session
            else 0,  # the same on Windows
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process.poll() is not None

    def wait_until_healthy(self, config: RunConfig, *, err: bool = False) -> None:
        """Wait until the stack answers; there is no limit while its process runs.

        Args:
            config: Its run.yaml, whose backends are named if it takes long.
            err: Whether that line goes to stderr.

        Raises:
            click.ClickException: The process ended.
        """
        slow_from: float | None = time.monotonic() + _SLOW_START_SECONDS
        while self._ask("GET", "/v1/health", 5) is None:
            if slow_from and time.monotonic() > slow_from:
                slow_from = None
                click.echo(self._slow_start(config), err=err)
            time.sleep(_POLL_SECONDS)

    def _slow_start(self, config: RunConfig) -> str:
        """Return the sentence for a stack that is not ready yet; at its start, it requests the models of backends."""
        places = [
            f"{entry['provider_id']} at {settings['base_url']}"
            for _, entry in config.providers("inference")
            if isinstance(settings := entry.get("config"), dict) and settings.get("base_url")
        ]
        cause = (
            f"it requests the models of the backends ({', '.join(places)}); if one does not answer, start it, or "
            "correct its base_url."
            if places
            else "it may be loading its model."
        )
        log = f" The log is {self.log}." if self.log else ""
        return f"Waiting for the stack, which is not ready after {_SLOW_START_SECONDS:.0f} seconds: {cause}{log}"

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
        self._http.close()
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
            return self._http.request(method, path, timeout=seconds, **body)
        except httpx.TransportError:
            return None

    def _end_error(self) -> click.ClickException:
        """Print the part of the log that says why the process ended, if it was not printed; return the error."""
        self._reader.join(STOP_SECONDS)
        for line in () if self._is_shown else relevant_lines(list(self._tail)):
            click.echo(f"  {line}", err=True)
        where = f"its log is {self.log}" if self.log else "its log is above" if self._is_shown else "it has no log file"
        return click.ClickException(f"the stack ended with code {self._process.returncode}; {where}")

    def _read(self) -> None:
        """Read the log until the process ends, so that it is never blocked by a full pipe."""
        stream = self._process.stdout
        for raw in stream or ():
            line = raw.decode(errors="replace").rstrip()
            self._tail.append(line[:_MAX_LINE_CHARACTERS])
            with suppress(OSError):  # the reader of a pipe has closed it, or a disk is full; the stack goes on
                if self._is_shown:
                    click.echo(line)
                elif self._file:
                    self._file.write(line)


class _LogFile:
    """A log file of limited size: at ``_MAX_LOG_BYTES`` it becomes ``NAME.1``, and a new one is begun."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        self._path, self._stream, self._size = path, stream, 0

    @classmethod
    def open(cls, path: Path) -> Self | None:
        """Return an empty file that only its owner can read; None if it cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            return cls(path, path.open("w", encoding="utf-8", buffering=1))
        except OSError:
            return None

    def write(self, line: str) -> None:
        """Write a line; raise an OSError if that is not possible."""
        if self._size > _MAX_LOG_BYTES:
            self._stream.close()
            self._path.replace(f"{self._path}.1")
            self._path.touch(mode=0o600)
            self._stream, self._size = self._path.open("w", encoding="utf-8", buffering=1), 0
        self._size += self._stream.write(line + "\n")


def relevant_lines(lines: Sequence[str]) -> list[str]:
    """Return the lines at the end of a log that say why its process ended.

    Those are the exception after the last frame of a traceback, without its link to an explanation; without a
    traceback, the last lines. Of a line in JSON, its event and error are shown.
    """
    shown = [_plain(line) for line in lines if line.strip() and "For further information visit" not in line]
    frames = [number for number, line in enumerate(shown) if line.startswith('  File "')]
    after = shown[frames[-1] + 1 :] if frames else []
    begin = next((number for number, line in enumerate(after) if not line.startswith(" ")), None)
    found = shown[-_SHOWN_LINES:] if begin is None else after[begin : begin + _SHOWN_LINES]
    return [line[:_SHOWN_CHARACTERS] for line in found]


def _plain(line: str) -> str:
    try:
        entry = json.loads(line)
        parts = [entry["event"], entry.get("error")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return line
    return ": ".join(str(part) for part in parts if part).split("\n")[0]


def serve_until_stopped(
    new_server: Callable[[], Server], wait: Callable[[Server], None], model: str = "any", *, needs_token: bool = False
) -> None:
    """Start a stack, print what to do with it, and stop it on SIGINT or SIGTERM.

    Args:
        new_server: Starts it.
        wait: Waits until it is ready.
        model: A model name that it answers, for the printed request.
        needs_token: Whether it requires authentication.

    Raises:
        click.ClickException: It ended by itself.
    """
    server = None
    try:
        with stop_requests():
            server = new_server()
            wait(server)
            click.echo(banner(server.url, model, needs_token=needs_token))
            server.show_log()
            server.wait()
    except StopRequested:
        click.echo(f"Stopping, within {STOP_SECONDS:.0f} seconds ...")
    finally:
        if server:
            server.stop()


def _message(response: httpx.Response) -> str:
    """Return the message of an error response."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return response.text[:200]


def banner(url: str, model: str, *, needs_token: bool = False) -> str:
    """Return what to do with a running stack; its token, if it needs one, is a variable that the user has to set."""
    token, header, note = "none", "", ""
    if needs_token:
        token, header = '"$STACK_TOKEN"', """ -H "authorization: Bearer $STACK_TOKEN\""""
        note = "\n  It requires authentication: export STACK_TOKEN=TOKEN with a token that server.auth accepts.\n"
    address = "" if url == DEFAULT_URL else f" --url {url}"
    launch = f"messages launch{address}{' --token-env STACK_TOKEN' if needs_token else ''} claude"
    return f"""
Serving the Messages API at {url}/v1/messages
{note}
  curl {url}/v1/messages{header} -H 'content-type: application/json' \\
    -d '{{"model": "{model}", "max_tokens": 200, "messages": [{{"role": "user", "content": "Hello"}}]}}'

  Claude Code, with its window and limits set for the model:
  {launch}

  or with the address only:
  ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={token} claude

Ctrl-C stops it within {STOP_SECONDS:.0f} seconds; open streams end with an error event.
"""
