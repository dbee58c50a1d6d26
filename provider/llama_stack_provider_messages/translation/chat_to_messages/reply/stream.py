"""Translates events of a Messages stream into chunks of a chat completion.

A Messages stream is a sequence of content blocks; a chat completion has one text, one reasoning and a list of calls,
and its chunks add to them. So a delta becomes a chunk at once, and what no chunk can take back (the finish reason,
usage, annotations) is kept for the end. Sans-IO: the caller feeds events, and reports the stream's end or failure.

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
from typing import Any, override

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_provider_messages.errors.body import error_of_event, is_error
from llama_stack_provider_messages.errors.response import ENDED_EARLY, WRONG_FORM
from llama_stack_provider_messages.translation.dropped import DropLog, Dropped
from llama_stack_provider_messages.translation.events import Event, MessageEvents
from llama_stack_provider_messages.translation.fields import field, text_field

from .error import translate_error
from .finish import (
    added,
    explanation,
    finish_reason,
    needs_continuation,
    service_tier,
    stop_match,
    translate_usage,
    updated,
)
from .open_blocks import KIND_OF_DELTA, Block, Call, Delta, Text, Thinking, Whole, redacted_thinking_block
from .response import NO_PLACE, ONE_CALL, ReplyOptions, Words, completion_id

type Chunk = dict[str, Any]

_UNFINISHED = f"{ENDED_EARLY}; send the request again"
_LOST_ARGUMENTS = f"{WRONG_FORM}: arguments came for a call that was not open"


class StreamTranslator(MessageEvents[list[Chunk]]):
    """Translates the stream of one response.

    Args:
        options: Reply options from the request.
        created: Unix time in seconds.
        new_id: Makes an id for a message without one.

    Attributes:
        finished: No further event is needed.
        complete: The upstream's message is complete.
        failure: The error that ended the stream, set with the error chunk.
        stop_reason: The upstream's stop reason; ``pause_turn`` requires a continuation, see ``resume``.
    """

    def __init__(self, options: ReplyOptions, *, created: int, new_id: Callable[[], str]) -> None:
        self.finished = self.complete = False
        self.failure: MessagesError | None = None
        self.stop_reason: str | None = None
        self._options, self._created, self._new_id = options, created, new_id
        self._log = DropLog()
        self._words = Words(options, self._log)
        self._reasoning_indexes = count()
        self._open: dict[object, Block] = {}  # by the upstream's index
        self._head: Chunk = {}  # the fields that all chunks share; empty until the first one
        self._tier: dict[str, str] = {}
        self._block_count = self._call_count = 0
        self._ending: dict[str, Any] = {}  # merged from all message_deltas
        self._earlier_usage: dict[str, Any] = {}  # of the messages before a continuation
        self._counts: dict[str, Any] = {}

    @property
    def usage(self) -> dict[str, Any]:
        """The upstream's token counts so far, including those before a continuation."""
        return added(self._earlier_usage, self._counts)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """The parts of the response that no chunk contains, by their path in the upstream's message."""
        return self._log.entries()

    def feed(self, event: Mapping[str, Any]) -> list[Chunk]:
        """Process one decoded event; return the resulting chunks."""
        if self.finished or self.complete:
            return []
        if not isinstance(event, Mapping):
            return self.fail(BadGatewayError(WRONG_FORM))
        return self._guarded(self.on_error if is_error(event) else self.handle, event)

    def resume(self) -> list[Chunk]:
        """Continue a paused response: the events of the next message follow."""
        if self.finished:
            return []
        chunks = self._guarded(self._close_all)
        self._earlier_usage, self._counts, self._ending = self.usage, {}, {}
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

    @override
    def on_message_start(self, event: Event) -> list[Chunk]:
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
            "model": self._options.model,
        }
        return [self._chunk({"role": "assistant", "content": ""})]

    @override
    def on_content_block_start(self, event: Event) -> list[Chunk]:
        key, begun = _key(event), self._begin()
        block = self._new_block(event.get("content_block"))
        return [*begun, *self._close(key), *self._start_block(key, block)]

    def _start_block(self, key: object, block: Block) -> list[Chunk]:
        self._open[key] = block
        return self._chunks(block.begin())

    def _new_block(self, block: object) -> Block:
        """Return the state of a new block. Its path is that in the joined message, if the response was continued."""
        path, kind = f"content.{self._block_count}", text_field(block, "type")
        self._block_count += 1
        if kind == "text":
            return Text(self._words, block, path)
        if kind == "thinking":
            return Thinking(self._reasoning_indexes, block)
        if kind == "redacted_thinking":
            return redacted_thinking_block(self._reasoning_indexes, block)
        if kind != "tool_use":
            self._log.note(path, kind or "block", NO_PLACE)
            return Whole()
        call = Call(self._options, block, str(self._head["id"]), self._call_count)
        self._call_count += 1
        if self._options.legacy_functions and self._call_count > 1:
            self._log.note(path, "tool_use", ONE_CALL)
            return Whole()
        return call

    @override
    def on_content_block_delta(self, event: Event) -> list[Chunk]:
        delta, key = event.get("delta"), _key(event)
        kind, block = KIND_OF_DELTA.get(text_field(delta, "type")), self._open.get(key)
        if block is not None and block.kind in (kind, Whole.kind):
            return self._chunks(block.add(delta))
        if kind is None:
            return []
        if kind == "tool_use":
            if field(delta, "partial_json"):
                raise BadGatewayError(_LOST_ARGUMENTS)
            return []
        # Text without content_block_start: the delta starts a block.
        begun = [*self._begin(), *self._close(key)]
        block = self._new_block({"type": kind})
        return [*begun, *self._start_block(key, block), *self._chunks(block.add(delta))]

    @override
    def on_content_block_stop(self, event: Event) -> list[Chunk]:
        return self._close(_key(event))

    def _close(self, key: object) -> list[Chunk]:
        block = self._open.pop(key, None)
        return self._chunks(block.end()) if block else []

    def _close_all(self) -> list[Chunk]:
        return [chunk for key in list(self._open) for chunk in self._close(key)]

    @override
    def on_message_delta(self, event: Event) -> list[Chunk]:
        self._count(event.get("usage"))
        delta = event.get("delta")
        self._ending = updated(self._ending, delta)
        reason = self._ending.get("stop_reason")
        self.stop_reason = reason if isinstance(reason, str) else None
        return []

    @override
    def on_message_stop(self, event: Event) -> list[Chunk]:
        if needs_continuation(self._ending):
            closed = self._close_all()
            self.complete = True
            return closed
        return self._finish()

    @override
    def on_error(self, event: Event) -> list[Chunk]:
        return self.fail(error_of_event(event))

    @override
    def on_other(self, event: Event) -> list[Chunk]:
        return []

    def _finish(self) -> list[Chunk]:
        """Return the last chunks. The annotations come at once, because clients cannot merge them without an index."""
        chunks = [*self._begin(), *self._close_all()]
        refusal = explanation(self.stop_reason, self._ending.get("stop_details"))
        deltas = {"content": self._words.rest(), "annotations": self._words.annotations, "refusal": refusal}
        chunks += self._chunks([{name: value} for name, value in deltas.items() if value])
        legacy = self._options.legacy_functions
        last = self._chunk({}, finish_reason(self.stop_reason, calls=self._call_count > 0, legacy=legacy))
        last["choices"][0] |= stop_match(self.stop_reason, self._ending.get("stop_sequence"))
        chunks.append(last)
        if self._options.include_usage:
            chunks.append({**self._head, **self._tier, "choices": [], "usage": translate_usage(self.usage)})
        self.finished = self.complete = True
        return chunks

    def _chunks(self, deltas: list[Delta]) -> list[Chunk]:
        return [self._chunk(delta) for delta in deltas]

    def _chunk(self, delta: Delta, reason: str | None = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if self._options.include_usage else {}
        return {**self._head, **self._tier, "choices": [choice], **usage}

    def _count(self, usage: object) -> None:
        self._counts = updated(self._counts, usage)
        self._tier = service_tier(self.usage)


def _key(event: Mapping[str, Any]) -> object:
    """Return the key of a block: its index, None if that is not a number."""
    index = event.get("index")
    return index if isinstance(index, int) else None
