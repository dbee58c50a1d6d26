"""``reasoning_effort`` -> thinking and effort; reasoning in earlier messages -> thinking blocks.

The form of the thinking settings depends on the model's family:

    family      none                   minimal, low, medium, high, xhigh, max
    adaptive    {"type": off}          {"type": "adaptive"} and output_config.effort
    budget      {"type": "disabled"}   {"type": "enabled", "budget_tokens": ...}, and max_tokens is raised to fit it
    none        nothing                nothing, logged as dropped

A request may also hold the Messages API's own ``thinking``, which Anthropic's OpenAI-compatible API accepts.

The API rejects thinking in some conversations: before a prefilled response, and, with a budget, together with a forced
tool call or after tool calls without their thinking blocks. Thinking is switched off there and logged as dropped.

Clients return the reasoning of earlier responses in ``reasoning_details``. The upstream verifies the signature of each
thinking block and rejects a block without one. So reasoning without a signature is dropped, as servers of chat
completions do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    check_depth,
    count_at,
    quoted,
    record_at,
    records_at,
    text_at,
)

EFFORTS: dict[str, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""OpenAI's efforts except ``none`` -> levels of the Messages API, in ascending order."""

BUDGETS: dict[str, int] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": 32000,
    "max": 32000,
}
"""OpenAI's efforts except ``none`` -> thinking budget in tokens."""

MIN_BUDGET_TOKENS = 1024
"""``thinking.enabled.budget_tokens: Input should be greater than or equal to 1024``."""

RESPONSE_TOKENS = 1024
"""Tokens left for the response after thinking, unless the request has a lower limit."""

_OFF = ("disabled", "between_tools")


@dataclass(frozen=True, slots=True)
class ThinkingSettings:
    """The thinking settings of the Messages request.

    Args:
        path: The field of the chat request they come from.
        config: ``thinking`` of the Messages request; empty for the model's default.
        effort: ``output_config.effort``; ``""`` for the model's default.
    """

    path: str = "reasoning_effort"
    config: Mapping[str, Any] = field(default_factory=dict)
    effort: str = ""

    @property
    def on(self) -> bool:
        """Whether the request switches thinking on."""
        return bool(self.config) and self.config.get("type") not in _OFF

    @property
    def budget(self) -> int:
        """Thinking budget in tokens, 0 without a budget."""
        return self.config.get("budget_tokens", 0) if self.on else 0


def thinking_settings(
    chat: Record, messages: list[Block], tool_choice: Block, ctx: TranslationContext
) -> ThinkingSettings:
    """Return the thinking settings of a request: switched off where the API would reject thinking.

    Args:
        chat: The chat request.
        messages: The messages for the upstream.
        tool_choice: The tool choice for the upstream.
        ctx: State of the translation.

    Raises:
        InvalidRequestError: The effort is not one of OpenAI's, or ``thinking`` is not valid in the Messages API.
    """
    thinking = _requested(chat, ctx)
    forced = tool_choice.get("type") in ("any", "tool")
    if not thinking.on or not (reason := _conflict(thinking, messages, forced=forced)):
        return thinking
    ctx.drop(thinking.path, thinking.path, reason)
    if ctx.traits.always_on:
        return ThinkingSettings(thinking.path, effort=thinking.effort)
    return ThinkingSettings(thinking.path, {"type": ctx.traits.off})  # the highest efforts require thinking


def _requested(chat: Record, ctx: TranslationContext) -> ThinkingSettings:
    effort = text_at(chat.get("reasoning_effort"), "reasoning_effort")
    if effort and effort != "none" and effort not in EFFORTS:
        levels = ", ".join(("none", *EFFORTS))
        raise InvalidRequestError(f"reasoning_effort: {quoted(effort)} is not a valid level; send one of {levels}")
    if chat.get("thinking") is not None:
        return _client_settings(chat["thinking"], effort, ctx)
    if effort == "none" and ctx.traits.always_on:
        ctx.drop("reasoning_effort", "reasoning_effort", "thinking cannot be switched off for this model")
    elif effort == "none" and ctx.traits.thinking != "none":
        return ThinkingSettings(config={"type": ctx.traits.off})
    elif effort != "none" and effort:
        return _BY_FAMILY[ctx.traits.thinking](effort, ctx)
    return ThinkingSettings()


def _client_settings(value: object, effort: str, ctx: TranslationContext) -> ThinkingSettings:
    """Return the client's own ``thinking``; only adaptive models accept an effort beside it."""
    config = record_at(value, "thinking")
    check_depth(config, "thinking")
    if not text_at(config.get("type"), "thinking.type"):
        raise InvalidRequestError("thinking.type: a string is required: adaptive, enabled or disabled")
    text_at(config.get("display"), "thinking.display")
    budget = count_at(config.get("budget_tokens"), "thinking.budget_tokens")
    if config["type"] == "enabled" and budget is None:
        raise InvalidRequestError("thinking.budget_tokens: a whole number is required; or send type adaptive")
    level = ""
    if effort in EFFORTS and ctx.traits.thinking == "adaptive":
        level = _level(effort, ctx)
    elif effort:
        ctx.drop("reasoning_effort", "reasoning_effort", "thinking is used instead")
    return ThinkingSettings("thinking", {name: item for name, item in config.items() if item is not None}, level)


