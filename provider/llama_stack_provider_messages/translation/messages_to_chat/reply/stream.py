"""Translates chunks of a chat completion into events of a Messages stream.

Sans-IO: the caller feeds chunks, and reports the end or the failure of the backend's stream.

    wait   --first choice or usage-->  message_start, open
    open   --feed-->                   content blocks (blocks.py); finish reason and usage are stored
    open   --finish-->                 blocks closed, message_delta with usage, message_stop, done
    any    --fail, error in a chunk--> error, done
    done   --anything-->               nothing

``message_delta`` waits for ``finish`` because usage may arrive before, with or after the finish reason.
``finished`` becomes true when later chunks do not matter: a stop sequence ended the text (text_filter.py) or the stream
failed. The caller then stops reading and calls ``finish``. Usage, which is sent last, is lost in that case; if no
chunk had usage, ``output_tokens`` is the number of chunks that held text or calls.
A stream without a finish reason is an ``end_turn`` if it had content and no call is incomplete. Without content, or
inside the arguments of a call, it is an error, so that the client does not accept a truncated response.
"""

from typing import Any

from llama_stack_api_messages.errors import ApiError, BadGatewayError, MessagesError
from llama_stack_provider_messages.errors.body import ContentPolicyError, ContextOverflowError, translate_error
from llama_stack_provider_messages.translation.fields import field, first_choice, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Sign, unsigned

from .blocks import Block, BlockQueue, Event, TextBlock, ToolUseBlock
from .calls import CallTracker
from .citations import annotations_of, url_citations
from .options import NewId, ReplyOptions
from .reasoning import ReasoningPiece, argument_text, content_text, thoughts_of
from .stop_reason import FAILURES, cuts, finish_reason, stop_fields, stop_match
from .text_filter import TextFilter
from .think_tags import Piece, ThinkSplitter
from .thinking_blocks import block_for
from .usage import Counts, byte_length, estimated_counts, token_counts


