"""Fields of a chat request without an equivalent: rejected if they change the response format, otherwise logged."""

from collections.abc import Callable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    count_at,
    flag_at,
    list_at,
    record_at,
)

WARNED: dict[str, str] = {
    "seed": "the Messages API has no seed",
    "logit_bias": "the Messages API has no such setting",
    "presence_penalty": "the Messages API has no penalties",
    "frequency_penalty": "the Messages API has no penalties",
    "prediction": "the Messages API takes no predicted output",
    "prompt_cache_options": "the Messages API caches up to breakpoints alone",
    "prompt_cache_retention": "the Messages API caches up to breakpoints alone",
    "verbosity": "the Messages API has no such setting; say it in the system prompt",
}
"""Fields with a small effect on the response -> why they are dropped."""

HINTS: dict[str, str] = {
    "metadata": "the upstream keeps no requests",
    "prompt_cache_key": "the Messages API needs no key for its cache",
}
"""Fields without effect on the response -> why they are dropped."""

_DEFAULTS: dict[str, Any] = {"verbosity": "medium"}
"""Values equal to the model's default; 0, false and empty values count as defaults, too."""


def check_fields(chat: Record, ctx: TranslationContext) -> None:
    """Reject the unsupported fields of a request, or log them as dropped.

    Raises:
        InvalidRequestError: The response could not have the form that the request requires.
    """
    for name, check in CHECKED.items():
        if chat.get(name) is not None:
            check(chat[name], name, ctx)
    for name, reason in WARNED.items():
        if (value := chat.get(name)) not in (None, False, 0, "", [], {}, _DEFAULTS.get(name)) or _is_seed(name, value):
            ctx.drop(name, name, reason)
    for name, reason in HINTS.items():
        if chat.get(name):
            ctx.hint(name, name, reason)


def _is_seed(name: str, value: object) -> bool:
    return name == "seed" and value is not None


def _logprobs(value: object, path: str, _ctx: TranslationContext) -> None:
    if flag_at(value, path):
        raise InvalidRequestError(f"{path}: the Messages API gives no probabilities; leave the field out")


def _top_logprobs(value: object, path: str, _ctx: TranslationContext) -> None:
    if count_at(value, path, 0):
        raise InvalidRequestError(f"{path}: the Messages API gives no probabilities; leave the field out")


def _modalities(value: object, path: str, _ctx: TranslationContext) -> None:
    if any(kind != "text" for kind in list_at(value, path)):
        raise InvalidRequestError(f"{path}: the Messages API answers with text alone; send ['text']")


def _audio(_value: object, path: str, _ctx: TranslationContext) -> None:
    raise InvalidRequestError(f"{path}: the Messages API answers with text alone; leave the field out")


def _count(value: object, path: str, _ctx: TranslationContext) -> None:
    if (count_at(value, path) or 1) > 1:
        raise InvalidRequestError(f"{path}: the Messages API returns one choice; send n=1 and repeat the request")


def _moderation(value: object, path: str, ctx: TranslationContext) -> None:
    """Reject moderation that blocks, which is a guarantee; drop moderation that only scores."""
    policy = record_at(value, path).get("policy")
    for side in ("input", "output"):
        where = f"{path}.policy.{side}"
        rule = record_at(policy, f"{path}.policy").get(side) if policy is not None else None
        if rule is not None and record_at(rule, where).get("mode") == "block":
            raise InvalidRequestError(f"{where}.mode: the Messages API blocks nothing; leave moderation out")
    ctx.drop(path, path, "the Messages API has no moderation")


def _store(value: object, path: str, ctx: TranslationContext) -> None:
    if flag_at(value, path):
        ctx.drop(path, path, "the upstream keeps no requests")


CHECKED: dict[str, Callable[[object, str, TranslationContext], None]] = {
    "logprobs": _logprobs,
    "top_logprobs": _top_logprobs,
    "modalities": _modalities,
    "audio": _audio,
    "n": _count,
    "moderation": _moderation,
    "store": _store,
}
"""Fields accepted with some values and rejected with others."""
