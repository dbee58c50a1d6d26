"""Answers of an endpoint that deviates from the API, put right: llama.cpp's ``/v1/messages``.

Seen there (xllamacpp 2026.10.11549)                 becomes
all blocks end together, at the end of the stream    a block ends where the next one begins
a signature for a block that is followed by others   exactly one, right before the end of its block
``tool_use`` begins without ``input``                ``input: {}``
stop reason ``end_turn`` with a stop sequence        ``stop_sequence``
``chatcmpl-...`` as the id of a message              ``msg_...``
usage that lacks fields; in the end only output      all fields, input counts of the start included

What the upstream calls a block is its index there; the client sees indexes of ours, without gaps. Text or thinking that
comes for a block which has ended continues in a new one. Arguments of a call cannot: the call would be a wrong one, so
the answer ends in an error.
"""

from collections.abc import Callable, Mapping
from typing import Any

from llama_stack_api_messages.errors import BadGatewayError, MessagesError

from .translation.messages_to_chat import translate_error, usage_fields

type Event = dict[str, Any]

_EMPTY: dict[str, dict[str, Any]] = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
}
"""What a block of a kind has to begin with."""
_KIND_OF_DELTA = {
    "text_delta": ("text", "text"),
    "citations_delta": ("text", "citation"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_use", "partial_json"),
}
"""Type of a delta -> kind of its block, and its field."""
_CONTINUED = frozenset({"text_delta", "thinking_delta"})
_BROKEN = "The backend did not answer in the form of the Messages API"
_UNFINISHED = "The backend ended the stream before its answer was complete"


class StreamRepair:
    """Events of an upstream in, events that obey the grammar out.

    Args:
        model: The name the client asked for.
        new_id: Makes an id from a prefix such as ``msg_``.
        request_id: Named by an error event.

    Attributes:
        finished: Nothing more will come out.
        complete: The answer has come to its end.
        usage: As the last event reports it.
    """

    def __init__(self, model: str, new_id: Callable[[str], str], request_id: str = "") -> None:
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
        self._signature = ""
        self._called = False
        self._end: dict[str, Any] | None = None

    def feed(self, event: object) -> list[Event]:
        """Take one decoded event; return what comes out of it."""
        if self.finished:
            return []
        if not isinstance(event, Mapping):
            return self.fail(BadGatewayError(_BROKEN))
        kind = event.get("type")
        if kind == "error" or "error" in event:
            return self.fail(translate_error(None, dict(event)))
        if kind == "ping":
            return [{"type": "ping"}]
        step = _STEPS.get(kind) if isinstance(kind, str) else None
        return step(self, event) if step else []

    def finish(self) -> list[Event]:
        """Take the end of the upstream."""
        if self.finished:
            return []
        if self._end is None:
            return self.fail(BadGatewayError(_UNFINISHED))
        events = [*self._begin({}), *self._close()]
        self.finished = self.complete = True
        self.usage = _usage(self._counts)
        rest = {name: value for name, value in self._end.items() if name not in ("type", "delta", "usage")}
        delta = _ending(_mapping(self._end, "delta"), called=self._called)
        return [
            *events,
            {"type": "message_delta", "delta": delta, "usage": self.usage, **rest},
            {"type": "message_stop"},
        ]

    def fail(self, error: MessagesError) -> list[Event]:
        """Take a failure; nothing comes after it."""
        if self.finished:
            return []
        self.finished = True
        return [error.body(self._request_id)]

    def _begin(self, message: Mapping[str, Any]) -> list[Event]:
        if self._started:
            return []
        self._started = True
        self._count(message.get("usage"))
        return [{"type": "message_start", "message": self._message(message)}]

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        shell = _shell(message, self._model, self._new_id, self._counts)
        return {**shell, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}

    def _start(self, event: Mapping[str, Any]) -> list[Event]:
        return self._begin(_mapping(event, "message"))

    def _block_start(self, event: Mapping[str, Any]) -> list[Event]:
        block = _mapping(event, "content_block")
        return self._opened(event.get("index"), _block(block)) if isinstance(block.get("type"), str) else []

    def _opened(self, index: object, block: dict[str, Any]) -> list[Event]:
        events = [*self._begin({}), *self._close()]
        self._open = (index, block["type"])
        self._called |= block["type"] == "tool_use"
        return [*events, {"type": "content_block_start", "index": self._next, "content_block": block}]

    def _delta(self, event: Mapping[str, Any]) -> list[Event]:
        index, delta = event.get("index"), _mapping(event, "delta")
        kind = delta.get("type")
        if kind == "signature_delta":
            if self._open == (index, "thinking") and isinstance(delta.get("signature"), str):
                self._signature = delta["signature"]
            return []
        known = _KIND_OF_DELTA.get(kind) if isinstance(kind, str) else None
        if known is None or delta.get(known[1]) is None:
            return []
        if self._open == (index, known[0]):
            return [{"type": "content_block_delta", "index": self._next, "delta": dict(delta)}]
        if kind not in _CONTINUED:
            return self.fail(BadGatewayError(f"{_BROKEN}: arguments came for a call that was not open"))
        started = self._opened(index, _block({"type": known[0]}))
        return [*started, {"type": "content_block_delta", "index": self._next, "delta": dict(delta)}]

    def _block_stop(self, event: Mapping[str, Any]) -> list[Event]:
        return self._close() if self._open and self._open[0] == event.get("index") else []

    def _close(self) -> list[Event]:
        if self._open is None:
            return []
        events: list[Event] = []
        if self._open[1] == "thinking":
            delta = {"type": "signature_delta", "signature": self._signature}
            events.append({"type": "content_block_delta", "index": self._next, "delta": delta})
        events.append({"type": "content_block_stop", "index": self._next})
        self._open, self._signature = None, ""
        self._next += 1
        return events

    def _message_delta(self, event: Mapping[str, Any]) -> list[Event]:
        self._count(event.get("usage"))
        self._end = dict(event)
        return []

    def _stop(self, _event: Mapping[str, Any]) -> list[Event]:
        return self.finish()

    def _count(self, usage: object) -> None:
        if isinstance(usage, Mapping):
            self._counts |= {name: count for name, count in usage.items() if count is not None}


_STEPS: dict[str, Callable[[StreamRepair, Mapping[str, Any]], list[Event]]] = {
    "message_start": StreamRepair._start,  # noqa: SLF001 - the table belongs to the class
    "content_block_start": StreamRepair._block_start,  # noqa: SLF001
    "content_block_delta": StreamRepair._delta,  # noqa: SLF001
    "content_block_stop": StreamRepair._block_stop,  # noqa: SLF001
    "message_delta": StreamRepair._message_delta,  # noqa: SLF001
    "message_stop": StreamRepair._stop,  # noqa: SLF001
}


def repair_message(message: object, model: str, new_id: Callable[[str], str]) -> dict[str, Any]:
    """Return a whole Message, put right.

    Args:
        message: As decoded.
        model: The name the client asked for.
        new_id: Makes an id from a prefix.

    Raises:
        MessagesError: It is none; of an error that came in its place, that error.
    """
    if not isinstance(message, Mapping):
        raise BadGatewayError(_BROKEN)
    content = message.get("content")
    if not isinstance(content, list):
        raise translate_error(None, dict(message)) if "error" in message else BadGatewayError(_BROKEN)
    blocks = [_block(block) for block in content if isinstance(block, Mapping) and isinstance(block.get("type"), str)]
    called = any(block["type"] == "tool_use" for block in blocks)
    shell = _shell(message, model, new_id, _mapping(message, "usage"))
    return {**shell, "content": blocks, **_ending(message, called=called)}


def _shell(
    message: Mapping[str, Any], model: str, new_id: Callable[[str], str], counts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a message with everything but its content and end."""
    given = message.get("id")
    own_id = given if isinstance(given, str) and given.startswith("msg_") else new_id("msg_")
    fixed = {"id": own_id, "type": "message", "role": "assistant", "model": model, "usage": _usage(counts)}
    return {"container": None, **message, **fixed}


def _block(block: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": block["type"], **_EMPTY.get(block["type"], {}), **{k: v for k, v in block.items() if v is not None}}


def _ending(said: Mapping[str, Any], *, called: bool) -> dict[str, Any]:
    """Return the stop reason with what belongs to it."""
    sequence, reason = said.get("stop_sequence"), said.get("stop_reason") or "end_turn"
    if sequence is not None:
        reason = "stop_sequence"
    elif called and reason == "end_turn":
        reason = "tool_use"
    return {"stop_reason": reason, "stop_sequence": sequence, "stop_details": said.get("stop_details")}


def _usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    return usage_fields({}) | dict(counts)


def _mapping(owner: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = owner.get(name)
    return value if isinstance(value, Mapping) else {}
