"""Translates chunks of a chat completion into events of a Messages stream.

Problem: a chat stream is a list of loose deltas. One chunk may hold text, reasoning and tool calls at once, calls may
interleave, usage may come before, with or after the finish reason, and the stream may end anywhere. A Messages stream
has a strict grammar: ``message_start``, content blocks one after the other, one ``message_delta`` with the stop reason
and usage, ``message_stop``; or an ``error`` event and nothing after it.

The translator is Sans-IO: the caller feeds chunks, and reports the end or the failure of the backend's stream.

    wait   --first choice or usage-->  message_start, open
    open   --feed-->                   content blocks (blocks.py); finish reason and usage are stored
    open   --finish-->                 blocks closed, message_delta with usage, message_stop, ended
    any    --fail, error in a chunk--> error, ended
    ended  --anything-->               nothing

Example (deltas and usage of the chunks, then the end of the stream):

    content "Let me "            message_start; start 0 (text); delta 0 "Let me "
    content "see."               delta 0 "see."
    tool_calls 0: id c, name f   stop 0, because another block follows; start 1 (tool_use); delta 1 ""
    tool_calls 0: arguments {}   nothing: arguments are sent member by member (tool_arguments.py)
    finish reason, usage         nothing: usage is often in a chunk of its own, after the finish reason
    finish()                     delta 1 "{}"; stop 1; message_delta; message_stop

Rules:

- ``message_delta`` waits for ``finish``, so that it has the usage. Gateways that did not wait reported none, and the
  client's context meter never moved (any-llm 1180, litellm 31069).
- ``stop_reading`` becomes true when later chunks do not matter: a stop sequence ended the text (text.py) or the stream
  failed. The caller then stops reading and calls ``finish``. Usage, which is sent last, is lost in that case; if no
  chunk had usage, ``output_tokens`` is the number of chunks that held content.
- A stream without a finish reason is an ``end_turn`` if the backend marked its end (``[DONE]``), it had content, and no
  call is incomplete. Otherwise it is an error, so that the client does not accept a truncated response, and does not
  wait for an end that never comes (APISIX 13583, new-api 4697).
- Each chunk is read completely, also the one that starts the message: a gateway lost the first word of every response
  because that chunk held the role, too (litellm 30014).
- Most chunks hold one word of text. Such a chunk takes a short path: one attribute access per field, one event.
"""

from typing import Any

from llama_stack_api_messages.errors import ApiError, BadGatewayError, MessagesError
from llama_stack_provider_messages.errors.body import ContentPolicyError, ContextOverflowError
from llama_stack_provider_messages.errors.redaction import Secrets
from llama_stack_provider_messages.translation.fields import field, first_choice, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import byte_length
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Sign, unsigned

from .blocks import Block, BlockQueue, Event, TextBlock
from .calls import MISSING_NAME, CallTracker, ToolUseBlock, call_bytes
from .options import NewId, ReplyOptions
from .reasoning import ReasoningPiece, add_reasoning, reasoning_pieces
from .stop_and_usage import (
    FAILURES,
    Counts,
    backend_failure,
    estimated_counts,
    finish_reason,
    may_cut_call,
    reported_stop,
    stop_fields,
    token_counts,
)
from .text import Piece, TextFilter, ThinkSplitter, content_text, url_citations

_KEPT_TEXTS = 1_000
"""Pieces of text that are kept before they are counted together."""
_CITED_CHARACTERS = 1_000_000
"""Characters at the beginning of a text that citations may quote."""


