"""Redacts the operator's keys from the ``error`` events of a stream.

A stream on the native lane passes byte for byte, with one exception: an upstream may repeat the key it was called with
in the error that ends a stream, and clients show errors to users and log them. So an event is held back while it may be
an error, and is passed on without the keys once it is complete:

    event: error                   from here on, everything is held until the blank line
    data: {"type":"err             passed on at once, because it cannot contain a key ...
    or","error":{...}}             ... and this is held: data without a known event type may be an error

Any other event is released as soon as the type in its data is known (``{"type":"content_block_delta"``). If the type is
not the first member, the event is held until its blank line. An event without a key is passed on unchanged; in an event
with a key, only the strings that contain it are rewritten.
"""

import re
from collections.abc import Mapping

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.errors.redaction import Secrets, redacted

EVENT_TYPES = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop", "ping",
})  # fmt: skip
MAX_ERROR_BYTES = 1024 * 1024
"""Limit of a held event. A longer one is replaced by a short error event of our own if it may be an error."""

_TOO_LONG = (
    b"\nevent: ping\n\n"  # makes clients skip the part of the event that has been sent
    b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
    b'"message":"The backend sent an error event of more than 1 MiB"}}\n\n'
)
_BLANK = (b"\n\n", b"\r\n\r\n")
_BLANK_LINES = re.compile(rb"[\r\n]*+")
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\r|\n)?")
_ERROR, _DATA = b"error", b"data:"
_BOM = b"\xef\xbb\xbf"
_SEARCHED_BYTES = 256
"""Bytes of a line, and of an event's data, that are searched for the event's type."""
_OPENING = re.compile(rb'\s*+(?:\{\s*+(?:"(?:t(?:y(?:p(?:e(?:"\s*+(?::\s*+(?:"([a-z_]{0,64}+))?)?)?)?)?)?)?)?)?')
"""Matches the longest prefix of ``{"type":"content_block_delta`` that the data begins with."""
_MENTIONS_ERROR = re.compile(rb'(?<!\\)"error"')
"""The JSON string ``"error"``, not the quoted word inside another string."""


def tells_another_event(kind: object, name: bytes) -> bool:
    """Return whether an event is not an error, by the type in its data and its name.

    It is not if its type is a known one, or an unknown one that equals the event's name (a later version of the API).
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
        self._line = b""  # the first bytes of the current line
        self._first = True  # the current line is the first of the stream
        self._after_cr = False
        self._begin_event()

    def _begin_event(self) -> None:
        self._inside = False  # a byte of the event has arrived
        self._name = b""
        self._in_data = False  # its first `data:` has arrived
        self._decided = False  # the rest of the event is passed on
        self._dropped = False  # the event was too long, and has been replaced
        self._passed = b""  # the prefix of its data that has been passed on
        self._held = bytearray()  # the bytes held after that prefix

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those that can be sent."""
        if not chunk or not self._secrets:
            return chunk
        if not self._inside and not self._after_cr and _ERROR not in chunk and chunk.endswith(_BLANK):
            self._first = False
            return chunk
        position = 1 if self._after_cr and chunk.startswith(b"\n") else 0  # the second half of a CRLF is not a line
        passing = [self._take(chunk[:position])]
        while position < len(chunk):
            pattern = _LINE if self._inside or chunk[position] not in b"\r\n" else _BLANK_LINES
            piece = pattern.match(chunk, position)[0]  # type: ignore[index]  # both match anywhere
            position += len(piece)
            passing += self._take_line(piece) if pattern is _LINE else [piece]
        self._after_cr = chunk.endswith(b"\r")
        return b"".join(passing)

    def close(self) -> bytes:
        """Return the held bytes of an event without a blank line; nothing if it is a truncated error."""
        self._read_name()
        whole = self._passed + self._held
        broken = loads_or_none(_data_of(whole)) is None and (
            self._name == _ERROR or bool(_MENTIONS_ERROR.search(whole))
        )
        rest = b"" if broken else self._without_keys()
        self._begin_event()
        return rest

    def _take_line(self, piece: bytes) -> list[bytes]:
        """Take a line, or a part of one."""
        self._inside = True
        before = len(self._line)
        self._line += piece[: max(0, _SEARCHED_BYTES - before)]
        prefix = (_BOM if self._first and self._line.startswith(_BOM) else b"") + _DATA
        field = b""
        if not self._in_data and self._line.startswith(prefix):
            cut = len(prefix) - before
            field, piece, self._in_data = self._take(piece[:cut]), piece[cut:], True
        passing = [field, self._take(piece)]
        if (piece or field).endswith((b"\n", b"\r")):
            passing.append(self._end_line())
        return passing

    def _take(self, data: bytes) -> bytes:
        """Take bytes of a line; return those that can be sent."""
        if self._decided or not (self._in_data or self._name == _ERROR):
            return b"" if self._dropped else data
        passing = b""
        if self._in_data and not self._held and self._name != _ERROR and len(self._passed) < _SEARCHED_BYTES:
            passing = self._take_opening(data)
        else:
            self._held += data
        if len(self._held) <= MAX_ERROR_BYTES:
            return passing
        self._decided = True
        self._dropped = self._name == _ERROR or bool(_MENTIONS_ERROR.search(self._passed + self._held))
        rest, self._held = _TOO_LONG if self._dropped else bytes(self._held), bytearray()
        return passing + rest

    def _take_opening(self, data: bytes) -> bytes:
        """Take data while nothing is held; return its part of the prefix, or all of it if the event is not an error."""
        whole = self._passed + data
        opening = _OPENING.match(whole)
        end = max(len(self._passed), opening.end() if opening else 0)
        kind = opening[1] if opening and whole.startswith(b'"', end) else None
        if kind and tells_another_event(kind.decode(), self._name):
            self._decided = True
            return data
        passing = whole[len(self._passed) : end]
        self._passed, self._held = whole[:end], bytearray(whole[end:])
        return passing

    def _end_line(self) -> bytes:
        self._read_name()
        empty = not self._line.removeprefix(_BOM if self._first else b"").strip(b"\r\n")
        self._line, self._first = b"", False
        if not empty:
            return b""
        rest = self._without_keys()
        self._begin_event()
        return rest

    def _read_name(self) -> None:
        line = self._line.removeprefix(_BOM) if self._first else self._line
        if line.startswith(b"event:"):
            self._name = line.removeprefix(b"event:").strip()

    def _without_keys(self) -> bytes:
        """Return the held bytes, with the keys redacted if the event may be an error."""
        whole = self._passed + self._held
        event = loads_or_none(_data_of(whole))
        kind = event.get("type") if isinstance(event, Mapping) else None
        if self._name == _ERROR or not tells_another_event(kind, self._name):
            return redacted(whole, self._secrets)[len(self._passed) :]
        return bytes(self._held)


def _data_of(event: bytes) -> bytes:
    """Return the data of an event whose first ``data:`` may be cut off."""
    first, *lines = event.removeprefix(_DATA).splitlines() or [b""]
    return b"\n".join([first, *(line.removeprefix(_DATA) for line in lines if line.startswith(_DATA))])
