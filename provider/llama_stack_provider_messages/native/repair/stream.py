"""Repairs the order of a stream's events.

The upstream's block indexes are replaced by our own, without gaps. The client sees one open block at a time, so a delta
for any other block of the upstream is late. llama.cpp starts the next block without ending the one before, and ends all
at the end of the stream:

upstream                             client
content_block_start 0 (thinking)     content_block_start 0
content_block_start 1 (text)         content_block_stop 0, content_block_start 1
signature_delta 0                    nothing: block 0 has ended, with an empty signature
content_block_stop 0, 1              content_block_stop 1

late delta               becomes
text, thinking           a new block
arguments of a call      an error: dropped or moved, they would make a call that the model did not intend
a signature, a citation  nothing: its block is complete without it
an empty delta           nothing

Deltas of unknown type are dropped, because it is not known which block takes them. Arguments are not buffered. If a
call starts with its whole ``input``, that becomes one delta at its end, unless the upstream sends arguments, too.
"""

import re
from collections.abc import Mapping
from typing import Any, override

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_provider_messages.errors.body import ContextOverflowError, is_error, translate_error
from llama_stack_provider_messages.errors.response import ENDED_EARLY, WRONG_FORM
from llama_stack_provider_messages.translation.events import MessageEvents
from llama_stack_provider_messages.translation.fields import text_field

from .message import (
    CALLS,
    NewId,
    block_of,
    complete_usage,
    counts_of,
    ending_of,
    is_block,
    mapping_of,
    shell_of,
)

type Event = dict[str, Any]

_EVENT_NAME = re.compile(r"[\w.:-]+", re.ASCII)
"""Valid values of the ``event:`` line of a frame."""
_REPAIRED_FIELDS = frozenset({"type", "id", "role", "model", "content", "usage", "delta"})
"""Fields of ``message_delta`` that are not passed on: written anew, or with another meaning in the folded message."""


