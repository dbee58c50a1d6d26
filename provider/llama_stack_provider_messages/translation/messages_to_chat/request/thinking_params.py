"""``thinking`` and ``output_config.effort`` -> the backend's fields for thinking and effort.

All four modes are accepted for every model: Claude Code sends ``adaptive`` for unknown model names.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.fields import field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

THINKING: dict[str, bool] = {"disabled": False, "between_tools": False, "adaptive": True, "enabled": True}
"""Mode -> whether the model thinks before its response."""

_BUDGET_EFFORTS = ((2_000, "low"), (8_000, "medium"), (24_000, "high"))
"""Upper limit of ``budget_tokens`` -> effort. Any budget is accepted, even below the API's minimum (bifrost 1479)."""

EFFORTS: dict[str, tuple[str, ...]] = {
    "none": ("none", "minimal", "low"),
    "low": ("low", "minimal", "medium", "high"),
    "medium": ("medium", "low", "high"),
    "high": ("high", "medium", "low"),
    "xhigh": ("xhigh", "high", "medium"),
    "max": ("xhigh", "high", "medium"),
}
"""Effort -> the values to try, best first. The platform's request model rejects ``max`` itself."""


@dataclass(frozen=True, slots=True)
class ThinkingRequest:
    """The thinking settings of a request.

    Args:
        mode: The client's thinking mode.
        thinks: Whether the model thinks; None for the backend's default.
        effort: The effort level.
        budget: Thinking budget in tokens, if the backend accepts one.
    """

    mode: str | None = None
    thinks: bool | None = None
    effort: str | None = None
    budget: int | None = None


def thinking_fields(request: PromptRequest, ctx: TranslationContext, *, tools: bool = False) -> dict[str, Any]:
    """Return the fields of the chat request that control thinking.

    Args:
        request: The request.
        ctx: State of the translation, with the backend's profile.
        tools: The chat request has tools.
    """
    wish = _wish(request, ctx)
    if wish.mode not in (None, *THINKING):
        ctx.drop("thinking", str(wish.mode), "unknown thinking mode")
    if tools and ctx.profile.tools_without_thinking:
        return _no_thinking(request, wish, ctx)
    fields = SWITCHES[ctx.profile.thinking](wish, ctx)
    if wish.budget is not None and ctx.profile.budget_field:
        _set(fields, ctx.profile.budget_field.split("."), wish.budget)
    return fields


def _wish(request: PromptRequest, ctx: TranslationContext) -> ThinkingRequest:
    """Return the thinking settings. The effort is the last message's, else the request's, else the budget's."""
    mode, budget = field(request.thinking, "type"), field(request.thinking, "budget_tokens")
    thinks = THINKING.get(mode or "")
    effort = _stated_effort(request)
    if ctx.profile.budget_field:
        return ThinkingRequest(mode, thinks, effort, budget if thinks else None)
    if effort is None and budget is not None:
        effort = next((effort for limit, effort in _BUDGET_EFFORTS if budget < limit), "xhigh")
    return ThinkingRequest(mode, thinks, effort)


def _stated_effort(request: PromptRequest) -> str | None:
    stated = _last(field(message.output_config, "effort") for message in request.messages)
    return stated or field(request.output_config, "effort")


