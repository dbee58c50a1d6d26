"""The body of `POST /v1/messages` and of `POST /v1/messages/count_tokens`."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from .base import ByType, CacheControlEphemeral, JsonObject, Known, OneOf, OpenModel, Unknown
from .blocks import InputBlock
from .content import TextBlock
from .context import CompactionConfig, ContextManagement, Thread
from .tools import Tool, ToolChoice

MAX_MESSAGES = 100_000

type Effort = Annotated[str, Known("low", "medium", "high", "xhigh", "max")]
type Speed = Annotated[str, Known("standard", "fast")]


class SystemMessageOutputConfig(OpenModel):
    """Output settings from here on."""

    effort: Effort | None = Field(default=None, description="Effort of the model.")


class InputMessage(OpenModel):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"] = Field(description="Author of the message.")
    content: Annotated[str | list[InputBlock], OneOf()] = Field(
        default="", description="Content of the message; only a system message with an `output_config` may omit it."
    )
    output_config: SystemMessageOutputConfig | None = Field(default=None, description="Settings from here on (beta).")
    clear_at: Annotated[str, Known("next_user_message", "never")] | None = Field(
        default=None, description="When a system message expires (beta)."
    )

    @model_validator(mode="after")
    def _content_is_there(self) -> Self:
        if self.content or "content" in self.model_fields_set or (self.role == "system" and self.output_config):
            return self
        raise PydanticCustomError("missing_field", "Field required", {"field": "content"})


def _messages(value: list[InputMessage]) -> list[InputMessage]:
    """Reject an empty conversation with the protocol's error message."""
    if not value:
        raise PydanticCustomError("no_messages", "at least one message is required")
    return value


class ThinkingBlockBinding(OpenModel):
    """The handling of replayed thinking whose prefix has changed."""

    prefix_mismatch_behavior: Annotated[str, Known("error", "drop_block")] | None = Field(
        default=None, description="Refuse the request or drop the block."
    )


