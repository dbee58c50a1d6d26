"""Translates a Messages request into the fields of a chat completions request: ``translate_request`` lists the steps.

Every top-level field of the request is in exactly one of three tables; a test compares the tables with the request
model. ``TRANSLATED`` has the fields with an equivalent, ``CHECKED`` those that are accepted with some values and
rejected or dropped with others, ``HINTS`` those without effect on the response.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from math import isfinite
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.headers import SESSION_HEADERS
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.fields import field
from llama_stack_provider_messages.translation.messages_to_chat.backend.adapt import (
    fit_window,
    omit_rejected,
    output_limit_fields,
)
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_tokens
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.reply.options import ReplyOptions

from .messages import chat_messages, empty_message
from .strict import check_strict, unknown_keys
from .thinking import SWITCHES, THINKING, ThinkingRequest, thinking_fields
from .tool_functions import is_strict_schema
from .tools import tool_fields

TRANSLATED = frozenset({
    "model", "messages", "system", "max_tokens", "stop_sequences", "stream", "temperature", "top_p", "top_k",
    "thinking", "output_config", "output_format", "tools", "tool_choice", "metadata", "service_tier", "speed",
    "context_management",
})  # fmt: skip
"""Fields with an equivalent."""

CHECKED = frozenset({
    "thread", "compaction", "mcp_servers", "inference_geo", "container", "billing_policy", "fallbacks", "safeguards",
})  # fmt: skip
"""Fields accepted with some values only, because others would change the meaning of the response or a guarantee."""

HINTS = frozenset({"cache_control", "diagnostics", "fallback_credit_token", "user_profile_id"})
"""Fields without effect on the response."""

SERVICE_TIERS: dict[str, str] = {"auto": "auto", "standard_only": "default"}
"""Service tiers of the request -> OpenAI's; other backends have no tiers and ignore the field."""

_MAX_PATH_CHARACTERS = 200
"""Characters of a path into a schema, whose names may have megabytes."""

_MAX_KEY_CHARACTERS = 64
"""Limit of ``safety_identifier`` and ``prompt_cache_key`` in the platform's request model."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The translation of a Messages request.

    Args:
        fields: The keyword fields of the chat completions request, without ``model``.
        options: Options for the reply.
        dropped: The dropped parts.
    """

    fields: dict[str, Any]
    options: ReplyOptions
    dropped: tuple[Dropped, ...] = ()


def translate_request(request: CreateMessageRequest, ctx: TranslationContext) -> ChatRequest:
    """Return the chat completions request for a Messages request.

    Args:
        request: The request, as parsed.
        ctx: State of the translation, with the backend's profile and the policy.

    Raises:
        InvalidRequestError: A part of the request has no equivalent and cannot be dropped.
    """
    if ctx.policy.strict:
        check_strict(request, ctx)
    _check_fields(request, ctx)

    tools = tool_fields(request, ctx)
    limit = output_limit_fields(request, ctx)
    fields = {
        "messages": chat_messages(request, ctx),
        **tools,
        **thinking_fields(request, ctx, tools="tools" in tools),
        **limit,
        **_sampling_fields(request, ctx),
        **_response_format(request, ctx),
        **_account_fields(request, ctx),
    }
    try:
        return _complete(request, fields, ctx)
    except ValueError:  # the encoder of the schemas
        if path := _path_of_infinity(request):
            raise InvalidRequestError(f"{path}: the number is too large for JSON; send a smaller one") from None
        raise


def _complete(request: CreateMessageRequest, fields: dict[str, Any], ctx: TranslationContext) -> ChatRequest:
    """Return the chat request with the fields that depend on the others."""
    ctx = fit_window(request, fields, ctx)
    if fields["messages"] and fields["messages"][-1]["role"] == "assistant":
        fields |= _prefill_fields(request, fields["messages"][-1], ctx)
    if request.stream:
        fields["stream"] = True
        if ctx.profile.stream_usage:
            fields["stream_options"] = {"include_usage": True}

    sent = _merged(omit_rejected(fields, ctx), ctx.profile.extra_body)
    return ChatRequest(sent, _reply_options(request, fields, ctx), ctx.log.entries())


