"""Tools: custom tools, client tools of a fixed shape, toolsets and server tools; and the choice among them."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, Cacheable, CacheControlEphemeral, JsonObject, Known, OpenModel, Unknown
from .content import CitationsConfig

COMPUTER_TOOLSET_MEMBERS = (
    "key", "hold_key", "type", "cursor_position", "mouse_move", "left_mouse_down", "left_mouse_up", "left_click",
    "left_click_drag", "right_click", "middle_click", "double_click", "triple_click", "scroll", "wait", "screenshot",
    "zoom",
)  # fmt: skip
"""Members of a `computer_toolset_*` entry, in the order of the documentation."""

BROWSER_TOOLSET_MEMBERS = (
    "navigate", "list_tabs", "new_tab", "switch_tab", "close_tab", "read_page", "get_page_text", "read_console",
    "read_network", "find", "form_input", "file_upload", "scroll_to", "screenshot", "zoom", "left_click",
    "right_click", "middle_click", "double_click", "triple_click", "hover", "left_click_drag", "left_mouse_down",
    "left_mouse_up", "mouse_move", "scroll", "type", "key", "hold_key", "wait", "javascript_exec",
)  # fmt: skip
"""Members of a `browser_toolset_*` entry, in the order of the documentation."""

BROWSER_MEMBERS_OFF_BY_DEFAULT = frozenset({"read_console", "read_network", "file_upload", "javascript_exec"})

type AllowedCaller = Annotated[
    str,
    Known("direct", "code_execution_20250825", "code_execution_20260120", "code_execution_20260521"),
]


class _Tool(Cacheable):
    """The common fields of all tools with a name."""

    allowed_callers: list[AllowedCaller] | None = Field(default=None, description="Callers that may use the tool.")
    defer_loading: bool | None = Field(default=None, description="Hide the tool until a tool reference names it.")
    strict: bool | None = Field(default=None, description="Make the model follow the input schema.")


class _ClientTool(_Tool):
    """A tool that the client runs."""

    input_examples: list[JsonObject] | None = Field(default=None, description="Example inputs.")


class CustomTool(_ClientTool):
    """A tool that the client describes with a JSON schema; also every tool without a `type`."""

    type: Literal["custom", ""] | None = Field(default=None, description="Absent, null or `custom`.")
    name: str = Field(
        max_length=128, pattern=r"^[a-zA-Z0-9_-]{1,128}$", description="Name by which the model calls the tool."
    )
    description: str | None = Field(default=None, description="What the tool does and when to use it.")
    input_schema: JsonObject = Field(description="JSON schema of the input; its top level is an object.")
    eager_input_streaming: bool | None = Field(default=None, description="Stream the input as it is produced.")


class BashTool(_ClientTool):
    """A shell that the client runs."""

    type: Literal["bash_20241022", "bash_20250124"]
    name: Literal["bash"] = Field(description="Fixed name.")


class TextEditorTool(_ClientTool):
    """A file editor that the client runs."""

    type: Literal["text_editor_20241022", "text_editor_20250124", "text_editor_20250429", "text_editor_20250728"]
    name: Literal["str_replace_editor", "str_replace_based_edit_tool"] = Field(description="Fixed name by version.")
    max_characters: int | None = Field(
        default=None, description="Maximum length of a view of a file, in characters (20250728)."
    )


class MemoryTool(_ClientTool):
    """A directory of notes that the client keeps."""

    type: Literal["memory_20250818"]
    name: Literal["memory"] = Field(description="Fixed name.")


class ComputerTool(_ClientTool):
    """A screen, mouse and keyboard that the client drives."""

    type: Literal["computer_20241022", "computer_20250124", "computer_20251124"]
    name: Literal["computer"] = Field(description="Fixed name.")
    display_width_px: int = Field(description="Width of the screen.")
    display_height_px: int = Field(description="Height of the screen.")
    display_number: int | None = Field(default=None, description="X11 display number.")
    enable_zoom: bool | None = Field(default=None, description="Whether the zoom action exists (20251124).")


class ToolMemberConfig(OpenModel):
    """Settings of one member of a toolset or of one tool of an MCP server."""

    enabled: bool | None = Field(default=None, description="Whether the member is offered.")
    defer_loading: bool | None = Field(default=None, description="Hide it until a tool reference names it.")


class _Toolset(Cacheable):
    """The common fields of the two client toolsets, which have no name."""

    configs: dict[str, ToolMemberConfig | None] | None = Field(default=None, description="Settings by member name.")


class ComputerToolset(_Toolset):
    """Screen, mouse and keyboard, one member per action."""

    type: Literal["computer_toolset_20260801"]


class BrowserToolset(_Toolset):
    """A web browser, one member per action."""

    type: Literal["browser_toolset_20260801"]


class UserLocation(OpenModel):
    """The user's approximate location."""

    type: Literal["approximate"]
    city: str | None = Field(default=None, description="City.")
    region: str | None = Field(default=None, description="Region or state.")
    country: str | None = Field(default=None, description="Two-letter country code.")
    timezone: str | None = Field(default=None, description="IANA time zone.")


