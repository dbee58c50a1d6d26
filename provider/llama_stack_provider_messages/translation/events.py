"""The events of a Messages stream: the base of all readers, folding into one message, and the way back.

    message_start   content_block_start  content_block_delta ...  content_block_stop   message_delta   message_stop
                    (these three for each block)

``MessageEvents`` calls one method for each type of event. Three state machines are built on it: ``fold`` below, the
translation of a stream to chat completion chunks (``chat_to_messages/reply/stream.py``), and the repair of a stream
that breaks the order above (``native/repair/stream.py``).

``fold`` is for what reads a stream like a unary response: a unary request that was sent as a stream, continuations and
tests. It accepts unknown events, blocks
and deltas of later API versions, and raises for violations of the order. ``events_of`` is for upstreams that answer a
streaming request with a unary response.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, override

from .tool_arguments import load_tool_input

type Block = dict[str, Any]
type Event = Mapping[str, Any]

MESSAGE_EVENTS = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
    "message_stop",
})  # fmt: skip
"""The events that a message consists of. ``ping`` may come between them, and ``error`` ends a stream."""


class MessageEvents[Result](ABC):
    """Base of a state machine that takes the decoded events of a Messages stream."""

    def handle(self, event: Event) -> Result:
        """Return the result of the method for the event's type."""
        match event.get("type"):
            case "content_block_delta":
                return self.on_content_block_delta(event)
            case "content_block_start":
                return self.on_content_block_start(event)
            case "content_block_stop":
                return self.on_content_block_stop(event)
            case "message_start":
                return self.on_message_start(event)
            case "message_delta":
                return self.on_message_delta(event)
            case "message_stop":
                return self.on_message_stop(event)
            case "ping":
                return self.on_ping(event)
            case "error":
                return self.on_error(event)
            case _:
                return self.on_other(event)

    @abstractmethod
    def on_message_start(self, event: Event) -> Result:
        """Take the message without its content."""

    @abstractmethod
    def on_content_block_start(self, event: Event) -> Result:
        """Take the beginning of a block."""

    @abstractmethod
    def on_content_block_delta(self, event: Event) -> Result:
        """Take a piece of an open block."""

    @abstractmethod
    def on_content_block_stop(self, event: Event) -> Result:
        """Take the end of a block."""

    @abstractmethod
    def on_message_delta(self, event: Event) -> Result:
        """Take the stop reason and the usage."""

    @abstractmethod
    def on_message_stop(self, event: Event) -> Result:
        """Take the end of the message."""

    @abstractmethod
    def on_error(self, event: Event) -> Result:
        """Take the error that ends the stream."""

    @abstractmethod
    def on_other(self, event: Event) -> Result:
        """Take an event of a type that is not known here."""

    def on_ping(self, event: Event) -> Result:
        """Take a ping; by default like an event of unknown type."""
        return self.on_other(event)


class StreamGrammarError(ValueError):
    """The events are not a valid Messages stream."""


class StreamFailedError(Exception):
    """The stream ended with an ``error`` event.

    Args:
        event: The ``error`` event.
    """

    def __init__(self, event: Event) -> None:
        super().__init__(str(event.get("error")))
        self.event = dict(event)


def fold(events: Iterable[Event]) -> dict[str, Any]:
    """Return the message, in the wire form of a unary response.

    Raises:
        StreamFailedError: The stream holds an ``error`` event.
        StreamGrammarError: An event is missing, duplicated or out of order.
    """
    state = _Fold()
    for event in events:
        state.take(event)
    return state.result()


def events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield stream events for a message; each ``content_block_start`` holds the complete block.

    Args:
        message: The decoded message; its ``content`` is a list.
    """
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    ending = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": ending, "usage": message.get("usage")}
    yield {"type": "message_stop"}


class _Fold(MessageEvents[None]):
    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._open: Block | None = None
        self._json: list[str] = []  # pieces of the open block's input
        self._stopped = False

    def take(self, event: Event) -> None:
        kind = event["type"]
        if kind in MESSAGE_EVENTS and (bool(self._message) == (kind == "message_start") or self._stopped):
            raise StreamGrammarError(f"{kind} out of order")
        self.handle(event)

    def result(self) -> dict[str, Any]:
        if not self._stopped:
            raise StreamGrammarError("the stream has no end")
        return self._message

    @override
    def on_message_start(self, event: Event) -> None:
        message = event["message"]
        self._message = {**message, "content": list(message["content"]), "usage": dict(message.get("usage") or {})}

    @override
    def on_content_block_start(self, event: Event) -> None:
        content = self._message["content"]
        if self._open is not None or event["index"] != len(content):
            raise StreamGrammarError(f"block {event['index']} out of order")
        self._open = dict(event["content_block"])
        self._json = []
        content.append(self._open)

    @override
    def on_content_block_delta(self, event: Event) -> None:
        delta, block = event["delta"], self._current(event)
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or []), delta["citation"]]
            case "input_json_delta":
                self._json.append(delta["partial_json"])

    @override
    def on_content_block_stop(self, event: Event) -> None:
        block = self._current(event)
        if self._json:
            block["input"] = load_tool_input("".join(self._json))
        self._open = None

    def _current(self, event: Event) -> Block:
        if self._open is None or event["index"] != len(self._message["content"]) - 1:
            raise StreamGrammarError(f"block {event['index']} is not open")
        return self._open

    @override
    def on_message_delta(self, event: Event) -> None:
        usage = {name: count for name, count in event.get("usage", {}).items() if count is not None}
        self._message["usage"] |= usage
        siblings = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self._message |= siblings | event["delta"]

    @override
    def on_message_stop(self, event: Event) -> None:
        if self._open is not None:
            raise StreamGrammarError("message_stop inside a block")
        self._stopped = True

    @override
    def on_error(self, event: Event) -> None:
        raise StreamFailedError(event)

    @override
    def on_other(self, event: Event) -> None:
        """Ignore pings, and events of later API versions."""
