"""Decoding of server-sent events from bytes.

The standard (WHATWG HTML, 9.2) ends lines at CR, LF or CRLF only. Python's ``str.splitlines`` also splits at U+2028
and U+0085, which JSON may contain unescaped. So the bytes are split into lines, and each line is decoded.
"""

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event.

    Args:
        data: The values of its data lines, joined by line feeds.
        event: Its name, ``message`` if the stream gives none.
        id: The last event id of the stream.
    """

    data: str
    event: str = "message"
    id: str = ""


class SSEDecoder:
    """Decodes chunks of any size into events. Sans-IO: call ``feed`` with bytes and ``close`` at the end."""

    def __init__(self) -> None:
        self._partial: list[bytes] = []  # joined once per line, so that a long line in many chunks stays cheap
        self._after_cr = False
        self._at_start = True
        self._data: list[str] = []
        self._event = ""
        self._id = ""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; return the events that they complete."""
        if self._after_cr and data:
            data = data.removeprefix(b"\n")  # the second half of a CRLF
            self._after_cr = False
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        first, *others = _LINE_END.split(data)
        self._partial.append(first)
        if not others:
            return []
        lines = [b"".join(self._partial), *others]
        self._partial = [lines.pop()]
        return [event for line in lines if (event := self._line(line))]

    def close(self) -> list[ServerSentEvent]:
        """Return the event that the end of the stream completes: servers often omit the last blank line."""
        rest = b"".join(self._partial)
        self._partial = []
        events = (self._line(rest) if rest else None, self._dispatch())
        return [event for event in events if event]

    def _line(self, raw: bytes) -> ServerSentEvent | None:
        if self._at_start:
            self._at_start = False
            raw = raw.removeprefix(_BOM)
        if not raw:
            return self._dispatch()
        name, _, value = raw.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if name == b"data":
            self._data.append(text)
        elif name == b"event":
            self._event = text
        elif name == b"id" and "\0" not in text:
            self._id = text
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        data, name = self._data, self._event
        self._data, self._event = [], ""
        return ServerSentEvent("\n".join(data), name or "message", self._id) if data else None
