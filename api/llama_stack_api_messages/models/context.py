"""Ways to shorten a long conversation: context management edits, compaction and threads (all beta)."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, OneOf, OpenModel, Unknown


class InputTokens(OpenModel):
    """A number of input tokens."""

    type: Literal["input_tokens"]
    value: int = Field(description="The number.")


class ToolUses(OpenModel):
    """A number of tool uses."""

    type: Literal["tool_uses"]
    value: int = Field(description="The number.")


class ThinkingTurns(OpenModel):
    """A number of turns with thinking."""

    type: Literal["thinking_turns"]
    value: int = Field(description="The number.")


class AllThinkingTurns(OpenModel):
    """Every turn with thinking."""

    type: Literal["all"]


class UnknownAmount(Unknown):
    """An amount of a type this server does not know."""


type Amount = Annotated[InputTokens | ToolUses | ThinkingTurns | AllThinkingTurns | UnknownAmount, ByType()]


class ClearToolUsesEdit(OpenModel):
    """Clear old tool results."""

    type: Literal["clear_tool_uses_20250919"]
    trigger: Amount | None = Field(default=None, description="When to start; 100000 input tokens by default.")
    keep: Amount | None = Field(default=None, description="How many recent tool uses to keep; 3 by default.")
    clear_at_least: Amount | None = Field(default=None, description="Smallest number of tokens worth clearing.")
    exclude_tools: list[str] | None = Field(default=None, description="Tools whose results are always kept.")
    clear_tool_inputs: Annotated[bool | list[str], OneOf()] | None = Field(
        default=None, description="Whether to clear the inputs, too, or of which tools."
    )


class ClearThinkingEdit(OpenModel):
    """Clear old thinking blocks."""

    type: Literal["clear_thinking_20251015"]
    keep: Annotated[Literal["all"] | Amount, OneOf()] | None = Field(
        default=None, description="How many turns keep their thinking."
    )


class CompactEdit(OpenModel):
    """Summarise the conversation once it is long."""

    type: Literal["compact_20260112"]
    trigger: Amount | None = Field(default=None, description="When to start; 150000 input tokens by default.")
    pause_after_compaction: bool | None = Field(
        default=None, description="Return the summary before the model continues."
    )
    instructions: str | None = Field(default=None, description="Replaces the prompt of the summary.")


class UnknownEdit(Unknown):
    """An edit of a type this server does not know."""


type ContextEdit = Annotated[ClearToolUsesEdit | ClearThinkingEdit | CompactEdit | UnknownEdit, ByType()]


class ContextManagement(OpenModel):
    """Edits of the conversation before the model sees it."""

    edits: list[ContextEdit] | None = Field(default=None, description="The edits, in order.")


class CompactionConfig(OpenModel):
    """Requests a summary instead of a response."""

    type: Literal["summarize"]
    instructions: str | None = Field(default=None, description="Instructions for the summary.")


class ThreadCreate(OpenModel):
    """Store this conversation on the server."""

    type: Literal["create"]


class ThreadContinue(OpenModel):
    """Continue a stored conversation."""

    type: Literal["continue"]
    previous_message_id: str = Field(description="Id of the previous response.")


class UnknownThread(Unknown):
    """A thread operation this server does not know."""


type Thread = Annotated[ThreadCreate | ThreadContinue | UnknownThread, ByType()]
