"""Content blocks that servers write: calls of the tools they run, and the results."""

from typing import Annotated, Literal

from pydantic import Field

from .base import ByType, Cacheable, JsonObject, Known, NullIsEmpty, OneOf, OpenModel, Unknown
from .content import Caller, DocumentBlock, ToolReferenceBlock


class ServerToolUseBlock(Cacheable):
    """A call of a tool that the server runs."""

    type: Literal["server_tool_use"]
    id: str = Field(default="", description="Id of the call.")
    name: Annotated[
        str,
        Known(
            "web_search",
            "web_fetch",
            "code_execution",
            "bash_code_execution",
            "text_editor_code_execution",
            "tool_search_tool_regex",
            "tool_search_tool_bm25",
            "advisor",
        ),
    ] = Field(description="Name of the tool.")
    input: Annotated[JsonObject, NullIsEmpty()] = Field(description="Arguments of the call, in the order sent.")
    caller: Caller | None = Field(default=None, description="The caller: the model, or code that ran on the server.")


class UnknownResult(Unknown):
    """A server tool result of a type this server does not know."""


TOOL_ERROR_CODES = (
    "invalid_tool_input", "unavailable", "too_many_requests", "max_uses_exceeded", "query_too_long",
    "request_too_large", "url_too_long", "url_not_allowed", "url_not_in_prior_context", "url_not_accessible",
    "unsupported_content_type", "content_too_large", "execution_time_exceeded", "output_file_too_large",
    "file_not_found", "prompt_too_long", "overloaded", "model_not_found",
)  # fmt: skip
"""Error codes of all server tools."""


class ServerToolError(OpenModel):
    """The common fields of server tool errors."""

    error_code: Annotated[str, Known(*TOOL_ERROR_CODES)] = Field(description="What went wrong.")


class _ServerResult(Cacheable):
    """The common fields of server tool results."""

    tool_use_id: str = Field(description="Id of the server tool call.")


class WebSearchResultBlock(OpenModel):
    """One page that a search found."""

    type: Literal["web_search_result"]
    url: str = Field(description="Address of the page.")
    title: str = Field(description="Title of the page.")
    encrypted_content: str = Field(description="Opaque text of the page, to be sent back unchanged.")
    page_age: str | None = Field(default=None, description="When the page was last changed.")


class WebSearchToolResultError(ServerToolError):
    """The search has failed."""

    type: Literal["web_search_tool_result_error"]


type WebSearchFailure = Annotated[WebSearchToolResultError | UnknownResult, ByType()]


class WebSearchToolResultBlock(_ServerResult):
    """The result of a web search."""

    type: Literal["web_search_tool_result"]
    content: Annotated[list[WebSearchResultBlock] | WebSearchFailure, OneOf()] = Field(
        description="The pages, or the failure."
    )
    caller: Caller | None = Field(default=None, description="The caller: the model, or code that ran on the server.")


class WebFetchResultBlock(OpenModel):
    """A fetched page."""

    type: Literal["web_fetch_result"]
    url: str = Field(description="Address of the page.")
    content: DocumentBlock = Field(description="The page.")
    retrieved_at: str | None = Field(default=None, description="When it was fetched, RFC 3339.")


class WebFetchToolResultError(ServerToolError):
    """The fetch has failed."""

    type: Literal["web_fetch_tool_result_error"]


class WebFetchToolResultBlock(_ServerResult):
    """The result of a fetch."""

    type: Literal["web_fetch_tool_result"]
    content: Annotated[WebFetchResultBlock | WebFetchToolResultError | UnknownResult, ByType()] = Field(
        description="The page, or the failure."
    )
    caller: Caller | None = Field(default=None, description="The caller: the model, or code that ran on the server.")


class _ProcessResult(OpenModel):
    """Exit code and output of a process."""

    stderr: str = Field(description="Standard error.")
    return_code: int = Field(description="Exit code.")


class CodeExecutionOutputBlock(OpenModel):
    """A file that code wrote."""

    type: Literal["code_execution_output"]
    file_id: str = Field(description="Id of the file.")


class CodeExecutionResultBlock(_ProcessResult):
    """The output of the code."""

    type: Literal["code_execution_result"]
    stdout: str = Field(description="Standard output.")
    content: list[CodeExecutionOutputBlock] = Field(description="Files written.")