class StreamTranslator:
    """Translates the stream of one response.

    Args:
        options: Options for the reply.
        new_id: Makes an id for a prefix such as ``msg_``.
        sign: Makes the signature of a thinking block, see thinking_signature.py.
        request_id: Id for ``error`` events; null without one.
        secrets: The backend's keys, redacted from an error that it reports.

    Attributes:
        stop_reading: Whether further chunks do not matter, because a stop sequence ended the text or the last event has
            been returned. In the first case ``finish`` still returns the last events; after them, nothing is returned.
        failure: The error that ended the stream, set with the ``error`` event.
        usage: The usage of the message, set with its last events.
    """

    def __init__(
        self,
        options: ReplyOptions,
        new_id: NewId,
        *,
        sign: Sign = unsigned,
        request_id: str | None = None,
        secrets: Secrets = (),
    ) -> None:
        self.stop_reading = False
        self.failure: MessagesError | None = None
        self.usage: dict[str, Any] = {}
        self._options = options
        self._message_id = new_id("msg_")
        self._sign = sign
        self._request_id = request_id
        self._secrets = secrets
        self._started = self._ended = False

        self._splitter = ThinkSplitter(options.inline)
        self._filter = TextFilter(options.stops, options.prefill)
        self._calls = CallTracker(new_id, options)
        self._queue = BlockQueue()
        self._direct_index: int | None = None  # index of the open text block if its text needs no filter
        self._filtered_index: int | None = None  # the same if its text passes the filter only

        self._has_content = False  # text, reasoning or a call
        self._has_text = False  # visible text that is not blank
        self._texts: list[str] = []  # the last ones, not yet counted
        self._text_bytes = 0  # of those counted
        self._cited = ""  # the beginning of the text, for citations
        self._refusals: list[str] = []
        self._hidden_reasoning: list[str] = []
        self._annotations: list[Any] = []

        self._reason: str | None = None
        self._reported_stop: str | None = None
        self._limited_by_window = options.limited_by_window
        self._counts: Counts = {}
        self._service_tier: object = None
        self._content_chunks = 0
        self._other_bytes = 0  # output bytes of reasoning and calls

    def feed(self, chunk: object) -> list[Event]:
        """Process one chunk, or the text of a chunk that holds only text; return the resulting events."""
        if self._direct_index is not None:
            text = _only_text(chunk)
            if text:
                self._keep(text)
                delta = {"type": "text_delta", "text": text}
                return [{"type": "content_block_delta", "index": self._direct_index, "delta": delta}]
        return [] if self.stop_reading else self._feed(chunk)

    def finish(self, *, complete: bool = True) -> list[Event]:
        """Process the end of the backend's stream; return the last events.

        Args:
            complete: Whether the backend marked the end; otherwise a stream without a finish reason is truncated.
        """
        if self._ended:
            return []
        for block in self._calls.finish():
            self._add_call(block)
        if problem := self._unfinished(complete=complete):
            return self.fail(problem)
        calls = self._calls.blocks
        stopped = self.stop_reading  # by a stop sequence, because no last event has been returned
        cut = bool(calls) and not calls[-1].input.complete and may_cut_call(self._reason)
        self._add_pieces(self._splitter.rest())
        called = any(not block.empty for block in calls)
        if not (self._has_text or called):  # hidden reasoning becomes text if the response has nothing else
            self._add_text(self._filter.add("".join(self._hidden_reasoning)))
        self._add_text(self._filter.rest())
        events = self._start() + self._queue.finish(cut=cut, stopped=stopped)
        self._end()
        stop = stop_fields(
            self._reason,
            calls=called,
            cut=cut,
            refusal="".join(self._refusals),
            reported=self._reported_stop,
            matched_stop=self._filter.matched_stop,
            limited_by_window=self._limited_by_window,
        )
        output_bytes = self._other_bytes + self._text_bytes + byte_length("".join(self._texts))
        counts = estimated_counts(self._options.prompt_estimate, output_bytes)
        if self._filter.matched_stop:
            counts["output"] = self._content_chunks
        self.usage = usage = self._options.usage(counts | self._counts, self._service_tier)
        delta = stop | self._options.safeguard_results()
        last = {"type": "message_delta", "delta": delta, "usage": usage} | self._options.applied_edits()
        return [*events, last, {"type": "message_stop"}]

    @property
    def has_finish_reason(self) -> bool:
        """Whether the backend has said why its answer ends, so that nothing of it but usage can be missing."""
        return self._reason is not None and self._reason not in FAILURES

    def fail(self, error: MessagesError) -> list[Event]:
        """Process a failure of the backend; return the ``error`` event, which is the last.

        Exceptions: a rejection by the content policy ends the message as a refusal, and an output that has filled the
        context window ends it with that stop reason.
        """
        if self._ended:
            return []
        if isinstance(error, ContentPolicyError) and self._options.refusals:
            self._reason, self._refusals = "content_filter", [error.message]
            return self.finish()
        if isinstance(error, ContextOverflowError) and self._has_content:
            self._reason, self._limited_by_window = self._reason or "length", True
            return self.finish()
        self._end()
        self.failure = error
        return [error.body("") | {"request_id": self._request_id}]

    def _keep(self, text: str) -> None:
        """Keep text to count it, and for citations; of a long text its beginning only."""
        self._texts.append(text)
        if len(self._texts) >= _KEPT_TEXTS:
            joined, self._texts = "".join(self._texts), []
            self._text_bytes += byte_length(joined)
            if len(self._cited) < _CITED_CHARACTERS:
                self._cited += joined

    def _feed(self, chunk: object) -> list[Event]:
        """Process a chunk that is not plain text for an open block without a filter."""
        if self._filtered_index is not None and (text := _only_text(chunk)):
            self._content_chunks += 1
            self._keep(text)
            sent = self._filter.add(text)
            self.stop_reading = self._filter.matched_stop is not None
            delta = {"type": "text_delta", "text": sent}
            return [{"type": "content_block_delta", "index": self._filtered_index, "delta": delta}] if sent else []
        if isinstance(chunk, str):
            chunk = {"choices": [{"index": 0, "delta": {"content": chunk}}]}
        choice = first_choice(chunk)
        if usage := field(chunk, "usage"):
            self._counts |= token_counts(usage)
        self._service_tier = field(chunk, "service_tier") or self._service_tier
        if reason := finish_reason(choice):
            self._reason = self._reason or reason
            self._reported_stop = self._reported_stop or reported_stop(choice, self._options.stops)
        self._add_delta(field(choice, "delta"))
        events = self._queue.advance()
        failure = None if self.stop_reading else backend_failure(field(chunk, "error"), self._reason, self._secrets)
        if events or (failure is None and (choice is not None or self._counts)):
            events = self._start() + events
        if failure:
            return events + self.fail(failure)
        index = self._queue.text_index
        self._direct_index, self._filtered_index = (index, None) if self._filter.idle else (None, index)
        return events

    def _add_delta(self, delta: object) -> None:
        """Queue all contents of one delta, in the order reasoning, text, calls."""
        reasoning, text = reasoning_pieces(delta), content_text(delta)
        self._content_chunks += bool(reasoning or text or field(delta, "tool_calls"))
        self._other_bytes += sum(byte_length(piece.text) for piece in reasoning) + call_bytes(delta)
        self._annotations += list_field(delta, "annotations")
        for piece in reasoning:
            self._add_reasoning(piece)
        if text:
            self._has_content = True
            self._keep(text)
            self._refusals.append(text_field(delta, "refusal"))
            self._add_pieces(self._splitter.add(text))
        for block in () if self._filter.matched_stop else self._calls.feed(delta):
            self._has_content = True
            self._add_call(block)
        self.stop_reading = self._filter.matched_stop is not None

    def _add_pieces(self, pieces: list[Piece]) -> None:
        for kind, text in pieces:
            if kind == "thinking":
                self._add_reasoning(ReasoningPiece(text))
            else:
                self._has_text = self._has_text or not text.isspace()
                self._add_text(self._filter.add(text))

    def _add_reasoning(self, piece: ReasoningPiece) -> None:
        self._has_content = self._has_content or bool(piece.text)
        if self._options.thinking == "hidden":
            self._hidden_reasoning.append(piece.text)
            return
        omit = self._options.thinking == "omitted"
        if block := add_reasoning(piece, self._queue.tail, self._sign, omit=omit):
            self._add_block(block)

    def _add_text(self, text: str) -> None:
        """Add filtered text to the last block if it is a text block, else to a new one."""
        if not text:
            return
        tail = self._queue.tail
        if not isinstance(tail, TextBlock):
            self._queue.append(tail := TextBlock(self._new_citations))
        tail.add(text)

    def _add_call(self, block: ToolUseBlock) -> None:
        """Queue a call after the held text, and after the block that carries the backend's signature of the call."""
        self._add_pieces(self._splitter.rest())
        if block.extra and (extra := add_reasoning(block.extra, None, self._sign, omit=True)):
            self._add_block(extra)
        self._add_block(block)

    def _add_block(self, block: Block) -> None:
        """Queue a block after the held text; blocks after a stop sequence are dropped."""
        self._add_text(self._filter.rest())
        if not self._filter.matched_stop:
            self._queue.append(block)

    def _new_citations(self) -> list[dict[str, Any]]:
        """Return the citations for the new annotations, each once."""
        annotations, self._annotations = self._annotations, []
        return url_citations(annotations, self._cited + "".join(self._texts)) if annotations else []

    def _start(self) -> list[Event]:
        """Return ``message_start`` at the first call; its input tokens are an estimate if usage has not arrived yet."""
        if self._started:
            return []
        self._started = True
        counts = estimated_counts(self._options.prompt_estimate, 0) | self._counts
        usage = self._options.usage(counts, self._service_tier) | {"output_tokens": 0}
        return [{"type": "message_start", "message": self._options.message(self._message_id, usage)}]

    def _unfinished(self, *, complete: bool) -> MessagesError | None:
        """Return the error for a stream that ended too early, None if the response can be completed."""
        if self.stop_reading:
            return None
        calls = self._calls.blocks
        if any(not block.name and not block.empty for block in calls):
            return BadGatewayError(MISSING_NAME)
        if self._reason:
            return None
        if not self._has_content:
            return ApiError("The backend ended its stream without an answer; send the request again")
        if any(not (block.input.complete or block.input.blank) for block in calls):
            return ApiError("The backend ended its stream inside the arguments of a tool call; send the request again")
        if not complete:
            return BadGatewayError("The backend ended its stream before its answer was complete; try again")
        return None

    def _end(self) -> None:
        self._ended = self.stop_reading = True
        self._direct_index = None


def _only_text(chunk: Any) -> str | None:  # noqa: ANN401 - see fields.py
    """Return the text of a chunk with only text, None for other chunks. Hot path: one attribute access per field.

    Other chunks take the slow path. SDK objects keep reasoning in ``model_extra``; looking up a missing attribute on
    them is slow.
    """
    if type(chunk) is str:
        return chunk
    try:
        (choice,) = chunk.choices
        delta = choice.delta
        if (
            choice.finish_reason is None
            and not choice.index
            and chunk.usage is None
            and delta.tool_calls is None
            and delta.function_call is None
            and delta.refusal is None
            and not delta.model_extra
            and type(delta.content) is str
        ):
            return delta.content
    except (AttributeError, TypeError, ValueError):
        pass
    return None
