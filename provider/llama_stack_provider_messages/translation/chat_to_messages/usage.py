"""Token counts of the Messages API -> ``usage`` of chat completions."""

from collections.abc import Mapping
from typing import Any

type Usage = Mapping[str, Any]

SERVICE_TIERS: dict[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}
"""Tiers of an answer -> those of the openai SDK's ``service_tier`` literal."""


def translate_usage(usage: Usage) -> dict[str, Any]:
    """Return ``usage`` of a chat completion; what is missing counts as 0.

    ``prompt_tokens`` counts cached tokens, ``input_tokens`` does not (PROTOCOL of both APIs), so the three counts are
    added. ``output_tokens`` already holds the reasoning; how much of it is said only where the upstream says so.
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


def service_tier(usage: Usage) -> dict[str, str]:
    """Return ``service_tier`` of a chat completion as a field; none where the upstream names none."""
    if usage.get("speed") == "fast":
        return {"service_tier": "priority"}
    tier = SERVICE_TIERS.get(str(usage.get("service_tier")))
    return {"service_tier": tier} if tier else {}


def updated(usage: Usage, later: object) -> dict[str, Any]:
    """Return counts after a later event of the same stream: each one replaces the earlier, null says nothing."""
    news = later if isinstance(later, Mapping) else {}
    return {**usage, **{name: value for name, value in news.items() if value is not None}}


def added(first: Usage, second: Usage) -> dict[str, Any]:
    """Return the counts of two requests together; what is no count (tier, region) is the second's."""
    return {**first, **{name: _sum(first.get(name), value) for name, value in second.items()}}


def _sum(first: object, second: object) -> object:
    if second is None:
        return first
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return added(first, second)
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    both_counts = all(isinstance(value, int) and not isinstance(value, bool) for value in (first, second))
    return first + second if both_counts else second  # type: ignore[operator]


def _count(record: Usage, name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and value > 0 else 0
