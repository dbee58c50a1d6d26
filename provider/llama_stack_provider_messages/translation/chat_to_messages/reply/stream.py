"""Translates events of a Messages stream into chunks of a chat completion.

Sans-IO: the caller feeds events, and reports the end or the failure of the upstream's stream.

    wait    --message_start, or any content-->  chunk with the role, open
    open    --blocks, deltas-->                 chunks; stop reason and usage are stored
    open    --message_stop-->                   last chunks, done; after ``pause_turn``: paused
    open    --finish, a stop reason is known--> last chunks, done
    open    --finish, no stop reason-->         error, done
    paused  --resume-->                         open: the next events continue the same completion
    paused  --finish-->                         last chunks, done
    any     --fail, error event-->              error, done
    done    --anything-->                       nothing

Blocks are identified by their index and may overlap: chat completions allow that for calls, and llama.cpp ends all its
blocks together. open_blocks.py makes the deltas of an open block.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_provider_messages.errors.body import error_of_event, is_error
from llama_stack_provider_messages.translation.dropped import DropLog, Dropped
from llama_stack_provider_messages.translation.fields import field, text_field

from .error import translate_error
from .open_blocks import KIND_OF_DELTA, Block, Call, Delta, Text, Thinking, Whole, redacted
from .options import ReplyOptions
from .response import BROKEN, NO_PLACE, ONE_CALL, Words, completion_id
from .stop_reason import explanation, finish_reason, needs_continuation, stop_match
from .usage import added, service_tier, translate_usage, updated

type Chunk = dict[str, Any]

_UNFINISHED = "The backend ended the stream before its answer was complete; send the request again"
_LOST_ARGUMENTS = f"{BROKEN}: arguments came for a call that was not open"


class StreamTranslator:
    """Translates the stream of one response.

    Args:
        form: Reply options from the request.
        created: Unix time in seconds.
        new_id: Makes an id for a message without one.

    Attributes:
        finished: No further event is needed.
        complete: The upstream's message is complete.
        failure: The error that ended the stream, set with the error chunk.
        stop_reason: The upstream's stop reason; ``pause_turn`` requires a continuation, see ``resume``.
    """

    def __init__(self, form: ReplyOptions, *, created: int, new_id: Callable[[], str]) -> None:
        self.finished = self.complete = False
        self.failure: MessagesError | None = None
        self.stop_reason: str | None = None
        self._form, self._created, self._new_id = form, created, new_id
        self._log = DropLog()
        self._words = Words(form, self._log)
        self._indexes = count()
        self._open: dict[object, Block] = {}
        self._head: Chunk = {}
        self._tier: dict[str, str] = {}
        self._calls = self._places = 0
        self._end: dict[str, Any] = {}
        self._earlier: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}

    @property
    def usage(self) -> dict[str, Any]:
        """The upstream's token counts so far, including those before a continuation."""
        return added(self._earlier, self._counts)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """The parts of the response that no chunk contains, by their path in the upstream's message."""
        return self._log.entries()

    def feed(self, event: Mapping[str, Any]) -> list[Chunk]:
        """Process one decoded event; return the resulting chunks."""
        if self.finished or self.complete:
            return []
        if not isinstance(event, Mapping):
            return self.fail(BadGatewayError(BROKEN))
        kind = event.get("type")
        if is_error(event):
            return self.fail(error_of_event(event))
        step = _STEPS.get(kind) if isinstance(kind, str) else None
        return self._guarded(step, self, event) if step else []

    def resume(self) -> list[Chunk]:
        """Continue a paused response: the events of the next message follow."""
        if self.finished:
            return []
        chunks = self._guarded(self._close_all)
        self._earlier, self._counts, self._end = self.usage, {}, {}
        self.stop_reason, self.complete = None, False
        return chunks

    def finish(self) -> list[Chunk]:
        """Process the end of the upstream's stream; return the last chunks."""
        if self.finished:
            return []
        if self.stop_reason is None and not self.complete:
            return self.fail(BadGatewayError(_UNFINISHED))
        return self._guarded(self._finish)

    def fail(self, error: MessagesError) -> list[Chunk]:
        """Process a failure of the upstream; return the error chunk, which is the last."""
        if self.finished:
            return []
        self.finished, self.failure = True, error
        return [translate_error(error).body]

    def _guarded(self, step: Callable[..., list[Chunk]], *inputs: object) -> list[Chunk]:
        """Run one step; an exception it raises counts as a failure of the upstream."""
        try:
            return step(*inputs)
        except MessagesError as error:
            return self.fail(error)

    def _start(self, event: Mapping[str, Any]) -> list[Chunk]:
        message = event.get("message")
        self._count(field(message, "usage"))
        return self._begin(field(message, "id"))

    def _begin(self, message_id: object = None) -> list[Chunk]:
        """Return the first chunk of the completion, once."""
        if self._head:
            return []
        self._head = {
            "id": completion_id(message_id) or completion_id(self._new_id()),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._form.model,
        }
        return [self._chunk({"role": "assistant", "content": ""})]

    def _block_start(self, event: Mapping[str, Any]) -> list[Chunk]:
        key, begun = _key(event), self._begin()
        block = self._block(event.get("content_block"))
        return [*begun, *self._close(key), *self._opened(key, block)]

    def _opened(self, key: object, block: Block) -> list[Chunk]:
        self._open[key] = block
        return self._chunks(block.begin())

    def _block(self, block: object) -> Block:
        """Return a new block. Its path is that in the joined message, if the response was continued."""
        path, kind = f"content.{self._places}", text_field(block, "type")
        self._places += 1
        if kind == "tool_use":
            return self._call(block, path)
        if kind == "text":
            return Text(self._words, block, path)
        if kind == "thinking":
            return Thinking(self._indexes, block)
        if kind == "redacted_thinking":
            return redacted(self._indexes, block)
        self._log.note(path, kind or "block", NO_PLACE)
        return Whole()

    def _call(self, block: object, path: str) -> Block:
        call = Call(self._form, block, str(self._head["id"]), self._calls)
        self._calls += 1
        if self._form.legacy_functions and self._calls > 1:
            self._log.note(path, "tool_use", ONE_CALL)
            return Whole()
        return call

    def _delta(self, event: Mapping[str, Any]) -> list[Chunk]:
        delta, key = event.get("delta"), _key(event)
        kind, block = KIND_OF_DELTA.get(text_field(delta, "type")), self._open.get(key)
        if block is not None and block.kind in (kind, Whole.kind):
            return self._chunks(block.add(delta))
        if kind is None:
            return []
        return self._stray(key, kind, delta)

    def _stray(self, key: object, kind: str, delta: object) -> list[Chunk]:
        """Process a delta without ``content_block_start``: text starts a block, tool arguments are an error."""
        if kind == "tool_use":
            if field(delta, "partial_json"):
                raise BadGatewayError(_LOST_ARGUMENTS)
            return []
        begun = [*self._begin(), *self._close(key)]
        block = self._block({"type": kind})
        return [*begun, *self._opened(key, block), *self._chunks(block.add(delta))]

    def _block_stop(self, event: Mapping[str, Any]) -> list[Chunk]:
        return self._close(_key(event))

    def _close(self, key: object) -> list[Chunk]:
        block = self._open.pop(key, None)
        return self._chunks(block.end()) if block else []

    def _close_all(self) -> list[Chunk]:
        return [chunk for key in list(self._open) for chunk in self._close(key)]

    def _message_delta(self, event: Mapping[str, Any]) -> list[Chunk]:
        self._count(event.get("usage"))
        delta = event.get("delta")
        self._end = updated(self._end, delta)
        reason = self._end.get("stop_reason")
        self.stop_reason = reason if isinstance(reason, str) else None
        return []

    def _stop(self, _event: Mapping[str, Any]) -> list[Chunk]:
        if needs_continuation(self._end):
            closed = self._close_all()
            self.complete = True
            return closed
        return self._finish()

    def _finish(self) -> list[Chunk]:
        chunks = [*self._begin(), *self._close_all(), *self._chunks(self._last_deltas())]
        chunks.append(self._last_chunk())
        if self._form.include_usage:
            chunks.append({**self._shell(), "choices": [], "usage": translate_usage(self.usage)})
        self.finished = self.complete = True
        return chunks

    def _last_deltas(self) -> list[Delta]:
        """Return the last deltas: all annotations at once, because clients cannot merge them without an index."""
        refusal = explanation(self.stop_reason, self._end.get("stop_details"))
        deltas = {"content": self._words.rest(), "annotations": self._words.annotations, "refusal": refusal}
        return [{name: value} for name, value in deltas.items() if value]

    def _last_chunk(self) -> Chunk:
        legacy = self._form.legacy_functions
        chunk = self._chunk({}, finish_reason(self.stop_reason, calls=self._calls > 0, legacy=legacy))
        chunk["choices"][0] |= stop_match(self.stop_reason, self._end.get("stop_sequence"))
        return chunk

    def _chunks(self, deltas: list[Delta]) -> list[Chunk]:
        return [self._chunk(delta) for delta in deltas]

    def _chunk(self, delta: Delta, reason: str | None = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._form.include_usage else {}
        return {**self._shell(), "choices": [choice], **usage}

    def _shell(self) -> Chunk:
        return {**self._head, **self._tier}

    def _count(self, usage: object) -> None:
        self._counts = updated(self._counts, usage)
        self._tier = service_tier(self.usage)


_STEPS: dict[str, Callable[[StreamTranslator, Mapping[str, Any]], list[Chunk]]] = {
    "message_start": StreamTranslator._start,  # noqa: SLF001 - the table belongs to the class
    "content_block_start": StreamTranslator._block_start,  # noqa: SLF001
    "content_block_delta": StreamTranslator._delta,  # noqa: SLF001
    "content_block_stop": StreamTranslator._block_stop,  # noqa: SLF001
    "message_delta": StreamTranslator._message_delta,  # noqa: SLF001
    "message_stop": StreamTranslator._stop,  # noqa: SLF001
}


def _key(event: Mapping[str, Any]) -> object:
    """Return the key of a block: its index, None if that is not a number."""
    index = event.get("index")
    return index if isinstance(index, int) else None
