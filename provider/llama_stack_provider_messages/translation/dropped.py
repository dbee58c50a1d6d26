"""What a translation left out, and why: nothing is dropped silently."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dropped:
    """One part of a request that the backend will not see.

    Args:
        path: JSON path in the request, e.g. ``tools.3``.
        feature: What it is called in the API, e.g. ``web_search``.
        reason: Why the backend does not get it.
    """

    path: str
    feature: str
    reason: str


class DropLog:
    """Collects ``Dropped`` records while a request is walked."""

    def __init__(self) -> None:
        self._entries: list[Dropped] = []

    def note(self, path: str, feature: str, reason: str) -> None:
        """Record one part that was left out."""
        self._entries.append(Dropped(path, feature, reason))

    def entries(self) -> tuple[Dropped, ...]:
        """Return the records in the order of the walk."""
        return tuple(self._entries)
