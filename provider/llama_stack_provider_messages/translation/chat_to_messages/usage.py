"""``usage`` of the Messages API -> ``usage`` of chat completions."""

from collections.abc import Mapping
from typing import Any

SERVICE_TIERS: dict[str, str] = {"standard": "default", "priority": "priority", "batch": "flex"}
"""Tiers an answer may name -> OpenAI's."""


def translate_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts: ``input_tokens`` leaves cached tokens out, ``prompt_tokens`` counts them all."""
    read, written = _count(usage, "cache_read_input_tokens"), _count(usage, "cache_creation_input_tokens")
    prompt, output = _count(usage, "input_tokens") + read + written, _count(usage, "output_tokens")
    details = usage.get("output_tokens_details")
    thinking = _count(details, "thinking_tokens") if isinstance(details, Mapping) else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thinking},
    }


def service_tier(usage: Mapping[str, Any]) -> str | None:
    """Return the tier that answered, None if the usage names none."""
    if usage.get("speed") == "fast":
        return "priority"
    return SERVICE_TIERS.get(str(usage.get("service_tier")))


def later(usage: Mapping[str, Any], report: object) -> dict[str, Any]:
    """Return the usage after a further report in the same stream, which wins where it says something."""
    told = report if isinstance(report, Mapping) else {}
    return {**usage, **{name: value for name, value in told.items() if value is not None}}


def added(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage of two messages together; what is no count is the second one's."""
    both = dict(one)
    for name, value in other.items():
        before = both.get(name)
        if _is_count(value) and _is_count(before):
            both[name] = before + value
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            both[name] = added(before, value)
        elif value is not None:
            both[name] = value
    return both


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(record: Mapping[str, Any], name: str) -> int:
    value = record.get(name)
    return value if isinstance(value, int) and value > 0 else 0