class StreamRepair(MessageEvents[list[Event]]):
    """Takes the events of an upstream and returns events in the order that the API prescribes.

    Args:
        model: The model name that the client requested.
        new_id: Makes an id from a prefix such as ``msg_``.
        request_id: Goes into an error event.

    Attributes:
        finished: Whether the last event has been returned.
        complete: Whether the response is complete.
        usage: The counts as the last event reports them.
    """

    def __init__(self, model: str, new_id: NewId, request_id: str = "") -> None:
        self.finished = False
        self.complete = False
        self.usage: dict[str, Any] = {}
        self._model = model
        self._new_id = new_id
        self._request_id = request_id
        self._counts: dict[str, Any] = {}
        self._started = False
        self._index = 0  # of the open block, or else of the next one, for the client
        self._open: tuple[object, str] | None = None  # the upstream's index of the open block, and its type
        self._last_delta: dict[str, Any] | None = None  # to send at the end of the open block
        self._has_call = False
        self._has_content = False
        self._ending: dict[str, Any] | None = None  # merged from all message_deltas
        self._siblings: dict[str, Any] = {}  # other fields of message_delta
        self._ended = False

    def feed(self, event: object) -> list[Event]:
        """Take one decoded event of any kind; return the events to send."""
        if self.finished:
            return []
        if not isinstance(event, Mapping):
            return self.fail(BadGatewayError(WRONG_FORM))
        try:
            return self.handle(event)
        except MessagesError as error:
            return self.fail(error)
        except RecursionError:  # an input that is nested too deeply to be encoded
            return self.fail(BadGatewayError(WRONG_FORM))

    def finish(self) -> list[Event]:
        """Take the end of the upstream's stream; a response without a stop reason is incomplete, an error."""
        if self.finished:
            return []
        if not self._ended:
            return self.fail(BadGatewayError(ENDED_EARLY))
        events = [*self._begin({}), *self._close()]
        self.finished = self.complete = True
        self.usage = complete_usage(self._counts)
        ending = self._ending or {}
        delta = {**ending, **ending_of(ending, has_call=self._has_call)}
        return [
            *events,
            {"type": "message_delta", "delta": delta, "usage": self.usage, **self._siblings},
            {"type": "message_stop"},
        ]

    def fail(self, error: MessagesError) -> list[Event]:
        """Take a failure, which ends the stream; a full context window becomes a stop reason instead of an error."""
        if self.finished:
            return []
        if isinstance(error, ContextOverflowError) and self._has_content:
            self._ending = {"stop_reason": "model_context_window_exceeded"} | (self._ending or {})
            self._ended = True
            return self.finish()
        self.finished = True
        return [error.body(self._request_id)]

    @override
    def on_message_start(self, event: Mapping[str, Any]) -> list[Event]:
        return self._begin(mapping_of(event.get("message")))

    def _begin(self, message: Mapping[str, Any]) -> list[Event]:
        """Return ``message_start``, once."""
        self._counts = counts_of(message.get("usage")) | self._counts
        if self._started:
            return []
        self._started = True
        shell = shell_of(message, self._model, self._new_id, self._counts)
        empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
        return [{"type": "message_start", "message": shell | empty}]

    @override
    def on_content_block_start(self, event: Mapping[str, Any]) -> list[Event]:
        block = event.get("content_block")
        return self._start_block(event.get("index"), block) if is_block(block) else []

    def _start_block(self, index: object, upstream_block: Mapping[str, Any]) -> list[Event]:
        """Return ``content_block_start``; a signature and the input of a call become the last delta of the block."""
        block = block_of(upstream_block, self._new_id)
        last_delta = None
        if block["type"] == "thinking":
            last_delta = {"type": "signature_delta", "signature": block["signature"]}
            block = {**block, "signature": ""}
        elif block["type"] in CALLS and block["input"]:
            last_delta = {"type": "input_json_delta", "partial_json": encode_json(block["input"]).decode()}
            block = {**block, "input": {}}
        events = [*self._begin({}), *self._close()]
        self._open, self._last_delta = (index, block["type"]), last_delta
        self._has_call |= block["type"] == "tool_use"
        return [*events, {"type": "content_block_start", "index": self._index, "content_block": block}]

    @override
    def on_content_block_delta(self, event: Mapping[str, Any]) -> list[Event]:
        index, delta = event.get("index"), mapping_of(event.get("delta"))
        match delta.get("type"):
            case "text_delta" | "thinking_delta":
                kind = delta["type"].removesuffix("_delta")  # of the block, and the name of the delta's text
                if not text_field(delta, kind):
                    return []
                started = [] if self._open == (index, kind) else self._start_block(index, {"type": kind})
                return [*started, self._delta(delta)]
            case "input_json_delta":
                return self._arguments(index, delta)
            case "signature_delta":
                if self._open == (index, "thinking") and text_field(delta, "signature"):
                    self._last_delta = dict(delta)
            case "citations_delta":
                if self._open == (index, "text") and isinstance(delta.get("citation"), Mapping):
                    return [self._delta(delta)]
        return []

    def _arguments(self, index: object, delta: Mapping[str, Any]) -> list[Event]:
        piece = delta.get("partial_json")
        if not piece:
            return []
        if not isinstance(piece, str) or self._open is None or self._open[0] != index or self._open[1] not in CALLS:
            raise BadGatewayError(f"{WRONG_FORM}: arguments came for a call that was not open")
        self._last_delta = None
        return [self._delta(delta)]

    def _delta(self, delta: Mapping[str, Any]) -> Event:
        self._has_content = True
        return {"type": "content_block_delta", "index": self._index, "delta": dict(delta)}

    @override
    def on_content_block_stop(self, event: Mapping[str, Any]) -> list[Event]:
        return self._close() if self._open and self._open[0] == event.get("index") else []

    def _close(self) -> list[Event]:
        """Return the end of the open block, if one is open."""
        if self._open is None:
            return []
        last = [] if self._last_delta is None else [self._delta(self._last_delta)]
        events = [*last, {"type": "content_block_stop", "index": self._index}]
        self._open, self._last_delta = None, None
        self._index += 1
        return events

    @override
    def on_message_delta(self, event: Mapping[str, Any]) -> list[Event]:
        ending = _kept_fields(mapping_of(event.get("delta")))
        self._counts |= counts_of(event.get("usage"))
        self._ending = (self._ending or {}) | ending
        self._siblings |= _kept_fields(event)
        self._ended |= bool(text_field(ending, "stop_reason"))
        return []

    @override
    def on_message_stop(self, event: Mapping[str, Any]) -> list[Event]:
        self._ended |= self._ending is not None
        return self.finish()

    @override
    def on_ping(self, event: Mapping[str, Any]) -> list[Event]:
        return [{"type": "ping"}]

    @override
    def on_error(self, event: Mapping[str, Any]) -> list[Event]:
        return self.fail(translate_error(None, dict(event)))

    @override
    def on_other(self, event: Mapping[str, Any]) -> list[Event]:
        """Pass an event of a later API version on, after ``message_start`` only."""
        if is_error(event):
            return self.on_error(event)
        return [dict(event)] if self._started and _EVENT_NAME.fullmatch(text_field(event, "type")) else []


def _kept_fields(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value is not None and name not in _REPAIRED_FIELDS}
