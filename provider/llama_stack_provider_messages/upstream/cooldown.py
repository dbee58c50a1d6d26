"""Cooldowns after failures of a backend."""

import time
from collections.abc import Callable, Hashable

REST_SECONDS = 60.0
_MOST = 1_000
"""Limit of keys kept: a provider may accept any model name."""


class Cooldown:
    """Puts keys in cooldown after a failure, so that no further request waits for the same failure.

    It is not bound to an event loop.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[Hashable, float] = {}

    def active(self, key: Hashable) -> bool:
        """Return whether a key is in cooldown."""
        return self._clock() < self._until.get(key, 0.0)

    def start(self, key: Hashable) -> None:
        """Start the cooldown of a key after a failure; above the limit of keys the oldest is removed."""
        self._until.pop(key, None)
        while len(self._until) >= _MOST:
            del self._until[next(iter(self._until))]
        self._until[key] = self._clock() + REST_SECONDS
