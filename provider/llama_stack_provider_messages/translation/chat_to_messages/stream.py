"""Events of a Messages stream -> chunks of a chat completion. Sans-IO: end and failure are inputs.

    wait   --message_start or a block-->  a chunk with the role, open
    open   --feed-->                      deltas of parts.py; stop reason and usage are only remembered
    open   --resume-->                    the next message goes on with this answer
    open   --finish-->                    parts ended, a chunk with the finish reason, one with usage if asked for, done
    any    --fail, error event-->         the error, done
    done   --anything-->                  nothing

The last chunks wait for ``finish``, because a message that has only paused (``pause_turn``) is not the end of the
answer: who reads the upstream sends it back and goes on. A stream that ends without a stop reason is a failure.
"""

from collections.abc import Callable, Mapping
from typing import Any

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_provider_messages.translation.dropped import DropLog, Dropped
from llama_stack_provider_messages.translation.messages_to_chat.error import translate_error as error_of

from .error import translate_error
from .form import ChatForm
from .parts import Answer, Delta, Part, part_of, text_of
from .stop_reason import finish_reason
from .usage import added, later, service_tier, translate_usage

type Chunk = dict[str, Any]

_UNFINISHED = "The backend ended the stream before its answer was complete"
_BLOCK_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking"}
"""Blocks that begin with their first delta, where an upstream did not begin them."""


