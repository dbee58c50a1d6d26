"""Thinking blocks a client sends back -> the fields of an assistant message that take reasoning back.

    signature of ours          what it carries, whatever became of the visible text
    no signature, or empty     the visible text
    any other signature        nothing: it was made for another model, which others ignore by contract
    redacted data of ours      the entry it carries; any other: nothing

Answering 400 to a signature would lose the conversation (CLIProxyAPI 2172, codex2api 613, qwen-code 6893). The one
exception are signatures that carry more than any model reads (seal.py): leaving some of them out would change what the
model is told without a word, and clients can leave old thinking out themselves.
"""

from collections.abc import Sequence
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.fields import text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile
from llama_stack_provider_messages.translation.messages_to_chat.reply.reasoning import CALL_EXTRA
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import (
    MAX_INFLATED_BYTES,
    Detail,
    InflateLimitError,
    SignedReasoning,
)

_BLANK = " "
"""Passes for reasoning where a backend insists on some; ``""`` does not (NousResearch/hermes-agent 17341)."""

THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})


def replayed_thoughts(block: object, path: str, ctx: TranslationContext) -> list[SignedReasoning]:
    """Return what one block says to the backend.

    Raises:
        InvalidRequestError: The signatures up to this one carry too much.
    """
    redacted = text_field(block, "type") == "redacted_thinking"
    place = "data" if redacted else "signature"
    signature = text_field(block, place)
    if not signature:
        return [] if redacted else [SignedReasoning(text_field(block, "thinking"))]
    try:
        own = ctx.seal.open(signature, ctx.inflate_budget) if ctx.seal else None
    except InflateLimitError:
        raise InvalidRequestError(
            f"{path}.{place}: the signatures up to here carry more than {MAX_INFLATED_BYTES >> 20} MB of thinking; "
            "leave the thinking blocks of earlier turns out"
        ) from None
    if own:
        return [own]
    if ctx.profile.reasoning_field and not redacted:
        ctx.drop(path, "thinking", "the signature was not made here")
    return []


def replayed_extra(thoughts: list[SignedReasoning]) -> dict[str, Any]:
    """Return the fields a call had beside its function, which the block in front of it brought back, and take it."""
    if not (thoughts and any(entry.get("type") == CALL_EXTRA for entry in thoughts[-1].details)):
        return {}
    return {"extra_content": thoughts.pop().details[0]["extra_content"]}


def with_extra(calls: list[dict[str, Any]], profile: Profile) -> list[dict[str, Any]]:
    """Return the calls of one answer with what the backend insists on, where it is lost or never was."""
    if not (calls and profile.call_extra) or "extra_content" in calls[0]:
        return calls
    return [calls[0] | {"extra_content": profile.call_extra}, *calls[1:]]


def reasoning_fields(thoughts: Sequence[SignedReasoning], profile: Profile) -> dict[str, Any]:
    """Return the fields of an assistant message that hold its reasoning.

    Args:
        thoughts: Of the message's blocks, in their order.
        profile: Names the field.
    """
    name = profile.reasoning_field
    if name is None:
        return {}
    text = "".join(thought.text for thought in thoughts)
    if name == "reasoning_details":
        entries = (entry for thought in thoughts for entry in thought.details)
        details: list[Detail] = [entry for entry in entries if entry.get("type") != CALL_EXTRA]
        if details:
            return {"reasoning_details": details}
        name = "reasoning"
    if not text and profile.reasoning_required:
        text = _BLANK
    return {name: text} if text else {}
