"""Translates a chat completion into a message."""

from typing import Any

from llama_stack_api_messages.errors import ApiError, BadGatewayError
from llama_stack_provider_messages.errors.body import translate_error
from llama_stack_provider_messages.translation.fields import field, first_choice, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Sign, unsigned
from llama_stack_provider_messages.translation.tool_arguments import ToolInput, load_tool_input

from .calls import CallIds
from .citations import annotations_of, url_citations
from .options import NewId, ReplyOptions
from .reasoning import ReasoningPiece, argument_text, call_extra, content_text, thoughts_of
from .stop_reason import FAILURES, cuts, finish_reason, stop_fields, stop_match
from .text_filter import TextFilter
from .think_tags import ThinkSplitter
from .thinking_blocks import RedactedBlock, ThinkingBlock, block_for
from .usage import byte_length, estimated_counts, token_counts


def translate_response(
    completion: object, form: ReplyOptions, new_id: NewId, *, sign: Sign = unsigned
) -> dict[str, Any]:
    """Return the message for a unary response, in the wire form.

    Args:
        completion: A record of the chat completions schema, read by field names only.
        form: Options for the reply.
        new_id: Makes an id for a prefix such as ``msg_``.
        sign: Makes the signature of a thinking block, see thinking_signature.py.

    Raises:
        MessagesError: The backend's record is an error or holds no choice.
    """
    choice = first_choice(completion)
    reason = finish_reason(choice)
    _check(completion, choice, reason)
    counts = estimated_counts(form.prompt_estimate, _said(field(choice, "message")))
    usage = form.usage(counts | token_counts(field(completion, "usage")), field(completion, "service_tier"))
    message = form.message(new_id("msg_"), usage) | form.safeguard_results()
    if form.discard:
        return _prewarmed(message)
    record = field(choice, "message")
    calls = _calls(record)
    texts = TextFilter(form.stops, form.prefill)
    words = _words(record, form, sign, texts, alone=not calls)
    if texts.fired:  # calls come after the text
        calls = []
    cut = bool(calls) and not calls[-1][2].complete and cuts(reason)
    message["content"] = [*words, *_tool_uses(calls, form, CallIds(new_id, form.call_ids), sign, cut=cut)]
    stop = stop_fields(
        reason,
        calls=bool(calls),
        cut=cut,
        refusal=text_field(record, "refusal"),
        match=stop_match(choice, form.stops),
        fired=texts.fired,
        windowed=form.windowed,
    )
    return message | stop


def refused(form: ReplyOptions, new_id: NewId, explanation: str) -> dict[str, Any]:
    """Return the refusal message for a request that the backend rejected by its content policy."""
    stop = stop_fields("content_filter", calls=False, cut=False, refusal=explanation, match=None)
    usage = form.usage(estimated_counts(form.prompt_estimate, 0), None)
    return form.message(new_id("msg_"), usage) | form.safeguard_results() | stop


def _said(record: object) -> int:
    """Return the bytes of output in the backend's message."""
    calls = [field(call, "function") for call in list_field(record, "tool_calls")] + [field(record, "function_call")]
    texts = (
        *(thought.text for thought in thoughts_of(record)),
        content_text(record),
        *(argument_text(call) for call in calls),
    )
    return sum(map(byte_length, texts))


def _check(completion: object, choice: object, reason: str | None) -> None:
    error = field(completion, "error") if choice is None or reason in FAILURES else None
    if error:
        raise translate_error(None, {"error": error})
    if choice is None:
        raise BadGatewayError("The backend's answer holds no choices; send the request again")
    if reason in FAILURES:
        raise ApiError(f"The backend broke off its answer ({reason}); send the request again")


def _prewarmed(message: dict[str, Any]) -> dict[str, Any]:
    """Return the reply to ``max_tokens: 0``, without the one token that the backend generated."""
    message["usage"] |= {"output_tokens": 0, "output_tokens_details": None}
    return message | {"stop_reason": "max_tokens"}


def _words(record: object, form: ReplyOptions, sign: Sign, texts: TextFilter, *, alone: bool) -> list[dict[str, Any]]:
    """Return the thinking and text blocks, without empty blocks and blank text (blocks.py).

    Args:
        record: The message.
        form: Whether thinking is shown. Hidden reasoning becomes text if the response has nothing else.
        sign: Makes the signature of a thinking block, see thinking_signature.py.
        texts: Filters the text.
        alone: The response has no tool calls.
    """
    splitter = ThinkSplitter(form.inline)
    pieces = splitter.add(content_text(record)) + splitter.rest()
    thoughts = thoughts_of(record) + [ReasoningPiece(words) for kind, words in pieces if kind == "thinking"]
    text = "".join(words for kind, words in pieces if kind == "text")
    hidden = form.thinking == "hidden"
    if hidden and alone:
        text = text if text.strip() else text + "".join(thought.text for thought in thoughts)
    blocks = [] if hidden else [block.whole() for block in _thinking(thoughts, form, sign)]
    text = texts.add(text) + texts.rest()
    if text.strip():
        citations = url_citations(annotations_of(record), content_text(record))
        blocks.append({"type": "text", "text": text} | ({"citations": citations} if citations else {}))
    return blocks


def _thinking(thoughts: list[ReasoningPiece], form: ReplyOptions, sign: Sign) -> list[ThinkingBlock | RedactedBlock]:
    blocks: list[ThinkingBlock | RedactedBlock] = []
    for thought in thoughts:
        tail = blocks[-1] if blocks else None
        if block := block_for(thought, tail, sign, omit=form.thinking == "omitted"):
            blocks.append(block)
    return blocks


type _Call = tuple[str, str, ToolInput, ReasoningPiece | None]


def _calls(record: object) -> list[_Call]:
    """Return id, name, arguments and extra of each call; padding without name and arguments is skipped."""
    found = [
        (text_field(call, "id"), field(call, "function"), call_extra(call)) for call in list_field(record, "tool_calls")
    ]
    if legacy := field(record, "function_call"):
        found.append(("", legacy, None))
    calls = [(call_id, text_field(function, "name"), _arguments(function), extra) for call_id, function, extra in found]
    return [call for call in calls if call[1] or not call[2].blank]


def _arguments(function: object) -> ToolInput:
    collected = ToolInput()
    collected.add(field(function, "arguments"))
    return collected


def _tool_uses(calls: list[_Call], form: ReplyOptions, ids: CallIds, sign: Sign, *, cut: bool) -> list[dict[str, Any]]:
    blocks = []
    for call_id, name, arguments, extra in calls:
        if not name:
            raise BadGatewayError("The backend sent a tool call without the name of the tool")
        if extra and (packed := block_for(extra, None, sign, omit=True)):
            blocks.append(packed.whole())
        text = arguments.rest(cut=cut and arguments is calls[-1][2])
        blocks.append(form.tool_use(ids.claim(call_id), name, load_tool_input(text)))
    return blocks