def _check_fields(request: CreateMessageRequest, ctx: TranslationContext) -> None:
    """Reject the values of ``CHECKED`` fields that cannot be ignored; drop the others, and unknown fields."""
    if request.thread is not None:  # on exactly this error code the SDK's tool runner sends the whole history instead
        raise InvalidRequestError(
            "thread: this server does not store conversations; send the whole history in messages",
            details={"error_code": "thread_unsupported_request"},
        )
    if request.compaction is not None:
        raise InvalidRequestError("compaction: this server does not compact conversations; leave the field out")
    if request.mcp_servers:
        reason = "this server does not call MCP servers; connect to them from the client"
        if ctx.policy.server_tools == "reject":
            raise InvalidRequestError(f"mcp_servers: {reason}")
        ctx.drop("mcp_servers", "mcp_servers", reason)
    if request.inference_geo not in (None, "global"):
        raise InvalidRequestError(
            f"inference_geo: '{request.inference_geo}' cannot be guaranteed here; leave the field out or set it to "
            "'global'"
        )
    if field(request.container, "skills"):
        raise InvalidRequestError("container.skills: this server has no containers; leave the skills out")
    if field(request.billing_policy, "bill_to") == "user_profile":
        raise InvalidRequestError(
            "billing_policy.bill_to: this server does not bill user profiles; leave the field out"
        )
    if request.fallbacks not in (None, "default"):
        ctx.drop("fallbacks", "fallbacks", "this server does not try other models")
    if request.safeguards:  # the reply reports them, too: ``ReplyOptions.safeguard_results``
        reason = "this server has no safety classifier; the response reports it as unavailable"
        ctx.drop("safeguards", "safeguards", reason)
    for path in unknown_keys(request):
        ctx.drop(path, path, "this server does not know the field")


def _path_of_infinity(request: CreateMessageRequest) -> str:
    """Return the path of a number such as ``1e999`` in a schema, which parsers read as infinity; ``""`` without one."""

    def path_in(value: object, path: str) -> str:
        if isinstance(value, float):
            return "" if isfinite(value) else path
        parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        paths = ((f"{path}.{name}"[:_MAX_PATH_CHARACTERS], part) for name, part in parts)
        return next((found for inner, part in paths if (found := path_in(part, inner))), "")

    schemas: dict[str, object] = {
        "output_config.format.schema": field(field(request.output_config, "format"), "schema_"),
        "output_format.schema": field(request.output_format, "schema_"),
    }
    schemas |= {
        f"tools.{index}.input_schema": field(tool, "input_schema") for index, tool in enumerate(request.tools or ())
    }
    return next((found for path, schema in schemas.items() if (found := path_in(schema, path))), "")


