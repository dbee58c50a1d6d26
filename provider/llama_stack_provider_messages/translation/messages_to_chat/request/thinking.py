"""Thinking in a request: the settings of this request, and the thinking blocks of earlier turns.

**Settings.** ``thinking`` and ``output_config.effort`` become the backend's own fields, which differ from server to
server (``SWITCHES``). All four modes are accepted for every model: Claude Code sends ``adaptive`` for unknown model
names. A budget becomes an effort, unless the backend accepts budgets.

**History.** Some backends require the reasoning of earlier turns back (``Profile.reasoning_field``). It comes from:

    our own signature             the reasoning in the signature; the visible text is ignored
    no signature, or empty        the visible text
    any other signature           nothing: it was made for another model, and by contract other models ignore it
    redacted data made by us      the entry in the data
    any other redacted data       nothing

A 400 for a signature would end the conversation (CLIProxyAPI 2172, codex2api 613, qwen-code 6893). The only exception
is signatures that hold more than any model reads (thinking_signature.py): dropping some would silently change the
prompt, and clients can remove old thinking themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.fields import field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile
from llama_stack_provider_messages.translation.messages_to_chat.reply.reasoning import CALL_EXTRA
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import (
    MAX_INFLATED_BYTES,
    Detail,
    InflateLimitError,
    SignedReasoning,
)

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

THINKING_BLOCKS = frozenset({"thinking", "redacted_thinking"})

_BLANK = " "
"""Placeholder for backends that require reasoning; they reject ``""`` (NousResearch/hermes-agent 17341)."""


# --- settings ---


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
    thinking = _thinking_request(request, ctx)
    if thinking.mode not in (None, *THINKING):
        ctx.drop("thinking", str(thinking.mode), "unknown thinking mode")
    if tools and ctx.profile.tools_without_thinking:
        reason = "the model does not think in requests with tools"
        if thinking.thinks:
            ctx.drop("thinking", f"thinking {thinking.mode}", reason)
        if thinking.thinks is not False and (effort := _stated_effort(request)):
            ctx.drop("output_config.effort", f"effort {effort}", reason)
        return {"reasoning_effort": "none"}
    fields = SWITCHES[ctx.profile.thinking](thinking, ctx)
    if thinking.budget is not None and ctx.profile.budget_field:
        *parents, name = ctx.profile.budget_field.split(".")
        owner = fields
        for parent in parents:
            owner = owner.setdefault(parent, {})
        owner[name] = thinking.budget
    return fields


def _thinking_request(request: PromptRequest, ctx: TranslationContext) -> ThinkingRequest:
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
    configs = [message.output_config for message in request.messages if message.output_config is not None]
    efforts: list[str | None] = [field(config, "effort") for config in (*reversed(configs), request.output_config)]
    return next(filter(None, efforts), None)


def no_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return no fields: the backend has no setting for thinking."""
    if thinking.mode in THINKING:
        ctx.drop("thinking", f"thinking {thinking.mode}", "the backend has no switch for thinking")
    elif thinking.effort:
        ctx.drop("output_config.effort", f"effort {thinking.effort}", "the backend has no switch for effort")
    return {}


def effort_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``reasoning_effort``, which also switches thinking off; ``{}`` with a budget, which is more exact."""
    if thinking.thinks is False:
        return _effort_field("none", ctx.profile.efforts, ctx)
    if thinking.effort and thinking.budget is not None:
        reason = "the backend accepts an effort or a budget, not both"
        ctx.drop("output_config.effort", f"effort {thinking.effort}", reason)
        return {}
    return _effort_field(thinking.effort, ctx.profile.efforts, ctx)


def _effort_field(effort: str | None, accepted: tuple[str, ...], ctx: TranslationContext) -> dict[str, Any]:
    """Return ``reasoning_effort`` with the nearest value that the backend accepts."""
    if effort is None:
        return {}
    nearest = next((value for value in EFFORTS.get(effort, (effort,)) if value in accepted), None)
    if nearest != effort:
        ctx.drop("output_config.effort", f"effort {effort}", f"the backend's nearest is {nearest or 'its default'}")
    return {"reasoning_effort": nearest} if nearest else {}


def template_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``chat_template_kwargs``.

    Qwen's templates read ``enable_thinking``, those of DeepSeek and Granite ``thinking``.
    """
    thinks = thinking.thinks
    kwargs: dict[str, Any] = {} if thinks is None else {"enable_thinking": thinks, "thinking": thinks}
    fields: dict[str, Any] = {}
    if not ctx.profile.template_efforts:
        fields = _effort_if_on(thinking, ctx)
    elif thinks is not False:
        kwargs |= _effort_field(thinking.effort, ctx.profile.template_efforts, ctx)
    return ({"chat_template_kwargs": kwargs} if kwargs else {}) | fields


