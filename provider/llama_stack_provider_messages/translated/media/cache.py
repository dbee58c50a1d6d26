"""A bounded cache of loaded media: a conversation sends the same document again with every turn."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from llama_stack_provider_messages.translation.messages_to_chat import Failed, Loaded, LoadedFile

_MIN_WEIGHT_BYTES = 1024
"""Minimum counted for an entry, for its key and overhead."""


def weight_of(value: Loaded) -> int:
    """Return the approximate size of a value in bytes."""
    if isinstance(value, Failed):
        return _MIN_WEIGHT_BYTES
    return _MIN_WEIGHT_BYTES + (len(value.data) if isinstance(value, LoadedFile) else sum(map(len, value.pages)))


class MediaCache:
    """An LRU cache, limited by total size and age.

    Args:
        capacity_bytes: Limit of the size of all entries together; a value larger than a quarter of it is not cached.
        max_age_seconds: Lifetime of an entry; None: unlimited.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, capacity_bytes: int, max_age_seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity_bytes
        self._max_age = max_age_seconds
        self._clock = clock
        self._entries: OrderedDict[str, tuple[Loaded, float]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Loaded | None:
        """Return the cached value of a key, or None."""
        with self._lock:
            value, stored_at = self._entries.get(key, (None, 0.0))
            if value is None:
                return None
            if self._max_age is not None and self._clock() - stored_at > self._max_age:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: str, value: Loaded) -> None:
        """Cache a value; evict the least recently used entries to make room."""
        weight = weight_of(value)
        if weight > self._capacity // 4:
            return
        with self._lock:
            if key in self._entries:
                self._drop(key)
            self._entries[key] = (value, self._clock())
            self._weight += weight
            while self._weight > self._capacity:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self._weight -= weight_of(self._entries.pop(key)[0])
