"""Translates token counts of the Messages API into ``usage`` of chat completions."""

from collections.abc import Mapping
from typing import Any

type Usage = Mapping[str, Any]

SERVICE_TIERS: dict[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}
"""Service tier of a response -> value of the openai SDK's ``service_tier`` literal."""


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


def service_tier(usage: Usage) -> dict[str, str]:
    """Return the ``service_tier`` field of a chat completion, ``{}`` if the upstream reports none."""
    if usage.get("speed") == "fast":
        return {"service_tier": "priority"}
    said = usage.get("service_tier")
    tier = SERVICE_TIERS.get(said) if isinstance(said, str) else None
    return {"service_tier": tier} if tier else {}


def updated(usage: Usage, later: object) -> dict[str, Any]:
    """Return the counts after a later event of the same stream: each replaces the earlier one, null is ignored."""
    news = later if isinstance(later, Mapping) else {}
    return {**usage, **{name: value for name, value in news.items() if value is not None}}


def added(first: Usage, second: Usage) -> dict[str, Any]:
    """Return the summed counts of two requests; other values (tier, region) are the second's."""
    return {**first, **{name: _together(first.get(name), value) for name, value in second.items()}}


def _together(first: object, second: object) -> object:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return {**first, **{name: _sum(first.get(name), value) for name, value in second.items()}}
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    return _sum(first, second)


def _sum(first: object, second: object) -> object:
    if isinstance(first, int) and isinstance(second, int):
        return first + second
    return first if second is None else second


def _count(record: Usage, name: str) -> int:
    """Return a count; some servers send floats."""
    value = record.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value > 0 else 0