class EncryptedCodeExecutionResultBlock(_ProcessResult):
    """The output of the code, encrypted: only the server can read it."""

    type: Literal["encrypted_code_execution_result"]
    encrypted_stdout: str = Field(description="Opaque standard output, to be sent back unchanged.")
    content: list[CodeExecutionOutputBlock] = Field(description="Files written.")


class CodeExecutionToolResultError(ServerToolError):
    """The code could not be run."""

    type: Literal["code_execution_tool_result_error"]


class CodeExecutionToolResultBlock(_ServerResult):
    """The result of a code execution."""

    type: Literal["code_execution_tool_result"]
    content: Annotated[
        CodeExecutionResultBlock | EncryptedCodeExecutionResultBlock | CodeExecutionToolResultError | UnknownResult,
        ByType(),
    ] = Field(description="The result, or the failure.")


class BashCodeExecutionOutputBlock(OpenModel):
    """A file that a command wrote."""

    type: Literal["bash_code_execution_output"]
    file_id: str = Field(description="Id of the file.")


class BashCodeExecutionResultBlock(_ProcessResult):
    """The output of the command."""

    type: Literal["bash_code_execution_result"]
    stdout: str = Field(description="Standard output.")
    content: list[BashCodeExecutionOutputBlock] = Field(description="Files written.")


class BashCodeExecutionToolResultError(ServerToolError):
    """The command could not be run."""

    type: Literal["bash_code_execution_tool_result_error"]


class BashCodeExecutionToolResultBlock(_ServerResult):
    """The result of a command."""

    type: Literal["bash_code_execution_tool_result"]
    content: Annotated[BashCodeExecutionResultBlock | BashCodeExecutionToolResultError | UnknownResult, ByType()] = (
        Field(description="The result, or the failure.")
    )


class TextEditorCodeExecutionViewResultBlock(OpenModel):
    """A file, or a part of it."""

    type: Literal["text_editor_code_execution_view_result"]
    file_type: Annotated[str, Known("text", "image", "pdf")] = Field(description="Kind of file.")
    content: str = Field(description="Content of the file.")
    num_lines: int | None = Field(default=None, description="Lines shown.")
    start_line: int | None = Field(default=None, description="First line shown.")
    total_lines: int | None = Field(default=None, description="Lines of the whole file.")


class TextEditorCodeExecutionCreateResultBlock(OpenModel):
    """A file was written."""

    type: Literal["text_editor_code_execution_create_result"]
    is_file_update: bool = Field(description="Whether the file existed before.")


class TextEditorCodeExecutionStrReplaceResultBlock(OpenModel):
    """A part of a file was replaced."""

    type: Literal["text_editor_code_execution_str_replace_result"]
    lines: list[str] | None = Field(default=None, description="The change as diff lines.")
    old_start: int | None = Field(default=None, description="First line before the change.")
    old_lines: int | None = Field(default=None, description="Lines before the change.")
    new_start: int | None = Field(default=None, description="First line after the change.")
    new_lines: int | None = Field(default=None, description="Lines after the change.")


class TextEditorCodeExecutionToolResultError(ServerToolError):
    """The edit has failed."""

    type: Literal["text_editor_code_execution_tool_result_error"]
    error_message: str | None = Field(default=None, description="The failure in words.")


class TextEditorCodeExecutionToolResultBlock(_ServerResult):
    """The result of an edit."""

    type: Literal["text_editor_code_execution_tool_result"]
    content: Annotated[
        TextEditorCodeExecutionViewResultBlock
        | TextEditorCodeExecutionCreateResultBlock
        | TextEditorCodeExecutionStrReplaceResultBlock
        | TextEditorCodeExecutionToolResultError
        | UnknownResult,
        ByType(),
    ] = Field(description="The result, or the failure.")


class ToolSearchToolSearchResultBlock(OpenModel):
    """The tools that were found."""

    type: Literal["tool_search_tool_search_result"]
    tool_references: list[ToolReferenceBlock] = Field(description="The tools.")


class ToolSearchToolResultError(ServerToolError):
    """The tool search has failed."""

    type: Literal["tool_search_tool_result_error"]
    error_message: str | None = Field(default=None, description="The failure in words.")


class ToolSearchToolResultBlock(_ServerResult):
    """The result of a tool search."""

    type: Literal["tool_search_tool_result"]
    content: Annotated[ToolSearchToolSearchResultBlock | ToolSearchToolResultError | UnknownResult, ByType()] = Field(
        description="The tools, or the failure."
    )
