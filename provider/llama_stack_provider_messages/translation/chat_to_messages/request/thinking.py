"""``reasoning_effort`` -> thinking and effort, in the form of the model's family.

    family      none                   minimal, low, medium, high, xhigh, max
    adaptive    {"type": off}          {"type": "adaptive"} and output_config.effort
    budget      {"type": "disabled"}   {"type": "enabled", "budget_tokens": ...}, and max_tokens is raised to fit it
    none        nothing                nothing, logged as dropped

A request may also hold the Messages API's own ``thinking``, which Anthropic's OpenAI-compatible API accepts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    check_depth,
    count_at,
    record_at,
    shown,
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
"""OpenAI's levels except ``none`` -> levels of the Messages API, in ascending order."""

BUDGETS: dict[str, int] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 4096,
    "high": 16384,
    "xhigh": 32000,
    "max": 32000,
}
"""OpenAI's levels except ``none`` -> thinking budget in tokens."""

LEAST_BUDGET = 1024
"""``thinking.enabled.budget_tokens: Input should be greater than or equal to 1024``."""

_ROOM = 1024
"""Tokens left for the response after thinking, unless the request has a lower limit."""
_OFF = ("disabled", "between_tools")


@dataclass(frozen=True, slots=True)
class Thinking:
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


def thinking_of(chat: Record, ctx: TranslationContext) -> Thinking:
    """Return the thinking settings for a request.

    Raises:
        InvalidRequestError: The effort is not one of OpenAI's, or ``thinking`` is not valid in the Messages API.
    """
    effort = text_at(chat.get("reasoning_effort"), "reasoning_effort")
    if effort and effort != "none" and effort not in EFFORTS:
        levels = ", ".join(("none", *EFFORTS))
        raise InvalidRequestError(f"reasoning_effort: {shown(effort)} is no level; send one of {levels}")
    if chat.get("thinking") is not None:
        return Thinking("thinking", _own(chat["thinking"]), _beside(effort, ctx))
    if not effort:
        return Thinking()
    return _off(ctx) if effort == "none" else _FAMILIES[ctx.traits.thinking](effort, ctx)


def _own(value: object) -> Record:
    config = record_at(value, "thinking")
    check_depth(config, "thinking")
    if not text_at(config.get("type"), "thinking.type"):
        raise InvalidRequestError("thinking.type: a string is required: adaptive, enabled or disabled")
    text_at(config.get("display"), "thinking.display")
    budget = count_at(config.get("budget_tokens"), "thinking.budget_tokens")
    if config["type"] == "enabled" and budget is None:
        raise InvalidRequestError("thinking.budget_tokens: a whole number is required; or send type adaptive")
    return {name: item for name, item in config.items() if item is not None}


def _beside(effort: str, ctx: TranslationContext) -> str:
    """Return the effort level to send with the client's own ``thinking``; only adaptive models accept both."""
    if effort in EFFORTS and ctx.traits.thinking == "adaptive":
        return _level(effort, ctx)
    if effort:
        ctx.drop("reasoning_effort", "reasoning_effort", "thinking takes its place")
    return ""


def _off(ctx: TranslationContext) -> Thinking:
    if ctx.traits.always_on:
        ctx.drop("reasoning_effort", "reasoning_effort", "the model always thinks")
        return Thinking()
    return Thinking() if ctx.traits.thinking == "none" else Thinking(config={"type": ctx.traits.off})


def _adaptive(effort: str, ctx: TranslationContext) -> Thinking:
    config = {"type": "adaptive", **({"display": "summarized"} if ctx.traits.summarized else {})}
    return Thinking(config=config, effort=_level(effort, ctx))


def _level(effort: str, ctx: TranslationContext) -> str:
    """Return the level for an effort, or the next lower one that the model supports."""
    levels, wanted = list(dict.fromkeys(EFFORTS.values())), EFFORTS[effort]
    known = [level for level in levels[: levels.index(wanted) + 1] if level in ctx.traits.efforts]
    if not known or known[-1] != wanted:
        ctx.drop("reasoning_effort", "reasoning_effort", f"the model has no {wanted}; it gets the next lower level")
    return known[-1] if known else ""


def _budget(effort: str, ctx: TranslationContext) -> Thinking:
    most = BUDGETS[effort]
    if ctx.options.max_output is not None:
        most = min(most, ctx.options.max_output - _ROOM)
    if most < LEAST_BUDGET:
        ctx.drop("reasoning_effort", "reasoning_effort", "the model's output is too short to think")
        return Thinking()
    return Thinking(config={"type": "enabled", "budget_tokens": most})


def _none(_effort: str, ctx: TranslationContext) -> Thinking:
    ctx.drop("reasoning_effort", "reasoning_effort", "the model does not think")
    return Thinking()


_FAMILIES = {"adaptive": _adaptive, "budget": _budget, "none": _none}


def allowed_thinking(
    thinking: Thinking, messages: list[dict[str, Any]], ctx: TranslationContext, *, forced: bool
) -> Thinking:
    """Return the thinking settings for this conversation: switched off where the API would reject thinking.

    Args:
        thinking: The settings of the request.
        messages: The history for the upstream.
        ctx: State of the translation.
        forced: ``tool_choice`` forces a call.
    """
    if not thinking.on:
        return thinking
    reasons = list(_reasons(thinking, messages, forced=forced))
    if not reasons:
        return thinking
    ctx.drop(thinking.path, thinking.path, reasons[0])
    if ctx.traits.always_on:
        return Thinking(thinking.path, effort=thinking.effort)
    return Thinking(thinking.path, {"type": ctx.traits.off})  # the highest efforts require thinking


def _reasons(thinking: Thinking, messages: list[dict[str, Any]], *, forced: bool) -> Iterable[str]:
    """Yield the reasons why the Messages API would reject thinking here.

    ``Thinking may not be enabled when tool_choice forces tool use.`` and ``Expected `thinking` or `redacted_thinking`,
    but found ...`` occur only with budgets; a prefilled response cannot begin with thinking in any mode.
    """
    if messages[-1]["role"] == "assistant":
        yield "a continued answer cannot begin with thinking"
    if thinking.budget and forced:
        yield "the model cannot think when it must call a tool"
    if thinking.budget and _unthought_calls(messages):
        yield "the calls before it have lost their thinking; bring reasoning_details back"


def _unthought_calls(messages: list[dict[str, Any]]) -> bool:
    """Whether the history ends in a tool use loop that started without a thinking block."""
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    calls = last is not None and last["content"][-1]["type"] == "tool_use"
    return last is not None and calls and last["content"][0]["type"] not in ("thinking", "redacted_thinking")


def room_for(thinking: Thinking, asked: int, ctx: TranslationContext) -> int:
    """Return ``max_tokens`` with room for thinking, which counts as output.

    ``max_tokens`` must be greater than ``thinking.budget_tokens``. OpenAI's limit includes reasoning, but clients often
    mean the visible response. A limit above the client's own budget is kept.
    """
    if thinking.path == "thinking" and asked > thinking.budget:
        return asked if ctx.options.max_output is None else min(asked, ctx.options.max_output)
    room = max(asked, thinking.budget + min(asked, _ROOM)) if thinking.budget else asked
    most = ctx.options.max_output
    return room if most is None else min(room, most)
