"""What passes by in a stream: its usage, and whether it comes to an end.

Only the lines of the three events that tell are decoded; every other byte is searched, not read.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from llama_stack_api_messages.members import Member

_TELLING = (b'"message_start"', b'"message_delta"', b'"message_stop"', b'"error"')
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONGEST_LINE = 65_536
"""Bytes of a line; those of the telling events are short, and what is longer is not kept."""


class StreamWatch:
    """Reads along.

    Attributes:
        usage: The counts so far; of ``message_start`` and ``message_delta`` the later one wins, by field.
        complete: The message has ended, or an ``error`` event has said that it will not.
    """

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.complete = False
        self._line: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if not self._line and data.endswith(b"\n") and not any(name in data for name in _TELLING):
            return
        first, *others = _LINE_END.split(data)
        self._keep(first)
        for line in others:
            self._end_line()
            self._keep(line)

    def close(self) -> None:
        """Take the last line, which servers may leave unfinished."""
        self._end_line()

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if piece and self._size <= _LONGEST_LINE:
            self._line.append(piece)

    def _end_line(self) -> None:
        line, size = b"".join(self._line), self._size
        self._line, self._size = [], 0
        if size <= _LONGEST_LINE and line.startswith(b"data:") and any(name in line for name in _TELLING):
            self._read(line.removeprefix(b"data:"))

    def _read(self, data: bytes) -> None:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(event, Mapping):
            return
        message = event.get("message")
        kind = event.get("type")
        if kind == "message_start" and isinstance(message, Mapping):
            self._count(message.get("usage"))
        elif kind == "message_delta":
            self._count(event.get("usage"))
        self.complete |= kind in ("message_delta", "message_stop", "error") or "error" in event

    def _count(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self.usage |= {name: value for name, value in usage.items() if value is not None}


def usage_of(body: bytes, found: list[Member]) -> dict[str, Any]:
    """Return the usage of a whole Message, empty if it has none."""
    for name, value in found:
        if name == "usage" and body.startswith(b"{", value.start):
            return dict(json.loads(body[value.start : value.end]))
    return {}
