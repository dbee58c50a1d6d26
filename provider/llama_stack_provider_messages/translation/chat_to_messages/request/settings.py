"""Translates settings: output limit, sampling, stop sequences, user id, service tier and response format."""

import json
from hashlib import sha256
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    count_at,
    flag_at,
    list_at,
    number_at,
    printable,
    quoted,
    record_at,
    text_at,
)

from .schemas import Schema, closed_schema
from .thinking import RESPONSE_TOKENS, ThinkingSettings

_MAX_TEMPERATURE = 2
"""OpenAI's highest ``temperature``; the Messages API's is 1."""

_MAX_USER_ID_CHARACTERS = 256
"""Limit of ``metadata.user_id``."""

FAST_BETA = "fast-mode-2026-02-01"
"""Beta that some models require for ``speed``."""

TIER_FIELDS: dict[str, dict[str, str]] = {
    "auto": {"service_tier": "auto"},
    "default": {"service_tier": "standard_only"},
    "priority": {"service_tier": "auto"},
    "fast": {"speed": "fast"},
    "flex": {"service_tier": "auto"},
    "scale": {"service_tier": "auto"},
}
"""OpenAI's ``service_tier`` -> the fields of the Messages API."""

_INEXACT_TIERS = ("flex", "scale")
"""Tiers whose price and speed the Messages API does not offer."""


def max_tokens(chat: Record, thinking: ThinkingSettings, ctx: TranslationContext) -> int:
    """Return ``max_tokens``, which the Messages API requires, with room for thinking.

    ``max_tokens`` must be greater than ``thinking.budget_tokens``. OpenAI's limit includes reasoning, but clients often
    mean the visible response, so the limit is raised. A limit above the client's own budget is kept.

    Raises:
        InvalidRequestError: A limit is not a whole number of at least 1.
    """
    newer, older = (count_at(chat.get(name), name) for name in ("max_completion_tokens", "max_tokens"))
    if newer is not None and older not in (None, newer):
        ctx.drop("max_tokens", "max_tokens", "max_completion_tokens is used instead")
    name, requested = ("max_tokens", older) if newer is None else ("max_completion_tokens", newer)
    highest = ctx.options.max_output
    if requested is not None and highest is not None and requested > highest:
        ctx.drop(name, name, f"lowered to {highest}, the model's output limit")
    limit = ctx.options.max_tokens if requested is None else requested
    own_budget_fits = thinking.path == "thinking" and limit > thinking.budget
    if thinking.budget and not own_budget_fits:
        limit = max(limit, thinking.budget + min(limit, RESPONSE_TOKENS))
    limit = limit if highest is None else min(limit, highest)
    if requested is not None and limit > requested:
        ctx.drop(name, name, f"raised to {limit}: thinking tokens count towards the limit")
    return limit


