"""The thinking modes and the tool choices of a request."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, Known, OpenModel, Unknown


class ThinkingBlockBinding(OpenModel):
    """The handling of replayed thinking whose prefix has changed."""

    prefix_mismatch_behavior: Annotated[str, Known("error", "drop_block")] | None = Field(
        default=None, description="Refuse the request or drop the block."
    )


class _Thinking(OpenModel):
    """The common fields of the modes with thinking."""

    display: Annotated[str, Known("summarized", "omitted", "updates")] | None = Field(
        default=None, description="How much of the reasoning the answer shows."
    )
    block_binding: ThinkingBlockBinding | None = Field(default=None, description="Check of replayed thinking.")


class ThinkingDisabled(OpenModel):
    """No thinking."""

    type: Literal["disabled"]


class ThinkingBetweenTools(OpenModel):
    """No thinking up front, notes between tool calls."""

    type: Literal["between_tools"]


class ThinkingAdaptive(_Thinking):
    """The model decides; `output_config.effort` guides it."""

    type: Literal["adaptive"]


class ThinkingEnabled(_Thinking):
    """Thinking with a budget."""

    type: Literal["enabled"]
    budget_tokens: int = Field(description="How many tokens the model may think; no lower bound is enforced.")


class UnknownThinking(Unknown):
    """A mode this server does not know."""


type ThinkingConfig = Annotated[
    ThinkingDisabled | ThinkingBetweenTools | ThinkingAdaptive | ThinkingEnabled | UnknownThinking, ByType()
]


class _ToolChoice(OpenModel):
    """The common fields of the choices that allow a call."""

    disable_parallel_tool_use: bool | None = Field(default=None, description="At most one call in the answer.")


class ToolChoiceAuto(_ToolChoice):
    """The model decides whether to call."""

    type: Literal["auto"]


class ToolChoiceAny(_ToolChoice):
    """The model has to call some tool."""

    type: Literal["any"]


class ToolChoiceTool(_ToolChoice):
    """The model has to call this tool."""

    type: Literal["tool"]
    name: str = Field(description="Name of the tool.")


class ToolChoiceNone(OpenModel):
    """The model may not call a tool."""

    type: Literal["none"]


class UnknownToolChoice(Unknown):
    """A choice this server does not know."""


type ToolChoice = Annotated[
    ToolChoiceAuto | ToolChoiceAny | ToolChoiceTool | ToolChoiceNone | UnknownToolChoice, ByType()
]
