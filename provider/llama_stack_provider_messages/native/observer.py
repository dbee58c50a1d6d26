"""Extracts usage and the end of a relayed stream, without changing it.

The platform's metrics need the usage of a stream that passes as bytes, and the relay needs to know when the stream is
over: backends keep the connection open after ``message_stop``, and a stream that ends without it is a failure.

Decoding each event would cost more than all the rest of the relay. So a chunk that holds whole events, none of which
may carry this information, is only searched for ``"message_`` and ``error``. Of all others the lines are read, and the
events that hold one of these words are decoded:

message_start, message_delta   usage, merged by field; after ``message_delta`` the message is complete
message_stop                   the stream has ended, even if its blank line is missing
error                          the stream has ended and failed; an event named ``error`` is one, whatever its data

The size of every event is counted, so that the relay can end a stream with an event that never ends.
"""

import re
from collections.abc import Mapping
from typing import Any

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.json_members import Member
from llama_stack_provider_messages.errors.body import is_error
from llama_stack_provider_messages.upstream.sse import (
    BLANK_LINES,
    BOM,
    LINE_ENDS,
    MAX_EVENT_BYTES,
    EventTooLongError,
    LineSplitter,
    field_of,
)

from .error_event import ERROR, is_not_error

MAX_DECODED_BYTES = 65_536
"""Limit of an event that is decoded, in bytes; these events are short, and longer ones are not buffered."""
_MESSAGE, _QUOTED_ERROR = b'"message_', b'"error"'
"""Data of an event to decode contains one of these: ``message_start``, ``_delta`` or ``_stop``, or an error."""
_LAST = (b'"message_stop"', _QUOTED_ERROR)
"""Data of an event that ends a stream contains one of these."""
_EARLY_LINES = 8
"""Data lines up to which an event is decoded before its blank line; servers send one. It keeps the work linear."""
_LONG_ERROR = re.compile(rb'\s*\{\s*"type"\s*:\s*"error"')
"""The beginning of an error that is too long to be decoded."""


class StreamObserver:
    """Extracts usage and the end of a relayed stream.

    Attributes:
        usage: The counts so far, merged by field: ``message_delta`` overrides ``message_start``.
        message_complete: ``message_delta`` has arrived, so that nothing of the message is missing, or ``ended``.
        ended: The last event of the stream (``message_stop`` or an error) has arrived.
        failed: The stream ended with an error.
    """

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}
        self.message_complete = False
        self.ended = False
        self.failed = False
        self._lines = LineSplitter()
        self._at_start = True
        self._line: list[bytes] = []  # parts of the current line
        self._data: list[bytes] = []  # data lines of the current event
        self._line_is_blank = True  # no byte of the current line has arrived
        self._size = 0  # bytes of the current event, those that are not kept included
        self._name = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            EventTooLongError: An event has more than ``upstream.sse.MAX_EVENT_BYTES``.
        """
        if _MESSAGE not in data and ERROR not in data and not self._size and data.endswith(BLANK_LINES):
            return
        for part in self._lines.split(data)[1]:
            text = part.rstrip(b"\r\n")
            if kept := text[: max(0, MAX_DECODED_BYTES - self._size)]:
                self._line.append(kept)
            self._size += len(text)
            self._line_is_blank &= not text
            if self._size > MAX_EVENT_BYTES:
                raise EventTooLongError
            if part.endswith(LINE_ENDS):
                self._end_line()

    def close(self, *, failed: bool = False) -> bool:
        """Take the end of the stream; return whether only the blank line of the last event is missing.

        Args:
            failed: Whether the client has got an error event in place of the last event, which did not end.
        """
        if self._line:
            self._end_line()
        whole = isinstance(loads_or_none(b"\n".join(self._data)), Mapping)
        if not whole:  # truncated: its data and its name are ignored
            self._data = []
        self._end_event()
        if failed:
            self._fail()
        return whole and self.message_complete

    def _end_line(self) -> None:
        line, blank = b"".join(self._line), self._line_is_blank
        self._line, self._line_is_blank = [], True
        if self._at_start:
            self._at_start, line = False, line.removeprefix(BOM)
            blank |= not line
        if blank:  # not only left out because the event is long
            self._end_event()
            return
        field, value = field_of(line)
        if field == b"event":
            self._name = value.strip()
        elif field == b"data":
            self._data.append(value)
            if len(self._data) <= _EARLY_LINES and any(mark in value for mark in _LAST):
                self._read(b"\n".join(self._data), self._name)  # without waiting for its blank line

    def _end_event(self) -> None:
        data, size, name = b"\n".join(self._data), self._size, self._name
        self._data, self._size, self._name = [], 0, b""
        if (name == ERROR and data) or (size > MAX_DECODED_BYTES and _LONG_ERROR.match(data)):
            self._fail()
        if size <= MAX_DECODED_BYTES and (_MESSAGE in data or _QUOTED_ERROR in data):
            self._read(data, name)

    def _read(self, data: bytes, name: bytes) -> None:
        event = loads_or_none(data)
        if not isinstance(event, Mapping):
            return
        kind, message = event.get("type"), event.get("message")
        if kind == "message_start" and isinstance(message, Mapping):
            self._count(message.get("usage"))
        elif kind == "message_delta":
            self._count(event.get("usage"))
        if not is_not_error(kind, name) and is_error(event):
            self._fail()
        self.ended |= kind == "message_stop"
        self.message_complete |= self.ended or kind == "message_delta"

    def _fail(self) -> None:
        self.failed = self.ended = self.message_complete = True

    def _count(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self.usage |= {name: value for name, value in usage.items() if value is not None}


def usage_of(body: bytes, found: list[Member]) -> dict[str, Any]:
    """Return the usage of a Message, empty if it has none.

    Args:
        body: The Message as the upstream sent it.
        found: Its top-level members.
    """
    for name, value in found:
        if name == "usage":
            usage = loads_or_none(body[value.start : value.end])
            return dict(usage) if isinstance(usage, Mapping) else {}
    return {}
