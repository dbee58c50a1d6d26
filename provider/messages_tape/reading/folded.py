"""Returns the final content of a response: its body, or its folded stream."""

from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any, NamedTuple

from messages_tape.format.model import Response

from .chat_fold import fold_chat, is_chat_chunk
from .documents import body_of, documents

type Json = dict[str, Any]

_WHOLE_RESPONSES = {"response.completed", "response.failed", "response.incomplete"}
"""Events of the Responses API that contain the whole response."""


class Final(NamedTuple):
    """The final content of a response.

    Args:
        value: A JSON value or a text.
        folded: Whether it was folded from a stream.
    """

    value: Any
    folded: bool = False


def final(response: Response) -> Final | None:
    """Return the final content of a response, or None if it is neither a known stream nor JSON nor text.

    A truncated stream, or one that the client left early, is folded as far as it arrived.
    """
    said = [document.value for document in documents(response)]
    if _is_stream(response):
        events = [value for value in said if isinstance(value, dict)]
        return _folded(events) if events else None
    try:
        body_of(response).decode()
    except UnicodeDecodeError:
        return None
    return Final(said[0])


def _is_stream(response: Response) -> bool:
    kind = response.headers.get("content-type", "")
    return any(word in kind for word in ("event-stream", "ndjson", "jsonl"))


def _folded(events: list[Json]) -> Final | None:
    for fits, make in _STREAMS:
        if any(map(fits, events)):
            try:
                return Final(make(events), folded=True)
            except (ValueError, KeyError, TypeError, AttributeError):  # events that do not follow their API
                return None
    return None


def _message(events: list[Json]) -> Json:
    """Fold a Messages stream; a truncated stream is closed, and an error event is added as the key ``error``."""
    from llama_stack_provider_messages.translation.events import fold  # slow import: takes seconds

    came = [*takewhile(lambda event: event["type"] != "error", events)]
    message = fold([*came, *_missing(came)])
    return {
        **message,
        **{name: value for event in events[len(came) :][:1] for name, value in event.items() if name != "type"},
    }


def _missing(events: Iterable[Json]) -> list[Json]:
    """Return the events that are missing at the end of a truncated stream."""
    block: list[Json] = []
    for event in events:
        if event["type"] == "content_block_start":
            block = [{"type": "content_block_stop", "index": event["index"]}]
        elif event["type"] == "content_block_stop":
            block = []
        elif event["type"] == "message_stop":
            return []
    return [*block, {"type": "message_stop"}]


def _response(events: list[Json]) -> Json:
    return next(event["response"] for event in reversed(events) if event.get("type") in _WHOLE_RESPONSES)


_STREAMS: tuple[tuple[Callable[[Json], bool], Callable[[list[Json]], Json]], ...] = (
    (lambda event: event.get("type") == "message_start", _message),
    (is_chat_chunk, fold_chat),
    (lambda event: event.get("type") in _WHOLE_RESPONSES, _response),
)
"""Pairs of a test whether an event belongs to an API, and the fold of that API's streams."""
