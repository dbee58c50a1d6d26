"""``cache_control`` -> ``prompt_cache_breakpoint`` on content parts, for backends that take it (OpenAI from gpt-5.6).

A client moves its last breakpoint along with the conversation. Content is a list of parts wherever a breakpoint is
possible, so that a text gives the same prompt with and without one. Tools, tool calls and assistant messages cannot
carry breakpoints; theirs are hints, and dropped.
"""

from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

KEY = "prompt_cache_breakpoint"

TTLS: dict[str, dict[str, str]] = {"5m": {}, "1h": {"ttl": "12h"}}
"""TTL of the Messages API -> fields of the breakpoint, at least as long; ``{}``: the backend's 30 minutes."""

_MOST = 4
"""Maximum number of breakpoints per request."""


def marker_of(record: object, ctx: TranslationContext) -> dict[str, Any]:
    """Return a block's breakpoint as fields of a part; ``{}`` if the backend does not accept breakpoints."""
    control = field(record, "cache_control")
    if control is None or not ctx.profile.cache_breakpoints:
        return {}
    return {KEY: {"mode": "explicit", **TTLS.get(field(control, "ttl") or "5m", {})}}


def last_marker(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the last breakpoint among parts that are merged into one."""
    return next(({KEY: part[KEY]} for part in reversed(parts) if KEY in part), {})


def place_breakpoints(messages: list[dict[str, Any]], request: object, ctx: TranslationContext) -> None:
    """Mark the end of the prompt if the request has ``cache_control``, and keep the newest four breakpoints."""
    parts = [part for message in messages for part in list_field(message, "content")]
    if parts:
        parts[-1] |= marker_of(request, ctx)
    for part in [part for part in parts if KEY in part][:-_MOST]:
        del part[KEY]
