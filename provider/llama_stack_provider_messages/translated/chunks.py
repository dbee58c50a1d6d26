"""Decodes the bytes of a chat completions stream into chunks, most of them in less than a microsecond.

A stream is server-sent events, each with one JSON object. Nearly all of them have the same form and hold one word:

    data: {"id":"c","choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}

Decoding each by the rules of server-sent events and into a dict costs ten times what the rest of the lane does with it.
So there are two readers:

fast    splits at blank lines, and decodes an event of one ``data`` line into a type that has the fields of such a chunk
        only. If that succeeds, the chunk is its text, a ``str``; if not, the event is decoded into a ``dict``.
full    ``SSEDecoder``, with every rule of the standard. From the first event that is not one ``data`` line (an event
        name, several lines, CRLF) all bytes go through it. Comments, which servers send as pings, do not count.

``[DONE]``, which ends a stream, becomes ``DONE``. The reader is Sans-IO: ``feed`` with bytes, ``close`` at the end.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from llama_stack_provider_messages.upstream.sse import MAX_EVENT_BYTES, EventTooLongError, SSEDecoder


class _Done:
    """The type of ``DONE``."""


DONE: Final = _Done()
"""The end of the stream, as the backend marks it."""

type Chunk = str | dict[str, Any] | _Done


class _Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A delta of text. The other fields that servers send as null; any further field means a chunk of another kind."""

    content: str
    role: str | None = None
    tool_calls: None = None
    function_call: None = None
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: None = None


class _TextChunk(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    error: None = None


_DONE_LINE = b"data: [DONE]\n"
"""The end of a stream; its blank line may never come."""

_decode_text = msgspec.json.Decoder(_TextChunk).decode
_decode_any = msgspec.json.Decoder().decode


class ChunkReader:
    """Decodes a stream into chunks: the text of a chunk that holds only text, any other chunk as a dict.

    Attributes:
        done: ``DONE`` has been returned; what follows it is ignored.
        error: Why the stream cannot be read on, set with the chunks before the error: an ``EventTooLongError``, or a
            ``ValueError`` for an event that is not JSON.
    """

    def __init__(self) -> None:
        self.done = False
        self.error: ValueError | None = None
        self._parts: list[bytes] = []  # of an event whose end has not arrived; joined once
        self._size = 0
        self._decoder: SSEDecoder | None = None

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes; return the chunks that they complete."""
        return self._collected(self._frames(data))

    def close(self) -> list[Chunk]:
        """Return the chunks that the end of the stream completes: servers often omit the last blank line."""
        return self._collected(self._last_frames())

    def _collected(self, payloads: Iterable[tuple[bytes, bool]]) -> list[Chunk]:
        """Return the chunks of payloads, up to the first error or the end."""
        chunks: list[Chunk] = []
        if self.done or self.error:
            return chunks
        try:
            for payload, is_plain in payloads:
                chunks.append(_read(payload) if is_plain else _decoded(payload))
                if chunks[-1] is DONE:
                    self.done = True
                    break
        except ValueError as error:
            self.error = error
        return chunks

    def _frames(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield the payload of each event that these bytes complete, and whether it is a single ``data`` line."""
        if self._decoder is None and b"\r" in data:  # JSON escapes it, so it is part of a line end
            yield from self._switch([*self._parts, data])
            return
        if self._decoder:
            yield from ((event.data.encode(), False) for event in self._decoder.feed(data))
            return
        ends = b"\n\n" in data or (data.startswith(b"\n") and bool(self._parts) and self._parts[-1].endswith(b"\n"))
        self._parts.append(data)
        self._size += len(data)
        if not ends:
            if self._size > MAX_EVENT_BYTES:
                self._parts.clear()
                raise EventTooLongError
            if self._size == len(_DONE_LINE) and b"".join(self._parts) == _DONE_LINE:
                yield b"[DONE]", False
            return
        *frames, rest = b"".join(self._parts).split(b"\n\n")
        self._parts, self._size = [rest] if rest else [], len(rest)
        for number, frame in enumerate(frames):
            if frame[:5] == b"data:" and b"\n" not in frame:
                yield frame[5:], True
            elif frame and (frame[:1] != b":" or b"\n" in frame):
                yield from self._switch([b"\n\n".join([*frames[number:], rest])])
                return
        if rest == _DONE_LINE:
            yield b"[DONE]", False

    def _last_frames(self) -> Iterator[tuple[bytes, bool]]:
        if self._decoder is None:
            yield from self._switch(self._parts)
        if self._decoder:
            yield from ((event.data.encode(), False) for event in self._decoder.close())

    def _switch(self, data: list[bytes]) -> Iterator[tuple[bytes, bool]]:
        """Read these bytes and all later ones with the full decoder."""
        self._parts, self._decoder = [], SSEDecoder()
        yield from ((event.data.encode(), False) for event in self._decoder.feed(b"".join(data)))


def _read(data: bytes) -> Chunk:
    try:
        (choice,) = _decode_text(data).choices
    except ValueError:  # msgspec's errors are, and it raises one for each chunk that holds more than text
        return _decoded(data)
    return choice.delta.content if choice.index == 0 and choice.delta.content else _decoded(data)


def _decoded(data: bytes) -> Chunk:
    """Return a chunk of any form; what is not an object counts as empty."""
    if data.strip() == b"[DONE]":
        return DONE
    value = decode(data)
    return value if isinstance(value, dict) else {}


def decode(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return the value of a JSON text; it may have what msgspec rejects: lone surrogates, NaN, invalid UTF-8.

    Raises:
        ValueError: It is not JSON, or nested deeper than about a thousand levels.
    """
    try:
        return _decode_any(data)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(data)
    except UnicodeDecodeError:
        return json.loads(data.decode("utf-8", "replace"))
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
