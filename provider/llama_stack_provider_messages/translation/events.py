"""Folds the events of a Messages stream into one message.

Tracing, batches and tests read a stream like a unary response. Unknown events, blocks and deltas of later API versions
are accepted; violations of the stream grammar raise.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .tool_arguments import load_tool_input

type Block = dict[str, Any]


class StreamGrammarError(ValueError):
    """The events are not a valid Messages stream."""


class StreamFailedError(Exception):
    """The stream ended with an ``error`` event.

    Args:
        event: The ``error`` event.
    """

    def __init__(self, event: Mapping[str, Any]) -> None:
        super().__init__(str(event.get("error")))
        self.event = dict(event)


def fold(events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the message, in the wire form of a unary response.

    Raises:
        StreamFailedError: The stream holds an ``error`` event.
        StreamGrammarError: An event is missing, duplicated or out of order.
    """
    state = _Fold()
    for event in events:
        state.take(event)
    return state.result()


class _Fold:
    def __init__(self) -> None:
        self._message: dict[str, Any] | None = None
        self._open: Block | None = None
        self._json: list[str] = []
        self._stopped = False

    def take(self, event: Mapping[str, Any]) -> None:
        kind = event["type"]
        if kind == "error":
            raise StreamFailedError(event)
        step = _STEPS.get(kind)
        if step is None:
            return
        if (self._message is None) != (kind == "message_start") or self._stopped:
            raise StreamGrammarError(f"{kind} out of order")
        step(self, event)

    def result(self) -> dict[str, Any]:
        if self._message is None or not self._stopped:
            raise StreamGrammarError("the stream has no end")
        return self._message

    @property
    def _content(self) -> list[Block]:
        assert self._message is not None  # noqa: S101 - take() lets nothing but message_start pass before
        return self._message["content"]  # type: ignore[no-any-return]

    def _start(self, event: Mapping[str, Any]) -> None:
        message = event["message"]
        self._message = {**message, "content": list(message["content"]), "usage": dict(message.get("usage") or {})}

    def _block_start(self, event: Mapping[str, Any]) -> None:
        if self._open is not None or event["index"] != len(self._content):
            raise StreamGrammarError(f"block {event['index']} out of order")
        self._open = dict(event["content_block"])
        self._json = []
        self._content.append(self._open)

    def _delta(self, event: Mapping[str, Any]) -> None:
        delta = event["delta"]
        block = self._current(event)
        if delta["type"] == "input_json_delta":
            self._json.append(delta["partial_json"])
        elif (add := _DELTAS.get(delta["type"])) is not None:
            add(block, delta)

    def _block_stop(self, event: Mapping[str, Any]) -> None:
        block = self._current(event)
        if self._json:
            block["input"] = load_tool_input("".join(self._json))
        self._open = None

    def _current(self, event: Mapping[str, Any]) -> Block:
        if self._open is None or event["index"] != len(self._content) - 1:
            raise StreamGrammarError(f"block {event['index']} is not open")
        return self._open

    def _message_delta(self, event: Mapping[str, Any]) -> None:
        assert self._message is not None  # noqa: S101 - as above
        usage = {name: count for name, count in event.get("usage", {}).items() if count is not None}
        self._message["usage"] |= usage
        siblings = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self._message |= siblings | event["delta"]

    def _stop(self, _event: Mapping[str, Any]) -> None:
        if self._open is not None:
            raise StreamGrammarError("message_stop inside a block")
        self._stopped = True


_STEPS: dict[str, Callable[[_Fold, Mapping[str, Any]], None]] = {
    "message_start": _Fold._start,  # noqa: SLF001 - the table belongs to the class
    "content_block_start": _Fold._block_start,  # noqa: SLF001
    "content_block_delta": _Fold._delta,  # noqa: SLF001
    "content_block_stop": _Fold._block_stop,  # noqa: SLF001
    "message_delta": _Fold._message_delta,  # noqa: SLF001
    "message_stop": _Fold._stop,  # noqa: SLF001
}


def _add_text(block: Block, delta: Mapping[str, Any]) -> None:
    block["text"] += delta["text"]


def _add_thinking(block: Block, delta: Mapping[str, Any]) -> None:
    block["thinking"] += delta["thinking"]


def _set_signature(block: Block, delta: Mapping[str, Any]) -> None:
    block["signature"] = delta["signature"]


def _add_citation(block: Block, delta: Mapping[str, Any]) -> None:
    block["citations"] = [*(block.get("citations") or []), delta["citation"]]


_DELTAS: dict[str, Callable[[Block, Mapping[str, Any]], None]] = {
    "text_delta": _add_text,
    "thinking_delta": _add_thinking,
    "signature_delta": _set_signature,
    "citations_delta": _add_citation,
}
"""Delta type -> how it changes its block; ``input_json_delta`` is applied at ``content_block_stop``."""
