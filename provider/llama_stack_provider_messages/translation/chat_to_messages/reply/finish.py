"""How a response ends: finish reason, token counts and service tier; and joining a paused response with its rest.

With server tools the upstream may stop with ``pause_turn``. The caller then resends the request with the response so
far appended (``needs_continuation``, ``paused_content``), and joins both responses (``continued``, ``added``).
"""

from collections.abc import Mapping
from typing import Any

from llama_stack_provider_messages.translation.fields import list_field, text_field
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

type Usage = Mapping[str, Any]

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

CHAT_TIERS: dict[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}
"""Service tier of a response -> value of the openai SDK's ``service_tier`` literal."""


def finish_reason(reason: object, *, calls: bool, legacy: bool = False) -> str:
    """Return the finish reason of a response; an unknown or missing stop reason is ``stop``.

    ``end_turn`` after a tool call is ``tool_calls``, because clients execute calls only then (llama.cpp sends
    ``end_turn`` there). ``tool_use`` without a call for the client is ``stop``.

    Args:
        reason: The stop reason.
        calls: Whether the response holds a call for the client.
        legacy: The request had ``functions``, whose calls end with ``function_call``.
    """
    finish = FINISH_REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"
    if finish not in ("stop", "tool_calls"):
        return finish
    if not calls:
        return "stop"
    return "function_call" if legacy else "tool_calls"


def stop_match(reason: object, sequence: object) -> dict[str, str]:
    """Return the matched stop sequence as a field next to the finish reason, as vLLM reports it; ``{}`` for none."""
    if reason == "stop_sequence" and isinstance(sequence, str):
        return {"stop_reason": replace_lone_surrogates(sequence)}
    return {}


def explanation(reason: object, details: object) -> str:
    """Return the model's explanation of a refusal; ``""`` without a refusal or an explanation."""
    text = details.get("explanation") if isinstance(details, Mapping) else None
    return replace_lone_surrogates(text) if reason == "refusal" and isinstance(text, str) else ""


def translate_usage(usage: Usage) -> dict[str, Any]:
    """Return ``usage`` of a chat completion; missing counts are 0.

    ``prompt_tokens`` includes cached tokens, ``input_tokens`` does not (by the references of both APIs), so the three
    counts are added. ``output_tokens`` already includes reasoning; ``reasoning_tokens`` is set only if the upstream
    reports it.
    """
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    prompt, output = _count(usage, "input_tokens") + read + written, _count(usage, "output_tokens")
    fields: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }
    details = usage.get("output_tokens_details")
    if isinstance(details, Mapping):
        fields["completion_tokens_details"] = {"reasoning_tokens": _count(details, "thinking_tokens")}
    return fields


def _count(record: Usage, name: str) -> int:
    """Return a count; some servers send floats."""
    value = record.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value > 0 else 0


def service_tier(usage: Usage) -> dict[str, str]:
    """Return the ``service_tier`` field of a chat completion, ``{}`` if the upstream reports none."""
    if usage.get("speed") == "fast":
        return {"service_tier": "priority"}
    reported = usage.get("service_tier")
    tier = CHAT_TIERS.get(reported) if isinstance(reported, str) else None
    return {"service_tier": tier} if tier else {}


def updated(usage: Usage, later: object) -> dict[str, Any]:
    """Return the counts after a later event of the same stream: each replaces the earlier one, null is ignored."""
    changes = later if isinstance(later, Mapping) else {}
    return {**usage, **{name: value for name, value in changes.items() if value is not None}}


def added(first: Usage, second: Usage) -> dict[str, Any]:
    """Return the summed counts of two requests; other values (tier, region) are the second's."""
    sums: dict[str, Any] = dict(first)
    for name, value in second.items():
        earlier = first.get(name)
        if isinstance(earlier, Mapping) and isinstance(value, Mapping):
            sums[name] = {**earlier, **{inner: _sum(earlier.get(inner), item) for inner, item in value.items()}}
        elif isinstance(earlier, list) and isinstance(value, list):
            sums[name] = [*earlier, *value]
        else:
            sums[name] = _sum(earlier, value)
    return sums


def _sum(first: object, second: object) -> object:
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    return first if second is None else second


def needs_continuation(message: Mapping[str, Any]) -> bool:
    """Return whether the server paused the turn: the caller then resends the request with this response appended."""
    return message.get("stop_reason") == "pause_turn"


def paused_content(message: Mapping[str, Any]) -> list[Any]:
    """Return the content to send back for a continuation, without white space that the API rejects.

    It rejects blank texts and trailing white space.
    """
    content = [
        block
        for block in list_field(message, "content")
        if text_field(block, "type") != "text" or text_field(block, "text").strip()
    ]
    if content and text_field(content[-1], "type") == "text":
        content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}
    return content


def continued(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return a paused message and its continuation as one message.

    Content is concatenated and token counts are added. The stop reason is the second's, id and model are the first's.
    """
    counts = [usage if isinstance(usage := message.get("usage"), Mapping) else {} for message in (first, second)]
    return {
        **first,
        **second,
        **{name: first[name] for name in ("id", "model") if name in first},
        "content": [*list_field(first, "content"), *list_field(second, "content")],
        "usage": added(*counts),
    }
