"""``cache_control`` -> ``prompt_cache_breakpoint`` on content parts, for backends that take it (OpenAI from gpt-5.6).

A client moves its last marker along with the conversation. So that a text is the same prompt with and without it,
content is a list of parts wherever a marker could stand, marked or not. There is no place for markers on tools, calls
and answers; they are hints, and left out.
"""

from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

KEY = "prompt_cache_breakpoint"

TTLS: dict[str, dict[str, str]] = {"5m": {}, "1h": {"ttl": "12h"}}
"""Lifetime -> that of the breakpoint: at least as long. None is the backend's default of 30 minutes."""

_MOST = 4
"""Breakpoints a backend writes per request."""


def marker_of(record: object, ctx: TranslationContext) -> dict[str, Any]:
    """Return the breakpoint a block carries, as fields of a part; none where the backend takes none."""
    control = field(record, "cache_control")
    if control is None or not ctx.profile.cache_breakpoints:
        return {}
    return {KEY: {"mode": "explicit", **TTLS.get(field(control, "ttl") or "5m", {})}}


def last_marker(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the last breakpoint among parts that become one."""
    return next(({KEY: part[KEY]} for part in reversed(parts) if KEY in part), {})


def place_breakpoints(messages: list[dict[str, Any]], request: object, ctx: TranslationContext) -> None:
    """Mark the end of the prompt if the whole request is to be cached, and keep the newest four breakpoints."""
    parts = [part for message in messages for part in list_field(message, "content")]
    if parts:
        parts[-1] |= marker_of(request, ctx)
    for part in [part for part in parts if KEY in part][:-_MOST]:
        del part[KEY]
