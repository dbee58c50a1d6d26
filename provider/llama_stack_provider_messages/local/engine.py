"""The engine's child process: start, supervision, restart after a crash.

A crash of the model must not end the stack, so llama.cpp's server runs in a process of its own (``child.py``).

- ``EngineProcess`` is one run of it. The child reads its options from stdin, reports its address in one line on stdout,
  and logs to stderr. A thread of this process reads both until they end, and keeps the last lines of the log: they say
  why a model could not be loaded.
- ``Engine`` starts the next run when a request needs one. The first two consecutive failures are followed by an
  immediate restart, further ones by pauses of 1, 2, 4 ... 30 seconds, in which requests fail at once with the reason.

The platform constructs providers in one event loop and serves in another, so nothing here is bound to a loop.
"""

import asyncio
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from llama_stack_provider_messages.stack import get_logger

logger = get_logger(__name__)

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("child.py")))
"""Command line of the child; a file and not a module, so that it does not import the platform."""

_FREE_RESTARTS = 2
"""Consecutive failures with an immediate restart; after that the pauses start at one second and double."""
_MAX_PAUSE_SECONDS = 30.0
_STABLE_SECONDS = 60.0
"""A run of this length resets the count of failures."""
_STOP_SECONDS = 3.0
"""How long the child may take to stop; less than the five seconds that the platform gives a provider to shut down."""
_KEPT_LOG_LINES = 40
_SHOWN_LOG_LINES = 2
_ERROR_LINE = re.compile(r"[\d.]+ E +(.*)")
_READ_BYTES = 65536


class EngineError(RuntimeError):
    """The engine cannot serve; the message gives the reason. The error response gets its status."""

    status_code = 503


class Engine:
    """Runs at most one child process at a time; all methods are safe to call from any thread and event loop.

    Args:
        new_process: Makes the next process, not yet started.
        clock: Returns monotonic seconds.
    """

    def __init__(self, new_process: Callable[[], "EngineProcess"], clock: Callable[[], float] = time.monotonic) -> None:
        self._new_process = new_process
        self._clock = clock
        self._lock = threading.Lock()
        self._current: EngineProcess | None = None
        self._failures = 0
        self._closed = False

    async def address(self) -> str:
        """Return the address of the engine; start it if it is not running.

        Raises:
            EngineError: The engine does not start; the message gives the reason.
        """
        starting = self.start()
        return starting.result() if starting.done() else await asyncio.wrap_future(starting)

    def start(self) -> Future[str]:
        """Start the engine unless it is running or starting; return a future of its address.

        Raises:
            EngineError: The engine is in cooldown after repeated failures, or shut down.
        """
        with self._lock:
            if self._closed:
                raise EngineError("The embedded engine is shut down")
            current = self._current
            if current is None or current.ended.is_set():
                if current:
                    self._check_pause(current)
                current = self._current = self._new_process()
                current.start()
            return current.ready

    def _check_pause(self, last: "EngineProcess") -> None:
        """Count the failure of the last run; raise an error while the pause after it lasts."""
        is_stable = last.ended_at - last.started_at >= _STABLE_SECONDS
        failures = 1 if is_stable else self._failures + 1
        pause = min(2.0 ** (failures - _FREE_RESTARTS - 1), _MAX_PAUSE_SECONDS) if failures > _FREE_RESTARTS else 0.0
        remaining = last.ended_at + pause - self._clock()
        if remaining > 0:
            raise EngineError(
                f"The embedded engine failed {failures} times in a row and is retried in {remaining:.0f} s; "
                f"last time it {last.end}"
            )
        self._failures = failures

    @property
    def running_address(self) -> str:
        """Return the address of the running engine, without starting it.

        Raises:
            EngineError: The engine is not running.
        """
        current = self._current
        if current is None or current.ended.is_set() or not current.ready.done():
            raise EngineError("The embedded engine is not running")
        return current.ready.result()

    @property
    def pid(self) -> int | None:
        """Return the process id of the running child, or None."""
        current = self._current
        return current.pid if current and not current.ended.is_set() else None

    @property
    def failure(self) -> str:
        """Return how the last run ended; empty if it has not ended."""
        return self.wait_for_end(0)

    def wait_for_end(self, seconds: float) -> str:
        """Wait up to ``seconds`` for the current run to end; return how it ended, empty if it did not."""
        current = self._current
        return current.end if current and current.ended.wait(seconds) else ""

    def close(self) -> None:
        """End the child process and do not start another."""
        with self._lock:
            self._closed = True
            current = self._current
        if current:
            current.stop()


