"""One run of the engine's child process: start, supervision, end."""

import json
import os
import re
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from llama_stack_provider_messages.stack import get_logger

logger = get_logger(__name__)

_STOP_SECONDS = 3.0
"""How long the child may take to stop; less than the five seconds that the platform gives a provider to shut down."""
_KEPT_LOG_LINES = 40
_SHOWN_LOG_LINES = 2
_ERROR_LINE = re.compile(r"[\d.]+ E +(.*)")
_READ_BYTES = 65536


class EngineError(RuntimeError):
    """The engine cannot serve; the message gives the reason. The error response gets its status."""

    status_code = 503


class EngineProcess:
    """Starts the child in a thread that supervises it: reads its report, keeps the end of its log, reaps it.

    The thread lives as long as the child, because the kernel ends the child when the thread that started it ends.

    Args:
        command: Command line of the child; it reads the options from stdin and reports its address on stdout.
        options: Sent to the child as one JSON line.
        start_seconds: Timeout of the report.
        clock: Returns monotonic seconds.

    Attributes:
        ready: Future of the address, or an EngineError.
        ended: Set when the child has ended.
        started_at: Clock time of the start.
        ended_at: Clock time of the end.
        end: How the run ended, for messages.
    """

    def __init__(
        self,
        command: Sequence[str],
        options: Mapping[str, Any],
        start_seconds: float,
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
        """Stop the child and wait for its end."""
        with self._lock:
            self._stopping = True
            process = self._process
        if process:
            process.terminate()
            self._thread.join(_STOP_SECONDS)
            if self._thread.is_alive():
                process.kill()
        self._thread.join(_STOP_SECONDS / 2)

    def _supervise(self) -> None:
        try:
            self._run()
        except OSError as error:
            self.end = f"could not be started: {error.strerror}"
        self.ended_at = self._clock()
        if not self.ready.done():
            self.ready.set_exception(EngineError(f"The embedded engine {self.end}"))
        if not self._stopping:
            logger.error("embedded engine ended", how=self.end, log="\n".join(self._log))
        self.ended.set()

    def _run(self) -> None:
        process = self._spawn()
        if process is None:
            self.end = "was stopped"
            return
        with process:
            self._hand_over_options(process.stdin)
            late = not self._follow(process)
            if late:
                process.kill()
        self.end = self._late() if late else self._how(process.returncode)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if not self._stopping:
                pipe = subprocess.PIPE
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                    self._command, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0, start_new_session=True
                )
            return self._process

    def _hand_over_options(self, stdin: IO[bytes] | None) -> None:
        try:
            stdin.write(json.dumps(self._options).encode() + b"\n")  # type: ignore[union-attr]
        except BrokenPipeError:
            self._log.append("it ended before it read its options")

    def _follow(self, process: subprocess.Popen[bytes]) -> bool:
        """Read report and log until the child closes both; return whether the report came in time."""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, self._take_report)  # type: ignore[arg-type]
            selector.register(process.stderr, selectors.EVENT_READ, self._take_log)  # type: ignore[arg-type]
            while selector.get_map():
                events = selector.select(self._patience())
                if not events and not self.ready.done():
                    return False
                for key, _ in events:
                    if data := os.read(key.fd, _READ_BYTES):
                        key.data(data)
                    else:
                        selector.unregister(key.fileobj)
        return True

    def _patience(self) -> float | None:
        if self.ready.done():
            return None
        return max(0.0, self.started_at + self._start_seconds - self._clock())

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

    def _late(self) -> str:
        return f"did not start within {self._start_seconds:g} s: {self._last_words()}"

    def _how(self, returncode: int) -> str:
        if self._stopping:
            return "was stopped"
        if returncode < 0:
            return f"was ended by signal {-returncode} ({signal.strsignal(-returncode)})"
        return f"ended with code {returncode}: {self._last_words()}"

    def _last_words(self) -> str:
        """Return the first errors of the log, else its last lines, without the model's folder."""
        lines = list(self._log)
        errors = list(dict.fromkeys(found[1] for line in lines if (found := _ERROR_LINE.match(line))))
        text = " | ".join(errors[:_SHOWN_LOG_LINES] or lines[-_SHOWN_LOG_LINES:]) or "it logged nothing"
        path = Path(str(self._options.get("model.path", "-")))
        return text.replace(str(path), path.name)
