"""Content blocks -> parts of chat messages. One table per place a block can stand in."""

from collections.abc import Callable
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.blocks import InputBlock
from llama_stack_api_messages.models.content import (
    BrowserStateBlock,
    DocumentBlock,
    ImageBlock,
    SearchResultBlock,
    TextBlock,
    TextOrImage,
    ToolReferenceBlock,
    ToolResultItem,
)
from llama_stack_api_messages.models.sources import Base64Source, TextSource, UrlSource

from .breakpoints import marker_of
from .names import backend_name
from .record import field
from .tool_input import dump_json
from .walk import Walk

type Part = dict[str, Any]
type AnyBlock = InputBlock | ToolResultItem | TextOrImage
type Handler = Callable[[Any, str, Walk], Part | None]

_SIGNATURES = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""First characters of base64 -> media type."""


def text_part(text: str) -> Part:
    """Return a text part."""
    return {"type": "text", "text": text}


def text_of(block: TextBlock, _path: str, _walk: Walk) -> Part | None:
    """Return a text block's part; empty ones are what clients echo back, and upstreams refuse them."""
    return text_part(block.text) if block.text.strip() else None


def image(block: ImageBlock, path: str, _walk: Walk) -> Part:
    """Return an image part, with the media type its bytes have."""
    source = block.source
    if isinstance(source, Base64Source):
        found = (media for start, media in _SIGNATURES.items() if source.data.startswith(start))
        return _image_url(f"data:{next(found, source.media_type)};base64,{source.data}")
    if isinstance(source, UrlSource):
        return _image_url(source.url)
    raise InvalidRequestError(f"{path}.source: image sources of type '{source.type}' are not supported; send base64")


def refused_image(_block: ImageBlock, path: str, _walk: Walk) -> Part:
    """Refuse a user's image: the answer would be about something else."""
    raise InvalidRequestError(f"{path}: this model reads no images; describe the image in text")


def result_image(_block: ImageBlock, path: str, walk: Walk) -> Part:
    """Return a note in place of an image of a tool result, so that the model and the loop go on."""
    walk.note(path, "image", "the model reads no images; it is told so")
    return text_part("[image: this model cannot read it]")


def _image_url(url: str) -> Part:
    return {"type": "image_url", "image_url": {"url": url}}


def document(block: DocumentBlock, path: str, walk: Walk) -> Part:
    """Return a text document as text."""
    source = block.source
    if not isinstance(source, TextSource):
        raise InvalidRequestError(
            f"{path}.source: documents of source '{source.type}' are not supported; send the text of the document"
        )
    if field(block.citations, "enabled"):
        walk.note(f"{path}.citations", "citations", "the backend does not cite")
    names = "".join(f" {name}={dump_json(value)}" for name in ("title", "context") if (value := field(block, name)))
    return text_part(f"<document{names}>\n{source.data}\n</document>")


def result_document(block: DocumentBlock, path: str, walk: Walk) -> Part:
    """Return a document of a tool result; one that cannot be read is named, so that the model and the loop go on."""
    if isinstance(block.source, TextSource):
        return document(block, path, walk)
    walk.note(path, "document", "the backend reads no documents but text; the model is told so")
    return text_part(f"[document {field(block, 'title') or ''}: this model cannot read it]".replace(" :", ":"))


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
    "document": result_document,
    "tool_reference": tool_reference,
    "browser_state": browser_state,
}
"""What may stand in a tool result."""

TEXT_USER_BLOCKS: dict[str, Handler] = {**USER_BLOCKS, "image": refused_image}
TEXT_RESULT_BLOCKS: dict[str, Handler] = {**RESULT_BLOCKS, "image": result_image}
"""The same for a model that reads text alone."""


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


def part_of(block: AnyBlock, path: str, walk: Walk, handlers: dict[str, Handler]) -> Part | None:
    """Return the part for a block, None for one that leaves nothing."""
    handler = handlers.get(block.type)
    if handler is None:
        raise unsupported(block, path)
    part = handler(block, path, walk)
    return part if part is None else part | marker_of(block, walk)


def unsupported(block: AnyBlock, path: str) -> InvalidRequestError:
    """Return the error for a block that would be lost."""
    return InvalidRequestError(
        f"{path}: blocks of type '{block.type}' are not supported here; remove the block or send its content as text"
    )
