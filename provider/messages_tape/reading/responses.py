"""Parses recorded responses: into documents (events, lines or the one body), and into the folded reply.

A chunk is what the connection delivered, so an event may be split over chunks. Therefore the documents are parsed from
the joined body.

The folded reply is what a client has at the end of a stream, in the form of a non-streaming response. It is used to
display tapes, so it keeps fields beyond the API, such as ``reasoning_content``, and a truncated stream is folded as far
as it arrived. Three kinds of streams are known: Messages, chat completions and Responses.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from llama_stack_provider_messages.upstream.sse import SSEDecoder
from messages_tape.format.model import Response

type Json = dict[str, Any]

_SSE_PREFIXES = (b"data:", b"event:", b": ")
"""Prefixes by which an SSE stream is recognized, whatever its content type."""
WHOLE_RESPONSE_EVENTS = {"response.completed", "response.failed", "response.incomplete"}
"""The last event of a stream of the Responses API is one of these; it contains the whole response."""
_SENT_WHOLE = {"finish_reason", "format", "id", "name", "object", "role", "signature", "type"}
"""String fields of chat chunks that are sent whole, by some servers in every chunk. Other strings are concatenated."""


class Document(NamedTuple):
    """One event, line or body.

    Args:
        name: The SSE event name; ``""`` if it is not an SSE event.
        value: A JSON value, or the text if it is not JSON.
    """

    name: str
    value: Any


class FoldedReply(NamedTuple):
    """The final content of a response.

    Args:
        value: A JSON value or a text.
        folded: Whether it was folded from a stream.
    """

    value: Any
    folded: bool = False


def body_of(response: Response) -> bytes:
    """Return the whole body."""
    return b"".join(chunk.data for chunk in response.chunks)


def documents(response: Response) -> list[Document]:
    """Return the documents of a response; an incomplete last one is text."""
    kind = response.headers.get("content-type", "").lower()
    body = body_of(response)
    if "event-stream" in kind or body.startswith(_SSE_PREFIXES):
        decoder = SSEDecoder(max_event_bytes=len(body))
        return [Document(event.event, _value(event.data)) for event in decoder.feed(body) + decoder.close()]
    text = body.decode("utf-8", "replace")
    if "ndjson" in kind or "jsonl" in kind:
        return [Document("", _value(line)) for line in text.split("\n") if line.strip()]
    return [Document("", _value(text))]


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def folded_reply(response: Response) -> FoldedReply | None:
    """Return the final content of a response, or None if it is neither a known stream nor JSON nor text."""
    values = [document.value for document in documents(response)]
    kind = response.headers.get("content-type", "")
    if not any(word in kind for word in ("event-stream", "ndjson", "jsonl")):
        try:
            body_of(response).decode()
        except UnicodeDecodeError:
            return None
        return FoldedReply(values[0])
    events = [value for value in values if isinstance(value, dict)]
    for belongs, fold in _FOLDS:
        if any(map(belongs, events)):
            try:
                return FoldedReply(fold(events), folded=True)
            except (ValueError, KeyError, TypeError, AttributeError):  # events that do not follow their API
                return None
    return None


def _fold_messages(events: list[Json]) -> Json:
    """Fold a Messages stream; a truncated stream is closed, and an error event is added as the key ``error``."""
    from llama_stack_provider_messages.translation.events import fold  # imported here: only folding needs it

    before_error = [*takewhile(lambda event: event["type"] != "error", events)]
    closing: list[Json] = [{"type": "message_stop"}]
    for event in before_error:
        if event["type"] == "content_block_start":
            closing = [{"type": "content_block_stop", "index": event["index"]}, {"type": "message_stop"}]
        elif event["type"] == "content_block_stop":
            closing = [{"type": "message_stop"}]
        elif event["type"] == "message_stop":
            closing = []
            break
    message = fold([*before_error, *closing])
    error = events[len(before_error)] if len(before_error) < len(events) else {}
    return {**message, **{name: value for name, value in error.items() if name != "type"}}


def fold_chat(chunks: Iterable[Mapping[str, Any]]) -> Json:
    """Return the completion for the chunks of a chat completions stream; for a truncated one, the part that arrived.

    Strings are concatenated, objects are merged, and list items are merged by their ``index``.

    Args:
        chunks: The chunks; objects without choices, such as errors, are allowed.
    """
    reply: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        reply |= {name: value for name, value in chunk.items() if value is not None or name not in reply}
        for choice in chunk.get("choices") or ():
            renamed = {"message" if name == "delta" else name: value for name, value in choice.items()}
            index = choice.get("index", 0)
            choices[index] = _merged(choices.get(index, {}), renamed)
    if reply.get("object") == "chat.completion.chunk":
        reply["object"] = "chat.completion"
    for choice in choices.values():
        message = choice.get("message")
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        if isinstance(message, dict) and isinstance(calls, list):  # only streams have the index of a tool call
            plain = [{name: value for name, value in call.items() if name != "index"} for call in calls]
            choice["message"] = {**message, "tool_calls": plain}
    return {**reply, "choices": [*choices.values()]}


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    return {**old, **{name: _joined(name, old.get(name), value) for name, value in new.items()}}


def _joined(name: str, old: Any, new: Any) -> Any:  # noqa: ANN401 - any JSON values
    """Return the value of a field after a chunk with the value ``new``."""
    if new is None:
        return old
    if isinstance(new, dict):
        return _merged(old if isinstance(old, dict) else {}, new)
    if isinstance(new, list):
        items = list(old) if isinstance(old, list) else []
        for item in new:
            at = _index(item)
            place = next((place for place, other in enumerate(items) if at is not None and _index(other) == at), None)
            if place is None:
                items.append(item)
            else:
                items[place] = _merged(items[place], item)
        return items
    if isinstance(old, str) and isinstance(new, str):
        return (new or old) if name in _SENT_WHOLE else old + new
    return new


def _index(item: object) -> int | None:
    return item.get("index") if isinstance(item, dict) else None


def _is_chat_chunk(event: Json) -> bool:
    choices = event.get("choices")
    return isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices)


_FOLDS: tuple[tuple[Callable[[Json], bool], Callable[[list[Json]], Json]], ...] = (
    (lambda event: event.get("type") == "message_start", _fold_messages),
    (_is_chat_chunk, fold_chat),
    (
        lambda event: event.get("type") in WHOLE_RESPONSE_EVENTS,
        lambda events: next(
            event["response"] for event in reversed(events) if event.get("type") in WHOLE_RESPONSE_EVENTS
        ),
    ),
)
"""Pairs of a test whether an event belongs to an API, and the fold of that API's streams."""
