"""Parts of chat messages: their constructors, and the cache breakpoints they carry.

``cache_control`` becomes ``prompt_cache_breakpoint`` for backends that accept it (OpenAI from gpt-5.6). A client moves
its last breakpoint along with the conversation. So content is a list of parts wherever a breakpoint is possible, and a
text gives the same prompt with and without one. Tools, tool calls and assistant messages cannot carry breakpoints;
theirs are hints, and dropped.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

type Part = dict[str, Any]

BREAKPOINT = "prompt_cache_breakpoint"

TTLS: dict[str, dict[str, str]] = {"5m": {}, "1h": {"ttl": "12h"}}
"""TTL of the Messages API -> fields of the breakpoint, at least as long; ``{}``: the backend's 30 minutes."""

_MAX_BREAKPOINTS = 4
"""OpenAI's limit per request."""


def text_part(text: str) -> Part:
    """Return a text part."""
    return {"type": "text", "text": text}


def image_part(url: str) -> Part:
    """Return an image part; the URL may be a data URL."""
    return {"type": "image_url", "image_url": {"url": url}}


def pdf_part(filename: str, data: str) -> Part:
    """Return a file part; OpenAI requires a name and a data URL (developers.openai.com/api/docs/guides/pdf-files).

    Args:
        filename: Shown to the model.
        data: The PDF in base64.
    """
    return {"type": "file", "file": {"filename": filename, "file_data": f"data:application/pdf;base64,{data}"}}


def joined(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with adjacent texts joined by line breaks."""
    result: list[Part] = []
    for is_text, run in groupby(parts, lambda part: part["type"] == "text"):
        adjacent = list(run)
        result += [text_part("\n".join(part["text"] for part in adjacent))] if is_text else adjacent
    return result


def breakpoint_of(record: object, ctx: TranslationContext) -> Part:
    """Return a block's cache breakpoint as fields of a part; ``{}`` if the backend does not accept breakpoints."""
    if not ctx.profile.cache_breakpoints or (control := field(record, "cache_control")) is None:
        return {}
    return {BREAKPOINT: {"mode": "explicit", **TTLS.get(field(control, "ttl") or "5m", {})}}


def last_breakpoint(parts: list[Part]) -> Part:
    """Return the last breakpoint among parts that are merged into one."""
    return next(({BREAKPOINT: part[BREAKPOINT]} for part in reversed(parts) if BREAKPOINT in part), {})


def place_breakpoints(messages: list[dict[str, Any]], request: object, ctx: TranslationContext) -> None:
    """Mark the end of the prompt if the request has ``cache_control``, and keep the newest four breakpoints."""
    parts = [part for message in messages for part in list_field(message, "content")]
    if parts:
        parts[-1] |= breakpoint_of(request, ctx)
    for part in [part for part in parts if BREAKPOINT in part][:-_MAX_BREAKPOINTS]:
        del part[BREAKPOINT]