class _Thinking(OpenModel):
    """The common fields of the modes with thinking."""

    display: Annotated[str, Known("summarized", "omitted", "updates")] | None = Field(
        default=None, description="How much of the reasoning the response shows."
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
    budget_tokens: int = Field(description="Maximum number of thinking tokens; no lower limit is enforced.")


class UnknownThinking(Unknown):
    """A mode this server does not know."""


type ThinkingConfig = Annotated[
    ThinkingDisabled | ThinkingBetweenTools | ThinkingAdaptive | ThinkingEnabled | UnknownThinking, ByType()
]


class JsonOutputFormat(OpenModel):
    """The response has to be JSON of this schema."""

    type: Literal["json_schema"]
    schema_: JsonObject = Field(alias="schema", description="JSON schema of the response.")


class TaskBudget(OpenModel):
    """How many tokens a whole task may take."""

    type: Literal["tokens"]
    total: int = Field(description="Number of tokens.")
    remaining: int | None = Field(default=None, description="Tokens that remain.")


class OutputConfig(OpenModel):
    """Output settings of the response."""

    effort: Effort | None = Field(default=None, description="Effort of the model.")
    format: JsonOutputFormat | None = Field(default=None, description="Structure of the response.")
    task_budget: TaskBudget | None = Field(default=None, description="Budget of the whole task (beta).")


class Metadata(OpenModel):
    """Metadata of the request."""

    user_id: str | None = Field(default=None, description="Opaque id of the end user.")


class Skill(OpenModel):
    """A skill to load into the container."""

    type: Annotated[str, Known("anthropic", "custom")] = Field(description="Author of the skill.")
    skill_id: str = Field(description="Id of the skill.")
    version: str | None = Field(default=None, description="Version, or the latest one.")


class ContainerConfig(OpenModel):
    """The container in which code runs."""

    id: str | None = Field(default=None, description="Id of a container to use again.")
    skills: list[Skill] | None = Field(default=None, description="Skills to load.")


class DiagnosticsConfig(OpenModel):
    """Requests the reason of a prompt cache miss."""

    previous_message_id: str | None = Field(default=None, description="Id of the response to compare with.")


class McpToolConfiguration(OpenModel):
    """Selects tools of an MCP server (older form)."""

    enabled: bool | None = Field(default=None, description="Whether its tools are offered.")
    allowed_tools: list[str] | None = Field(default=None, description="Names of the offered tools; all if absent.")


class McpServer(OpenModel):
    """An MCP server that the server may call."""

    type: Literal["url"]
    url: str = Field(description="Its https address.")
    name: str = Field(description="Name by which a toolset refers to it.")
    authorization_token: str | None = Field(default=None, repr=False, description="Bearer token for it.")
    tool_configuration: McpToolConfiguration | None = Field(default=None, description="Older form of a toolset.")


class Fallback(OpenModel):
    """A model to try when the first one refuses."""

    model: str = Field(description="The model.")
    max_tokens: int | None = Field(default=None, description="Replaces `max_tokens`.")
    output_config: OutputConfig | None = Field(default=None, description="Replaces `output_config`.")
    speed: Speed | None = Field(default=None, description="Replaces `speed`.")
    thinking: ThinkingConfig | None = Field(default=None, description="Replaces `thinking`.")


class FallbackCreditToken(OpenModel):
    """A credit from an earlier refusal."""

    token: str = Field(description="The token.")
    mode: Annotated[str, Known("strict", "best_effort")] | None = Field(
        default=None, description="What to do if the credit cannot be applied."
    )


class BillingPolicy(OpenModel):
    """The account to bill."""

    type: Literal["billing_policy"]
    bill_to: Annotated[str, Known("self", "user_profile")] | None = Field(default=None, description="The account.")


class Safeguard(OpenModel):
    """A check of the response that the client requests."""

    type: Annotated[str, Known("dangerous_tool_use")] = Field(description="Kind of check.")
    classifier_context: Any = Field(default=None, description="Context of the check.")


class PromptRequest(OpenModel):
    """The fields that make up the prompt; shared by creating a message and counting its tokens."""

    model: str = Field(min_length=1, description="Model or alias to use.")
    messages: Annotated[list[InputMessage], AfterValidator(_messages)] = Field(
        max_length=MAX_MESSAGES, description="The conversation so far; roles need not alternate."
    )
    system: Annotated[str | list[TextBlock], OneOf()] | None = Field(default=None, description="System prompt.")
    tools: list[Tool] | None = Field(default=None, description="Tools the model may call.")
    tool_choice: ToolChoice | None = Field(default=None, description="Whether a tool has to be called, and which.")
    thinking: ThinkingConfig | None = Field(default=None, description="Whether and how the model thinks first.")
    output_config: OutputConfig | None = Field(default=None, description="Effort and structure of the response.")
    output_format: JsonOutputFormat | None = Field(
        default=None, description="Older form of `output_config.format` (beta)."
    )
    cache_control: CacheControlEphemeral | None = Field(default=None, description="Automatic prompt caching.")
    speed: Speed | None = Field(default=None, description="Faster output at a higher price, where offered.")
    context_management: ContextManagement | None = Field(default=None, description="Edits of a long history (beta).")
    mcp_servers: list[McpServer] | None = Field(default=None, description="MCP servers to call (beta).")
    compaction: CompactionConfig | None = Field(default=None, description="Summarise instead of responding (beta).")
    billing_policy: BillingPolicy | None = Field(default=None, description="Account to bill (beta).")
    user_profile_id: str | None = Field(default=None, description="Profile of the end user (beta).")


class CountTokensRequest(PromptRequest):
    """The body of a token count request."""


class CreateMessageRequest(PromptRequest):
    """The body of a request that creates a message."""

    max_tokens: int | None = Field(
        default=None,
        ge=0,
        description="Maximum number of output tokens; 0 only fills the prompt cache, absent means a default.",
    )
    stream: bool | None = Field(default=None, description="Respond with server-sent events.")
    stop_sequences: list[str] | None = Field(default=None, description="Texts at which the response ends.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature; Anthropic's own limit is 1."
    )
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(default=None, ge=0, description="Sample from the k likeliest tokens only.")
    metadata: Metadata | None = Field(default=None, description="Metadata of the request.")
    service_tier: Annotated[str, Known("auto", "standard_only")] | None = Field(
        default=None, description="Whether priority capacity may be used."
    )
    inference_geo: str | None = Field(default=None, description="Region in which the model has to run, such as `us`.")
    container: Annotated[str | ContainerConfig, OneOf()] | None = Field(
        default=None, description="Container for code execution, by id or with skills."
    )
    diagnostics: DiagnosticsConfig | None = Field(
        default=None, description="Requests the reason of a prompt cache miss."
    )
    fallbacks: Annotated[Literal["default"] | list[Fallback], OneOf()] | None = Field(
        default=None, description="Models to try after a refusal (beta)."
    )
    fallback_credit_token: Annotated[str | FallbackCreditToken, OneOf()] | None = Field(
        default=None, description="Credit from an earlier refusal (beta)."
    )
    thread: Thread | None = Field(default=None, description="Keeps the conversation on the server (beta).")
    safeguards: list[Safeguard] | None = Field(default=None, description="Checks of the response (beta).")