class StreamTranslator:
    """Translates one answer.

    Args:
        form: How the answer has to look.
        created: Seconds since 1970.
        new_id: Makes the end of an id, for an upstream that gives its message none.

    Attributes:
        complete: The message, or its continuation, has come to its end.
        stop_reason: Why, as the upstream said.
        usage: Of all messages of the answer, in the terms of the Messages API.
    """

    def __init__(self, form: ChatForm, *, created: int, new_id: Callable[[], str]) -> None:
        self.complete = False
        self.stop_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self._form = form
        self._created = created
        self._new_id = new_id
        self._id = ""
        self._log = DropLog()
        self._answer = Answer(form, self._log)
        self._open: dict[object, Part] = {}
        self._places = 0
        self._before: dict[str, Any] = {}  # usage of the messages that were resumed
        self._current: dict[str, Any] = {}  # usage of the one under way
        self._refusal = ""
        self._done = False

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """What of the answer the client does not get to see."""
        return self._log.entries()

    def feed(self, event: object) -> list[Chunk]:
        """Take one decoded event, whatever it is; return the chunks that are due."""
        if self._done or not isinstance(event, Mapping):
            return []
        step = _STEPS.get(text_of(event.get("type")))
        if step:
            return step(self, event)
        return self._error(event) if _is_error(event) else []

    def finish(self) -> list[Chunk]:
        """Return the last chunks: the upstream's stream has ended."""
        if self._done:
            return []
        if not self.complete:
            return self.fail(BadGatewayError(_UNFINISHED))
        chunks = [*self._begin(""), *self._end_all(), *self._chunks(self._answer.rest())]
        if self._refusal:
            chunks += self._chunks([{"refusal": self._refusal}])
        self._done = True
        calls, legacy = bool(self._answer.calls), self._form.legacy_functions
        last = self._chunk({}, finish_reason(self.stop_reason, calls=calls, legacy=legacy))
        tier = service_tier(self.usage)
        chunks.append({**last, "service_tier": tier} if tier else last)
        if self._form.include_usage:
            chunks.append({**self._shell(), "choices": [], "usage": translate_usage(self.usage)})
        return chunks

    def fail(self, error: MessagesError) -> list[Chunk]:
        """Return the error, after which nothing follows."""
        if self._done:
            return []
        self._done = True
        return [translate_error(error).body]

    def resume(self) -> list[Chunk]:
        """Take the news that the answer goes on in another message; return the chunks that are due."""
        chunks = self._end_all()
        self._before, self.complete, self.stop_reason = self.usage, False, None
        return chunks

    def _start(self, event: Mapping[str, Any]) -> list[Chunk]:
        message = event.get("message")
        told = message if isinstance(message, Mapping) else {}
        self._count({}, told.get("usage"))
        return self._begin(text_of(told.get("id")))

    def _begin(self, message_id: str) -> list[Chunk]:
        if self._id:
            return []
        self._id = f"chatcmpl-{message_id.removeprefix('msg_') or self._new_id()}"
        return self._chunks([{"role": "assistant", "content": ""}])

    def _block_start(self, event: Mapping[str, Any]) -> list[Chunk]:
        block = event.get("content_block")
        return self._opened(event.get("index"), block) if isinstance(block, Mapping) else []

    def _opened(self, index: object, block: Mapping[str, Any]) -> list[Chunk]:
        chunks = [*self._begin(""), *self._ended(index)]
        part = self._open[_key(index)] = part_of(block, self._answer, self._places)
        self._places += 1
        return [*chunks, *self._chunks(part.begin())]

    def _delta(self, event: Mapping[str, Any]) -> list[Chunk]:
        delta, index = event.get("delta"), event.get("index")
        if not isinstance(delta, Mapping):
            return []
        kind, started = text_of(delta.get("type")), []
        if _key(index) not in self._open:
            if kind == "input_json_delta":
                return self.fail(BadGatewayError("The backend sent arguments of a call that had not begun"))
            if kind not in _BLOCK_OF_DELTA:
                return []
            started = self._opened(index, {"type": _BLOCK_OF_DELTA[kind]})
        return [*started, *self._chunks(self._open[_key(index)].take(delta))]

    def _block_stop(self, event: Mapping[str, Any]) -> list[Chunk]:
        return self._ended(event.get("index"))

    def _ended(self, index: object) -> list[Chunk]:
        part = self._open.pop(_key(index), None)
        return self._chunks(part.end()) if part else []

    def _end_all(self) -> list[Chunk]:
        return [chunk for index in [*self._open] for chunk in self._ended(index)]

    def _message_delta(self, event: Mapping[str, Any]) -> list[Chunk]:
        delta = event.get("delta")
        told = delta if isinstance(delta, Mapping) else {}
        self._count(self._current, event.get("usage"))
        self.stop_reason = text_of(told.get("stop_reason")) or self.stop_reason
        self.complete = self.stop_reason is not None
        details = told.get("stop_details")
        if self.stop_reason == "refusal" and isinstance(details, Mapping):
            self._refusal = text_of(details.get("explanation"))
        return []

    def _count(self, known: Mapping[str, Any], report: object) -> None:
        self._current = later(known, report)
        self.usage = added(self._before, self._current)

    def _error(self, event: Mapping[str, Any]) -> list[Chunk]:
        return self.fail(error_of(None, dict(event)))

    def _nothing(self, _event: Mapping[str, Any]) -> list[Chunk]:
        return []

    def _chunks(self, deltas: list[Delta]) -> list[Chunk]:
        return [self._chunk(delta, None) for delta in deltas]

    def _chunk(self, delta: Delta, reason: str | None) -> Chunk:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        nothing_yet = {"usage": None} if self._form.include_usage else {}
        return {**self._shell(), "choices": [choice], **nothing_yet}

    def _shell(self) -> Chunk:
        shell = {"id": self._id, "object": "chat.completion.chunk", "created": self._created}
        return {**shell, "model": self._form.model}


def _is_error(event: Mapping[str, Any]) -> bool:
    """Return whether an event of no known type is an error, as llama.cpp names its own outside of the data."""
    return bool(event.get("error")) or (bool(text_of(event.get("message"))) and event.get("code") is not None)


def _key(index: object) -> object:
    return index if isinstance(index, int | str) else None


_STEPS: dict[str, Callable[[StreamTranslator, Mapping[str, Any]], list[Chunk]]] = {
    "message_start": StreamTranslator._start,  # noqa: SLF001 - the table belongs to the class
    "content_block_start": StreamTranslator._block_start,  # noqa: SLF001
    "content_block_delta": StreamTranslator._delta,  # noqa: SLF001
    "content_block_stop": StreamTranslator._block_stop,  # noqa: SLF001
    "message_delta": StreamTranslator._message_delta,  # noqa: SLF001
    "message_stop": StreamTranslator._nothing,  # noqa: SLF001
    "ping": StreamTranslator._nothing,  # noqa: SLF001
    "error": StreamTranslator._error,  # noqa: SLF001
}
