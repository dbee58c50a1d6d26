"""What is kept from one request to the next, and its limits: of keys, of time, and per event loop.

Keys are model names, of which a provider may accept any; so the oldest is forgotten when there are too many. Clients of
HTTP belong to the event loop in which they were made: the platform constructs providers in a loop that does not serve,
and tests have several.
"""

import asyncio
import time
from collections import UserDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any
from weakref import WeakKeyDictionary

MAX_KEYS = 1_000
COOLDOWN_SECONDS = 60.0


class BoundedDict[K, V](UserDict[K, V]):
    """A dict of at most ``MAX_KEYS``; above that the key that was set longest ago is removed."""

    def __setitem__(self, key: K, value: V) -> None:
        """Set a value; the key becomes the newest."""
        self.pop(key, None)
        while len(self) >= MAX_KEYS:
            del self[next(iter(self))]
        super().__setitem__(key, value)


class Cooldown:
    """Puts keys in cooldown after a failure, so that no further request waits for the same failure.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: BoundedDict[Hashable, float] = BoundedDict()

    def active(self, key: Hashable) -> bool:
        """Return whether a key is in cooldown."""
        return self._clock() < self._until.get(key, 0.0)

    def start(self, key: Hashable) -> None:
        """Start the cooldown of a key."""
        self._until[key] = self._clock() + COOLDOWN_SECONDS


class PerLoop[T]:
    """One value for each event loop, forgotten with its loop."""

    def __init__(self) -> None:
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self, make: Callable[[], T]) -> T:
        """Return the value of the running loop; make it on first use."""
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            self._values[loop] = make()
        return self._values[loop]

    def pop(self) -> T | None:
        """Remove the value of the running loop, to close it; those of other loops have no open connections any more."""
        return self._values.pop(asyncio.get_running_loop(), None)


class SharedTasks:
    """At most one running task for each name, which all requests of the event loop wait for together."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Return the running task of a name in this event loop; without one, start ``work``."""
        task = self._running.get(name)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._running[name] = asyncio.create_task(work())
        return task

    async def close(self) -> None:
        """Cancel the running tasks of this event loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._running.values() if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
