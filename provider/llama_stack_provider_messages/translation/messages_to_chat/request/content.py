"""Content blocks -> parts of chat messages, or text. One table of handlers for each kind of message.

    user message     text, images, documents and search results become parts
    tool result      the same, and tool references and browser states; a note to the model for any other block
    system message   text
    assistant        only text, because chat completions has no other parts there

An assistant message may hold calls and results of server tools, of this or of another provider. Chat completions has no
messages for them, so they become assistant text in place: the call with its input, and the result. Content that only
its own server can read is dropped and logged. The text depends only on the block, so a history gives the same prompt in
every turn. turns.py handles the blocks that have a place of their own: text, thinking, tool_use and tool_result.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.blocks import InputBlock
from llama_stack_api_messages.models.content import (
    BrowserStateBlock,
    SearchResultBlock,
    TextBlock,
    TextOrImage,
    ToolReferenceBlock,
    ToolResultItem,
)
from llama_stack_api_messages.models.content_server import (
    ServerToolError,
    TextEditorCodeExecutionViewResultBlock,
    UnknownResult,
    WebFetchResultBlock,
    WebSearchResultBlock,
)
from llama_stack_provider_messages.translation.fields import field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.names import backend_name
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .media import document, document_text, image, result_document, result_image
from .parts import Part, breakpoint_of, text_part

type AnyBlock = InputBlock | ToolResultItem | TextOrImage
type PartHandler = Callable[[Any, str, TranslationContext], Part | list[Part] | None]
type TextHandler = Callable[[Any, str, TranslationContext], str]


def parts_of(block: AnyBlock, path: str, ctx: TranslationContext, handlers: dict[str, PartHandler]) -> list[Part]:
    """Return the parts for a block, ``[]`` if it has no content for the model.

    Args:
        block: A block of a user message, a tool result or a system message.
        path: Its JSON path.
        ctx: State of the translation.
        handlers: ``USER_BLOCKS``, ``RESULT_BLOCKS`` or ``SYSTEM_BLOCKS``.

    Raises:
        InvalidRequestError: The block is not allowed there.
    """
    handler = handlers.get(block.type) or handlers.get("")
    if handler is None:
        refusals = SYSTEM_REFUSALS if handlers is SYSTEM_BLOCKS else USER_REFUSALS
        remedy = refusals.get(block.type, "remove the block or send its content as text")
        raise _not_supported(block, path, remedy)
    result = handler(block, path, ctx)
    if not result:
        return []
    parts = result if isinstance(result, list) else [result]
    if marker := breakpoint_of(block, ctx):
        parts[-1] = parts[-1] | marker
    return parts


def assistant_text(block: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - any block
    """Return the text for a block of an assistant message, ``""`` if it has no content for the model.

    Raises:
        InvalidRequestError: The API rejects the block in an assistant message.
    """
    if block.type in ASSISTANT_BLOCKS:
        return ASSISTANT_BLOCKS[block.type](block, path, ctx)
    if block.type in ASSISTANT_REFUSALS:
        raise _not_supported(block, path, ASSISTANT_REFUSALS[block.type])
    if block.type not in IGNORED_BLOCKS:
        reason = ASSISTANT_LOSSES.get(block.type, "this server does not support blocks of this type")
        ctx.drop(path, block.type, reason)
    return ""


def _not_supported(block: AnyBlock, path: str, remedy: str) -> InvalidRequestError:
    return InvalidRequestError(f"{path}: blocks of type '{block.type}' are not supported here; {remedy}")


# --- blocks of user messages, tool results and system messages ---


def text(block: TextBlock, _path: str, _ctx: TranslationContext) -> Part | None:
    """Return the part for a text block, None if it is empty: clients echo empty texts, and upstreams reject them."""
    return text_part(block.text) if block.text.strip() else None


def search_result(block: SearchResultBlock, path: str, ctx: TranslationContext) -> Part:
    """Return a search result as text."""
    if field(block.citations, "enabled"):
        ctx.drop(f"{path}.citations", "citations", "the backend does not support citations")
    content = "\n".join(part.text for part in block.content)
    head = f"<search_result source={dump_json(block.source)} title={dump_json(block.title)}>"
    return text_part(f"{head}\n{content}\n</search_result>")


def tool_reference(block: ToolReferenceBlock, _path: str, ctx: TranslationContext) -> Part:
    """Return the tool found by a tool search, by its name for the model (tools.py adds it to the tools)."""
    if block.tool_name in ctx.missing:
        return text_part(f"Tool {block.tool_name} is not available")
    return text_part(f"Loaded tool {backend_name(block.tool_name)}")


def browser_state(block: BrowserStateBlock, _path: str, _ctx: TranslationContext) -> Part:
    """Return the state of a browser as lines: its tabs, then what the call changed."""
    lines = [f"tab {tab.tab_id}{' (active)' if tab.active else ''}: {tab.title} <{tab.url}>" for tab in block.tabs]
    lines = lines or ["no tabs"]
    for change in block.state_changes or ():
        subject = text_field(change, "tab_id") or text_field(change, "download_id")
        words = [change.type.replace("_", " "), subject, f"<{url}>" if (url := text_field(change, "url")) else ""]
        line = " ".join(filter(None, words))
        if path := text_field(change, "path"):
            line += f" to {path}"
        if (size := field(change, "size_bytes")) is not None:
            line += f" ({size} bytes)"
        if error := text_field(change, "error"):
            line += f": {error}"
        lines.append(line)
    return text_part("\n".join(["[browser]", *lines]))


def nothing(_block: AnyBlock, _path: str, _ctx: TranslationContext) -> None:
    """Return None: the block has no content for the model."""


def unknown_item(block: AnyBlock, path: str, ctx: TranslationContext) -> Part:
    """Return a note to the model in place of an unknown part of a tool result, so that the tool loop continues."""
    reason = "this server does not support blocks of this type; the model gets a note instead"
    ctx.drop(path, block.type, reason)
    return text_part(f"[{block.type}: this model cannot read it]")


USER_BLOCKS: dict[str, PartHandler] = {
    "text": text,
    "image": image,
    "document": document,
    "search_result": search_result,
}
"""Blocks allowed in a user message besides tool results."""

RESULT_BLOCKS: dict[str, PartHandler] = {
    **USER_BLOCKS,
    "image": result_image,
    "document": result_document,
    "tool_reference": tool_reference,
    "browser_state": browser_state,
    "": unknown_item,
}
"""Blocks allowed in a tool result; ``""`` handles all others."""

SYSTEM_BLOCKS: dict[str, PartHandler] = {"text": text, "tool_addition": nothing, "tool_removal": nothing}
"""Blocks allowed in a system prompt or message; tool changes are applied (tools.py), not sent as text."""

# --- blocks of assistant messages ---


def server_call(block: Any, _path: str, _ctx: TranslationContext) -> str:  # noqa: ANN401 - calls of server and MCP tools
    """Return the call of a server tool as text."""
    server = text_field(block, "server_name")
    return f"[called {f'{server}.' if server else ''}{block.name} with {dump_json(block.input)}]"


def server_result(block: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - results of many tools
    """Return the result of a server tool as text."""
    tool = block.type.removesuffix("_tool_result").replace("mcp", "the MCP tool")
    outcome = _outcome_text(block.content, f"{path}.content", ctx)
    prefix = "Error: " if field(block, "is_error") else ""
    return f"[result of {tool}]\n{prefix}{outcome or '(nothing)'}"


def _outcome_text(content: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - text, list, or a result
    if isinstance(content, str):
        return content
    if isinstance(content, ServerToolError):
        return ": ".join(filter(None, ("Error", content.error_code, text_field(content, "error_message"))))
    if isinstance(content, UnknownResult):
        ctx.drop(path, content.type, "this server does not support results of this type")
        return ""
    if content is not None and not isinstance(content, Sequence):
        return OUTCOMES[content.type](content, path, ctx)
    items = content or ()
    if any(text_field(item, "encrypted_content") for item in items):
        reason = "only the server that encrypted it can read it; titles and URLs are kept"
        ctx.drop(path, "encrypted_content", reason)
    return "\n".join(
        f"- {item.title} <{item.url}>" + (f" ({item.page_age})" if item.page_age else "")
        if isinstance(item, WebSearchResultBlock)
        else item.text
        for item in items
    )


def fetched_page(result: WebFetchResultBlock, path: str, ctx: TranslationContext) -> str:
    """Return a page that a server fetched, after its URL."""
    return f"<{result.url}>\n{parts_as_text(result.content, f'{path}.content', ctx)}"


def process_output(result: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - results of three tools
    """Return the output of a command or program as text."""
    if text_field(result, "encrypted_stdout"):
        ctx.drop(path, "encrypted_stdout", "only the server that encrypted it can read it")
    lines = [text_field(result, "stdout").rstrip("\n")]
    if stderr := result.stderr.rstrip("\n"):
        lines += ["stderr:", stderr]
    if result.return_code:
        lines.append(f"return code: {result.return_code}")
    if result.content:
        lines.append("files: " + ", ".join(output.file_id for output in result.content))
    return "\n".join(filter(None, lines))


def viewed_file(result: TextEditorCodeExecutionViewResultBlock, _path: str, _ctx: TranslationContext) -> str:
    """Return the content of a file that a server showed, after its line numbers."""
    if result.start_line is None or result.num_lines is None:
        return result.content
    last = result.start_line + result.num_lines - 1
    total = f" of {result.total_lines}" if result.total_lines is not None else ""
    return f"lines {result.start_line} to {last}{total}:\n{result.content}"


def redacted_advice(_result: object, path: str, ctx: TranslationContext) -> str:
    """Return a placeholder for advice that only its own server can read."""
    ctx.drop(path, "encrypted_content", "only the server that encrypted it can read it")
    return "(withheld)"


OUTCOMES: dict[str, TextHandler] = {
    "web_fetch_result": fetched_page,
    "code_execution_result": process_output,
    "encrypted_code_execution_result": process_output,
    "bash_code_execution_result": process_output,
    "text_editor_code_execution_view_result": viewed_file,
    "text_editor_code_execution_create_result": lambda result, _path, _ctx: (
        "the file was updated" if result.is_file_update else "the file was created"
    ),
    "text_editor_code_execution_str_replace_result": lambda result, _path, _ctx: "\n".join(
        ["the file was changed", *(result.lines or ())]
    ),
    "tool_search_tool_search_result": lambda result, _path, _ctx: (
        "found: " + (", ".join(found.tool_name for found in result.tool_references) or "no tools")
    ),
    "advisor_result": lambda result, _path, _ctx: result.text,
    "advisor_redacted_result": redacted_advice,
}
"""Type of a result -> its renderer; errors of all tools have the same form (``error_code``)."""


def parts_as_text(block: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - any block of a tool result
    """Return a block of a tool result as text, because an assistant message holds only text."""
    if block.type == "document":
        return document_text(block, path, ctx)
    return "\n".join(part["text"] for part in parts_of(block, path, ctx, RESULT_BLOCKS))


SERVER_RESULTS = (
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "advisor_tool_result",
)
"""Result blocks of server tools."""

SERVER_BLOCKS: dict[str, TextHandler] = {
    **dict.fromkeys(("server_tool_use", "mcp_tool_use"), server_call),
    **dict.fromkeys((*SERVER_RESULTS, "mcp_tool_result"), server_result),
}
"""Calls and results of server tools."""

ASSISTANT_BLOCKS: dict[str, TextHandler] = {
    **SERVER_BLOCKS,
    **dict.fromkeys(("document", "search_result", "tool_reference", "browser_state"), parts_as_text),
    "container_upload": lambda block, _path, _ctx: f"[placed file {block.file_id} in the container]",
}
"""Blocks of an assistant message that become text."""

IGNORED_BLOCKS = frozenset({"redacted_thinking", "fallback", "mcp_tool_listing", "connector_text", "compaction"})
"""Blocks that other models ignore by contract, so not in ``Dropped``. context_edits.py handles compactions."""

ASSISTANT_LOSSES: dict[str, str] = {"image": "assistant messages cannot hold images"}
"""Blocks of an assistant message that are dropped and logged -> why; unknown types are dropped, too."""

# --- blocks that are rejected -> what to do ---

_MOVE_TO_ASSISTANT = "move it to an assistant message"
_MOVE_TO_RESULT = "move it into the content of a tool_result"
_MOVE_TO_SYSTEM = "move it to a system message"
_MOVE_AFTER_CALL = "move it to the user message after the call"

USER_REFUSALS: dict[str, str] = {
    **dict.fromkeys(
        (
            "thinking",
            "redacted_thinking",
            "tool_use",
            "server_tool_use",
            *SERVER_RESULTS,
            "mcp_tool_use",
            "mcp_tool_listing",
            "compaction",
            "fallback",
        ),
        _MOVE_TO_ASSISTANT,
    ),
    "tool_reference": _MOVE_TO_RESULT,
    "browser_state": _MOVE_TO_RESULT,
    "tool_addition": _MOVE_TO_SYSTEM,
    "tool_removal": _MOVE_TO_SYSTEM,
    "container_upload": "this server has no containers; send the content of the file as text",
}
"""Blocks not allowed in a user message."""

SYSTEM_REFUSALS: dict[str, str] = {"tool_result": _MOVE_AFTER_CALL}
"""Blocks not allowed in a system message, which holds only text."""

ASSISTANT_REFUSALS: dict[str, str] = {
    "tool_result": _MOVE_AFTER_CALL,
    "tool_addition": _MOVE_TO_SYSTEM,
    "tool_removal": _MOVE_TO_SYSTEM,
}
"""Blocks that the API also rejects in an assistant message."""
