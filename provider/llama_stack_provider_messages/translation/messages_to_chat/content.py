"""Content blocks -> parts of chat messages. One table per place a block can stand in."""

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

from .breakpoints import marker_of
from .documents import document, result_document
from .images import image, result_image
from .names import backend_name
from .parts import Part, text_part
from .record import field
from .tool_input import dump_json
from .walk import Walk

type AnyBlock = InputBlock | ToolResultItem | TextOrImage
type Handler = Callable[[Any, str, Walk], Part | list[Part] | None]


def text_of(block: TextBlock, _path: str, _walk: Walk) -> Part | None:
    """Return a text block's part; empty ones are what clients echo back, and upstreams refuse them."""
    return text_part(block.text) if block.text.strip() else None


def search_result(block: SearchResultBlock, path: str, walk: Walk) -> Part:
    """Return a search result as text."""
    if field(block.citations, "enabled"):
        walk.note(f"{path}.citations", "citations", "the backend does not cite")
    text = "\n".join(part.text for part in block.content)
    head = f"<search_result source={dump_json(block.source)} title={dump_json(block.title)}>"
    return text_part(f"{head}\n{text}\n</search_result>")


def tool_reference(block: ToolReferenceBlock, _path: str, walk: Walk) -> Part:
    """Return what a tool search found, under the name it has for the model (tool_changes.py declares it)."""
    if block.tool_name in walk.missing:
        return text_part(f"Tool {block.tool_name} is not available")
    return text_part(f"Loaded tool {backend_name(block.tool_name)}")


def browser_state(block: BrowserStateBlock, _path: str, _walk: Walk) -> Part:
    """Return the state of a browser as JSON."""
    return text_part(dump_json(block.model_dump(exclude_none=True, exclude={"cache_control"})))


USER_BLOCKS: dict[str, Handler] = {
    "text": text_of,
    "image": image,
    "document": document,
    "search_result": search_result,
}
"""What may stand in a user message besides tool results."""

RESULT_BLOCKS: dict[str, Handler] = {
    **USER_BLOCKS,
    "image": result_image,
    "document": result_document,
    "tool_reference": tool_reference,
    "browser_state": browser_state,
}
"""What may stand in a tool result."""


def tool_change(_block: AnyBlock, _path: str, _walk: Walk) -> None:
    """Leave no text: the change is in the list of tools (tool_changes.py)."""


SYSTEM_BLOCKS: dict[str, Handler] = {"text": text_of, "tool_addition": tool_change, "tool_removal": tool_change}
"""What may stand in a system prompt or message."""

REPLAY_HINTS = frozenset({"thinking", "redacted_thinking", "fallback", "mcp_tool_listing", "connector_text"})
"""Parts of earlier answers that other models ignore by contract: not a loss, so not in ``Dropped``."""

REPLAY_LOSSES: dict[str, str] = dict.fromkeys(
    (
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "advisor_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
    ),
    "the backend cannot read the work of another server's tools",
)
"""Parts of earlier answers that are left out of the history -> why."""


def parts_of(block: AnyBlock, path: str, walk: Walk, handlers: dict[str, Handler]) -> list[Part]:
    """Return the parts for a block, none for one that leaves nothing."""
    handler = handlers.get(block.type)
    if handler is None:
        raise unsupported(block, path)
    made = handler(block, path, walk)
    parts = made if isinstance(made, list) else [made] if made else []
    if parts:
        parts[-1] = parts[-1] | marker_of(block, walk)
    return parts


def unsupported(block: AnyBlock, path: str) -> InvalidRequestError:
    """Return the error for a block that would be lost."""
    return InvalidRequestError(
        f"{path}: blocks of type '{block.type}' are not supported here; remove the block or send its content as text"
    )
