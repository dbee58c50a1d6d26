"""Translates a chat completion into a message."""

from typing import Any

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.errors.redaction import Secrets
from llama_stack_provider_messages.translation.fields import field, first_choice, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import byte_length
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Sign, unsigned

from .calls import MISSING_NAME, ToolUseBlock, call_bytes, unary_calls
from .options import NewId, ReplyOptions
from .reasoning import ReasoningPiece, RedactedBlock, ThinkingBlock, add_reasoning, reasoning_pieces
from .stop_and_usage import (
    backend_failure,
    estimated_counts,
    finish_reason,
    may_cut_call,
    reported_stop,
    stop_fields,
    token_counts,
)
from .text import TextFilter, ThinkSplitter, content_text, url_citations


def translate_response(
    completion: object, options: ReplyOptions, new_id: NewId, *, sign: Sign = unsigned, secrets: Secrets = ()
) -> dict[str, Any]:
    """Return the message for a unary response, in the wire form.

    Args:
        completion: A record of the chat completions schema, read by field names only.
        options: Options for the reply.
        new_id: Makes an id for a prefix such as ``msg_``.
        sign: Makes the signature of a thinking block, see thinking_signature.py.
        secrets: The backend's keys, redacted from an error that it reports.

    Raises:
        MessagesError: The backend's record is an error or holds no choice.
    """
    choice = first_choice(completion)
    reason = finish_reason(choice)
    if failure := backend_failure(field(completion, "error"), reason, secrets):
        raise failure
    if choice is None:
        raise BadGatewayError("The backend's answer holds no choices; send the request again")
    record = field(choice, "message")
    reasoning, text = reasoning_pieces(record), content_text(record)
    output_bytes = sum(byte_length(piece.text) for piece in reasoning) + byte_length(text) + call_bytes(record)
    counts = estimated_counts(options.prompt_estimate, output_bytes) | token_counts(field(completion, "usage"))
    usage = options.usage(counts, field(completion, "service_tier"))
    message = options.message(new_id("msg_"), usage) | options.safeguard_results()
    if options.discard:  # max_tokens: 0, but the backend has generated one token
        message["usage"] |= {"output_tokens": 0, "output_tokens_details": None}
        return message | {"stop_reason": "max_tokens"}
    calls = unary_calls(record, options, new_id)
    text_filter = TextFilter(options.stops, options.prefill)
    content = _thinking_and_text(record, reasoning, options, sign, text_filter, only=not calls)
    if text_filter.matched_stop:  # calls come after the text
        calls = []
    cut = bool(calls) and not calls[-1].input.complete and may_cut_call(reason)
    for call in calls:
        content += _tool_use(call, sign, cut=cut and call is calls[-1])
    stop = stop_fields(
        reason,
        calls=bool(calls),
        cut=cut,
        refusal=text_field(record, "refusal"),
        reported=reported_stop(choice, options.stops),
        matched_stop=text_filter.matched_stop,
        limited_by_window=options.limited_by_window,
    )
    return message | {"content": content} | stop


def _thinking_and_text(
    record: object,
    reasoning: list[ReasoningPiece],
    options: ReplyOptions,
    sign: Sign,
    text_filter: TextFilter,
    *,
    only: bool,
) -> list[dict[str, Any]]:
    """Return the thinking and text blocks, without empty blocks and blank text (blocks.py).

    Args:
        record: The message.
        reasoning: The reasoning in its fields; its text may hold more.
        options: Whether thinking is shown. Hidden reasoning becomes text if the response has nothing else.
        sign: Makes the signature of a thinking block, see thinking_signature.py.
        text_filter: Filters the text.
        only: The response has no tool calls.
    """
    splitter = ThinkSplitter(options.inline)
    pieces = splitter.add(content_text(record)) + splitter.rest()
    reasoning = reasoning + [ReasoningPiece(text) for kind, text in pieces if kind == "thinking"]
    text = "".join(text for kind, text in pieces if kind == "text")
    blocks: list[ThinkingBlock | RedactedBlock] = []
    if options.thinking == "hidden":
        if only and not text.strip():
            text += "".join(piece.text for piece in reasoning)
    else:
        for piece in reasoning:
            tail = blocks[-1] if blocks else None
            if block := add_reasoning(piece, tail, sign, omit=options.thinking == "omitted"):
                blocks.append(block)
    content = [block.complete_block() for block in blocks]
    text = text_filter.add(text) + text_filter.rest()
    if text.strip():
        citations = url_citations(list_field(record, "annotations"), content_text(record))
        content.append({"type": "text", "text": text} | ({"citations": citations} if citations else {}))
    return content


def _tool_use(call: ToolUseBlock, sign: Sign, *, cut: bool) -> list[dict[str, Any]]:
    """Return the block of a call, after the block that carries the backend's signature of the call, if it has one."""
    if not call.name:
        raise BadGatewayError(MISSING_NAME)
    extra = add_reasoning(call.extra, None, sign, omit=True) if call.extra else None
    return [*([extra.complete_block()] if extra else []), call.complete_block(cut=cut)]


def refused(options: ReplyOptions, new_id: NewId, explanation: str) -> dict[str, Any]:
    """Return the refusal message for a request that the backend rejected by its content policy."""
    stop = stop_fields("content_filter", calls=False, cut=False, refusal=explanation, reported=None)
    usage = options.usage(estimated_counts(options.prompt_estimate, 0), None)
    return options.message(new_id("msg_"), usage) | options.safeguard_results() | stop
