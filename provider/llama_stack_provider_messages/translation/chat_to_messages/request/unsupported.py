"""Which fields of a chat request are translated, and what happens to all others.

Every field of OpenAI's request is in exactly one of the tables; a test compares them with the SDK's fields. A field
without an equivalent is rejected if the response could not have the form that it requires. Otherwise it is dropped and
logged, as is a field that is in no table.
"""

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


CHECKED = frozenset({"logprobs", "top_logprobs", "modalities", "audio", "n", "moderation", "store"})
"""Fields accepted with some values and rejected or dropped with others."""

KNOWN = TRANSLATED | EXTENSIONS | CHECKED | WARNED.keys() | HINTS.keys()
"""All known fields."""


def check_fields(chat: Record, ctx: TranslationContext) -> None:
    """Reject the fields of a request without an equivalent, or log them as dropped.

    Raises:
        InvalidRequestError: The response could not have the form that the request requires.
    """
    _check_values(chat)
    if chat.get("moderation") is not None:
        ctx.drop("moderation", "moderation", "the Messages API has no moderation")
    if flag_at(chat.get("store"), "store"):
        ctx.drop("store", "store", "the upstream does not store requests")
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


def _check_values(chat: Record) -> None:
    """Reject what would change the form of the response, and moderation that blocks, which is a guarantee."""
    if flag_at(chat.get("logprobs"), "logprobs"):
        raise InvalidRequestError("logprobs: the Messages API returns no log probabilities; remove the field")
    if count_at(chat.get("top_logprobs"), "top_logprobs", 0):
        raise InvalidRequestError("top_logprobs: the Messages API returns no log probabilities; remove the field")
    if any(kind != "text" for kind in list_at(chat.get("modalities"), "modalities")):
        raise InvalidRequestError("modalities: the Messages API returns text only; send ['text']")
    if chat.get("audio") is not None:
        raise InvalidRequestError("audio: the Messages API returns text only; remove the field")
    if (count_at(chat.get("n"), "n") or 1) > 1:
        raise InvalidRequestError("n: the Messages API returns one choice; send n=1 and repeat the request")
    moderation = chat.get("moderation")
    policy = record_at(moderation, "moderation").get("policy") if moderation is not None else None
    for side in ("input", "output") if policy is not None else ():
        path = f"moderation.policy.{side}"
        rule = record_at(policy, "moderation.policy").get(side)
        if rule is not None and record_at(rule, path).get("mode") == "block":
            raise InvalidRequestError(f"{path}.mode: the Messages API has no moderation; remove the field")
