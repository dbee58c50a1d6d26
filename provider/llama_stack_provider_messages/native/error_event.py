"""Redacts the operator's keys from the ``error`` events of a stream.

An upstream may repeat the key it was called with in the error that ends a stream, and clients show errors to users and
write them to logs. All other events have to pass byte for byte and without delay. So it is decided while the bytes of
an event arrive whether it may be an error:

event: error                            an error, whatever its data: all bytes after this line are held
data: {"type":"content_block_delta"     not an error: its bytes pass from here on
data: {"type":"error"                   an error: these bytes pass, they cannot contain a key; all later bytes are held
data: {"delta":                         not known, because the type is not the first member: held

An event is in one of three states, and begins undecided:

    undecided   it may be an error: the bytes before the first unknown one pass, all after it are held
    passes      its type is known and not an error: all further bytes pass
    left out    it may be an error and is longer than 1 MiB: a short error has replaced it

The blank line ends the event. If it is still undecided, the held bytes are sent; if it is an error, the strings in them
that contain a key are rewritten first. If the stream ends inside of an error, the held bytes are not sent, because they
may end in a part of a key.
"""

import re
from collections.abc import Mapping
from typing import Literal

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.errors.redaction import Secrets, redact_body
from llama_stack_provider_messages.translation.events import MESSAGE_EVENTS
from llama_stack_provider_messages.upstream.sse import BLANK_LINES, BOM, LINE_ENDS, LineSplitter, field_of

EVENT_TYPES = MESSAGE_EVENTS | {"ping"}
ERROR = b"error"
"""Name of an error event, and the word that any error event contains."""
MAX_ERROR_BYTES = 1024 * 1024
"""Limit of a held event. A longer one is replaced by a short error event of our own if it may be an error."""

_TOO_LONG = (
    b"\nevent: ping\n\n"  # makes clients skip the part of the event that has been sent
    b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
    b'"message":"The backend sent an error event of more than 1 MiB"}}\n\n'
)
_DATA = b"data:"
_EMPTY_LINES = frozenset({b"\n", b"\r", b"\r\n"})
_OTHER_FIELDS = frozenset({b"event", b"id", b"retry", b""})
"""Names of fields that are not data; a comment has an empty name."""
_SEARCHED_BYTES = 256
"""Bytes of a line, and of an event's data, that are searched for the event's type."""
_OPENING = re.compile(rb'\s*+(?:\{\s*+(?:"(?:t(?:y(?:p(?:e(?:"\s*+(?::\s*+(?:"([a-z_]{0,64}+))?)?)?)?)?)?)?)?)?')
"""Matches the longest prefix of ``{"type":"content_block_delta`` that the data begins with."""
_MENTIONS_ERROR = re.compile(rb'(?<!\\)"error"')
"""The JSON string ``"error"``, not the quoted word inside another string."""


def is_not_error(kind: object, name: bytes) -> bool:
    """Return True if the type in an event's data shows that the event is not an error.

    This is known before the event is complete; ``errors.body.is_error`` decides about all others.
    That is a type of the API, or a type of a later version of it, which equals the event's name and has no "error".
    """
    if not isinstance(kind, str):
        return False
    return kind in EVENT_TYPES or (kind.encode("utf-8", "replace") == name and "error" not in kind)


