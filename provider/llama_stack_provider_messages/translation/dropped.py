"""Records of the request parts a translation dropped, with reasons: nothing is dropped silently."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llama_stack_provider_messages.headers import DROPPED_HEADER


@dataclass(frozen=True, slots=True)
class Dropped:
    """One part of a request that is not sent to the backend.

    Args:
        path: JSON path in the request, e.g. ``tools.3``.
        feature: Its name in the API, e.g. ``web_search``.
        reason: Why it was dropped.
    """

    path: str
    feature: str
    reason: str


class DropLog:
    """Collects ``Dropped`` records while a request is translated."""

    def __init__(self) -> None:
        self._entries: list[Dropped] = []

    def note(self, path: str, feature: str, reason: str) -> None:
        """Record one dropped part."""
        self._entries.append(Dropped(path, feature, reason))

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> tuple[Dropped, ...]:
        """Return the records in the order they were added."""
        return tuple(self._entries)


_MAX_HEADER_CHARACTERS = 1_000
_MAX_LOG_CHARACTERS = 4_000
_MAX_PATH_CHARACTERS = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def dropped_header(dropped: Iterable[Dropped]) -> dict[str, str]:
    """Return the header with the paths of the dropped parts, without duplicates; ``{}`` when nothing was dropped.

    Field names come from the client, so every character except letters, digits and ``_ . - [ ]`` is percent-encoded.
    Paths that do not fit into about 1000 bytes are only counted: ``a, b, ... 12 more``.
    """
    paths = dict.fromkeys(entry.path for entry in dropped)
    return {DROPPED_HEADER: _listed(map(_safe, paths), len(paths), _MAX_HEADER_CHARACTERS)} if paths else {}


def dropped_text(dropped: Iterable[Dropped]) -> str:
    """Return the dropped parts with their reasons as one log line, encoded and shortened like the header.

    Encoded, because clients must not write arbitrary text into the log. Shortened, because the platform's logger takes
    a minute to render a megabyte.
    """
    entries = tuple(dropped)
    reasons = ("".join(c if c.isprintable() else "?" for c in entry.reason[:_MAX_PATH_CHARACTERS]) for entry in entries)
    items = (f"{_safe(entry.path)} ({reason})" for entry, reason in zip(entries, reasons, strict=True))
    return _listed(items, len(entries), _MAX_LOG_CHARACTERS)


def _listed(items: Iterator[str], count: int, limit: int) -> str:
    """Return the items as a list no longer than a limit. Items that do not fit are not rendered, only counted."""
    shown: list[str] = []
    size = 0
    for item in items:
        size += len(item) + 2
        if size > limit:
            return ", ".join([*shown, f"... {count - len(shown)} more"])
        shown.append(item)
    return ", ".join(shown)


def _safe(path: str) -> str:
    encoded = _UNSAFE.sub(_percent, path[:_MAX_PATH_CHARACTERS])
    return encoded if len(encoded) <= _MAX_PATH_CHARACTERS else f"{encoded[:_MAX_PATH_CHARACTERS]}..."


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace"))
