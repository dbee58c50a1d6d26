"""A small bounded memory for what was loaded: a conversation sends the same document again with every turn."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from llama_stack_provider_messages.translation.messages_to_chat import Failed, Loaded, LoadedFile

_LEAST_WEIGHT = 1024
"""Of an entry, for its key and overhead."""


def weight_of(value: Loaded) -> int:
    """Return about how many bytes a value holds."""
    if isinstance(value, Failed):
        return _LEAST_WEIGHT
    return _LEAST_WEIGHT + (len(value.data) if isinstance(value, LoadedFile) else sum(map(len, value.pages)))


class MediaCache:
    """Keeps what was used last, up to a weight and an age.

    Args:
        capacity: Weight of all entries together; a value heavier than a quarter of it is not kept.
        max_age_seconds: After this an entry is gone; none: never.
        clock: Tells the seconds.
    """

    def __init__(
        self, capacity: int, max_age_seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._max_age = max_age_seconds
        self._clock = clock
        self._entries: OrderedDict[str, tuple[Loaded, float]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Loaded | None:
        """Return what is kept under a key."""
        with self._lock:
            value, kept_at = self._entries.get(key, (None, 0.0))
            if value is None:
                return None
            if self._max_age is not None and self._clock() - kept_at > self._max_age:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return value

    def put(self, key: str, value: Loaded) -> None:
        """Keep a value; the entries used longest ago make room."""
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