def _no_thinking(request: PromptRequest, wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields that switch thinking off with tools; log the client's setting as dropped."""
    reason = "the model does not think in requests with tools"
    if wish.thinks:
        ctx.drop("thinking", f"thinking {wish.mode}", reason)
    if wish.thinks is not False and (effort := _stated_effort(request)):
        ctx.drop("output_config.effort", f"effort {effort}", reason)
    return {"reasoning_effort": "none"}


def _last(values: Iterable[str | None]) -> str | None:
    found: str | None = None
    for value in values:
        found = value or found
    return found


def _set(fields: dict[str, Any], path: list[str], value: int) -> None:
    for name in path[:-1]:
        fields = fields.setdefault(name, {})
    fields[path[-1]] = value


def _no_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    if wish.mode in THINKING:
        ctx.drop("thinking", f"thinking {wish.mode}", "the backend has no switch for thinking")
    elif wish.effort:
        ctx.drop("output_config.effort", f"effort {wish.effort}", "the backend has no switch for effort")
    return {}


def _effort_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    return _effort_field(_effort_or_none(wish, ctx), ctx.profile.efforts, ctx)


def _effort_or_none(wish: ThinkingRequest, ctx: TranslationContext) -> str | None:
    """Return the effort that represents all thinking settings; None with a budget, which is more exact."""
    if wish.thinks is False:
        return "none"
    if wish.effort and wish.budget is not None:
        ctx.drop("output_config.effort", f"effort {wish.effort}", "the backend accepts an effort or a budget, not both")
        return None
    return wish.effort


def _effort_field(effort: str | None, accepted: tuple[str, ...], ctx: TranslationContext) -> dict[str, Any]:
    if effort is None:
        return {}
    nearest = next((value for value in EFFORTS.get(effort, (effort,)) if value in accepted), None)
    if nearest != effort:
        ctx.drop("output_config.effort", f"effort {effort}", f"the backend's nearest is {nearest or 'its default'}")
    return {"reasoning_effort": nearest} if nearest else {}


def _template_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Qwen's templates read ``enable_thinking``, those of DeepSeek and Granite ``thinking``."""
    kwargs: dict[str, Any] = {} if wish.thinks is None else {"enable_thinking": wish.thinks, "thinking": wish.thinks}
    fields: dict[str, Any] = {}
    if not ctx.profile.template_efforts:
        fields = _while_thinking(wish, ctx)
    elif wish.thinks is not False:
        kwargs |= _effort_field(wish.effort, ctx.profile.template_efforts, ctx)
    return ({"chat_template_kwargs": kwargs} if kwargs else {}) | fields


def _while_thinking(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the effort field for backends with a separate switch; ``{}`` when the switch is off."""
    return {} if wish.thinks is False else _effort_field(wish.effort, ctx.profile.efforts, ctx)


def _type_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Fields for DeepSeek, GLM and Kimi, which all think by default."""
    state = {True: "enabled", False: "disabled"}
    fields = {} if wish.thinks is None else {"thinking": {"type": state[wish.thinks]}}
    return fields | _while_thinking(wish, ctx)


def _object_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Fields for OpenRouter: ``effort`` and ``max_tokens`` exclude each other, and imply ``enabled``."""
    if wish.thinks is False:
        return {"reasoning": {"enabled": False}}
    effort = _effort_field(_effort_or_none(wish, ctx), ctx.profile.efforts, ctx)
    if effort:
        return {"reasoning": {"effort": effort["reasoning_effort"]}}
    return {"reasoning": {} if wish.budget is not None else {"enabled": True}} if wish.thinks else {}


def _flag_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Fields for Qwen on Alibaba's platform."""
    fields = {} if wish.thinks is None else {"enable_thinking": wish.thinks}
    return fields | _while_thinking(wish, ctx)


def _messages_switch(wish: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Fields for Anthropic models on chat completions: ``thinking``, and an effort if the profile has efforts.

    An effort alone does not switch thinking on, as its name would here, and a budget needs no effort.
    """
    adaptive = wish.thinks and wish.budget is None
    effort = _effort_field(wish.effort, ctx.profile.efforts, ctx) if adaptive else {}
    if wish.effort and not adaptive:
        ctx.drop("output_config.effort", f"effort {wish.effort}", "the backend has no switch for effort")
    if wish.thinks is None:
        return {}
    return {"thinking": {"type": wish.mode if wish.thinks else "disabled"}} | effort


SWITCHES: dict[str, Callable[[ThinkingRequest, TranslationContext], dict[str, Any]]] = {
    "none": _no_switch,
    "effort": _effort_switch,
    "template": _template_switch,
    "type": _type_switch,
    "reasoning": _object_switch,
    "enable_thinking": _flag_switch,
    "messages": _messages_switch,
}
"""``Profile.thinking`` -> function that makes the fields."""