def sampling(chat: Record, thinking: ThinkingSettings, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``temperature``, ``top_p`` and ``top_k``, as far as the model supports them.

    Raises:
        InvalidRequestError: A value is out of range.
    """
    temperature = number_at(chat.get("temperature"), "temperature", _MAX_TEMPERATURE)
    top_p = number_at(chat.get("top_p"), "top_p", 1)
    if temperature is not None and temperature > 1:
        ctx.drop("temperature", "temperature", "lowered to 1, the maximum of the Messages API")
        temperature = 1
    values = {"temperature": temperature, "top_p": top_p, "top_k": count_at(chat.get("top_k"), "top_k", 0)}
    fields = {name: value for name, value in values.items() if value is not None}
    unsupported: tuple[str, ...] = ()
    reason = ""
    if not ctx.traits.sampling:
        unsupported, reason = tuple(fields), "the model does not support this setting"
    elif thinking.on and not ctx.traits.thinking_samplings:
        unsupported, reason = tuple(fields), "not supported while thinking is on"
    elif not ctx.traits.both_samplings and "temperature" in fields:
        unsupported, reason = ("top_p",), "the model accepts temperature or top_p, not both"
    for name in unsupported:
        if name in fields and (fields[name] != 1 or name == "top_k"):  # 1 is the default of temperature and top_p
            ctx.drop(name, name, reason)
    return {name: value for name, value in fields.items() if name not in unsupported}


def stop_sequences(chat: Record, ctx: TranslationContext) -> list[str]:
    """Return ``stop_sequences``; the API requires each to hold more than white space.

    Raises:
        InvalidRequestError: ``stop`` is neither a string nor a list of strings.
    """
    stop = chat.get("stop")
    listed = enumerate([] if isinstance(stop, str) else list_at(stop, "stop"))
    texts = [(stop, "stop")] if isinstance(stop, str) else [(text, f"stop.{index}") for index, text in listed]
    kept = []
    for value, path in texts:
        if text_at(value, path).strip():
            kept.append(value)
        else:
            ctx.drop(path, "stop", "the Messages API rejects stop sequences of white space only")
    return list(dict.fromkeys(kept))


def metadata(chat: Record, ctx: TranslationContext) -> dict[str, str]:
    """Return ``metadata`` with the user id; a hash replaces an id that is too long."""
    users = {name: text for name in ("safety_identifier", "user") if (text := text_at(chat.get(name), name))}
    if len(set(users.values())) > 1:
        ctx.hint("user", "user", "safety_identifier is used instead")
    user = next(iter(users.values()), "")
    if len(user) > _MAX_USER_ID_CHARACTERS:
        user = sha256(user.encode("utf-8", "replace")).hexdigest()
    return {"user_id": user} if user else {}


def service_tier(chat: Record, ctx: TranslationContext) -> dict[str, str]:
    """Return ``service_tier`` or ``speed`` for OpenAI's service tier.

    Raises:
        InvalidRequestError: The tier is not one of OpenAI's.
    """
    tier = text_at(chat.get("service_tier"), "service_tier")
    if not tier:
        return {}
    if tier not in TIER_FIELDS:
        tiers = ", ".join(TIER_FIELDS)
        raise InvalidRequestError(f"service_tier: {quoted(tier)} is not a valid tier; send one of {tiers}")
    if tier in _INEXACT_TIERS:
        ctx.drop("service_tier", "service_tier", f"the Messages API has no {tier} tier; auto is used")
    if tier == "fast":
        ctx.betas.append(FAST_BETA)
    return TIER_FIELDS[tier]


def include_usage(chat: Record, ctx: TranslationContext) -> bool:
    """Return ``stream_options.include_usage``; other options are logged as dropped."""
    if chat.get("stream_options") is None:
        return False
    options = record_at(chat["stream_options"], "stream_options")
    for name, value in options.items():
        if name != "include_usage" and value:
            ctx.hint(f"stream_options.{printable(name)}", "stream_options", "this server does not know the option")
    return flag_at(options.get("include_usage"), "stream_options.include_usage")


_JSON_ONLY = "Answer with one JSON object and nothing else: no text around it and no code fence."


def response_format(chat: Record, messages: list[Block], ctx: TranslationContext) -> tuple[dict[str, Any], bool]:
    """Return ``format`` for ``output_config``, and whether JSON is only requested by an instruction to the model.

    Raises:
        InvalidRequestError: The format is not one of OpenAI's, or cannot be combined with a prefilled response.
    """
    if chat.get("response_format") is None:
        return {}, False
    requested = record_at(chat["response_format"], "response_format")
    kind = requested.get("type")
    if kind == "text":
        return {}, False
    if kind not in ("json_object", "json_schema"):
        raise InvalidRequestError(
            f"response_format.type: {quoted(kind)} is not a valid format; send text, json_object or json_schema"
        )
    schema = _response_schema(requested, ctx) if kind == "json_schema" else None
    if schema is not None and ctx.traits.structured:
        if messages[-1]["role"] == "assistant":
            raise InvalidRequestError(
                f"messages.{len(chat['messages']) - 1}: a response with a JSON schema cannot be prefilled; "
                "end with a user message, or remove response_format"
            )
        return {"type": "json_schema", "schema": schema}, False
    instruction = _JSON_ONLY
    if schema is not None:
        instruction += f" It has to match this JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
        reason = "the model does not support structured outputs; the schema is added to the system prompt"
        ctx.drop("response_format", "json_schema", reason)
    ctx.instructions.append(instruction)
    return {}, True


def _response_schema(requested: Record, ctx: TranslationContext) -> Schema | None:
    """Return the schema, with name and description added if it lacks them; None if any object is allowed."""
    path = "response_format.json_schema"
    named = record_at(requested.get("json_schema"), path)
    if named.get("schema") is None:
        return None
    schema = closed_schema(named["schema"], f"{path}.schema", ctx)
    for key, name in (("title", "name"), ("description", "description")):
        if (text := text_at(named.get(name), f"{path}.{name}")) and key not in schema:
            schema[key] = text
    return schema
