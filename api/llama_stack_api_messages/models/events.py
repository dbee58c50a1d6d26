"""Stream events and deltas. Streaming writes plain dicts for speed; these models parse and document them."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, JsonObject, Known, OpenModel, Unknown
from .blocks import ResponseBlock
from .content import Citation
from .response import (
    STOP_REASONS,
    AppliedContextManagement,
    Container,
    ErrorDetail,
    InputTransformation,
    Message,
    StopDetails,
)
from .usage import MessageDeltaUsage


class TextDelta(OpenModel):
    """More text."""

    type: Literal["text_delta"]
    text: str = Field(description="Text to append.")


class InputJsonDelta(OpenModel):
    """More of a tool's input."""

    type: Literal["input_json_delta"]
    partial_json: str = Field(description="Piece of JSON text to append.")


class ThinkingDelta(OpenModel):
    """More reasoning."""

    type: Literal["thinking_delta"]
    thinking: str = Field(description="Reasoning to append.")
    estimated_tokens: int | None = Field(default=None, description="Tokens of thinking so far (beta).")


class SignatureDelta(OpenModel):
    """The signature of a thinking block."""

    type: Literal["signature_delta"]
    signature: str = Field(description="The signature.")


class CitationsDelta(OpenModel):
    """One more citation of a text block."""

    type: Literal["citations_delta"]
    citation: Citation = Field(description="The citation.")


class CompactionDelta(OpenModel):
    """The whole summary."""

    type: Literal["compaction_delta"]
    content: str | None = Field(default=None, description="The summary.")
    encrypted_content: str | None = Field(default=None, description="Opaque state.")


class UnknownDelta(Unknown):
    """A delta of a type this server does not know."""


type Delta = Annotated[
    TextDelta | InputJsonDelta | ThinkingDelta | SignatureDelta | CitationsDelta | CompactionDelta | UnknownDelta,
    ByType(),
]


class MessageStartEvent(OpenModel):
    """Opens the stream."""

    type: Literal["message_start"]
    message: Message = Field(description="The message without content.")


class ContentBlockStartEvent(OpenModel):
    """Opens a block."""

    type: Literal["content_block_start"]
    index: int = Field(description="Position of the block, from 0.")
    content_block: ResponseBlock = Field(description="The block, empty where deltas follow.")


class ContentBlockDeltaEvent(OpenModel):
    """Adds to the open block."""

    type: Literal["content_block_delta"]
    index: int = Field(description="Position of the block.")
    delta: Delta = Field(description="What to add.")


class ContentBlockStopEvent(OpenModel):
    """Closes a block."""

    type: Literal["content_block_stop"]
    index: int = Field(description="Position of the block.")


class MessageDelta(OpenModel):
    """Message fields that are known only at its end."""

    stop_reason: Annotated[str, Known(*STOP_REASONS)] | None = Field(default=None, description="Why the model stopped.")
    stop_sequence: str | None = Field(default=None, description="The stop sequence that was found.")
    stop_details: StopDetails | None = Field(default=None, description="Details of the stop.")
    container: Container | None = Field(default=None, description="Container in which code ran.")
    safeguard_results: list[JsonObject] | None = Field(default=None, description="Results of the safeguards (beta).")


class MessageDeltaEvent(OpenModel):
    """Completes the message."""

    type: Literal["message_delta"]
    delta: MessageDelta = Field(description="Fields to set.")
    usage: MessageDeltaUsage = Field(description="Final counts; they replace the earlier ones.")
    context_management: AppliedContextManagement | None = Field(default=None, description="Edits applied (beta).")
    input_transformations: list[InputTransformation] | None = Field(
        default=None, description="Changes made to the request (beta)."
    )


class MessageStopEvent(OpenModel):
    """Ends the stream."""

    type: Literal["message_stop"]


class PingEvent(OpenModel):
    """Keeps the connection alive."""

    type: Literal["ping"]


class ErrorEvent(OpenModel):
    """Ends the stream early."""

    type: Literal["error"]
    error: ErrorDetail = Field(description="The error.")
    request_id: str | None = Field(default=None, description="Id of the request.")


class UnknownEvent(Unknown):
    """An event of a type this server does not know."""


type Event = Annotated[
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | PingEvent
    | ErrorEvent
    | UnknownEvent,
    ByType(),
]
