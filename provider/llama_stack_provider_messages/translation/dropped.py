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


_LONGEST_HEADER = 1_000
_LONGEST_TEXT = 4_000
_LONGEST_PATH = 200
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\[\]-]")


def dropped_header(dropped: Iterable[Dropped]) -> dict[str, str]:
    """Return the header with the paths of the dropped parts, without duplicates; ``{}`` when nothing was dropped.

    Field names come from the client, so every character except letters, digits and ``_ . - [ ]`` is percent-encoded.
    Paths that do not fit into about 1000 bytes are only counted: ``a, b, ... 12 more``.
    """
    paths = dict.fromkeys(entry.path for entry in dropped)
    return {DROPPED_HEADER: _listed(map(_safe, paths), len(paths), _LONGEST_HEADER)} if paths else {}


def dropped_text(dropped: Iterable[Dropped]) -> str:
    """Return the dropped parts with their reasons as one log line, encoded and shortened like the header.

    Encoded, because clients must not write arbitrary text into the log. Shortened, because the platform's logger takes
    a minute to render a megabyte.
    """
    entries = tuple(dropped)
    items = (f"{_safe(entry.path)} ({_plain(entry.reason)})" for entry in entries)
    return _listed(items, len(entries), _LONGEST_TEXT)


def _listed(items: Iterator[str], count: int, longest: int) -> str:
    """Return the items as a list no longer than a limit. Items that do not fit are not rendered, only counted."""
    shown: list[str] = []
    size = 0
    for item in items:
        size += len(item) + 2
        if size > longest:
            return ", ".join([*shown, f"... {count - len(shown)} more"])
        shown.append(item)
    return ", ".join(shown)


def _plain(reason: str) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in reason[:_LONGEST_PATH])


def _safe(path: str) -> str:
    encoded = _UNSAFE.sub(_percent, path[:_LONGEST_PATH])
    return encoded if len(encoded) <= _LONGEST_PATH else f"{encoded[:_LONGEST_PATH]}..."


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace"))
