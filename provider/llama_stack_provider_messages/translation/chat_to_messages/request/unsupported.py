"""Which fields of a chat request are translated, and what happens to all others.

Every field of OpenAI's request is in exactly one of the tables; a test compares them with the SDK's fields. A field
without an equivalent is rejected if the response could not have the form that it requires. Otherwise it is dropped and
logged, as is a field that is in no table.
"""

from collections.abc import Callable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    count_at,
    flag_at,
    list_at,
    printable,
    record_at,
)

TRANSLATED = frozenset({
    "model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "stop", "tools", "functions",
    "tool_choice", "function_call", "parallel_tool_calls", "response_format", "reasoning_effort", "stream",
    "stream_options", "user", "safety_identifier", "service_tier", "web_search_options",
})  # fmt: skip
"""Fields with an equivalent."""

EXTENSIONS = frozenset({"thinking", "top_k"})
"""Fields of the Messages API that OpenAI clients send in ``extra_body``."""

WARNED: dict[str, str] = {
    "seed": "the Messages API has no seed",
    "logit_bias": "the Messages API has no logit bias",
    "presence_penalty": "the Messages API has no penalties",
    "frequency_penalty": "the Messages API has no penalties",
    "prediction": "the Messages API has no predicted output",
    "prompt_cache_options": "the Messages API caches only at cache breakpoints",
    "prompt_cache_retention": "the Messages API caches only at cache breakpoints",
    "verbosity": "the Messages API has no verbosity setting; ask for it in the system prompt",
}
"""Fields with a small effect on the response -> why they are dropped."""

HINTS: dict[str, str] = {
    "metadata": "the upstream does not store requests",
    "prompt_cache_key": "the Messages API has no cache key",
}
"""Fields without effect on the response -> why they are dropped."""

_DEFAULTS: dict[str, Any] = {"verbosity": "medium"}
"""Values equal to the model's default; 0, false and empty values count as defaults, too, except of ``seed``."""


def check_fields(chat: Record, ctx: TranslationContext) -> None:
    """Reject the fields of a request without an equivalent, or log them as dropped.

    Raises:
        InvalidRequestError: The response could not have the form that the request requires.
    """
    for name, check in CHECKED.items():
        if chat.get(name) is not None:
            check(chat[name], name, ctx)
    for name, reason in WARNED.items():
        value = chat.get(name)
        if value not in (None, False, 0, "", [], {}, _DEFAULTS.get(name)) or (name == "seed" and value is not None):
            ctx.drop(name, name, reason)
    for name, reason in HINTS.items():
        if chat.get(name):
            ctx.hint(name, name, reason)
    for name, value in chat.items():
        if value is not None and name not in KNOWN:
            ctx.drop(printable(name), printable(name), "this server does not know the field")


def _check_logprobs(value: object, path: str, _ctx: TranslationContext) -> None:
    if flag_at(value, path) if path == "logprobs" else count_at(value, path, 0):
        raise InvalidRequestError(f"{path}: the Messages API returns no log probabilities; remove the field")


def _check_modalities(value: object, path: str, _ctx: TranslationContext) -> None:
    if any(kind != "text" for kind in list_at(value, path)):
        raise InvalidRequestError(f"{path}: the Messages API returns text only; send ['text']")


def _check_audio(_value: object, path: str, _ctx: TranslationContext) -> None:
    raise InvalidRequestError(f"{path}: the Messages API returns text only; remove the field")


def _check_n(value: object, path: str, _ctx: TranslationContext) -> None:
    if (count_at(value, path) or 1) > 1:
        raise InvalidRequestError(f"{path}: the Messages API returns one choice; send n=1 and repeat the request")


def _check_moderation(value: object, path: str, ctx: TranslationContext) -> None:
    """Reject moderation that blocks, which is a guarantee; drop moderation that only scores."""
    policy = record_at(value, path).get("policy")
    for side in ("input", "output"):
        where = f"{path}.policy.{side}"
        rule = record_at(policy, f"{path}.policy").get(side) if policy is not None else None
        if rule is not None and record_at(rule, where).get("mode") == "block":
            raise InvalidRequestError(f"{where}.mode: the Messages API has no moderation; remove the field")
    ctx.drop(path, path, "the Messages API has no moderation")


def _check_store(value: object, path: str, ctx: TranslationContext) -> None:
    if flag_at(value, path):
        ctx.drop(path, path, "the upstream does not store requests")


CHECKED: dict[str, Callable[[object, str, TranslationContext], None]] = {
    "logprobs": _check_logprobs,
    "top_logprobs": _check_logprobs,
    "modalities": _check_modalities,
    "audio": _check_audio,
    "n": _check_n,
    "moderation": _check_moderation,
    "store": _check_store,
}
"""Fields accepted with some values and rejected with others."""

KNOWN = TRANSLATED | EXTENSIONS | CHECKED.keys() | WARNED.keys() | HINTS.keys()
"""All known fields."""
