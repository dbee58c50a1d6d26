"""Translates stop reasons of the Messages API into finish reasons; handles ``pause_turn``."""

from collections.abc import Mapping
from typing import Any

from llama_stack_provider_messages.translation.fields import text_field
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

from .usage import added

FINISH_REASONS: dict[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "length",
    "compaction": "stop",
}
"""Stop reason -> finish reason. ``pause_turn`` arrives here only if the response was not continued: it is truncated
then, so ``stop`` would be wrong."""

_PAUSE = "pause_turn"


def finish_reason(reason: object, *, calls: bool, legacy: bool = False) -> str:
    """Return the finish reason of a response; an unknown or missing stop reason is ``stop``.

    ``end_turn`` after a tool call is ``tool_calls``, because clients execute calls only then (llama.cpp sends
    ``end_turn`` there). ``tool_use`` without a call for the client is ``stop``.

    Args:
        reason: The stop reason.
        calls: Whether the response holds a call for the client.
        legacy: The request had ``functions``, whose calls end with ``function_call``.
    """
    found = FINISH_REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"
    if found not in ("stop", "tool_calls"):
        return found
    if not calls:
        return "stop"
    return "function_call" if legacy else "tool_calls"


def stop_match(reason: object, sequence: object) -> dict[str, str]:
    """Return the matched stop sequence as a field next to the finish reason, as vLLM reports it; ``{}`` for none."""
    return (
        {"stop_reason": replace_lone_surrogates(sequence)}
        if reason == "stop_sequence" and isinstance(sequence, str)
        else {}
    )


def explanation(reason: object, details: object) -> str:
    """Return the model's explanation of a refusal; ``""`` without a refusal or an explanation."""
    said = details.get("explanation") if isinstance(details, Mapping) else None
    return replace_lone_surrogates(said) if reason == "refusal" and isinstance(said, str) else ""


def needs_continuation(message: Mapping[str, Any]) -> bool:
    """Return whether the server paused the turn: the caller then resends the request with this response appended."""
    return message.get("stop_reason") == _PAUSE


def paused_content(message: Mapping[str, Any]) -> list[Any]:
    """Return the content to send back for a continuation, without white space that the API rejects.

    It rejects blank texts and trailing white space.
    """
    content = [block for block in _blocks(message) if not _is_blank(block)]
    if content and text_field(content[-1], "type") == "text":
        content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}
    return content


def _is_blank(block: object) -> bool:
    return text_field(block, "type") == "text" and not text_field(block, "text").strip()


def continued(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return a paused message and its continuation as one message.

    Content is concatenated and token counts are added. The stop reason is the second's, id and model are the first's.
    """
    content = [*_blocks(first), *_blocks(second)]
    counts = added(_counts(first), _counts(second))
    names = {name: first[name] for name in ("id", "model") if name in first}
    return {**first, **second, **names, "content": content, "usage": counts}


def _blocks(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _counts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    usage = message.get("usage")
    return usage if isinstance(usage, Mapping) else {}
