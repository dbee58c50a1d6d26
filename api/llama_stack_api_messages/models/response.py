"""The response: a message, a token count or an error."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from .base import ByType, JsonObject, Known, OpenModel, Unknown
from .blocks import ResponseBlock
from .content_beta import REFUSAL_CATEGORIES
from .usage import Usage

StopReason = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "refusal",
    "model_context_window_exceeded",
    "compaction",
]
STOP_REASONS: tuple[StopReason, ...] = get_args(StopReason)
"""Why a message ended; `compaction` is beta."""


class RefusalStopDetails(OpenModel):
    """Why the model refused."""

    type: Literal["refusal"]
    category: Annotated[str, Known(*REFUSAL_CATEGORIES)] | None = Field(
        default=None, description="Policy area, where known."
    )
    explanation: str | None = Field(default=None, description="Explanation of the refusal.")
    fallback_credit_token: str | None = Field(default=None, description="Credit for a retry elsewhere (beta).")
    fallback_has_prefill_claim: bool | None = Field(
        default=None, description="Whether the credit covers the text written so far (beta)."
    )
    recommended_model: str | None = Field(default=None, description="A model to try instead (beta).")


class UnknownStopDetails(Unknown):
    """Details of a type this server does not know."""


type StopDetails = Annotated[RefusalStopDetails | UnknownStopDetails, ByType()]


class ContainerSkill(OpenModel):
    """A skill loaded into the container."""

    type: Annotated[str, Known("anthropic", "custom")] = Field(description="Author of the skill.")
    skill_id: str = Field(description="Id of the skill.")
    version: str = Field(description="Version that was loaded.")


class Container(OpenModel):
    """The container in which code ran."""

    id: str = Field(description="Id, to use it again.")
    expires_at: str = Field(description="Time of expiry, RFC 3339.")
    skills: list[ContainerSkill] | None = Field(default=None, description="Skills loaded.")


class CacheMissChanged(OpenModel):
    """The prompt differs from the cached one."""

    type: Literal["model_changed", "system_changed", "tools_changed", "messages_changed"]
    cache_missed_input_tokens: int = Field(description="Tokens that could not be read from the cache.")


class CacheMissNotComparable(OpenModel):
    """There was no cached prompt to compare with."""

    type: Literal["previous_message_not_found", "unavailable"]


class UnknownCacheMiss(Unknown):
    """A reason of a type this server does not know."""


class Diagnostics(OpenModel):
    """Why the prompt cache was missed."""

    cache_miss_reason: Annotated[CacheMissChanged | CacheMissNotComparable | UnknownCacheMiss, ByType()] | None = Field(
        default=None, description="The reason; null while it is not known."
    )


class AppliedClearToolUses(OpenModel):
    """Old tool results were cleared."""

    type: Literal["clear_tool_uses_20250919"]
    cleared_tool_uses: int = Field(description="How many tool uses.")
    cleared_input_tokens: int = Field(description="How many tokens.")


class AppliedClearThinking(OpenModel):
    """Old thinking blocks were cleared."""

    type: Literal["clear_thinking_20251015"]
    cleared_thinking_turns: int = Field(description="How many turns.")
    cleared_input_tokens: int = Field(description="How many tokens.")


class UnknownAppliedEdit(Unknown):
    """An edit of a type this server does not know."""


class AppliedContextManagement(OpenModel):
    """The applied context edits."""

    applied_edits: list[Annotated[AppliedClearToolUses | AppliedClearThinking | UnknownAppliedEdit, ByType()]] = Field(
        description="The edits, in order."
    )


class ThinkingTransformation(OpenModel):
    """Replayed thinking whose prefix has changed was dropped or accepted."""

    type: Literal["thinking_dropped", "thinking_mismatch_allowed"]
    path: str = Field(description="Which block of the request.")
    reason: Annotated[
        str,
        Known(
            "model_binding_mismatch",
            "prefix_binding_mismatch",
            "organization_binding_mismatch",
            "end_user_binding_mismatch",
        ),
    ] = Field(description="What did not match.")


class UnknownTransformation(Unknown):
    """A transformation of a type this server does not know."""


type InputTransformation = Annotated[ThinkingTransformation | UnknownTransformation, ByType()]


class Message(OpenModel):
    """The model's response."""

    id: str = Field(description="Id of the message.")
    type: Literal["message"] = Field(description="Kind of object.")
    role: Literal["assistant"] = Field(description="Always the assistant.")
    model: str = Field(description="The requested model.")
    content: list[ResponseBlock] = Field(description="Content blocks, in order.")
    stop_reason: Annotated[str, Known(*STOP_REASONS)] | None = Field(
        default=None, description="Why the model stopped; null only at the start of a stream."
    )
    stop_sequence: str | None = Field(default=None, description="The stop sequence that was found.")
    stop_details: StopDetails | None = Field(default=None, description="Details of the stop, after a refusal.")
    usage: Usage = Field(description="Token counts.")
    container: Container | None = Field(default=None, description="Container in which code ran.")
    diagnostics: Diagnostics | None = Field(default=None, description="Prompt cache diagnostics, if requested.")
    context_management: AppliedContextManagement | None = Field(default=None, description="Edits applied (beta).")
    input_transformations: list[InputTransformation] | None = Field(
        default=None, description="Changes made to the request (beta)."
    )
    safeguard_results: list[JsonObject] | None = Field(default=None, description="Results of the safeguards (beta).")


class CountTokensContextManagement(OpenModel):
    """The count without context management."""

    original_input_tokens: int = Field(description="Input tokens before the edits.")


class MessageTokensCount(OpenModel):
    """The response of a token count."""

    input_tokens: int = Field(description="Input tokens of the request.")
    context_management: CountTokensContextManagement | None = Field(
        default=None, description="The count before context edits (beta)."
    )


ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
    "memory_precondition_failed_error",
    "memory_path_conflict_error",
]
ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)
"""The broad categories of errors."""


class ErrorDetail(OpenModel):
    """Type and message of an error."""

    type: Annotated[str, Known(*ERROR_TYPES)] = Field(description="Broad category.")
    message: str = Field(description="What failed and what to do.")
    details: JsonObject | None = Field(default=None, description="Machine-readable part, such as `error_code`.")


class ErrorBody(OpenModel):
    """The body of every error response."""

    type: Literal["error"] = Field(description="Kind of object.")
    error: ErrorDetail = Field(description="The error.")
    request_id: str | None = Field(default=None, description="Id of the request, as in the `request-id` header.")
