"""Server-sent events in bytes: how lines end, what a line means, and the decoder.

A stream arrives in chunks that end anywhere: in a line, in a character, between the CR and the LF of one line end. The
rules of the standard (WHATWG HTML, 9.2) that every reader here follows:

line      ends at CR, LF or CRLF, and at nothing else. Python's ``str.splitlines`` also splits at U+2028 and U+0085,
          which JSON may contain unescaped, so bytes are split, and each line is decoded on its own.
field     is ``name: value``; one space after the colon is not part of the value
event     ends at an empty line; its data is the values of its ``data`` lines, joined by line feeds
stream    may begin with a byte order mark, which is not part of its first line

``SSEDecoder`` returns whole events. The native lane, which passes the bytes on unchanged, reads lines while they pass.

An upstream may send a line, or an event of many lines, that never ends. So both have a limit, ``MAX_EVENT_BYTES``: the
decoder keeps no more than that of a line and of the data lines before it, and raises ``EventTooLongError``. Bytes are
collected in buffers that grow in place: the time is linear in the bytes, and the memory does not depend on the size of
the chunks.
"""

import re
from dataclasses import dataclass

BOM = b"\xef\xbb\xbf"
LINE_ENDS = (b"\n", b"\r")
BLANK_LINES = (b"\n\n", b"\r\n\r\n")
"""Ends of a chunk that certainly ends with a whole event."""
EVENT_END = re.compile(rb"(?>\r\n|\r|\n){2}")
"""The end of a line and the empty line after it."""
MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Limit of an event, and so of each of its lines: an event may hold an image or a file as base64."""


class EventTooLongError(ValueError):
    """A stream has a line or an event of more bytes than allowed."""


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


class LineSplitter:
    """Splits chunks at line ends, without buffering them: a line that spans chunks is returned in parts.

    Attributes:
        after_cr: Whether the last chunk ended with a CR, so that an LF at the start of the next belongs to it.
    """

    def __init__(self) -> None:
        self.after_cr = False

    def split(self, chunk: bytes) -> tuple[bytes, list[bytes]]:
        """Return the LF of a line end whose CR ended the last chunk, and the lines.

        Each line but the last has its line end. The last has one, too, unless it goes on in the next chunk.
        """
        half = b"\n" if self.after_cr and chunk.startswith(b"\n") else b""
        if chunk:
            self.after_cr = chunk.endswith(b"\r")
        return half, chunk[len(half) :].splitlines(keepends=True)


def field_of(line: bytes) -> tuple[bytes, bytes]:
    """Return name and value of a line, with or without its line end; a comment has an empty name."""
    name, _, value = line.rstrip(b"\r\n").partition(b":")
    return name, value.removeprefix(b" ")


class SSEDecoder:
    """Decodes chunks of any size into events. Sans-IO: call ``feed`` with bytes and ``close`` at the end.

    Args:
        max_event_bytes: Limit of an event in bytes; a longer one raises ``EventTooLongError``.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._lines = LineSplitter()
        self._partial = bytearray()  # the current line, if it began in an earlier chunk
        self._at_start = True
        self._data = bytearray()  # the values of the data lines, each with a line feed
        self._event = ""
        self._id = ""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Take the next bytes; return the events that they complete.

        Raises:
            EventTooLongError: A line or an event exceeds the limit; the decoder cannot be used any more.
        """
        events = []
        for part in self._lines.split(data)[1]:
            if len(self._data) + len(self._partial) + len(part) > self._max_event_bytes:
                raise EventTooLongError
            if not part.endswith(LINE_ENDS):
                self._partial += part
            elif event := self._end_line(part):
                events.append(event)
        return events

    def close(self) -> list[ServerSentEvent]:
        """Return the event that the end of the stream completes: servers often omit the last blank line."""
        events = (self._end_line(b"") if self._partial else None, self._dispatch())
        return [event for event in events if event]

    def _end_line(self, part: bytes) -> ServerSentEvent | None:
        """Process the current line, of which ``part`` is the end."""
        line = part
        if self._partial:
            line = bytes(self._partial) + part
            self._partial.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BOM)
        name, value = field_of(line)
        if name == b"data":
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif not line.strip(b"\r\n"):
            return self._dispatch()
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        name, self._event = self._event, ""
        if not self._data:
            return None
        data = self._data.decode("utf-8", "replace")[:-1]
        self._data.clear()
        return ServerSentEvent(data, name or "message", self._id)