class ErrorEventRedactor:
    """Takes the chunks of a stream and returns them with keys redacted from its error events.

    Args:
        secrets: The keys the upstream was called with.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._lines = LineSplitter()
        self._line = b""  # the first bytes of the current line
        self._at_start = True  # the current line is the first of the stream
        self._begin_event()

    @property
    def left_out(self) -> bool:
        """Return whether the current event is left out, because a short error has replaced it."""
        return self._state == "left out"

    def _begin_event(self) -> None:
        self._inside = False  # a byte of the event has arrived
        self._name = b""
        self._in_data = False  # its first `data:` has arrived
        self._state: Literal["undecided", "passes", "left out"] = "undecided"
        self._passed = b""  # the prefix of its data that has been passed on
        self._held = bytearray()  # the bytes held after that prefix

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those that can be sent."""
        if not chunk or not self._secrets:
            return chunk
        if not self._inside and not self._lines.after_cr and ERROR not in chunk and chunk.endswith(BLANK_LINES):
            self._at_start = False
            return chunk
        half, parts = self._lines.split(chunk)
        passing = [self._take(half)]
        for part in parts:
            passing += self._take_line(part) if self._inside or part not in _EMPTY_LINES else [part]
        return b"".join(passing)

    def close(self) -> bytes:
        """Return the held bytes of an event without a blank line; nothing if it is a truncated error."""
        self._read_name()
        whole = self._passed + self._held
        truncated = loads_or_none(_data_of(whole)) is None and (
            self._name == ERROR or bool(_MENTIONS_ERROR.search(whole))
        )
        rest = b"" if truncated else self._without_keys()
        self._begin_event()
        return rest

    def _take_line(self, piece: bytes) -> list[bytes]:
        """Take a line, or a part of one."""
        self._inside = True
        before = len(self._line)
        self._line += piece[: max(0, _SEARCHED_BYTES - before)]
        prefix = (BOM if self._at_start and self._line.startswith(BOM) else b"") + _DATA
        field = b""
        if not self._in_data and self._line.startswith(prefix):
            cut = len(prefix) - before
            field, piece, self._in_data = self._take(piece[:cut]), piece[cut:], True
        passing = [field, self._take(piece)]
        if (piece or field).endswith(LINE_ENDS):
            self._read_name()
            empty = not self._line.removeprefix(BOM if self._at_start else b"").strip(b"\r\n")
            self._line, self._at_start = b"", False
            if empty:
                passing.append(self._without_keys())
                self._begin_event()
        return passing

    def _take(self, data: bytes) -> bytes:
        """Take bytes of a line; return those that can be sent."""
        if self._state == "left out":
            return b""
        if self._state == "passes" or not (self._in_data or self._name == ERROR):
            return data
        passing = b""
        if self._in_data and not self._held and self._name != ERROR and len(self._passed) < _SEARCHED_BYTES:
            passing = self._take_opening(data)
        else:
            self._held += data
        if len(self._held) <= MAX_ERROR_BYTES:
            return passing
        may_be_error = self._name == ERROR or bool(_MENTIONS_ERROR.search(self._passed + self._held))
        self._state = "left out" if may_be_error else "passes"
        rest, self._held = _TOO_LONG if may_be_error else bytes(self._held), bytearray()
        return passing + rest

    def _take_opening(self, data: bytes) -> bytes:
        """Take data while nothing is held; return its part of the prefix, or all of it if the event is not an error."""
        whole = self._passed + data
        opening = _OPENING.match(whole)
        end = max(len(self._passed), opening.end() if opening else 0)
        kind = opening[1] if opening and whole.startswith(b'"', end) else None
        if kind and is_not_error(kind.decode(), self._name):
            self._state = "passes"
            return data
        passing = whole[len(self._passed) : end]
        self._passed, self._held = whole[:end], bytearray(whole[end:])
        return passing

    def _read_name(self) -> None:
        field, value = field_of(self._line.removeprefix(BOM) if self._at_start else self._line)
        if field == b"event":
            self._name = value.strip()

    def _without_keys(self) -> bytes:
        """Return the held bytes, with the keys redacted if the event may be an error."""
        whole = self._passed + self._held
        event = loads_or_none(_data_of(whole))
        kind = event.get("type") if isinstance(event, Mapping) else None
        if self._name == ERROR or not is_not_error(kind, self._name):
            return redact_body(whole, self._secrets)[len(self._passed) :]
        return bytes(self._held)


def _data_of(event: bytes) -> bytes:
    """Return the data of an event, whose first ``data:`` may have been passed on and is missing then."""
    values = []
    for number, line in enumerate(event.splitlines()):
        field, value = field_of(line)
        if field == b"data":
            values.append(value)
        elif not number and field not in _OTHER_FIELDS:
            values.append(line)
    return b"\n".join(values)
