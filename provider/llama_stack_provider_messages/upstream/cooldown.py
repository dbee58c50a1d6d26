"""Remembers for a while which backends have failed."""

import time
from collections.abc import Callable, Hashable

REST_SECONDS = 60.0
_MOST = 1_000
"""Models that are remembered: a provider may take any name."""


class Cooldown:
    """Remembers for a while who has failed, so that nobody waits for the same failure twice.

    Nothing in it belongs to an event loop.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def active(self, key: Hashable) -> bool:
        """Return whether a key is in cooldown."""
        return self._clock() < self._until.get(key, 0.0)

    def start(self, key: Hashable) -> None:
        """Note a failure; of too many the oldest is forgotten."""
        self._until.pop(key, None)
        while len(self._until) >= _MOST:
            del self._until[next(iter(self._until))]
        self._until[key] = self._clock() + REST_SECONDS
