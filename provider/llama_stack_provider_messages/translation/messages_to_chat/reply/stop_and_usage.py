"""Stop reason and usage of a reply: a response's finish reason and token counts in the words of the Messages API.

A finish reason alone is not enough. A response with a complete tool call is ``tool_use`` whatever the finish reason
(bifrost 6123), a refusal is ``refusal``, and a stop sequence found here is ``stop_sequence``. Counts may be missing,
double (cached tokens are part of ``prompt_tokens``, but not of ``input_tokens``) or zero in the last record.
"""

from collections.abc import Collection
from typing import Any

from llama_stack_api_messages.errors import ApiError, MessagesError
from llama_stack_provider_messages.errors.body import translate_error
from llama_stack_provider_messages.errors.redaction import Secrets, redact_error
from llama_stack_provider_messages.translation.fields import field
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import tokens_of_bytes

STOP_REASONS: dict[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "end_turn",
    "content_filter": "refusal",
    "function_call": "end_turn",
}
"""The schema's finish reasons. A response with a tool call gets ``tool_use`` for any of them; ``tool_calls`` without
a call is ``end_turn``."""

DIALECT_STOP_REASONS: dict[str, str] = {
    "end_turn": "end_turn",
    "eos": "end_turn",
    "eos_token": "end_turn",
    "stop_sequence": "end_turn",
    "tool_use": "end_turn",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",
    "sensitive": "refusal",
    "SAFETY": "refusal",
}
"""Finish reasons outside the schema (TGI, Mistral, GLM, gateways)."""

FAILURES = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})
"""Finish reasons of failed responses (OpenRouter, SGLang and vLLM, GLM, DeepSeek): an error, never a stop reason."""

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
"""Names of the cache counts. The last is vLLM's ``PromptTokenUsageInfo`` (vllm/entrypoints/openai/engine/protocol.py).
"""


def finish_reason(choice: object) -> str | None:
    """Return the finish reason of a choice; ``""`` and the string ``"null"`` (APISIX tests 14 and 16) give None."""
    reason = field(choice, "finish_reason")
    return reason if isinstance(reason, str) and reason not in ("", "null") else None


def stop_reason(reason: str | None) -> str:
    """Return the stop reason for a finish reason, without regard to calls; ``end_turn`` if unknown."""
    return STOP_REASONS.get(reason or "") or DIALECT_STOP_REASONS.get(reason or "", "end_turn")


def may_cut_call(reason: str | None) -> bool:
    """Whether a response with this finish reason may be truncated inside the arguments of a call."""
    return stop_reason(reason) in ("max_tokens", "refusal")


def backend_failure(error: object, reason: str | None, secrets: Secrets) -> MessagesError | None:
    """Return the failure that a response or chunk reports; return None if it reports a success.

    Args:
        error: Its ``error`` field (OpenRouter sends one together with the finish reason ``error``).
        reason: Its finish reason.
        secrets: The backend's keys; redacted, because its error messages may contain them.
    """
    if error:
        return redact_error(translate_error(None, {"error": error}), secrets)
    if reason not in FAILURES:
        return None
    return ApiError(f"The backend broke off its answer ({reason}); send the request again")


def reported_stop(choice: object, stops: Collection[str]) -> str | None:
    """Return the stop sequence that vLLM (``stop_reason``) or SGLang (``matched_stop``) reports.

    Token ids are ignored, and so are strings that the client did not request: SGLang also reports the template's
    end-of-turn string there.
    """
    values = (field(choice, name) for name in ("stop_reason", "matched_stop"))
    return next((value for value in values if isinstance(value, str) and value in stops), None)


def stop_fields(
    reason: str | None,
    *,
    calls: bool,
    cut: bool,
    refusal: str,
    reported: str | None,
    matched_stop: str | None = None,
    limited_by_window: bool = False,
) -> dict[str, Any]:
    """Return ``stop_reason``, ``stop_sequence`` and ``stop_details`` of a response.

    Args:
        reason: The finish reason, None if the backend sent none.
        calls: Whether the response holds a tool call.
        cut: Whether its last tool call is incomplete.
        refusal: The model's refusal text, ``""`` without one.
        reported: The stop sequence reported by the backend, if any.
        matched_stop: The stop sequence that this server found in the text; it takes precedence.
        limited_by_window: The output limit was lowered to the rest of the context window.
    """
    if matched_stop:
        return {"stop_reason": "stop_sequence", "stop_sequence": matched_stop, "stop_details": None}
    found = stop_reason(reason)
    details = None
    if refusal or found == "refusal":
        found, details = "refusal", {"type": "refusal", "category": None, "explanation": refusal or None}
    elif calls and not (cut and found == "max_tokens"):
        found = "tool_use"
    elif found == "end_turn" and reported:
        found = "stop_sequence"
    if found == "max_tokens" and limited_by_window:
        found = "model_context_window_exceeded"
    stop_sequence = reported if found == "stop_sequence" else None
    return {"stop_reason": found, "stop_sequence": stop_sequence, "stop_details": details}


type Counts = dict[str, int]
"""Known token counts; a count that is 0 or missing is unknown."""


def token_counts(usage: object) -> Counts:
    """Return the counts of one usage record.

    Merge the records of a stream with ``|``. Zeros are left out, so that a last record of zeros does not overwrite
    earlier counts.
    """
    counts = {
        "prompt": _count(usage, "prompt_tokens"),
        "cache_read": _cache_count(usage, _CACHE_READ),
        "cache_write": _cache_count(usage, _CACHE_WRITE),
        "output": _count(usage, "completion_tokens"),
        "thinking": _count(field(usage, "completion_tokens_details"), "reasoning_tokens"),
    }
    return {name: count for name, count in counts.items() if count}


def _cache_count(usage: object, names: tuple[str, ...]) -> int:
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


def estimated_counts(prompt_tokens: int, output_bytes: int) -> Counts:
    """Return estimates for unknown counts, for the client's context meter (any-llm 1180, litellm 31069).

    Args:
        prompt_tokens: Estimated prompt tokens.
        output_bytes: Bytes of the backend's output.
    """
    return {"prompt": prompt_tokens, "output": tokens_of_bytes(output_bytes)}


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
