"""Starts the engine when needed, restarts it after a crash, and provides its address."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from .process import EngineError, EngineProcess

_FREE_RESTARTS = 2
"""Consecutive failures with an immediate restart; after that the pauses start at one second and double."""
_LONGEST_PAUSE = 30.0
_STABLE_SECONDS = 60.0
"""A run of this length resets the count of failures."""


class Engine:
    """Runs at most one child process at a time; all methods are safe to call from any thread and event loop.

    Args:
        new_process: Makes the next process, not yet started.
        clock: Returns monotonic seconds.
    """

    def __init__(self, new_process: Callable[[], EngineProcess], clock: Callable[[], float] = time.monotonic) -> None:
        self._new_process = new_process
        self._clock = clock
        self._lock = threading.Lock()
        self._current: EngineProcess | None = None
        self._failures = 0
        self._closed = False

    def start(self) -> Future[str]:
        """Start the engine unless it is running or starting; return a future of its address.

        Raises:
            EngineError: The engine is in cooldown after repeated failures, or shut down.
        """
        with self._lock:
            if self._closed:
                raise EngineError("The embedded engine is shut down")
            if self._current is None or self._current.ended.is_set():
                self._start_next(self._current)
            return self._current.ready  # type: ignore[union-attr]

    def _start_next(self, last: EngineProcess | None) -> None:
        if last:
            self._pause_after(last)
        self._current = self._new_process()
        self._current.start()

    def _pause_after(self, last: EngineProcess) -> None:
        before = 0 if last.ended_at - last.started_at >= _STABLE_SECONDS else self._failures
        failures = before + 1
        pause = min(2.0 ** (failures - _FREE_RESTARTS - 1), _LONGEST_PAUSE) if failures > _FREE_RESTARTS else 0.0
        left = last.ended_at + pause - self._clock()
        if left > 0:
            raise EngineError(
                f"The embedded engine failed {failures} times in a row and is tried again in {left:.0f} s; "
                f"last time it {last.end}"
            )
        self._failures = failures

    async def address(self) -> str:
        """Return the address of the engine; start it if it is not running.

        Raises:
            EngineError: The engine does not start; the message gives the reason.
        """
        starting = self.start()
        return starting.result() if starting.done() else await asyncio.wrap_future(starting)

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
        """Return the process id of the child, None if there is none."""
        current = self._current
        return current.pid if current and not current.ended.is_set() else None

    @property
    def failure(self) -> str:
        """Return how the last run ended; empty if it has not ended."""
        current = self._current
        return current.end if current and current.ended.is_set() else ""

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