def _effort_if_on(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the effort field for backends with a separate switch; ``{}`` when the switch is off."""
    return {} if thinking.thinks is False else _effort_field(thinking.effort, ctx.profile.efforts, ctx)


def type_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields for DeepSeek, GLM and Kimi, which all think by default."""
    state = {True: "enabled", False: "disabled"}
    fields = {} if thinking.thinks is None else {"thinking": {"type": state[thinking.thinks]}}
    return fields | _effort_if_on(thinking, ctx)


def object_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields for OpenRouter: ``effort`` and ``max_tokens`` exclude each other, and imply ``enabled``."""
    if thinking.thinks is False:
        return {"reasoning": {"enabled": False}}
    if effort := effort_switch(thinking, ctx):
        return {"reasoning": {"effort": effort["reasoning_effort"]}}
    return {"reasoning": {} if thinking.budget is not None else {"enabled": True}} if thinking.thinks else {}


def flag_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the fields for Qwen on Alibaba's platform."""
    fields = {} if thinking.thinks is None else {"enable_thinking": thinking.thinks}
    return fields | _effort_if_on(thinking, ctx)


def messages_switch(thinking: ThinkingRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return ``thinking`` for Anthropic models on chat completions, and an effort if the profile has efforts.

    An effort alone does not switch thinking on, as its name would here, and a budget needs no effort.
    """
    adaptive = thinking.thinks and thinking.budget is None
    effort = _effort_field(thinking.effort, ctx.profile.efforts, ctx) if adaptive else {}
    if thinking.effort and not adaptive:
        ctx.drop("output_config.effort", f"effort {thinking.effort}", "the backend has no switch for effort")
    if thinking.thinks is None:
        return {}
    return {"thinking": {"type": thinking.mode if thinking.thinks else "disabled"}} | effort


SWITCHES: dict[str, Callable[[ThinkingRequest, TranslationContext], dict[str, Any]]] = {
    "none": no_switch,
    "effort": effort_switch,
    "template": template_switch,
    "type": type_switch,
    "reasoning": object_switch,
    "enable_thinking": flag_switch,
    "messages": messages_switch,
}
"""``Profile.thinking`` -> function that makes the fields."""


# --- history ---


def reasoning_of(block: object, path: str, ctx: TranslationContext) -> list[SignedReasoning]:
    """Return the reasoning in one thinking block.

    Raises:
        InvalidRequestError: The signature holds more than one may, or those up to this one exceed the inflate budget.
    """
    redacted = text_field(block, "type") == "redacted_thinking"
    name = "data" if redacted else "signature"
    signature = text_field(block, name)
    if not signature:
        return [] if redacted else [SignedReasoning(text_field(block, "thinking"))]
    try:
        reasoning = ctx.signer.open(signature, ctx.inflate_budget) if ctx.signer else None
    except InflateLimitError as error:
        if error.alone:
            problem = "this signature holds more thinking than this server signs; remove the block"
        else:
            limit = f"{MAX_INFLATED_BYTES >> 20} MB of thinking"
            problem = f"the signatures up to this block hold more than {limit}; remove the thinking of earlier turns"
        raise InvalidRequestError(f"{path}.{name}: {problem}") from None
    if reasoning:
        return [reasoning]
    if ctx.profile.reasoning_field and not redacted:
        ctx.drop(path, "thinking", "the signature was not made by this server")
    return []


def take_call_extra(reasoning: list[SignedReasoning]) -> dict[str, Any]:
    """Remove the entry for the next call's extra fields from ``reasoning``; return these fields."""
    if not (reasoning and any(entry.get("type") == CALL_EXTRA for entry in reasoning[-1].details)):
        return {}
    return {"extra_content": reasoning.pop().details[0]["extra_content"]}


def with_call_extra(calls: list[dict[str, Any]], profile: Profile) -> list[dict[str, Any]]:
    """Return the calls of one assistant message with the backend's required extra fields, where they are missing."""
    if not (calls and profile.call_extra) or "extra_content" in calls[0]:
        return calls
    return [calls[0] | {"extra_content": profile.call_extra}, *calls[1:]]


def reasoning_fields(reasoning: Sequence[SignedReasoning], profile: Profile) -> dict[str, Any]:
    """Return the fields of an assistant message that hold its reasoning.

    Args:
        reasoning: Reasoning of the message's blocks, in order.
        profile: Names the field.
    """
    name = profile.reasoning_field
    if name is None:
        return {}
    text = "".join(piece.text for piece in reasoning)
    if name == "reasoning_details":
        entries = (entry for piece in reasoning for entry in piece.details)
        details: list[Detail] = [entry for entry in entries if entry.get("type") != CALL_EXTRA]
        if details:
            return {"reasoning_details": details}
        name = "reasoning"
    if not text and profile.reasoning_required:
        text = _BLANK
    return {name: text} if text else {}
