"""Splits a response into documents: its SSE events, its lines, or its one body; each parsed as JSON if it is JSON."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from llama_stack_provider_messages.upstream.sse import SSEDecoder
from messages_tape.format.model import Response

_EVENTS = (b"data:", b"event:", b": ")
"""Prefixes by which an SSE stream is recognized, whatever its content type."""


class Document(NamedTuple):
    """One event, line or body.

    Args:
        name: The SSE event name; ``""`` if it is not an SSE event.
        value: A JSON value, or the text if it is not JSON.
    """

    name: str
    value: Any


def body_of(response: Response) -> bytes:
    """Return the whole body."""
    return b"".join(chunk.data for chunk in response.chunks)


def documents(response: Response) -> list[Document]:
    """Return the documents of a response; an incomplete last one is text."""
    kind = response.headers.get("content-type", "").lower()
    body = body_of(response)
    if "event-stream" in kind or body.startswith(_EVENTS):
        decoder = SSEDecoder()
        return [Document(event.event, _value(event.data)) for event in decoder.feed(body) + decoder.close()]
    text = body.decode("utf-8", "replace")
    return [*_lines(text)] if "ndjson" in kind or "jsonl" in kind else [Document("", _value(text))]


def _lines(text: str) -> Iterator[Document]:
    for line in text.split("\n"):
        if line.strip():
            yield Document("", _value(line))


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