class EngineProcess:
    """One run of the child, in a thread that supervises it: reads its report, keeps the end of its log, reaps it.

    The thread lives as long as the child, because the kernel ends the child when the thread that started it ends.

    Args:
        command: Command line of the child; it reads the options from stdin and reports its address on stdout.
        options: Sent to the child as one JSON line.
        start_seconds: Timeout of the report.
        stop_seconds: How long ``stop`` waits for the child before it kills it.
        clock: Returns monotonic seconds.

    Attributes:
        ready: Future of the address, or an EngineError.
        ended: Set when the child has ended.
        started_at: Clock time of the start.
        ended_at: Clock time of the end.
        end: How the run ended, for messages: "was stopped", "ended with code 1: ...".
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Mapping[str, Any],
        start_seconds: float,
        stop_seconds: float = _STOP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ready: Future[str] = Future()
        self.ready.set_running_or_notify_cancel()  # a cancelled request must not cancel it for others
        self.ended = threading.Event()
        self.started_at = self.ended_at = clock()
        self.end = ""
        self._command = command
        self._options = options
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._clock = clock
        self._log: deque[str] = deque(maxlen=_KEPT_LOG_LINES)
        self._partial_line = b""
        self._lock = threading.Lock()
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._supervise, name="llama-cpp", daemon=True)

    def start(self) -> None:
        """Start the child; returns at once."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Return the process id of the child, None before its start."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop the child and wait for its end; if it has not been started, it never is."""
        with self._lock:
            self._stopping = True
            process = self._process
        if process:
            process.terminate()
            self._thread.join(self._stop_seconds)
            if self._thread.is_alive():
                process.kill()
        if self._thread.is_alive():
            self._thread.join(self._stop_seconds / 2)

    def _supervise(self) -> None:
        try:
            self.end = self._run()
        except OSError as error:
            self.end = f"could not be started: {error.strerror}"
        self.ended_at = self._clock()
        if not self.ready.done():
            self.ready.set_exception(EngineError(f"The embedded engine {self.end}"))
        if not self._stopping:
            logger.error("embedded engine ended", how=self.end, log="\n".join(self._log))
        self.ended.set()

    def _run(self) -> str:
        """Run the child until it ends; return how it ended."""
        with self._lock:
            if self._stopping:
                return "was stopped"
            pipe = subprocess.PIPE
            process = self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                self._command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
            )
        with process:
            try:
                process.stdin.write(json.dumps(self._options).encode() + b"\n")  # type: ignore[union-attr]
            except BrokenPipeError:
                self._log.append("the child ended before it read its options")
            in_time = self._read_output(process)
            if not in_time:
                process.kill()
        if not in_time:
            return f"did not start within {self._start_seconds:g} s: {self._error_text()}"
        if self._stopping:
            return "was stopped"
        if process.returncode < 0:
            return f"was ended by signal {-process.returncode} ({signal.strsignal(-process.returncode)})"
        return f"ended with code {process.returncode}: {self._error_text()}"

    def _read_output(self, process: subprocess.Popen[bytes]) -> bool:
        """Read report and log until the child closes both; return False if the report did not come in time."""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._take_report)  # type: ignore[arg-type]
            selector.register(process.stderr, selectors.EVENT_READ, self._take_log)  # type: ignore[arg-type]
            while selector.get_map():
                remaining = self.started_at + self._start_seconds - self._clock()
                events = selector.select(None if self.ready.done() else max(0.0, remaining))
                if not events and not self.ready.done():
                    return False
                for key, _ in events:
                    if data := os.read(key.fd, _READ_BYTES):
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)
        return True

    def _take_report(self, data: bytes) -> None:
        """Read the address from the child's report line; any other output is log."""
        if not data.startswith(b'{"address"'):
            self._take_log(data)
            return
        logger.info("embedded engine ready", pid=self.pid, seconds=round(self._clock() - self.started_at, 2))
        self.ready.set_result(json.loads(data)["address"])

    def _take_log(self, data: bytes) -> None:
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        self._log.extend(line.decode(errors="replace") for line in lines)

    def _error_text(self) -> str:
        """Return the first errors of the log, else its last lines, without the model's folder."""
        lines = list(self._log)
        errors = list(dict.fromkeys(found[1] for line in lines if (found := _ERROR_LINE.match(line))))
        text = " | ".join(errors[:_SHOWN_LOG_LINES] or lines[-_SHOWN_LOG_LINES:]) or "its log is empty"
        path = Path(str(self._options.get("model.path", "-")))
        return text.replace(str(path), path.name)
