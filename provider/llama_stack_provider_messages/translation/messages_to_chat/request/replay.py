"""Renders server tool blocks of earlier assistant messages as text for the model.

An assistant message may hold calls and results of server tools, of this or of another provider. Chat completions has no
messages for them, so they become assistant text in place: the call with its input, and the result. Content that only
its own server can read is dropped and logged. The text depends only on the block, so a history gives the same prompt in
every turn.

Every type of block is in exactly one of the tables, or handled by turns.py (text, thinking, tool_use).
"""

from collections.abc import Callable, Sequence
from typing import Any

from llama_stack_api_messages.models.content_server import (
    ServerToolError,
    TextEditorCodeExecutionViewResultBlock,
    UnknownResult,
    WebFetchResultBlock,
    WebSearchResultBlock,
)
from llama_stack_provider_messages.translation.fields import field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .content import RESULT_BLOCKS, SERVER_RESULTS, parts_of, unsupported
from .media import document_text

type Renderer = Callable[[Any, str, TranslationContext], str]


def replayed(block: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - any block
    """Return the text for a block of an assistant message, ``""`` if it has no content for the model."""
    if block.type in REPLAYED:
        return REPLAYED[block.type](block, path, ctx)
    if block.type in REPLAY_REFUSALS:
        raise unsupported(block, path, REPLAY_REFUSALS[block.type])
    if block.type not in REPLAY_HINTS:
        ctx.drop(path, block.type, REPLAY_LOSSES.get(block.type, "this server does not support blocks of this type"))
    return ""


def _server_call(block: Any, _path: str, _ctx: TranslationContext) -> str:  # noqa: ANN401 - as above
    server = text_field(block, "server_name")
    return f"[called {f'{server}.' if server else ''}{block.name} with {dump_json(block.input)}]"


def _server_result(block: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - as above
    kind = block.type.removesuffix("_tool_result").replace("mcp", "the MCP tool")
    text = _outcome(block.content, f"{path}.content", ctx)
    failed = "Error: " if field(block, "is_error") else ""
    return f"[result of {kind}]\n{failed}{text or '(nothing)'}"


def _outcome(content: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - a text, a list, or one of many results
    if isinstance(content, str):
        return content
    if content is None or isinstance(content, Sequence):
        items = content or ()
        sealed = any(text_field(item, "encrypted_content") for item in items)
        if sealed:
            ctx.drop(
                path, "encrypted_content", "only the server that encrypted it can read it; titles and URLs are kept"
            )
        return "\n".join(_page(item) if isinstance(item, WebSearchResultBlock) else item.text for item in items)
    if isinstance(content, ServerToolError):
        return ": ".join(filter(None, ("Error", content.error_code, text_field(content, "error_message"))))
    if isinstance(content, UnknownResult):
        ctx.drop(path, content.type, "this server does not support results of this type")
        return ""
    return OUTCOMES[content.type](content, path, ctx)


def _page(page: WebSearchResultBlock) -> str:
    return f"- {page.title} <{page.url}>" + (f" ({page.page_age})" if page.page_age else "")


def _fetched(result: WebFetchResultBlock, path: str, ctx: TranslationContext) -> str:
    return f"<{result.url}>\n{_text_of_part(result.content, f'{path}.content', ctx)}"


def _process(result: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - results of three tools
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


def _withheld(_result: object, path: str, ctx: TranslationContext) -> str:
    ctx.drop(path, "encrypted_content", "only the server that encrypted it can read it")
    return "(withheld)"


def _viewed(result: TextEditorCodeExecutionViewResultBlock, _path: str, _ctx: TranslationContext) -> str:
    if result.start_line is None or result.num_lines is None:
        return result.content
    last = result.start_line + result.num_lines - 1
    total = f" of {result.total_lines}" if result.total_lines is not None else ""
    return f"lines {result.start_line} to {last}{total}:\n{result.content}"


OUTCOMES: dict[str, Renderer] = {
    "web_fetch_result": _fetched,
    "code_execution_result": _process,
    "encrypted_code_execution_result": _process,
    "bash_code_execution_result": _process,
    "text_editor_code_execution_view_result": _viewed,
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
    "advisor_redacted_result": _withheld,
}
"""Type of a result -> its renderer; errors of all tools have the same form (``error_code``)."""


def _text_of_part(block: Any, path: str, ctx: TranslationContext) -> str:  # noqa: ANN401 - as above
    """Return a part of a tool result as text, because an assistant message holds only text."""
    if block.type == "document":
        return document_text(block, path, ctx)
    return "\n".join(part["text"] for part in parts_of(block, path, ctx, RESULT_BLOCKS))


SERVER_WORK: dict[str, Renderer] = {
    **dict.fromkeys(("server_tool_use", "mcp_tool_use"), _server_call),
    **dict.fromkeys((*SERVER_RESULTS, "mcp_tool_result"), _server_result),
}
"""Calls and results of server tools -> renderers."""

REPLAYED: dict[str, Renderer] = {
    **SERVER_WORK,
    **dict.fromkeys(("document", "search_result", "tool_reference", "browser_state"), _text_of_part),
    "container_upload": lambda block, _path, _ctx: f"[placed file {block.file_id} in the container]",
}
"""Blocks rendered as assistant text."""

REPLAY_HINTS = frozenset({"redacted_thinking", "fallback", "mcp_tool_listing", "connector_text", "compaction"})
"""Blocks that other models ignore by contract, so not in ``Dropped``. context_edits.py handles compactions."""

REPLAY_LOSSES: dict[str, str] = {"image": "assistant messages cannot hold images"}
"""Blocks that are dropped and logged -> why; unknown types are dropped, too."""

REPLAY_REFUSALS: dict[str, str] = {
    "tool_result": "move it to the user message after the call",
    "tool_addition": "move it to a system message",
    "tool_removal": "move it to a system message",
}
"""Blocks that the API also rejects in an assistant message -> what to do."""
