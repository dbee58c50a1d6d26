"""Translates a Messages request into the fields of a chat completions request.

Every top-level field of the request is in exactly one of the tables of this module; a test compares the tables with the
request model. ``CHECKED`` has fields that may change the meaning or a guarantee, ``HINTS`` fields without effect on the
response.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.backend.estimate import estimate_tokens
from llama_stack_provider_messages.translation.messages_to_chat.backend.optional import without_refused
from llama_stack_provider_messages.translation.messages_to_chat.backend.output_limit import fit_window, output_limit
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

HINTS = frozenset({"cache_control", "diagnostics", "fallback_credit_token", "user_profile_id"})
"""Fields without effect on the response."""

MAX_TOOLS = 2_000
"""Maximum tools of a translated request. The platform's client spends most of a millisecond on each."""
MAX_MESSAGES = 10_000
"""Maximum messages of a translated request, plus the blocks that become messages, calls or parts (all but text). Each
takes a third of a millisecond. The longest context window has room for fewer."""

_LONGEST_KEY = 64
"""Maximum characters of ``safety_identifier`` and ``prompt_cache_key`` in the platform's request model."""

SESSION_HEADERS = ("x-claude-code-session-id", "x-session-id", "x-session-affinity")
"""Headers that identify a conversation: Claude Code's, then opencode's."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The translation of a Messages request.

    Args:
        fields: The keyword fields of the chat completions request, without ``model``.
        form: Options for the reply.
        dropped: The dropped parts.
    """

    fields: dict[str, Any]
    form: ReplyOptions
    dropped: tuple[Dropped, ...] = ()


def translate_request(request: CreateMessageRequest, ctx: TranslationContext) -> ChatRequest:
    """Return the chat completions request for a Messages request.

    Args:
        request: The request, as parsed.
        ctx: State of the translation, with the backend's profile and the policy.

    Raises:
        InvalidRequestError: A part of the request has no equivalent and cannot be dropped.
    """
    _check_size(request)
    if ctx.policy.strict:
        check_strict(request, ctx)
    _check(request, ctx)
    tools = tool_fields(request, ctx)
    _check_tools(tools.get("tools", ()))
    limits = output_limit(request, ctx)
    fields = {
        "messages": chat_messages(request, ctx),
        **tools,
        **thinking_fields(request, ctx, tools="tools" in tools),
        **limits,
        **_sampling(request, ctx),
        **_format(request, ctx),
        **_account(request, ctx),
    }
    ctx = fit_window(request, fields, ctx)
    if fields["messages"] and fields["messages"][-1]["role"] == "assistant":
        fields |= _prefill(request, fields["messages"][-1], ctx)
    if request.stream:
        usage = {"stream_options": {"include_usage": True}} if ctx.profile.stream_usage else {}
        fields |= {"stream": True, **usage}
    sent = _merged(without_refused(fields, ctx), ctx.profile.extra_body)
    return ChatRequest(sent, _form(request, fields, ctx), ctx.log.entries())


def _check_size(request: CreateMessageRequest) -> None:
    _check_tools(request.tools or ())
    count = 0
    for index, message in enumerate(request.messages):
        count += 1 + sum(_weight(block) for block in list_field(message, "content"))
        if count > MAX_MESSAGES:
            raise InvalidRequestError(
                f"messages.{index}: there are more than {MAX_MESSAGES} messages and blocks (text blocks apart), up "
                "to here, and each costs this server time for a model of this kind; shorten the conversation"
            )


def _weight(block: object) -> int:
    """Return how many messages, calls and parts a block becomes."""
    return sum(field(part, "type") != "text" for part in [block, *list_field(block, "content")])


def _check_tools(tools: Sequence[object]) -> None:
    if len(tools) > MAX_TOOLS:
        raise InvalidRequestError(
            f"tools: more than {MAX_TOOLS} tools are not accepted for a model of this kind, because each costs this "
            "server time; send fewer"
        )


