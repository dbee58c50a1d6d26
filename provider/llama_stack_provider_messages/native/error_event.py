"""Keys of the operator in the ``error`` events of a stream.

A stream on the native lane passes byte for byte, with one exception: an upstream may repeat the key it was called with
in the error that ends a stream, and clients show errors to users and log them. So the data of an event is held while
the event may be an error, and passes without the keys once the event is complete:

    event: error
    data: {"type":"error        passes as it comes, for no key can be in it
    ","error":{...}}            held until the blank line, then the keys in it are replaced

Any other event is released as soon as its data says what it is (``{"type":"content_block_delta"``). Where the type is
not the first member, the event is held until its blank line. An event without a key passes as it was sent, and of an
event with one only the strings that hold it are written anew.
"""

import json
import re
from collections.abc import Mapping

from llama_stack_provider_messages.errors.redaction import Secrets, redacted

MAX_ERROR_BYTES = 1024 * 1024
"""Length of an error event that is held. A longer one is replaced by a short error of our own."""

_TOO_LONG = (
    b"\nevent: ping\n\n"  # the name makes clients skip what has passed of the event
    b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
    b'"message":"The backend sent an error event of more than 1 MiB"}}\n\n'
)
_BLANK = (b"\n\n", b"\r\n\r\n")
_LINE = re.compile(rb"[^\r\n]*+(?:\r\n|\r|\n)?")
_ERROR, _DATA = b"error", b"data:"
_BOM = b"\xef\xbb\xbf"
_SEARCHED_BYTES = 256
"""How much of a line, and of the data of an event, is looked at to tell what it is."""
_OPENING = re.compile(rb'\s*+(?:\{\s*+(?:"(?:t(?:y(?:p(?:e(?:"\s*+(?::\s*+(?:"([a-z_]{0,64}+))?)?)?)?)?)?)?)?)?')
"""The longest beginning of ``{"type":"content_block_delta`` that data has."""
_OPENS_AS_ERROR = re.compile(rb'\s*\{\s*"(?:error"|type"\s*:\s*"error\b)')


class ErrorEventRedactor:
    """Takes the chunks of a stream and returns them with the keys taken out of its error events.

    Args:
        secrets: The keys the upstream was called with.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._line = b""  # the beginning of the running line
        self._first = True  # the running line is the first of the stream
        self._after_cr = False
        self._begin_event()

    def _begin_event(self) -> None:
        self._inside = False  # a byte of the event has come
        self._named_error = False
        self._in_data = False  # its first `data:` has come
        self._decided = False  # its data passes
        self._dropped = False  # its data was too long, and has been replaced
        self._passed = b""  # the opening of its data, which has passed
        self._held = bytearray()  # what follows it

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; return those that can pass."""
        if not chunk or not self._secrets:
            return chunk
        if not self._inside and not self._after_cr and _ERROR not in chunk and chunk.endswith(_BLANK):
            self._first = False
            return chunk
        passing: list[bytes] = []
        start = 1 if self._after_cr and chunk.startswith(b"\n") else 0  # the second half of a CRLF is not a line
        passing.append(self._take(chunk[:start]))
        for piece in _LINE.findall(chunk, start):
            if piece:
                passing += self._take_line(piece)
        self._after_cr = chunk.endswith(b"\r")
        return b"".join(passing)

    def close(self) -> bytes:
        """Return what is held of an event without a blank line; of an error that broke off, nothing."""
        data = _data_of(self._passed + self._held)
        broken = _decoded(data) is None and (self._named_error or _OPENS_AS_ERROR.match(data))
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
            field, piece, self._in_data = piece[:cut], piece[cut:], True
        passing = [field, self._take(piece)]
        if piece.endswith((b"\n", b"\r")) or field.endswith((b"\n", b"\r")):
            passing.append(self._end_line())
        return passing

    def _take(self, data: bytes) -> bytes:
        """Take bytes of a line; return what can pass."""
        if not self._in_data or self._decided:
            return b"" if self._dropped else data
        passing = b""
        if not self._held and len(self._passed) < _SEARCHED_BYTES:
            passing = self._take_opening(data)
            if self._decided:
                return passing
        else:
            self._held += data
        if len(self._held) <= MAX_ERROR_BYTES:
            return passing
        self._decided = True
        self._dropped = self._named_error or bool(_OPENS_AS_ERROR.match(self._passed + self._held))
        rest, self._held = _TOO_LONG if self._dropped else bytes(self._held), bytearray()
        return passing + rest

    def _take_opening(self, data: bytes) -> bytes:
        """Take bytes while nothing is held; return what belongs to the opening, all if it tells another event."""
        whole = self._passed + data
        opening = _OPENING.match(whole)
        end = max(len(self._passed), opening.end() if opening else 0)
        kind = opening[1] if opening and whole.startswith(b'"', end) else None
        if kind and kind != _ERROR and not self._named_error:
            self._decided = True
            return data
        passing = whole[len(self._passed) : end]
        self._passed, self._held = whole[:end], bytearray(whole[end:])
        return passing

    def _end_line(self) -> bytes:
        line = self._line.removeprefix(_BOM) if self._first else self._line
        self._line, self._first = b"", False
        if line.startswith(b"event:"):
            self._named_error = line.removeprefix(b"event:").strip() == _ERROR
        if line.strip(b"\r\n"):
            return b""
        rest = self._without_keys()
        self._begin_event()
        return rest

    def _without_keys(self) -> bytes:
        """Return what is held: as it was sent, unless the event is an error."""
        whole = self._passed + self._held
        data = _data_of(whole)
        event = _decoded(data)
        says_error = isinstance(event, Mapping) and (event.get("type") == "error" or bool(event.get("error")))
        if self._named_error or says_error or _OPENS_AS_ERROR.match(data):
            return redacted(whole, self._secrets)[len(self._passed) :]
        return bytes(self._held)


def _data_of(event: bytes) -> bytes:
    """Return the data of an event whose first ``data:`` is cut off."""
    first, *lines = event.splitlines() or [b""]
    return b"\n".join([first, *(line.removeprefix(_DATA) for line in lines if line.startswith(_DATA))])


def _decoded(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
