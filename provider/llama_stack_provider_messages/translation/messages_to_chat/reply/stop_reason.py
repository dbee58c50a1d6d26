"""Translates finish reasons of chat completions into stop reasons of the Messages API."""

from collections.abc import Collection
from typing import Any

from llama_stack_provider_messages.translation.fields import field

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


def finish_reason(choice: object) -> str | None:
    """Return the finish reason of a choice; ``""`` and the string ``"null"`` (APISIX tests 14 and 16) give None."""
    reason = field(choice, "finish_reason")
    return reason if isinstance(reason, str) and reason not in ("", "null") else None


def stop_reason(reason: str | None) -> str:
    """Return the stop reason for a finish reason, without regard to calls; ``end_turn`` if unknown."""
    return STOP_REASONS.get(reason or "") or DIALECT_STOP_REASONS.get(reason or "", "end_turn")


def cuts(reason: str | None) -> bool:
    """Whether a response with this finish reason may be truncated inside the arguments of a call."""
    return stop_reason(reason) in ("max_tokens", "refusal")


def stop_match(choice: object, stops: Collection[str]) -> str | None:
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
    match: str | None,
    fired: str | None = None,
    windowed: bool = False,
) -> dict[str, Any]:
    """Return ``stop_reason``, ``stop_sequence`` and ``stop_details`` of a response.

    Args:
        reason: The finish reason, None if the backend sent none.
        calls: Whether the response holds a tool call.
        cut: Whether its last tool call is incomplete.
        refusal: The model's refusal text, ``""`` without one.
        match: The stop sequence reported by the backend, if any.
        fired: The stop sequence that this server found in the text; it takes precedence.
        windowed: The output limit was lowered to the rest of the context window.
    """
    if fired:
        return {"stop_reason": "stop_sequence", "stop_sequence": fired, "stop_details": None}
    known = stop_reason(reason)
    if refusal or known == "refusal":
        known = "refusal"
    elif calls and not (cut and known == "max_tokens"):
        known = "tool_use"
    elif known == "end_turn" and match:
        known = "stop_sequence"
    if known == "max_tokens" and windowed:
        known = "model_context_window_exceeded"
    return {
        "stop_reason": known,
        "stop_sequence": match if known == "stop_sequence" else None,
        "stop_details": _refusal_details(refusal) if known == "refusal" else None,
    }


def _refusal_details(refusal: str) -> dict[str, Any]:
    return {"type": "refusal", "category": None, "explanation": refusal or None}
