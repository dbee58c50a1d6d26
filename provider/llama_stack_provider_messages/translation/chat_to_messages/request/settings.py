"""Translates settings with an equivalent or a near one: output limit, sampling, account, stop sequences."""

from hashlib import sha256
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    count_at,
    list_at,
    number_at,
    shown,
    text_at,
)

from .thinking import Thinking, room_for

_HOTTEST = 2
"""OpenAI's highest ``temperature``; the Messages API's is 1."""

_LONGEST_USER = 256
"""Maximum characters of ``metadata.user_id``."""

FAST_BETA = "fast-mode-2026-02-01"
"""Beta that some models require for ``speed``."""

SERVICE_TIERS: dict[str, dict[str, str]] = {
    "auto": {"service_tier": "auto"},
    "default": {"service_tier": "standard_only"},
    "priority": {"service_tier": "auto"},
    "fast": {"speed": "fast"},
    "flex": {"service_tier": "auto"},
    "scale": {"service_tier": "auto"},
}
"""OpenAI's service tiers -> the fields of the Messages API."""

_INEXACT = ("flex", "scale")
"""Tiers whose price and speed the Messages API does not offer."""


def limit(chat: Record, thinking: Thinking, ctx: TranslationContext) -> int:
    """Return ``max_tokens``, which the Messages API requires.

    Raises:
        InvalidRequestError: A limit is not a whole number of at least 1.
    """
    newer, older = (count_at(chat.get(name), name) for name in ("max_completion_tokens", "max_tokens"))
    if newer is not None and older not in (None, newer):
        ctx.drop("max_tokens", "max_tokens", "max_completion_tokens takes its place")
    name, asked = ("max_tokens", older) if newer is None else ("max_completion_tokens", newer)
    most = ctx.options.max_output
    if asked is not None and most is not None and asked > most:
        ctx.drop(name, name, f"lowered to {most}, the model's output limit")
    room = room_for(thinking, ctx.options.max_tokens if asked is None else asked, ctx)
    if asked is not None and room > asked:
        ctx.drop(name, name, f"raised to {room}, for the thoughts count too")
    return room


def sampling(chat: Record, thinking: Thinking, ctx: TranslationContext) -> dict[str, Any]:
    """Return the sampling fields that the model supports.

    Raises:
        InvalidRequestError: A value is out of range.
    """
    temperature, top_p = (
        number_at(chat.get("temperature"), "temperature", _HOTTEST),
        number_at(chat.get("top_p"), "top_p", 1),
    )
    if temperature is not None and temperature > 1:
        ctx.drop("temperature", "temperature", "lowered to 1, the highest of the Messages API")
        temperature = 1
    asked = {"temperature": temperature, "top_p": top_p, "top_k": count_at(chat.get("top_k"), "top_k", 0)}
    fields = {name: value for name, value in asked.items() if value is not None}
    reason = _unsampled(thinking, ctx)
    if not reason and not ctx.traits.both_samplings and "temperature" in fields:
        return _without(fields, ("top_p",), "the model takes temperature or top_p, not both", ctx)
    return _without(fields, tuple(fields), reason, ctx) if reason else fields


def _unsampled(thinking: Thinking, ctx: TranslationContext) -> str:
    if not ctx.traits.sampling:
        return "the model has no such setting"
    return "not taken while the model thinks" if thinking.on and not ctx.traits.thinking_samplings else ""


def _without(fields: dict[str, Any], names: tuple[str, ...], reason: str, ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields without ``names``; each is logged as dropped unless it is 1, the model's default."""
    for name in names:
        if name in fields and (fields[name] != 1 or name == "top_k"):
            ctx.drop(name, name, reason)
    return {name: value for name, value in fields.items() if name not in names}


def stop_sequences(chat: Record, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``stop_sequences``; the API requires each to hold more than white space.

    Raises:
        InvalidRequestError: ``stop`` is neither a string nor a list of strings.
    """
    stop = chat.get("stop")
    texts = (
        [(stop, "stop")] if isinstance(stop, str) else [(t, f"stop.{i}") for i, t in enumerate(list_at(stop, "stop"))]
    )
    kept = []
    for value, path in texts:
        if text_at(value, path).strip():
            kept.append(value)
        else:
            ctx.drop(path, "stop", "the Messages API stops at no white space")
    return {"stop_sequences": list(dict.fromkeys(kept))} if kept else {}


def account(chat: Record, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``metadata`` with the user id, and the fields for the service tier.

    Raises:
        InvalidRequestError: The tier is not one of OpenAI's.
    """
    users = {name: text for name in ("safety_identifier", "user") if (text := text_at(chat.get(name), name))}
    chosen = next(iter(users.values()), "")
    if len(set(users.values())) > 1:
        ctx.hint("user", "user", "safety_identifier takes its place")
    return {**({"metadata": {"user_id": _short(chosen)}} if chosen else {}), **_tier(chat, ctx)}


def _short(user: str) -> str:
    return user if len(user) <= _LONGEST_USER else sha256(user.encode("utf-8", "replace")).hexdigest()


def _tier(chat: Record, ctx: TranslationContext) -> dict[str, str]:
    tier = text_at(chat.get("service_tier"), "service_tier")
    if not tier:
        return {}
    if tier not in SERVICE_TIERS:
        raise InvalidRequestError(f"service_tier: {shown(tier)} is none of {', '.join(SERVICE_TIERS)}")
    if tier in _INEXACT:
        ctx.drop("service_tier", "service_tier", f"the Messages API has no {tier} tier; it gets auto")
    if tier == "fast":
        ctx.betas.append(FAST_BETA)
    return SERVICE_TIERS[tier]
