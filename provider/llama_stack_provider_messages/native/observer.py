"""Extracts usage and the end of a relayed stream, without changing it.

Only the few events with that information are decoded; all other bytes are only searched.
"""

import re
from collections.abc import Mapping
from typing import Any

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.json_members import Member

from .error_event import tells_another_event

_MESSAGE, _ERROR = b'"message_', b'"error"'
"""Data of an event to decode contains one of these: ``message_start``, ``_delta`` or ``_stop``, or an error."""
_ERROR_NAME = b"error"
"""Clients treat an event of this name as an error, whatever its data."""
_BLANK = (b"\n\n", b"\r\n\r\n")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONGEST = 65_536
"""Limit of an event in bytes; events to decode are short, and longer ones are not buffered."""
_LONG_ERROR = re.compile(rb'\s*\{\s*"type"\s*:\s*"error"')
_LAST = (b'"message_stop"', _ERROR)
"""Data of an event that ends a stream contains one of these."""
_BOM = b"\xef\xbb\xbf"


class StreamObserver:
    """Extracts usage and the end of a relayed stream.

    Attributes:
        usage: The counts so far, merged by field: ``message_delta`` overrides ``message_start``.
        complete: The message is complete, or an ``error`` event has ended it.
        over: The last event of the stream (``message_stop`` or an error) has arrived.
        failed: The stream ended with an error.
    """

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.complete = False
        self.over = False
        self.failed = False
        self._first = True
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._name = b""
        self._after_cr = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if _MESSAGE not in data and _ERROR_NAME not in data and not self._size and data.endswith(_BLANK):
            return
        if self._after_cr:
            data = data.removeprefix(b"\n")  # the second half of a CRLF
        self._after_cr = data.endswith(b"\r")
        first, *others = _LINE_END.split(data)
        self._keep(first)
        for line in others:
            self._end_line()
            self._keep(line)

    def close(self) -> bool:
        """Take the end of the stream; return whether only the blank line of the last event is missing."""
        if self._line:
            self._end_line()
        whole = isinstance(loads_or_none(b"\n".join(self._data)), Mapping)
        if not whole:  # truncated: its data and its name are ignored
            self._data = []
        self._end_event()
        return whole and self.complete

    def _keep(self, piece: bytes) -> None:
        kept = piece[: max(0, _LONGEST - self._size)]
        self._size += len(piece)
        if kept:
            self._line.append(kept)

    def _end_line(self) -> None:
        line = b"".join(self._line)
        self._line = []
        if self._first:
            self._first, line = False, line.removeprefix(_BOM)
        if line.startswith(b"data:"):
            self._data.append(line.removeprefix(b"data:"))
            if any(mark in line for mark in _LAST):
                self._read(b"\n".join(self._data), self._name)  # without waiting for its blank line
        elif line.startswith(b"event:"):
            self._name = line.removeprefix(b"event:").strip()
        elif not line:
            self._end_event()

    def _end_event(self) -> None:
        data, size, name = b"\n".join(self._data), self._size, self._name
        self._data, self._size, self._name = [], 0, b""
        if (name == _ERROR_NAME and data) or (size > _LONGEST and _LONG_ERROR.match(data)):
            self._fail()
        if size <= _LONGEST and (_MESSAGE in data or _ERROR in data):
            self._read(data, name)

    def _read(self, data: bytes, name: bytes) -> None:
        event = loads_or_none(data)
        if not isinstance(event, Mapping):
            return
        message = event.get("message")
        kind = event.get("type")
        if kind == "message_start" and isinstance(message, Mapping):
            self._count(message.get("usage"))
        elif kind == "message_delta":
            self._count(event.get("usage"))
        if kind == "error" or (event.get("error") and not tells_another_event(kind, name)):
            self._fail()
        self.over |= kind == "message_stop"
        self.complete |= self.over or kind == "message_delta"

    def _fail(self) -> None:
        self.failed = self.over = self.complete = True

    def _count(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self.usage |= {name: value for name, value in usage.items() if value is not None}


def usage_of(body: bytes, found: list[Member]) -> dict[str, Any]:
    """Return the usage of a Message, empty if it has none."""
    for name, value in found:
        if name == "usage":
            usage = loads_or_none(body[value.start : value.end])
            return dict(usage) if isinstance(usage, Mapping) else {}
    return {}
