"""``thinking`` and ``output_config.effort`` -> what makes a backend think, more, less or not at all.

All four modes are accepted for every model: Claude Code sends ``adaptive`` to names it does not know.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llama_stack_api_messages.models.request import PromptRequest

from .record import field
from .walk import Walk

THINKING: dict[str, bool] = {"disabled": False, "between_tools": False, "adaptive": True, "enabled": True}
"""Mode -> whether the model thinks before it answers."""

_BUDGET_EFFORTS = ((2_000, "low"), (8_000, "medium"), (24_000, "high"))
"""``budget_tokens`` below -> effort; any budget is accepted, also below the API's own minimum (bifrost 1479)."""

EFFORTS: dict[str, tuple[str, ...]] = {
    "none": ("none", "minimal", "low"),
    "low": ("low", "minimal", "medium", "high"),
    "medium": ("medium", "low", "high"),
    "high": ("high", "medium", "low"),
    "xhigh": ("xhigh", "high", "medium"),
    "max": ("xhigh", "high", "medium"),
}
"""Effort -> the values to try, best first. ``max`` itself is refused by the platform's request model."""


def thinking_fields(request: PromptRequest, walk: Walk) -> dict[str, Any]:
    """Return the fields of the chat request that carry the wish to think."""
    mode = field(request.thinking, "type")
    effort = _effort(request)
    if mode not in (None, *THINKING):
        walk.note("thinking", str(mode), "this mode of thinking is not known here")
    if walk.profile.thinking == "none":
        _note_unsupported(mode, effort, walk)
        return {}
    wanted = "none" if THINKING.get(mode or "") is False else effort
    if walk.profile.thinking == "effort":
        return _effort_field(wanted, walk.profile.efforts, walk)
    return _template_fields(THINKING.get(mode or ""), effort, walk)


def _effort(request: PromptRequest) -> str | None:
    """Return the effort in force: the last message's, else the request's, else the budget's."""
    per_message = [field(message.output_config, "effort") for message in request.messages]
    stated = _last(per_message) or field(request.output_config, "effort")
    budget = field(request.thinking, "budget_tokens")
    if stated or budget is None:
        return stated
    return next((effort for limit, effort in _BUDGET_EFFORTS if budget < limit), "xhigh")


def _last(values: Iterable[str | None]) -> str | None:
    found: str | None = None
    for value in values:
        found = value or found
    return found


def _note_unsupported(mode: str | None, effort: str | None, walk: Walk) -> None:
    if mode in THINKING:
        walk.note("thinking", f"thinking {mode}", "the backend has no switch for thinking")
    elif effort:
        walk.note("output_config.effort", f"effort {effort}", "the backend has no switch for effort")


def _effort_field(effort: str | None, accepted: tuple[str, ...], walk: Walk) -> dict[str, Any]:
    if effort is None:
        return {}
    nearest = next((value for value in EFFORTS.get(effort, (effort,)) if value in accepted), None)
    if nearest != effort:
        walk.note("output_config.effort", f"effort {effort}", f"the backend's nearest is {nearest or 'its default'}")
    return {"reasoning_effort": nearest} if nearest else {}


def _template_fields(thinks: bool | None, effort: str | None, walk: Walk) -> dict[str, Any]:
    """Qwen's templates read ``enable_thinking``, those of DeepSeek and Granite ``thinking``."""
    kwargs: dict[str, Any] = {} if thinks is None else {"enable_thinking": thinks, "thinking": thinks}
    if thinks is False or effort is None:
        return {"chat_template_kwargs": kwargs} if kwargs else {}
    if walk.profile.template_efforts:
        kwargs |= _effort_field(effort, walk.profile.template_efforts, walk)
        return {"chat_template_kwargs": kwargs} if kwargs else {}
    return ({"chat_template_kwargs": kwargs} if kwargs else {}) | _effort_field(effort, walk.profile.efforts, walk)


SWITCHES = ("reasoning_effort", "chat_template_kwargs")
"""Fields of the chat request that ``thinking_fields`` sets."""

_ABOUT_THINKING = re.compile(r"reasoning|think|chat_template_kwargs", re.IGNORECASE)


def without_switches(fields: Mapping[str, Any], refusal: str) -> dict[str, Any] | None:
    """Return a chat request without what switches thinking, if that is what a backend refused; else None.

    No table knows every model, and a wish to think must never cost the answer.

    Args:
        fields: The chat request the backend refused with 400.
        refusal: What it said.
    """
    if not _ABOUT_THINKING.search(refusal) or not any(name in fields for name in SWITCHES):
        return None
    return {name: value for name, value in fields.items() if name not in SWITCHES}
