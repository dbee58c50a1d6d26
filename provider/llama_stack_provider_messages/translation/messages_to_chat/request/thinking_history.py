"""Thinking blocks in the history -> the reasoning fields of an assistant message.

    our own signature             the reasoning in the signature; the visible text is ignored
    no signature, or empty        the visible text
    any other signature           nothing: it was made for another model, and by contract other models ignore it
    redacted data made by us      the entry in the data
    any other redacted data       nothing

A 400 for a signature would end the conversation (CLIProxyAPI 2172, codex2api 613, qwen-code 6893). The only exception
is signatures that hold more than any model reads (thinking_signature.py): dropping some would silently change the
prompt, and clients can remove old thinking themselves.
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
"""Placeholder for backends that require reasoning; they reject ``""`` (NousResearch/hermes-agent 17341)."""

THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})


def replayed_thoughts(block: object, path: str, ctx: TranslationContext) -> list[SignedReasoning]:
    """Return the reasoning in one block.

    Raises:
        InvalidRequestError: The signatures up to this one exceed the inflate budget.
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
            f"{path}.{place}: the signatures up to this block hold more than {MAX_INFLATED_BYTES >> 20} MB of "
            "thinking; remove the thinking blocks of earlier turns"
        ) from None
    if own:
        return [own]
    if ctx.profile.reasoning_field and not redacted:
        ctx.drop(path, "thinking", "the signature was not made by this server")
    return []


def replayed_extra(thoughts: list[SignedReasoning]) -> dict[str, Any]:
    """Remove the entry for the next call's extra fields from ``thoughts``; return these fields."""
    if not (thoughts and any(entry.get("type") == CALL_EXTRA for entry in thoughts[-1].details)):
        return {}
    return {"extra_content": thoughts.pop().details[0]["extra_content"]}


def with_extra(calls: list[dict[str, Any]], profile: Profile) -> list[dict[str, Any]]:
    """Return the calls of one assistant message with the backend's required extra fields, where they are missing."""
    if not (calls and profile.call_extra) or "extra_content" in calls[0]:
        return calls
    return [calls[0] | {"extra_content": profile.call_extra}, *calls[1:]]


def reasoning_fields(thoughts: Sequence[SignedReasoning], profile: Profile) -> dict[str, Any]:
    """Return the fields of an assistant message that hold its reasoning.

    Args:
        thoughts: Reasoning of the message's blocks, in order.
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
