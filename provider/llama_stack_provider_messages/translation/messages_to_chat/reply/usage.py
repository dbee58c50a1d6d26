"""Translates token counts of chat completions into ``usage`` of the Messages API."""

from typing import Any

from llama_stack_provider_messages.translation.fields import field

SERVICE_TIERS: dict[str, str] = {
    "auto": "standard",
    "default": "standard",
    "fast": "priority",
    "flex": "standard",
    "priority": "priority",
    "scale": "priority",
    "standard": "standard",
}
"""Values of the openai SDK's ``service_tier`` literal -> tiers of the Messages API."""

_CACHE_READ = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_CACHE_WRITE = ("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens", "created_cache_tokens")
"""The last is vLLM's ``PromptTokenUsageInfo`` (vllm/entrypoints/openai/engine/protocol.py)."""
_BYTES_PER_TOKEN = 4

type Counts = dict[str, int]
"""Known counts; a count that is 0 or missing is unknown."""


def token_counts(usage: object) -> Counts:
    """Return the counts of one usage record.

    Merge the records of a stream with ``|``. Zeros are left out, so that a last record of zeros does not overwrite
    earlier counts.
    """
    counts = {
        "prompt": _count(usage, "prompt_tokens"),
        "cache_read": _detail(usage, _CACHE_READ),
        "cache_write": _detail(usage, _CACHE_WRITE),
        "output": _count(usage, "completion_tokens"),
        "thinking": _count(field(usage, "completion_tokens_details"), "reasoning_tokens"),
    }
    return {name: count for name, count in counts.items() if count}


def byte_length(text: str) -> int:
    """Return the UTF-8 length of a text in bytes; a lone surrogate counts as one byte."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def estimated_counts(prompt: int, output_bytes: int) -> Counts:
    """Return estimates for unknown counts, for the client's context meter (any-llm 1180, litellm 31069).

    Args:
        prompt: Estimated prompt tokens.
        output_bytes: Bytes of the backend's output; about four make a token.
    """
    return {"prompt": prompt, "output": -(-output_bytes // _BYTES_PER_TOKEN)}


def translate_usage(usage: object, service_tier: object = None) -> dict[str, Any]:
    """Return ``usage`` for the usage record of a unary response."""
    return usage_fields(token_counts(usage), service_tier)


def usage_fields(counts: Counts, service_tier: object = None) -> dict[str, Any]:
    """Return ``usage`` with every documented key; unknown counts are 0, objects that do not apply are null.

    ``prompt_tokens`` includes cached tokens, ``input_tokens`` does not (by the references of both APIs), so the cache
    counts are subtracted. If the prompt is known, cache counts above it are lowered, so that the three add up to the
    prompt. ``completion_tokens`` already includes reasoning.
    """
    prompt, cache_read, cache_write = (counts.get(name, 0) for name in ("prompt", "cache_read", "cache_write"))
    if prompt:
        cache_read = min(cache_read, prompt)
        cache_write = min(cache_write, prompt - cache_read)
    thinking = counts.get("thinking", 0)
    return {
        "input_tokens": max(0, prompt - cache_read - cache_write),
        "cache_creation_input_tokens": cache_write,
        "cache_read_input_tokens": cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": counts.get("output", 0),
        "output_tokens_details": {"thinking_tokens": thinking} if thinking else None,
        "server_tool_use": None,
        "service_tier": SERVICE_TIERS.get(str(service_tier), "standard"),
        "inference_geo": None,
        "speed": None,
    }


def _detail(usage: object, names: tuple[str, ...]) -> int:
    """Return a cache count, from ``prompt_tokens_details`` (OpenAI) or from the record itself (DeepSeek, DashScope)."""
    for record in (field(usage, "prompt_tokens_details"), usage):
        for name in names:
            if count := _count(record, name):
                return count
    return 0


def _count(record: object, name: str) -> int:
    """Return a count; some servers send floats, and ``true`` is not a number."""
    value = field(record, name)
    if isinstance(value, bool):
        return 0
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value > 0 else 0
