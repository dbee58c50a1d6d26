"""Translates a chat completions request into the body of a Messages request.

``translate_request`` lists the steps in order. The order matters: calls in the history need the declared tools, the
tool choice needs both, the thinking settings need all three, and ``max_tokens`` and sampling depend on thinking.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext, TranslationOptions
from llama_stack_provider_messages.translation.chat_to_messages.read import flag_at, text_at
from llama_stack_provider_messages.translation.chat_to_messages.reply.response import ReplyOptions
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

from .content import place_breakpoints
from .messages import conversation
from .settings import include_usage, max_tokens, metadata, response_format, sampling, service_tier, stop_sequences
from .thinking import thinking_settings
from .tools import both_names, choose_tools, declared_tools
from .unsupported import check_fields

_SENT_IF_ZERO = ("temperature", "top_p", "top_k", "max_tokens")
"""Fields that are sent even if they are 0; other fields are omitted if they are empty."""


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """The translation of a chat completions request.

    Args:
        body: JSON for ``POST /v1/messages``; the same request gives the same bytes.
        dropped: The dropped and repaired parts.
        reply_options: Options for translating the response.
        betas: Names for the ``anthropic-beta`` header.
    """

    body: dict[str, Any]
    dropped: tuple[Dropped, ...]
    reply_options: ReplyOptions
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
    client_model = text_at(chat.get("model"), "model") or options.model
    check_fields(chat, ctx)
    declared = declared_tools(chat, ctx)
    system, messages = conversation(chat, ctx)
    tools, tool_choice = choose_tools(chat, declared, messages, ctx)
    output_format, json_by_instruction = response_format(chat, messages, ctx)
    thinking = thinking_settings(chat, messages, tool_choice, ctx)
    system += [{"type": "text", "text": text} for text in ctx.instructions]
    place_breakpoints(system, messages, ctx)
    fields = {
        "model": options.model,
        "max_tokens": max_tokens(chat, thinking, ctx),
        "system": system,
        "messages": messages,
        "tools": tools,
        "tool_choice": tool_choice,
        "thinking": dict(thinking.config),
        "output_config": {
            **({"effort": thinking.effort} if thinking.effort else {}),
            **({"format": output_format} if output_format else {}),
        },
        **sampling(chat, thinking, ctx),
        "stop_sequences": stop_sequences(chat, ctx),
        "metadata": metadata(chat, ctx),
        **service_tier(chat, ctx),
        "stream": flag_at(chat.get("stream"), "stream"),
    }
    reply_options = ReplyOptions(
        model=client_model,
        include_usage=include_usage(chat, ctx),
        legacy_functions=bool(chat.get("functions")),
        custom_tools=both_names(ctx.custom_tools, ctx),
        wrapped_tools=both_names(ctx.wrapped_tools, ctx),
        json_object=json_by_instruction,
        tool_names=dict(ctx.client_names),
    )
    body = _encodable({name: value for name, value in fields.items() if value or name in _SENT_IF_ZERO}, ctx)
    return MessagesRequest(body, ctx.log.entries(), reply_options, tuple(ctx.betas))


def _encodable(body: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return a body that can be encoded as UTF-8.

    Raises:
        InvalidRequestError: A value is not valid JSON, such as NaN.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(
            "tools, thinking: one of them is not valid JSON; look for NaN and huge numbers"
        ) from error
    repaired = replace_lone_surrogates(text)
    if repaired == text:
        return body
    ctx.hint("messages", "text", "a lone surrogate cannot be encoded in UTF-8; U+FFFD replaces it")
    return json.loads(repaired)  # type: ignore[no-any-return]
