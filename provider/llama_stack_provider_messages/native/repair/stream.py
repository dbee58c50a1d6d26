"""Repairs the order of a stream's events.

The upstream's block indexes are replaced by our own, without gaps. The client sees one open block at a time, so a delta
for any other block of the upstream is late:

late delta               becomes
text, thinking           a new block
arguments of a call      an error: dropped or moved, they would make a call that the model did not intend
a signature, a citation  nothing: its block is complete without it
an empty delta           nothing

Deltas of unknown type are dropped, because it is not known which block takes them. Arguments are not buffered. If a
call starts with its whole ``input``, that becomes one delta at its end, unless the upstream sends arguments, too.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_provider_messages.errors.body import ContextOverflowError, translate_error

from .message import (
    BROKEN,
    CALLS,
    Block,
    NewId,
    block_of,
    counts_of,
    ending_of,
    is_block,
    is_error,
    mapping_of,
    shell_of,
    text_of,
    usage_of,
)

type Event = dict[str, Any]

_UNFINISHED = "The backend ended the stream before its answer was complete"
_EVENT_NAME = re.compile(r"[\w.:-]+", re.ASCII)
"""Valid values of the ``event:`` line of a frame."""
_PLACED = frozenset({"type", "id", "role", "model", "content", "usage", "delta"})
"""Names that have another meaning in ``message_delta`` or in the message it completes."""


class StreamRepair:
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
        self._next = 0
        self._open: tuple[object, str] | None = None
        self._last: dict[str, Any] | None = None  # the delta to send at the end of the open block
        self._called = self._spoke = False
        self._said: dict[str, Any] | None = None  # merged from all message_deltas
        self._beside: dict[str, Any] = {}
        self._ended = False

    def feed(self, event: object) -> list[Event]:
        """Take one decoded event of any kind; return the events to send."""
        if self.finished:
            return []
        if not isinstance(event, Mapping):
            return self.fail(BadGatewayError(BROKEN))
        kind = text_of(event.get("type"))
        step = _STEPS.get(kind)
        try:
            return step(self, event) if step else self._other(kind, event)
        except MessagesError as error:
            return self.fail(error)
        except RecursionError:  # an input that is nested too deeply to be encoded
            return self.fail(BadGatewayError(BROKEN))

    def finish(self) -> list[Event]:
        """Take the end of the upstream's stream; a response without a stop reason is incomplete, an error."""
        if self.finished:
            return []
        if not self._ended:
            return self.fail(BadGatewayError(_UNFINISHED))
        events = [*self._begin({}), *self._close()]
        self.finished = self.complete = True
        self.usage = usage_of(self._counts)
        said = self._said or {}
        delta = {**said, **ending_of(said, called=self._called)}
        return [
            *events,
            {"type": "message_delta", "delta": delta, "usage": self.usage, **self._beside},
            {"type": "message_stop"},
        ]

    def fail(self, error: MessagesError) -> list[Event]:
        """Take a failure, which ends the stream; a full context window becomes a stop reason instead of an error."""
        if self.finished:
            return []
        if isinstance(error, ContextOverflowError) and self._spoke:
            self._said = {"stop_reason": "model_context_window_exceeded"} | (self._said or {})
            self._ended = True
            return self.finish()
        self.finished = True
        return [error.body(self._request_id)]

    def _begin(self, message: Mapping[str, Any]) -> list[Event]:
        self._counts = counts_of(message.get("usage")) | self._counts
        if self._started:
            return []
        self._started = True
        shell = shell_of(message, self._model, self._new_id, self._counts)
        nothing_yet: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
        return [{"type": "message_start", "message": shell | nothing_yet}]

    def _start(self, event: Mapping[str, Any]) -> list[Event]:
        return self._begin(mapping_of(event.get("message")))

    def _block_start(self, event: Mapping[str, Any]) -> list[Event]:
        given = event.get("content_block")
        return self._opened(event.get("index"), given) if is_block(given) else []

    def _opened(self, index: object, given: Mapping[str, Any]) -> list[Event]:
        block, last = _split(block_of(given, self._new_id))
        events = [*self._begin({}), *self._close()]
        self._open, self._last = (index, block["type"]), last
        self._called |= block["type"] == "tool_use"
        return [*events, {"type": "content_block_start", "index": self._next, "content_block": block}]

    def _delta(self, event: Mapping[str, Any]) -> list[Event]:
        delta = mapping_of(event.get("delta"))
        step = _DELTAS.get(text_of(delta.get("type")))
        return step(self, event.get("index"), delta) if step else []

    def _text(self, index: object, delta: Mapping[str, Any]) -> list[Event]:
        kind = delta["type"].removesuffix("_delta")  # of the block, and the name of the delta's text
        if not text_of(delta.get(kind)):
            return []
        started = [] if self._open == (index, kind) else self._opened(index, {"type": kind})
        return [*started, self._passed(delta)]

    def _arguments(self, index: object, delta: Mapping[str, Any]) -> list[Event]:
        piece = delta.get("partial_json")
        if not piece:
            return []
        if not isinstance(piece, str) or self._open is None or self._open[0] != index or self._open[1] not in CALLS:
            raise BadGatewayError(f"{BROKEN}: arguments came for a call that was not open")
        self._last = None
        return [self._passed(delta)]

    def _signature(self, index: object, delta: Mapping[str, Any]) -> list[Event]:
        if self._open == (index, "thinking") and text_of(delta.get("signature")):
            self._last = dict(delta)
        return []

    def _citation(self, index: object, delta: Mapping[str, Any]) -> list[Event]:
        fits = self._open == (index, "text") and isinstance(delta.get("citation"), Mapping)
        return [self._passed(delta)] if fits else []

    def _passed(self, delta: Mapping[str, Any]) -> Event:
        self._spoke = True
        return {"type": "content_block_delta", "index": self._next, "delta": dict(delta)}

    def _block_stop(self, event: Mapping[str, Any]) -> list[Event]:
        return self._close() if self._open and self._open[0] == event.get("index") else []

    def _close(self) -> list[Event]:
        if self._open is None:
            return []
        last = [] if self._last is None else [self._passed(self._last)]
        events = [*last, {"type": "content_block_stop", "index": self._next}]
        self._open, self._last = None, None
        self._next += 1
        return events

    def _message_delta(self, event: Mapping[str, Any]) -> list[Event]:
        said = _told(mapping_of(event.get("delta")))
        self._counts |= counts_of(event.get("usage"))
        self._said = (self._said or {}) | said
        self._beside |= _told(event)
        self._ended |= bool(text_of(said.get("stop_reason")))
        return []

    def _stop(self, _event: Mapping[str, Any]) -> list[Event]:
        self._ended |= self._said is not None
        return self.finish()

    def _ping(self, _event: Mapping[str, Any]) -> list[Event]:
        return [{"type": "ping"}]

    def _error(self, event: Mapping[str, Any]) -> list[Event]:
        return self.fail(translate_error(None, dict(event)))

    def _other(self, kind: str, event: Mapping[str, Any]) -> list[Event]:
        if is_error(event):
            return self._error(event)
        return [dict(event)] if self._started and _EVENT_NAME.fullmatch(kind) else []


