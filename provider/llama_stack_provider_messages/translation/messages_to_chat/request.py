"""A Messages request -> the fields of a chat completions request.

Every top-level field of the request is in exactly one of the tables of this module; a test holds them against the
model. ``REFUSED`` holds what would change the meaning or a guarantee, ``LOSSES`` what costs quality, ``HINTS``
what the answer does not depend on.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.dropped import DropLog, Translated

from .messages import chat_messages
from .profile import Profile
from .record import field
from .thinking import THINKING, thinking_fields
from .tools import is_strict_schema, tool_fields

TRANSLATED = frozenset({
    "model", "messages", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_p", "top_k",
    "thinking", "output_config", "output_format", "tools", "tool_choice", "metadata", "service_tier", "speed",
})  # fmt: skip
"""Fields with a counterpart."""

HINTS = frozenset({"cache_control", "diagnostics", "fallback_credit_token", "user_profile_id"})
"""Fields the answer does not depend on."""

LOSSES: dict[str, str] = {
    "context_management": "this server does not edit the history",
    "safeguards": "this server has no safety classifier",
}
"""Fields that are left out -> why."""

_LONGEST_USER = 64
"""The platform's request model takes no longer ``safety_identifier``."""


def translate_request(request: CreateMessageRequest, profile: Profile) -> Translated[dict[str, Any]]:
    """Return the keyword fields of the chat completions request, without ``model``.

    Raises:
        InvalidRequestError: A part of the request has no counterpart and is too much to leave out.
    """
    log = DropLog()
    _check(request, log)
    fields = {
        "messages": chat_messages(request, profile, log),
        **tool_fields(request, profile, log),
        **thinking_fields(request, profile, log),
        **_limits(request, profile),
        **_sampling(request, profile, log),
        **_format(request),
        **_account(request, profile, log),
    }
    if fields["messages"] and fields["messages"][-1]["role"] == "assistant":
        fields |= _prefill(request, profile, log)
    if request.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    return Translated(fields, log.entries())


def _check(request: CreateMessageRequest, log: DropLog) -> None:
    for name, check in CHECKED.items():
        if (value := field(request, name)) is not None:
            check(value, name, log)
    for name, reason in LOSSES.items():
        if field(request, name) is not None:
            log.note(name, name, reason)
    for name in request.model_extra or ():
        log.note(name, name, "this server does not know the field")


def _refuse_thread(_value: object, path: str, _log: DropLog) -> None:
    """The SDK's tool runner falls back to sending the whole history on exactly this code."""
    raise InvalidRequestError(
        f"{path}: conversations are not kept on this server; send the whole history in messages",
        details={"error_code": "thread_unsupported_request"},
    )


def _refuse_compaction(_value: object, path: str, _log: DropLog) -> None:
    raise InvalidRequestError(f"{path}: this server does not compact conversations; leave the field out")


def _refuse_mcp(value: list[object], path: str, _log: DropLog) -> None:
    if value:
        raise InvalidRequestError(f"{path}: this server does not call MCP servers; connect to them from the client")


def _refuse_region(value: str, path: str, _log: DropLog) -> None:
    if value != "global":
        raise InvalidRequestError(f"{path}: '{value}' cannot be guaranteed here; leave the field out or say 'global'")


def _refuse_skills(value: object, path: str, _log: DropLog) -> None:
    if field(value, "skills"):
        raise InvalidRequestError(f"{path}.skills: this server has no containers; leave the skills out")


def _refuse_payer(value: object, path: str, _log: DropLog) -> None:
    if field(value, "bill_to") == "user_profile":
        raise InvalidRequestError(f"{path}.bill_to: this server bills no user profiles; leave the field out")


def _note_fallbacks(value: object, path: str, log: DropLog) -> None:
    if value != "default":
        log.note(path, path, "this server tries no other models")


CHECKED: dict[str, Callable[[Any, str, DropLog], None]] = {
    "thread": _refuse_thread,
    "compaction": _refuse_compaction,
    "mcp_servers": _refuse_mcp,
    "inference_geo": _refuse_region,
    "container": _refuse_skills,
    "billing_policy": _refuse_payer,
    "fallbacks": _note_fallbacks,
}
"""Fields that are fine with some values and too much with others."""


def _limits(request: CreateMessageRequest, profile: Profile) -> dict[str, Any]:
    """``max_tokens: 0`` only warms the prompt cache: one token is the least a backend makes; the answer drops it."""
    if request.max_tokens == 0 and request.stream:
        raise InvalidRequestError("max_tokens: 0 cannot be combined with stream")
    return {profile.output_limit: request.max_tokens or 1}


def _sampling(request: CreateMessageRequest, profile: Profile, log: DropLog) -> dict[str, Any]:
    """``stop_sequences`` stay here: backends take four at most and do not say which one they met."""
    fields = {name: value for name in ("temperature", "top_p") if (value := field(request, name)) is not None}
    if request.top_k is not None:
        if profile.top_k:
            fields["top_k"] = request.top_k
        else:
            log.note("top_k", "top_k", "the backend has no such setting")
    return fields


def _format(request: CreateMessageRequest) -> dict[str, Any]:
    current, legacy = field(request.output_config, "format"), request.output_format
    if current is not None and legacy is not None:
        raise InvalidRequestError("output_format: cannot be combined with output_config.format; leave it out")
    chosen = current or legacy
    if chosen is None:
        return {}
    schema = chosen.schema_
    named = {"name": "response", "schema": schema, "strict": is_strict_schema(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _account(request: CreateMessageRequest, profile: Profile, log: DropLog) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    user = field(request.metadata, "user_id")
    if user:
        fields[profile.user_field] = user if len(user) <= _LONGEST_USER else sha256(user.encode()).hexdigest()
    if profile.service_tier and request.service_tier in SERVICE_TIERS:
        fields["service_tier"] = SERVICE_TIERS[request.service_tier]
    if request.speed == "fast":
        if profile.service_tier:
            fields["service_tier"] = "priority"
        else:
            log.note("speed", "speed", "the backend has one speed")
    if field(request.output_config, "task_budget") is not None:
        log.note("output_config.task_budget", "task_budget", "the backend does not know task budgets")
    return fields


SERVICE_TIERS: dict[str, str] = {"auto": "auto", "standard_only": "default"}
"""Request tiers; other backends than OpenAI have none, and the field says nothing there."""


def _prefill(request: CreateMessageRequest, profile: Profile, log: DropLog) -> dict[str, Any]:
    """Return the fields that make a backend continue the final assistant message.

    The continuation cannot begin with thinking; llama.cpp answers 400 to the attempt.
    """
    if profile.prefill == "reject":
        last = max(index for index, message in enumerate(request.messages) if message.role == "assistant")
        raise InvalidRequestError(
            f"messages.{last}: This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    fields: dict[str, Any] = {}
    if profile.thinking == "template":
        fields["chat_template_kwargs"] = {"enable_thinking": False, "thinking": False}
        if THINKING.get(field(request.thinking, "type")):
            log.note("thinking", "thinking", "a continued answer cannot begin with thinking")
    if profile.prefill == "continue":
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    return fields
