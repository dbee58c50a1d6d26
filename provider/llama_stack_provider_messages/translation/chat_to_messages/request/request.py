"""Translates a chat completions request into the body of a Messages request.

Every field of OpenAI's request is in exactly one of the tables here and in unsupported.py; a test compares the tables
with the SDK's fields.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.options import TranslationOptions
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, flag_at, plain, record_at, text_at
from llama_stack_provider_messages.translation.chat_to_messages.reply.options import ReplyOptions
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

from .breakpoints import apply_marks
from .choice import choice_field, choice_of
from .messages import conversation
from .output import output_format
from .settings import account, limit, sampling, stop_sequences
from .thinking import allowed_thinking, thinking_of
from .tools import recalled, tools_of, web_search
from .unsupported import CHECKED, HINTS, WARNED, check_fields

TRANSLATED = frozenset({
    "model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop", "tools", "functions",
    "tool_choice", "function_call", "parallel_tool_calls", "response_format", "reasoning_effort", "stream",
    "stream_options", "user", "safety_identifier", "service_tier", "web_search_options",
})  # fmt: skip
"""Fields with an equivalent."""

EXTENSIONS = frozenset({"thinking", "top_k"})
"""Fields of the Messages API that OpenAI clients send in ``extra_body``."""


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """The translation of a chat completions request.

    Args:
        body: JSON for ``POST /v1/messages``; the same request gives the same bytes.
        dropped: The dropped and repaired parts.
        form: Options for the reply.
        betas: Names for the ``anthropic-beta`` header.
    """

    body: dict[str, Any]
    dropped: tuple[Dropped, ...]
    form: ReplyOptions
    betas: tuple[str, ...] = ()


def translate_request(chat: Mapping[str, Any], options: TranslationOptions) -> MessagesRequest:
    """Return the Messages request for a chat completions request.

    Args:
        chat: The request as plain JSON; null means absent.
        options: Settings of the upstream and the model.

    Raises:
        InvalidRequestError: The request is invalid, or a part of it has no equivalent and cannot be dropped. The
            message begins with the JSON path: ``messages.2.content.0: ...``.
    """
    ctx = TranslationContext(options)
    name = text_at(chat.get("model"), "model") or options.model
    check_fields(chat, ctx)
    for field in chat:
        if chat[field] is not None and field not in KNOWN:
            ctx.drop(plain(field), plain(field), "this server does not know the field")
    body, told_json = _body(chat, ctx)
    form = ReplyOptions(
        model=name,
        include_usage=_include_usage(chat, ctx),
        legacy_functions=bool(chat.get("functions")),
        custom_tools=ctx.both_names(ctx.custom),
        wrapped_tools=ctx.both_names(ctx.wrapped),
        json_object=told_json,
        tool_names=dict(ctx.names),
    )
    body = _sendable(body, ctx)
    return MessagesRequest(body, ctx.log.entries(), form, tuple(ctx.betas))


KNOWN = TRANSLATED | EXTENSIONS | CHECKED.keys() | WARNED.keys() | HINTS.keys()
"""All known fields."""


def _body(chat: Record, ctx: TranslationContext) -> tuple[dict[str, Any], bool]:
    declared = tools_of(chat, ctx)
    system, messages = conversation(chat, ctx)
    choice = choice_of(chat, declared)
    tools = [tool for name, tool in declared.items() if choice.allowed is None or name in choice.allowed]
    tools += web_search(chat.get("web_search_options"), declared, ctx)
    chosen = choice_field(choice, chat, [tool["name"] for tool in tools], ctx)
    if not tools and (tools := recalled(_called(messages))):
        chosen = {"tool_choice": {"type": "none"}}
    shape, told_json = output_format(chat, ctx)
    _check_prefill(shape, chat, messages)
    forced = chosen.get("tool_choice", {}).get("type") in ("any", "tool")
    thinking = allowed_thinking(thinking_of(chat, ctx), messages, ctx, forced=forced)
    config = {**({"effort": thinking.effort} if thinking.effort else {}), **shape}
    system += [{"type": "text", "text": text} for text in ctx.instructions]
    apply_marks([*system, *(block for message in messages for block in message["content"])], ctx)
    body = {
        "model": ctx.options.model,
        "max_tokens": limit(chat, thinking, ctx),
        "system": system,
        "messages": messages,
        "tools": tools,
        **chosen,
        "thinking": dict(thinking.config),
        "output_config": config,
        **sampling(chat, thinking, ctx),
        **stop_sequences(chat, ctx),
        **account(chat, ctx),
        "stream": flag_at(chat.get("stream"), "stream"),
    }
    return {name: value for name, value in body.items() if name in _ALWAYS or value}, told_json


_ALWAYS = ("temperature", "top_p", "top_k", "max_tokens")
"""Fields that are sent even if they are 0."""


def _called(messages: list[Block]) -> list[str]:
    blocks = (block for message in messages for block in message["content"])
    return [block["name"] for block in blocks if block["type"] == "tool_use"]


def _check_prefill(shape: dict[str, Any], chat: Record, messages: list[Block]) -> None:
    if shape and messages[-1]["role"] == "assistant":
        raise InvalidRequestError(
            f"messages.{len(chat['messages']) - 1}: an answer in a schema cannot be continued; "
            "end with a user message, or leave response_format out"
        )


def _include_usage(chat: Record, ctx: TranslationContext) -> bool:
    if chat.get("stream_options") is None:
        return False
    options = record_at(chat["stream_options"], "stream_options")
    for name, value in options.items():
        if name != "include_usage" and value:
            ctx.hint(f"stream_options.{plain(name)}", "stream_options", "this server does not know the option")
    return flag_at(options.get("include_usage"), "stream_options.include_usage")


def _sendable(body: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return a body that can be encoded as UTF-8.

    Raises:
        InvalidRequestError: A value is not valid JSON, such as NaN.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError("tools, thinking: no JSON in one of them; look for NaN and huge numbers") from error
    whole = replace_lone_surrogates(text)
    if whole == text:
        return body
    ctx.hint("messages", "text", "half of a surrogate pair cannot be sent and became U+FFFD")
    return json.loads(whole)  # type: ignore[no-any-return]