def _told(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value is not None and name not in _PLACED}


def _split(block: Block) -> tuple[Block, dict[str, Any] | None]:
    """Return the block for ``content_block_start``, and the delta to send at its end."""
    if block["type"] == "thinking":
        return {**block, "signature": ""}, {"type": "signature_delta", "signature": block["signature"]}
    if block["type"] in CALLS and block["input"]:
        whole = encode_json(block["input"]).decode()
        return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": whole}
    return block, None


_STEPS: dict[str, Callable[[StreamRepair, Mapping[str, Any]], list[Event]]] = {
    "message_start": StreamRepair._start,  # noqa: SLF001 - the tables belong to the class
    "content_block_start": StreamRepair._block_start,  # noqa: SLF001
    "content_block_delta": StreamRepair._delta,  # noqa: SLF001
    "content_block_stop": StreamRepair._block_stop,  # noqa: SLF001
    "message_delta": StreamRepair._message_delta,  # noqa: SLF001
    "message_stop": StreamRepair._stop,  # noqa: SLF001
    "ping": StreamRepair._ping,  # noqa: SLF001
    "error": StreamRepair._error,  # noqa: SLF001
}
_DELTAS: dict[str, Callable[[StreamRepair, object, Mapping[str, Any]], list[Event]]] = {
    "text_delta": StreamRepair._text,  # noqa: SLF001
    "thinking_delta": StreamRepair._text,  # noqa: SLF001
    "input_json_delta": StreamRepair._arguments,  # noqa: SLF001
    "signature_delta": StreamRepair._signature,  # noqa: SLF001
    "citations_delta": StreamRepair._citation,  # noqa: SLF001
}
