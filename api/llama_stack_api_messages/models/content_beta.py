"""Content blocks of the beta API: advisor, MCP, compaction, fallback and changes of the tool list."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import ByType, Cacheable, JsonObject, Known, NullIsEmpty, OneOf, OpenModel, Unknown
from .content import TextBlock
from .content_server import ServerToolError, UnknownResult
from .tools import McpTool, Tool

REFUSAL_CATEGORIES = ("cyber", "bio", "frontier_llm", "reasoning_extraction", "general_harms")
"""Policy areas of a refusal."""


class AdvisorResultBlock(OpenModel):
    """The advice."""

    type: Literal["advisor_result"]
    text: str = Field(description="The advice.")
    stop_reason: str | None = Field(default=None, description="Why the advisor stopped.")


class AdvisorRedactedResultBlock(OpenModel):
    """The advice, encrypted: only the server can read it."""

    type: Literal["advisor_redacted_result"]
    encrypted_content: str = Field(description="Opaque advice, to be sent back unchanged.")
    stop_reason: str | None = Field(default=None, description="Why the advisor stopped.")


class AdvisorToolResultError(ServerToolError):
    """The advisor has failed."""

    type: Literal["advisor_tool_result_error"]


class AdvisorToolResultBlock(Cacheable):
    """The result of an advisor call."""

    type: Literal["advisor_tool_result"]
    tool_use_id: str = Field(description="Id of the server tool call.")
    content: Annotated[
        AdvisorResultBlock | AdvisorRedactedResultBlock | AdvisorToolResultError | UnknownResult, ByType()
    ] = Field(description="The advice, or the failure.")


class McpToolUseBlock(Cacheable):
    """A call of a tool of an MCP server, made by the server."""

    type: Literal["mcp_tool_use"]
    id: str = Field(default="", description="Id of the call.")
    name: str = Field(description="Name of the tool.")
    server_name: str = Field(description="Name of the MCP server.")
    input: Annotated[JsonObject, NullIsEmpty()] = Field(description="Arguments of the call, in the order sent.")


class McpToolResultBlock(Cacheable):
    """The result of an MCP tool call."""

    type: Literal["mcp_tool_result"]
    tool_use_id: str = Field(description="Id of the call.")
    content: Annotated[str | list[TextBlock], OneOf()] | None = Field(default=None, description="Result of the tool.")
    is_error: bool | None = Field(default=None, description="Whether the tool failed.")


class McpToolListingBlock(OpenModel):
    """The tools that an MCP server has listed."""

    type: Literal["mcp_tool_listing"]
    mcp_server_name: str = Field(description="Name of the MCP server.")
    tools: list[McpTool] = Field(description="Its tools.")


class ToolChangeToolReference(OpenModel):
    """A tool of the request, by name."""

    type: Literal["tool_reference"]
    name: str = Field(description="Name of the tool.")


class McpToolReference(OpenModel):
    """A tool of an MCP server, by name."""

    type: Literal["mcp_tool_reference"]
    server_name: str = Field(description="Name of the MCP server.")
    name: str = Field(description="Name of the tool.")


class McpToolsetReference(OpenModel):
    """All tools of an MCP server."""

    type: Literal["mcp_toolset_reference"]
    server_name: str = Field(description="Name of the MCP server.")


class ToolDefinition(OpenModel):
    """A tool defined in place."""

    type: Literal["tool_definition"]
    definition: Tool = Field(description="The tool, as in `tools`.")


class UnknownToolChange(Unknown):
    """A tool change of a type this server does not know."""


type ToolChangeTarget = Annotated[
    ToolChangeToolReference | McpToolReference | McpToolsetReference | ToolDefinition | UnknownToolChange, ByType()
]


class ToolAdditionBlock(Cacheable):
    """From here on the tool is available."""

    type: Literal["tool_addition"]
    tool: ToolChangeTarget = Field(description="Which tool.")


class ToolRemovalBlock(Cacheable):
    """From here on the tool is not available."""

    type: Literal["tool_removal"]
    tool: ToolChangeTarget = Field(description="Which tool.")


type ToolChange = Annotated[ToolAdditionBlock | ToolRemovalBlock | UnknownToolChange, ByType()]


class CompactionBlock(Cacheable):
    """A summary that replaces everything before it."""

    type: Literal["compaction"]
    content: str | None = Field(default=None, description="The summary; null where compaction failed.")
    encrypted_content: str | None = Field(default=None, description="Opaque state, to be sent back unchanged.")
    signature: str | None = Field(default=None, description="Signature of the summary.")
    tool_changes: list[ToolChange] | None = Field(default=None, description="Tool changes in the summarised part.")


class FallbackInfo(OpenModel):
    """One side of a fallback."""

    model: str = Field(description="The model.")


class FallbackRefusalTrigger(OpenModel):
    """The model has refused."""

    type: Literal["refusal"]
    category: Annotated[str, Known(*REFUSAL_CATEGORIES)] | None = Field(default=None, description="Policy area.")


class UnknownTrigger(Unknown):
    """A reason of a type this server does not know."""


type FallbackTrigger = Annotated[FallbackRefusalTrigger | UnknownTrigger, ByType()]


class FallbackBlock(OpenModel):
    """From here on another model generates the response."""

    type: Literal["fallback"]
    from_: FallbackInfo = Field(alias="from", description="The model that refused.")
    to: FallbackInfo = Field(description="The model that continued.")
    trigger: Annotated[FallbackTrigger | Any, OneOf()] = Field(
        default=None, description="Reason; in requests any value is accepted and ignored."
    )