class _WebTool(_Tool):
    """The common fields of the web server tools."""

    max_uses: int | None = Field(default=None, description="Maximum number of uses in one request.")
    allowed_domains: list[str] | None = Field(default=None, description="Domains to which the tool is limited.")
    blocked_domains: list[str] | None = Field(default=None, description="Domains that the tool may not use.")
    response_inclusion: Annotated[str, Known("full", "excluded")] | None = Field(
        default=None, description="Whether the response contains results of calls made by code (20260318)."
    )


class WebSearchTool(_WebTool):
    """A web search that the server runs."""

    type: Literal["web_search_20250305", "web_search_20260209", "web_search_20260318"]
    name: Literal["web_search"] = Field(description="Fixed name.")
    user_location: UserLocation | None = Field(default=None, description="Location of the search.")


class UrlSourceToolReference(OpenModel):
    """A tool by its name."""

    type: Literal["tool_reference"]
    name: str = Field(description="Name of the tool.")


class UrlsFromAll(OpenModel):
    """URLs of any origin may be fetched."""

    type: Literal["all"]


class UrlsFromNone(OpenModel):
    """No URL of this origin may be fetched."""

    type: Literal["none"]


class UrlsFromTools(OpenModel):
    """Only URLs from the named tools, or from all but these, may be fetched."""

    type: Literal["only", "except"]
    tools: list[UrlSourceToolReference] = Field(description="The tools.")


class UnknownUrlSource(Unknown):
    """A rule of a type this server does not know."""


type UrlSourceRule = Annotated[UrlsFromAll | UrlsFromNone | UrlsFromTools | UnknownUrlSource, ByType()]


class WebFetchUrlSources(OpenModel):
    """Rules for which URLs may be fetched, by their origin."""

    client_tool_results: UrlSourceRule | None = Field(default=None, description="Rule for URLs in client tool results.")
    server_tool_results: UrlSourceRule | None = Field(default=None, description="Rule for URLs in server tool results.")
    user_input: UrlSourceRule | None = Field(default=None, description="Rule for URLs in user text.")


class WebFetchTool(_WebTool):
    """Fetches pages on the server."""

    type: Literal["web_fetch_20250910", "web_fetch_20260209", "web_fetch_20260309", "web_fetch_20260318"]
    name: Literal["web_fetch"] = Field(description="Fixed name.")
    citations: CitationsConfig | None = Field(default=None, description="Whether the response cites the pages.")
    max_content_tokens: int | None = Field(default=None, description="Maximum length of a page, in tokens.")
    url_sources: WebFetchUrlSources | None = Field(default=None, description="Which addresses may be fetched.")
    use_cache: bool | None = Field(default=None, description="Whether stored copies may be used (20260309 on).")


class CodeExecutionTool(_Tool):
    """Runs code in a container of the server."""

    type: Literal[
        "code_execution_20250522", "code_execution_20250825", "code_execution_20260120", "code_execution_20260521"
    ]
    name: Literal["code_execution"] = Field(description="Fixed name.")


class ToolSearchTool(_Tool):
    """Finds deferred tools on the server."""

    type: Literal[
        "tool_search_tool_regex",
        "tool_search_tool_regex_20251119",
        "tool_search_tool_bm25",
        "tool_search_tool_bm25_20251119",
    ]
    name: Literal["tool_search_tool_regex", "tool_search_tool_bm25"] = Field(description="Fixed name by kind.")


class AdvisorTool(_Tool):
    """Requests advice from a second model."""

    type: Literal["advisor_20260301"]
    name: Literal["advisor"] = Field(description="Fixed name.")
    model: str = Field(description="The advisor's model.")
    max_tokens: int | None = Field(default=None, description="Maximum length of the advice, in tokens.")
    max_uses: int | None = Field(default=None, description="Maximum number of calls in one request.")
    caching: CacheControlEphemeral | None = Field(default=None, description="Caching of the advisor's prompt.")


class McpTool(OpenModel):
    """One tool that an MCP server lists."""

    name: str = Field(description="Name of the tool.")
    description: str | None = Field(default=None, description="Description of the tool.")
    input_schema: JsonObject = Field(description="JSON schema of its input.")


class McpToolset(Cacheable):
    """The tools of one of the request's MCP servers."""

    type: Literal["mcp_toolset"]
    mcp_server_name: str = Field(description="Name of the entry in `mcp_servers`.")
    default_config: ToolMemberConfig | None = Field(default=None, description="Settings of every tool.")
    configs: dict[str, ToolMemberConfig] | None = Field(default=None, description="Settings by tool name.")
    tools: list[McpTool] | None = Field(default=None, description="Tools to use instead of a list from the server.")


class UnknownTool(Unknown):
    """A tool of a type this server does not know."""


type Tool = Annotated[
    CustomTool
    | BashTool
    | TextEditorTool
    | MemoryTool
    | ComputerTool
    | ComputerToolset
    | BrowserToolset
    | WebSearchTool
    | WebFetchTool
    | CodeExecutionTool
    | ToolSearchTool
    | AdvisorTool
    | McpToolset
    | UnknownTool,
    ByType(untyped=CustomTool, untyped_tag="custom"),
]


class _ToolChoice(OpenModel):
    """The common fields of the choices that allow a call."""

    disable_parallel_tool_use: bool | None = Field(default=None, description="At most one call in the response.")


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