def _adaptive(effort: str, ctx: TranslationContext) -> ThinkingSettings:
    config = {"type": "adaptive", **({"display": "summarized"} if ctx.traits.summarized else {})}
    return ThinkingSettings(config=config, effort=_level(effort, ctx))


def _level(effort: str, ctx: TranslationContext) -> str:
    """Return the level for an effort, or the next lower one that the model supports; by default ``""``."""
    levels, wanted = list(dict.fromkeys(EFFORTS.values())), EFFORTS[effort]
    supported = [level for level in levels[: levels.index(wanted) + 1] if level in ctx.traits.efforts]
    if not supported or supported[-1] != wanted:
        reason = f"the model does not support {wanted}; the next lower level is used"
        ctx.drop("reasoning_effort", "reasoning_effort", reason)
    return supported[-1] if supported else ""


def _budget(effort: str, ctx: TranslationContext) -> ThinkingSettings:
    budget = BUDGETS[effort]
    if ctx.options.max_output is not None:
        budget = min(budget, ctx.options.max_output - RESPONSE_TOKENS)
    if budget < MIN_BUDGET_TOKENS:
        ctx.drop("reasoning_effort", "reasoning_effort", "the model's output limit leaves no room for thinking")
        return ThinkingSettings()
    return ThinkingSettings(config={"type": "enabled", "budget_tokens": budget})


def _no_thinking(_effort: str, ctx: TranslationContext) -> ThinkingSettings:
    ctx.drop("reasoning_effort", "reasoning_effort", "the model does not support thinking")
    return ThinkingSettings()


_BY_FAMILY = {"adaptive": _adaptive, "budget": _budget, "none": _no_thinking}


def _conflict(thinking: ThinkingSettings, messages: list[Block], *, forced: bool) -> str:
    """Return why the API would reject thinking in this conversation, ``""`` if it would not.

    Its errors: ``Thinking may not be enabled when tool_choice forces tool use.`` and ``Expected `thinking` or
    `redacted_thinking`, but found ...``, both for budgets only. A prefilled response cannot begin with thinking in any
    mode.
    """
    if messages[-1]["role"] == "assistant":
        return "a prefilled response cannot begin with thinking"
    if thinking.budget and forced:
        return "the model does not support thinking with a forced tool call"
    last = next((message["content"] for message in reversed(messages) if message["role"] == "assistant"), None)
    if thinking.budget and last and last[-1]["type"] == "tool_use" and last[0]["type"] not in _THINKING_BLOCKS:
        return "the tool calls before it have no thinking blocks; return reasoning_details unchanged"
    return ""


_THINKING_BLOCKS = ("thinking", "redacted_thinking")

_REASONING_TEXTS = ("reasoning_content", "reasoning")
"""Field names of the reasoning text; they repeat the text of ``reasoning_details``, if both are present."""

_UNSIGNED = "reasoning without a signature cannot be sent back to the model; return reasoning_details unchanged"


def thinking_blocks(message: Record, path: str, ctx: TranslationContext) -> list[Block]:
    """Return the thinking blocks of an earlier assistant message.

    Raises:
        InvalidRequestError: ``reasoning_details`` is not a list of objects.
    """
    details = f"{path}.reasoning_details"
    entries = _joined_entries(message.get("reasoning_details"), details)
    found = [_thinking_block(entry, where, ctx) for entry, where in entries]
    blocks = [block for block in found if block is not None]
    for name in _REASONING_TEXTS:
        if not blocks and message.get(name):
            ctx.hint(f"{path}.{name}", name, _UNSIGNED)
    if blocks and ctx.traits.thinking == "none":
        ctx.hint(details, "reasoning_details", "the model does not support thinking")
        return []
    return blocks


def _joined_entries(details: object, path: str) -> Iterator[tuple[Record, str]]:
    """Yield the entries of ``reasoning_details``, each with its pieces joined.

    A client that collects a stream may return every piece as an entry of its own. The pieces of one text have the same
    ``index``, and only the last has a signature.
    """
    entries = list(records_at(details, path))
    texts: list[str] = []
    for (entry, where), (following, _) in zip(entries, [*entries, ({}, "")][1:], strict=True):
        texts.append(text_at(entry.get("text"), f"{where}.text"))
        numbered = entry.get("type") == "reasoning.text" and entry.get("index") is not None
        same = all(entry.get(name) == following.get(name) for name in ("type", "index"))
        if numbered and same and not entry.get("signature"):
            continue
        yield {**entry, "text": "".join(texts)}, where
        texts.clear()


def _thinking_block(entry: Record, path: str, ctx: TranslationContext) -> Block | None:
    """Return one thinking block. Its text may be empty: some models return the signature only."""
    kind = entry.get("type")
    signature = text_at(entry.get("signature"), f"{path}.signature")
    if kind == "reasoning.text" and signature:
        return {"type": "thinking", "thinking": entry["text"], "signature": signature}
    data = text_at(entry.get("data"), f"{path}.data")
    if kind == "reasoning.encrypted" and data:
        return {"type": "redacted_thinking", "data": data}
    ctx.hint(path, "reasoning_details", _UNSIGNED)
    return None