def _sampling_fields(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the sampling fields.

    ``stop_sequences`` are not sent, but applied to the reply: backends accept four at most and do not report the match.
    """
    fields = {name: value for name in ("temperature", "top_p") if (value := field(request, name)) is not None}
    if request.top_k is not None:
        if ctx.profile.top_k:
            fields["top_k"] = request.top_k
        else:
            ctx.drop("top_k", "top_k", "the backend does not support this setting")
    return fields


def _response_format(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``response_format`` for structured output, strict if the schema allows it."""
    current, legacy = field(request.output_config, "format"), request.output_format
    if current is not None and legacy is not None:
        raise InvalidRequestError("output_format: cannot be combined with output_config.format; leave it out")
    chosen = current or legacy
    if chosen is None:
        return {}
    schema = chosen.schema_
    strict = is_strict_schema(schema)
    if not strict:
        path = "output_format" if current is None else "output_config.format"
        reason = "the schema is not closed; a backend with a strict mode may not enforce it"
        ctx.drop(f"{path}.schema", "strict", reason)
    named = {"name": "response", "schema": schema, "strict": strict}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _account_fields(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields for the end user, the prompt cache and the service tier."""
    fields: dict[str, Any] = {}
    user = field(request.metadata, "user_id")
    if user and ctx.profile.user_field:
        fields[ctx.profile.user_field] = user if len(user) <= _MAX_KEY_CHARACTERS else _hash(user)
    if ctx.profile.prompt_cache_key and (key := _cache_key(user, ctx)):
        fields["prompt_cache_key"] = key
    if ctx.profile.service_tier and request.service_tier in SERVICE_TIERS:
        fields["service_tier"] = SERVICE_TIERS[request.service_tier]
    if request.speed == "fast":
        if ctx.profile.service_tier:
            fields["service_tier"] = "priority"
        else:
            ctx.drop("speed", "speed", "the backend has no speed setting")
    if field(request.output_config, "task_budget") is not None:
        ctx.drop("output_config.task_budget", "task_budget", "the backend does not support task budgets")
    return fields


def _cache_key(user: str | None, ctx: TranslationContext) -> str:
    """Return the cache key shared by conversations with a common prefix; return ``""`` if it is not known."""
    session = next((value for name in SESSION_HEADERS if (value := ctx.headers.get(name))), "")
    if session:
        return session if len(session) <= _MAX_KEY_CHARACTERS else _hash(session)
    return _hash(user) if user else ""


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def _prefill_fields(request: CreateMessageRequest, message: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields that make a backend continue the final assistant message, or mark the message itself.

    A continuation cannot begin with thinking; llama.cpp answers 400 to the attempt. An assistant message followed by a
    blank user message is not a prefill.

    Raises:
        InvalidRequestError: The backend cannot continue a message, or the last user message is blank.
    """
    last = max(index for index, message in enumerate(request.messages) if message.role != "system")
    if request.messages[last].role == "user":
        raise empty_message(last)
    if ctx.profile.prefill == "reject":
        raise InvalidRequestError(
            f"messages.{last}: This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    fields: dict[str, Any] = {}
    if ctx.profile.thinking in ("template", "type", "enable_thinking"):
        fields |= SWITCHES[ctx.profile.thinking](ThinkingRequest(thinks=False), ctx)
        if THINKING.get(field(request.thinking, "type")):
            ctx.drop("thinking", "thinking", "a prefilled response cannot begin with thinking")
    if ctx.profile.prefill in ("prefix", "partial"):
        message[ctx.profile.prefill] = True
        message.pop(ctx.profile.reasoning_field or "", None)  # DeepSeek reads it as the start of reasoning
    if ctx.profile.prefill == "continue":
        fields |= {"continue_final_message": True, "add_generation_prompt": False}
    return fields


def _merged(fields: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``fields`` merged with ``extra``, which takes precedence; objects are merged key by key."""
    merged = dict(fields)
    for name, value in extra.items():
        ours = fields.get(name)
        merged[name] = _merged(ours, value) if isinstance(ours, dict) and isinstance(value, Mapping) else value
    return merged


def _reply_options(request: CreateMessageRequest, fields: dict[str, Any], ctx: TranslationContext) -> ReplyOptions:
    """Return the options for the reply that depend on the translated request.

    The prefill is the text that the backend continues and may repeat before the continuation. It is empty with
    ``continue_final_message``: by contract, that response is only the continuation, which may begin with the same
    words.
    """
    last = fields["messages"][-1]
    is_prefilled = last["role"] == "assistant"
    return replace(
        ReplyOptions.of(request, ctx.edits),
        tools=frozenset(tool["function"]["name"] for tool in fields.get("tools", ())),
        names=ctx.names,
        prefill=(last["content"] or "") if is_prefilled and not fields.get("continue_final_message") else "",
        inline="none" if is_prefilled else ctx.profile.inline_thinking,
        prompt_estimate=estimate_tokens(fields),
        limited_by_window=ctx.room is not None and fields[ctx.profile.output_limit] == ctx.room,
        refusals=ctx.policy.content_policy == "refusal",
    )
