"""Features and limits of model families, looked up by model id.

The Messages API answers 400 to a setting that the model does not support, and support changes with every generation.
Sources: the API's guides on thinking, tool use, structured outputs, prefill and system messages inside conversations,
and the errors quoted in public issues. Ids that are not Claude models are assumed to be served by a translating server
that accepts every setting: everything is allowed.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""Levels of ``output_config.effort``, in ascending order."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The settings a model supports.

    Args:
        thinking: How thinking is controlled: ``adaptive`` with an effort, by a token ``budget``, or ``none``.
        always_on: Thinking cannot be switched off.
        off: The value of ``thinking.type`` that switches thinking off.
        efforts: Effort levels an adaptive model supports.
        summarized: The thinking text is returned only on request.
        sampling: ``temperature``, ``top_p`` and ``top_k`` are accepted.
        both_samplings: ``temperature`` and ``top_p`` are accepted together.
        thinking_samplings: Sampling fields are accepted while thinking is on.
        prefill: The model continues a final assistant message.
        forced_tools: ``tool_choice`` may force a call.
        mid_system: System messages may appear inside the conversation.
        structured: ``output_config.format`` and strict tools are accepted.
    """

    thinking: Literal["adaptive", "budget", "none"] = "budget"
    always_on: bool = False
    off: Literal["disabled", "between_tools"] = "disabled"
    efforts: tuple[str, ...] = EFFORTS
    summarized: bool = False
    sampling: bool = True
    both_samplings: bool = True
    thinking_samplings: bool = True
    prefill: bool = True
    forced_tools: bool = True
    mid_system: bool = True
    structured: bool = True


_EARLY = Traits(thinking="none", mid_system=False, structured=False)
_BUDGETS = replace(_EARLY, thinking="budget", thinking_samplings=False)
_FOUR_FIVE = replace(_BUDGETS, both_samplings=False, structured=True)
_FOUR_SIX = replace(
    _FOUR_FIVE, thinking="adaptive", efforts=("low", "medium", "high", "max"), thinking_samplings=False, prefill=False
)
_FOUR_SEVEN = replace(_FOUR_SIX, efforts=EFFORTS, summarized=True, sampling=False)
_FIVE = replace(_FOUR_SEVEN, mid_system=True)
_FIVE_FIVE = replace(_FIVE, off="between_tools", forced_tools=False)
_FABLE = replace(_FIVE, always_on=True)
_MYTHOS = replace(_FABLE, forced_tools=False)

FAMILIES: tuple[tuple[str, tuple[int, int], Traits], ...] = (
    ("mythos", (0, 0), _MYTHOS),
    ("fable", (5, 1), _MYTHOS),
    ("fable", (0, 0), _FABLE),
    ("", (5, 5), _FIVE_FIVE),
    ("", (5, 0), _FIVE),
    ("opus", (4, 8), _FIVE),
    ("", (4, 7), _FOUR_SEVEN),
    ("", (4, 6), _FOUR_SIX),
    ("", (4, 5), _FOUR_FIVE),
    ("opus", (4, 1), _FOUR_FIVE),
    ("", (3, 7), _BUDGETS),
    ("", (0, 0), _EARLY),
)
"""Model line (``""`` for any), first version, traits. The first matching row applies."""

_CLAUDE = re.compile(r"claude(?=[-.@\s]|$)")
_LINE = re.compile(r"haiku|sonnet|opus|fable|mythos")
_VERSION = re.compile(r"[-.](?P<major>\d)(?:[-.](?P<minor>\d)(?!\d))?(?!\d)")
_LATEST = (5, 0)
"""The version assumed for a Claude id without one, like ``claude-opus-latest``."""


def traits_of(model_id: str) -> Traits:
    """Return the traits of a model by its id.

    Ids may have cloud prefixes and suffixes: ``anthropic/claude-sonnet-4-5``,
    ``us.anthropic.claude-opus-4-1-20250805-v1:0``, ``claude-3-7-sonnet@20250219``.
    """
    claude = _CLAUDE.search(name := model_id.lower())
    if not claude:
        return Traits()
    name = name[claude.start() :]
    line, version = _LINE.search(name), _VERSION.search(name)
    numbers = (int(version["major"]), int(version["minor"] or 0)) if version else _LATEST
    return next(
        traits
        for family, since, traits in FAMILIES
        if numbers >= since and (not family or (line is not None and line[0] == family))
    )