class StreamTranslator:
    """Translates the stream of one response.

    Args:
        form: Options for the reply.
        new_id: Makes an id for a prefix such as ``msg_``.
        sign: Makes the signature of a thinking block, see thinking_signature.py.
        request_id: Id for ``error`` events; null without one.

    Attributes:
        finished: No further chunk is needed.
        failure: The error that ended the stream, set with the ``error`` event.
    """

    def __init__(
        self, form: ReplyOptions, new_id: NewId, *, sign: Sign = unsigned, request_id: str | None = None
    ) -> None:
        self.finished = False
        self.failure: MessagesError | None = None
        self._form = form
        self._windowed = form.windowed
        self._splitter = ThinkSplitter(form.inline)
        self._filter = TextFilter(form.stops, form.prefill)
        self._message_id = new_id("msg_")
        self._sign = sign
        self._request_id = request_id
        self._queue = BlockQueue()
        self._calls = CallTracker(new_id, form)
        self._started = self._spoke = self._wrote = self._done = False
        self._text_index: int | None = None
        self._filtered_index: int | None = None
        self._reason: str | None = None
        self._match: str | None = None
        self._refusal: list[str] = []
        self._hidden: list[str] = []
        self._counts: Counts = {}
        self._pieces = self._bytes = 0
        self._texts: list[str] = []
        self._annotations: list[Any] = []
        self._service_tier: object = None

    def feed(self, chunk: object) -> list[Event]:
        """Process one chunk; return the resulting events."""
        if self._text_index is not None:
            text = _only_text(chunk)
            if text:
                self._texts.append(text)
                delta = {"type": "text_delta", "text": text}
                return [{"type": "content_block_delta", "index": self._text_index, "delta": delta}]
        return [] if self.finished else self._feed(chunk)

    def finish(self) -> list[Event]:
        """Process the end of the backend's stream; return the last events."""
        if self._done:
            return []
        for block in self._calls.finish():
            self._append_call(block)
        if problem := self._unfinished():
            return self.fail(problem)
        stopped, cut = self.finished, self._cut
        self._show_rest()
        events = self._start() + self._queue.finish(cut=cut, stopped=stopped)
        self._end()
        return [*events, self._message_delta(cut=cut), {"type": "message_stop"}]

    def fail(self, error: MessagesError) -> list[Event]:
        """Process a failure of the backend; return the ``error`` event, which is the last.

        Exceptions: a rejection by the content policy ends the message as a refusal, and an output that has filled the
        context window ends it with that stop reason.
        """
        if self._done:
            return []
        if isinstance(error, ContentPolicyError) and self._form.refusals:
            self._reason, self._refusal = "content_filter", [error.message]
            return self.finish()
        if isinstance(error, ContextOverflowError) and self._spoke:
            self._reason, self._windowed = self._reason or "length", True
            return self.finish()
        self._end()
        self.failure = error
        return [error.body("") | {"request_id": self._request_id}]

    def _feed(self, chunk: object) -> list[Event]:
        if self._filtered_index is not None and (text := _only_text(chunk)):
            self._pieces += 1
            self._texts.append(text)
            shown = self._filter.add(text)
            self.finished = self._filter.fired is not None
            delta = {"type": "text_delta", "text": shown}
            return [{"type": "content_block_delta", "index": self._filtered_index, "delta": delta}] if shown else []
        choice = first_choice(chunk)
        self._remember(chunk, choice)
        self._take(field(choice, "delta"))
        due = self._queue.advance()
        failure = None if self.finished else _failure(field(chunk, "error"), self._reason)
        if due or (failure is None and (choice is not None or self._counts)):
            due = self._start() + due
        if failure:
            return due + self.fail(failure)
        index = self._queue.text_index
        self._text_index, self._filtered_index = (index, None) if self._filter.idle else (None, index)
        return due

    def _remember(self, chunk: object, choice: object) -> None:
        if usage := field(chunk, "usage"):
            self._counts |= token_counts(usage)
        self._service_tier = field(chunk, "service_tier") or self._service_tier
        if reason := finish_reason(choice):
            self._reason = self._reason or reason
            self._match = self._match or stop_match(choice, self._form.stops)

    def _take(self, delta: object) -> None:
        """Queue all contents of one delta: one chunk may hold text, reasoning and calls (litellm 30014)."""
        thoughts, text, calls = thoughts_of(delta), content_text(delta), field(delta, "tool_calls")
        self._pieces += bool(thoughts or text or calls)
        self._annotations += annotations_of(delta)
        self._count(delta, thoughts)
        for thought in thoughts:
            self._take_thought(thought)
        if text:
            self._spoke = True
            self._texts.append(text)
            self._refusal.append(text_field(delta, "refusal"))
            self._take_words(self._splitter.add(text))
        for block in () if self._filter.fired else self._calls.feed(delta):
            self._spoke = True
            self._append_call(block)
        self.finished = self._filter.fired is not None

    def _count(self, delta: object, thoughts: list[ReasoningPiece]) -> None:
        """Count output other than text; text is counted at the end."""
        calls = [field(call, "function") for call in list_field(delta, "tool_calls")] + [field(delta, "function_call")]
        self._bytes += sum(byte_length(thought.text) for thought in thoughts)
        self._bytes += sum(byte_length(argument_text(call)) for call in calls)

    def _cite(self) -> list[dict[str, Any]]:
        """Return the citations for the new annotations, each once."""
        found, self._annotations = self._annotations, []
        return url_citations(found, "".join(self._texts)) if found else []

    def _take_words(self, pieces: list[Piece]) -> None:
        for kind, words in pieces:
            if kind == "thinking":
                self._take_thought(ReasoningPiece(words))
            else:
                self._wrote = self._wrote or not words.isspace()
                self._show(self._filter.add(words))

    def _take_thought(self, thought: ReasoningPiece) -> None:
        self._spoke = self._spoke or bool(thought.text)
        if self._form.thinking == "hidden":
            self._hidden.append(thought.text)
        elif block := block_for(thought, self._queue.tail, self._sign, omit=self._form.thinking == "omitted"):
            self._append(block)

    def _show(self, text: str) -> None:
        if not text:
            return
        tail = self._queue.tail
        if not isinstance(tail, TextBlock):
            self._queue.append(tail := TextBlock(self._cite))
        tail.add(text)

    def _append(self, block: Block) -> None:
        """Queue a block after the held text; blocks after a stop sequence are dropped."""
        self._show(self._filter.rest())
        if not self._filter.fired:
            self._queue.append(block)

    def _append_call(self, block: ToolUseBlock) -> None:
        self._take_words(self._splitter.rest())
        if block.extra and (extra := block_for(block.extra, None, self._sign, omit=True)):
            self._append(extra)
        self._append(block)

    def _show_rest(self) -> None:
        """Send the held text. Hidden reasoning becomes text if the response has nothing else."""
        self._take_words(self._splitter.rest())
        if not (self._wrote or self._called):
            self._show(self._filter.add("".join(self._hidden)))
        self._show(self._filter.rest())

    def _start(self) -> list[Event]:
        if self._started:
            return []
        self._started = True
        counts = estimated_counts(self._form.prompt_estimate, 0) | self._counts
        usage = self._form.usage(counts, self._service_tier) | {"output_tokens": 0}
        return [{"type": "message_start", "message": self._form.message(self._message_id, usage)}]

    @property
    def _called(self) -> bool:
        return any(not block.empty for block in self._calls.blocks)

    @property
    def _cut(self) -> bool:
        """Whether the response was truncated inside the arguments of its last call."""
        calls = self._calls.blocks
        return bool(calls) and not calls[-1].input.complete and cuts(self._reason)

    def _unfinished(self) -> MessagesError | None:
        if self.finished:
            return None
        if any(not block.name and not block.empty for block in self._calls.blocks):
            return BadGatewayError("The backend sent a tool call without the name of the tool")
        if self._reason:
            return None
        if not self._spoke:
            return ApiError("The backend ended its stream without an answer; send the request again")
        if any(not (block.input.complete or block.input.blank) for block in self._calls.blocks):
            return ApiError("The backend ended its stream inside the arguments of a tool call; send the request again")
        return None

    def _message_delta(self, *, cut: bool) -> Event:
        fired = self._filter.fired
        stop = stop_fields(
            self._reason,
            calls=self._called,
            cut=cut,
            refusal="".join(self._refusal),
            match=self._match,
            fired=fired,
            windowed=self._windowed,
        )
        size = self._bytes + byte_length("".join(self._texts))
        counts = estimated_counts(self._form.prompt_estimate, size)
        counts |= ({"output": self._pieces} if fired else {}) | self._counts
        delta = stop | self._form.safeguard_results()
        usage = self._form.usage(counts, self._service_tier)
        return {"type": "message_delta", "delta": delta, "usage": usage} | self._form.applied_edits()

    def _end(self) -> None:
        self._done = self.finished = True
        self._text_index = None


def _only_text(chunk: Any) -> str | None:  # noqa: ANN401 - see fields.py
    """Return the text of a chunk with only text, None for other chunks. Hot path: one attribute access per field.

    Other chunks take the slow path. SDK objects keep reasoning in ``model_extra``; looking up a missing attribute on
    them is slow.
    """
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


def _failure(error: object, reason: str | None) -> MessagesError | None:
    """Return the error in a chunk, None without one (OpenRouter sends one with finish reason ``error``)."""
    if error:
        return translate_error(None, {"error": error})
    if reason not in FAILURES:
        return None
    return ApiError(f"The backend broke off its answer ({reason}); send the request again")
