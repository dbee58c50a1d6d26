"""Finds the media to load before a request can be translated: URLs to fetch, and PDFs to extract text from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llama_stack_api_messages.models import Base64Source, UrlSource
from llama_stack_api_messages.models.content import ContentSource, DocumentBlock, ImageBlock, ToolResultBlock
from llama_stack_api_messages.models.content_server import WebFetchResultBlock, WebFetchToolResultBlock
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.inline_data import PDF, data_url
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.request.context_edits import compacted

_PDF_START = "JVBERi"
"""``%PDF`` in base64."""


@dataclass(frozen=True, slots=True)
class NeededMedia:
    """One medium to load.

    Args:
        path: JSON path of the block it belongs to.
        kind: The type of the block.
        url: Its URL, ``""`` if ``data`` is set.
        data: A PDF in base64, as the client sent it.
    """

    path: str
    kind: Literal["image", "document"]
    url: str = ""
    data: str = ""


def needed_media(request: PromptRequest, ctx: TranslationContext) -> list[NeededMedia]:
    """Return the media to load for a request, in the order of its blocks, from the last compaction on."""
    found: list[NeededMedia] = []
    for index, message in compacted(request):
        if message.role != "system" and not isinstance(message.content, str):
            found += _wanted_of(message.content, f"messages.{index}.content", ctx)
    return found


def _wanted_of(content: Sequence[Any], path: str, ctx: TranslationContext) -> Iterator[NeededMedia]:
    for index, block in enumerate(content):
        where = f"{path}.{index}"
        if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
            yield from _wanted_of(block.content, f"{where}.content", ctx)
        elif isinstance(block, WebFetchToolResultBlock) and isinstance(block.content, WebFetchResultBlock):
            yield from _wanted_document(block.content.content, f"{where}.content.content", ctx)
        elif isinstance(block, ImageBlock):
            yield from _wanted_image(block, where, ctx)
        elif isinstance(block, DocumentBlock) and isinstance(block.source, ContentSource):
            if isinstance(block.source.content, list):
                yield from _wanted_of(block.source.content, f"{where}.source.content", ctx)
        elif isinstance(block, DocumentBlock):
            yield from _wanted_document(block, where, ctx)


def _wanted_image(block: ImageBlock, path: str, ctx: TranslationContext) -> Iterator[NeededMedia]:
    if ctx.profile.images == "parts" and (url := _to_fetch(block.source, ctx)):
        yield NeededMedia(path, "image", url=url)


def _wanted_document(block: DocumentBlock, path: str, ctx: TranslationContext) -> Iterator[NeededMedia]:
    source = block.source
    if url := _to_fetch(source, ctx):
        yield NeededMedia(path, "document", url=url)
    elif ctx.profile.documents == "text" and (data := _inline_pdf(source)):
        yield NeededMedia(path, "document", data=data)


def _to_fetch(source: object, ctx: TranslationContext) -> str:
    if ctx.policy.media_urls != "fetch" or not isinstance(source, UrlSource):
        return ""
    url = source.url.strip()
    return url if url.lower().startswith(("http://", "https://")) else ""


def _inline_pdf(source: object) -> str:
    declared, data = "", ""
    if isinstance(source, Base64Source):
        declared, data = source.media_type, source.data
    elif isinstance(source, UrlSource) and (inline := data_url(source.url)):
        declared, data = inline
    return data if declared == PDF or data.lstrip().startswith(_PDF_START) else ""