def _merged(fields: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``fields`` merged with ``extra``, which takes precedence; objects are merged key by key."""
    merged = dict(fields)
    for name, value in extra.items():
        mine = fields.get(name)
        merged[name] = _merged(mine, value) if isinstance(mine, dict) and isinstance(value, Mapping) else value
    return merged


def _form(request: CreateMessageRequest, fields: dict[str, Any], ctx: TranslationContext) -> ReplyOptions:
    tools = frozenset(tool["function"]["name"] for tool in fields.get("tools", ()))
    continued = fields["messages"][-1]["role"] == "assistant"
    return replace(
        ReplyOptions.of(request, ctx.edits),
        tools=tools,
        names=ctx.names,
        prefill=_repeated(fields),
        inline="none" if continued else ctx.profile.inline_thinking,
        prompt_estimate=estimate_tokens(fields),
        windowed=ctx.room is not None and fields[ctx.profile.output_limit] == ctx.room,
        refusals=ctx.policy.content_policy == "refusal",
    )


def _repeated(fields: dict[str, Any]) -> str:
    """Return the prefill that the backend continues and may repeat before the continuation.

    Empty with ``continue_final_message``: by contract, that response is only the continuation, which may begin with the
    same words.
    """
    last = fields["messages"][-1]
    if last["role"] != "assistant" or fields.get("continue_final_message"):
        return ""
    return last["content"] or ""


def _check(request: CreateMessageRequest, ctx: TranslationContext) -> None:
    for name, check in CHECKED.items():
        if (value := field(request, name)) is not None:
            check(value, name, ctx)
    for path in unknown_keys(request):
        ctx.drop(path, path, "this server does not know the field")


def _refuse_thread(_value: object, path: str, _ctx: TranslationContext) -> None:
    """Reject a thread. On exactly this error code the SDK's tool runner sends the whole history instead."""
    raise InvalidRequestError(
        f"{path}: this server does not store conversations; send the whole history in messages",
        details={"error_code": "thread_unsupported_request"},
    )


def _refuse_compaction(_value: object, path: str, _ctx: TranslationContext) -> None:
    raise InvalidRequestError(f"{path}: this server does not compact conversations; leave the field out")


def _leave_mcp(value: list[object], path: str, ctx: TranslationContext) -> None:
    """Drop or reject MCP servers, like their tools (tool_functions.py)."""
    if value and ctx.policy.server_tools == "reject":
        raise InvalidRequestError(f"{path}: this server does not call MCP servers; connect to them from the client")
    if value:
        ctx.drop(path, path, "this server does not call MCP servers; connect to them from the client")


def _refuse_region(value: str, path: str, _ctx: TranslationContext) -> None:
    if value != "global":
        raise InvalidRequestError(
            f"{path}: '{value}' cannot be guaranteed here; leave the field out or set it to 'global'"
        )


def _refuse_skills(value: object, path: str, _ctx: TranslationContext) -> None:
    if field(value, "skills"):
        raise InvalidRequestError(f"{path}.skills: this server has no containers; leave the skills out")


def _refuse_payer(value: object, path: str, _ctx: TranslationContext) -> None:
    if field(value, "bill_to") == "user_profile":
        raise InvalidRequestError(f"{path}.bill_to: this server does not bill user profiles; leave the field out")


def _note_fallbacks(value: object, path: str, ctx: TranslationContext) -> None:
    if value != "default":
        ctx.drop(path, path, "this server does not try other models")


def _note_safeguards(value: list[object], path: str, ctx: TranslationContext) -> None:
    """Log safeguards as dropped. The reply reports them too, see ``ReplyOptions.safeguard_results``."""
    if value:
        ctx.drop(path, path, "this server has no safety classifier; the response reports it as unavailable")


CHECKED: dict[str, Callable[[Any, str, TranslationContext], None]] = {
    "thread": _refuse_thread,
    "compaction": _refuse_compaction,
    "mcp_servers": _leave_mcp,
    "inference_geo": _refuse_region,
    "container": _refuse_skills,
    "billing_policy": _refuse_payer,
    "fallbacks": _note_fallbacks,
    "safeguards": _note_safeguards,
}
"""Fields accepted with some values and rejected with others."""


def _sampling(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the sampling fields.

    ``stop_sequences`` are applied here: backends accept four at most and do not report the match.
    """
    fields = {name: value for name in ("temperature", "top_p") if (value := field(request, name)) is not None}
    if request.top_k is not None:
        if ctx.profile.top_k:
            fields["top_k"] = request.top_k
        else:
            ctx.drop("top_k", "top_k", "the backend does not support this setting")
    return fields


def _format(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
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
        ctx.drop(
            f"{path}.schema", "strict", "the schema is not closed; a backend with a strict mode may not hold to it"
        )
    named = {"name": "response", "schema": schema, "strict": strict}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _account(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    user = field(request.metadata, "user_id")
    if user and ctx.profile.user_field:
        fields[ctx.profile.user_field] = user if len(user) <= _LONGEST_KEY else _hash(user)
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
    """Return the cache key shared by conversations with a common prefix, ``""`` if there is none."""
    session = next((value for name in SESSION_HEADERS if (value := ctx.headers.get(name))), "")
    if session:
        return session if len(session) <= _LONGEST_KEY else _hash(session)
    return _hash(user) if user else ""


def _hash(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()


SERVICE_TIERS: dict[str, str] = {"auto": "auto", "standard_only": "default"}
"""Service tiers of the request -> OpenAI's; other backends have no tiers and ignore the field."""


def _prefill(request: CreateMessageRequest, message: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields that make a backend continue the final assistant message, or mark the message itself.

    A continuation cannot begin with thinking; llama.cpp answers 400 to the attempt. An assistant message followed by a
    blank user message is not a prefill.
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
