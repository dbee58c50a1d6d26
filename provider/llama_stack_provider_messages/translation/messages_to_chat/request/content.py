"""Content blocks -> parts of chat messages. One table of handlers per kind of message."""

from collections.abc import Callable
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
from llama_stack_provider_messages.translation.fields import field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.names import backend_name
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .breakpoints import marker_of
from .media import document, image, result_document, result_image
from .parts import Part, text_part

type AnyBlock = InputBlock | ToolResultItem | TextOrImage
type Handler = Callable[[Any, str, TranslationContext], Part | list[Part] | None]


def text_of(block: TextBlock, _path: str, _ctx: TranslationContext) -> Part | None:
    """Return the part for a text block, None if it is empty: clients echo empty texts, and upstreams reject them."""
    return text_part(block.text) if block.text.strip() else None


def search_result(block: SearchResultBlock, path: str, ctx: TranslationContext) -> Part:
    """Return a search result as text."""
    if field(block.citations, "enabled"):
        ctx.drop(f"{path}.citations", "citations", "the backend does not support citations")
    text = "\n".join(part.text for part in block.content)
    head = f"<search_result source={dump_json(block.source)} title={dump_json(block.title)}>"
    return text_part(f"{head}\n{text}\n</search_result>")


def tool_reference(block: ToolReferenceBlock, _path: str, ctx: TranslationContext) -> Part:
    """Return the tool found by a tool search, by its name for the model (tools.py declares it)."""
    if block.tool_name in ctx.missing:
        return text_part(f"Tool {block.tool_name} is not available")
    return text_part(f"Loaded tool {backend_name(block.tool_name)}")


def browser_state(block: BrowserStateBlock, _path: str, _ctx: TranslationContext) -> Part:
    """Return the state of a browser as lines: its tabs, then what the call changed."""
    tabs = [f"tab {tab.tab_id}{' (active)' if tab.active else ''}: {tab.title} <{tab.url}>" for tab in block.tabs]
    changes = [_change(change) for change in block.state_changes or ()]
    return text_part("\n".join(["[browser]", *(tabs or ["no tabs"]), *changes]))


def _change(change: Any) -> str:  # noqa: ANN401 - kinds share fields, and new ones come
    subject = text_field(change, "tab_id") or text_field(change, "download_id")
    words = [change.type.replace("_", " "), subject, f"<{change.url}>" if text_field(change, "url") else ""]
    line = " ".join(filter(None, words))
    if path := text_field(change, "path"):
        line += f" to {path}"
    if (size := field(change, "size_bytes")) is not None:
        line += f" ({size} bytes)"
    return f"{line}: {change.error}" if text_field(change, "error") else line


def nothing(_block: AnyBlock, _path: str, _ctx: TranslationContext) -> None:
    """Return None: the block has no content for the model."""


def unknown_item(block: AnyBlock, path: str, ctx: TranslationContext) -> Part:
    """Return a note to the model in place of an unknown part of a tool result, so that the tool loop continues."""
    ctx.drop(path, block.type, "this server does not support blocks of this type; the model gets a note instead")
    return text_part(f"[{block.type}: this model cannot read it]")


USER_BLOCKS: dict[str, Handler] = {
    "text": text_of,
    "image": image,
    "document": document,
    "search_result": search_result,
}
"""Blocks allowed in a user message besides tool results."""

RESULT_BLOCKS: dict[str, Handler] = {
    **USER_BLOCKS,
    "image": result_image,
    "document": result_document,
    "tool_reference": tool_reference,
    "browser_state": browser_state,
    "": unknown_item,
}
"""Blocks allowed in a tool result; ``""`` handles all others."""


SYSTEM_BLOCKS: dict[str, Handler] = {"text": text_of, "tool_addition": nothing, "tool_removal": nothing}
"""Blocks allowed in a system prompt or message; tool changes are applied (tools.py), not sent as text."""

_TO_ANSWER = "move it to an assistant message"
_TO_RESULT = "move it into the content of a tool_result"
_TO_SYSTEM = "move it to a system message"

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
        _TO_ANSWER,
    ),
    "tool_reference": _TO_RESULT,
    "browser_state": _TO_RESULT,
    "tool_addition": _TO_SYSTEM,
    "tool_removal": _TO_SYSTEM,
    "container_upload": "this server has no containers; send the content of the file as text",
}
"""Blocks not allowed in a user message -> what to do."""

SYSTEM_REFUSALS: dict[str, str] = {"tool_result": "move it to the user message after the call"}
"""Blocks not allowed in a system message, which holds only text -> what to do."""

_REMEDY = "remove the block or send its content as text"


def parts_of(block: AnyBlock, path: str, ctx: TranslationContext, handlers: dict[str, Handler]) -> list[Part]:
    """Return the parts for a block, ``[]`` if it has no content for the model."""
    handler = handlers.get(block.type) or handlers.get("")
    if handler is None:
        rules = SYSTEM_REFUSALS if handlers is SYSTEM_BLOCKS else USER_REFUSALS
        raise unsupported(block, path, rules.get(block.type, _REMEDY))
    made = handler(block, path, ctx)
    parts = made if isinstance(made, list) else [made] if made else []
    if parts and (marker := marker_of(block, ctx)):
        parts[-1] = parts[-1] | marker
    return parts


def unsupported(block: AnyBlock, path: str, remedy: str) -> InvalidRequestError:
    """Return the error for a block that is not supported here."""
    return InvalidRequestError(f"{path}: blocks of type '{block.type}' are not supported here; {remedy}")
