"""Media that must be loaded before a request can be translated, because the translation does no I/O.

The caller loads what ``needed_media`` lists (URLs to fetch, PDFs to extract text from), classifies downloads with
``classify_download``, and passes the results on as ``TranslationContext.media``.
"""

import codecs
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import cache
from typing import Any, Literal

from llama_stack_api_messages.models import Base64Source, UrlSource
from llama_stack_api_messages.models.content import ContentSource, DocumentBlock, ImageBlock
from llama_stack_api_messages.models.content_server import WebFetchResultBlock, WebFetchToolResultBlock
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.inline_data import PDF, data_url, media_type_of
from llama_stack_provider_messages.translation.messages_to_chat.context import (
    Failed,
    Loaded,
    LoadedFile,
    LoadedText,
    TranslationContext,
)

from .context_edits import compacted
from .media import document_problem, image_problem, image_type

_PDF_SIGNATURE_BASE64 = "JVBERi"
"""``%PDF`` in base64."""

_TEXT_TYPES = ("text/", "application/json", "application/xml")

_SINGLE_BYTE_CODECS = frozenset({
    "latin_1", *(f"iso8859_{part}" for part in range(2, 17) if part != 12), "koi8_r", "koi8_u", "mac_roman",
    "tis_620",
    *(f"cp{page}" for page in (437, 850, 852, 866, 874, *range(1250, 1259))),
})  # fmt: skip
_CODECS = _SINGLE_BYTE_CODECS | {
    "ascii", "utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be",
    "shift_jis", "cp932", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030", "hz", "big5", "cp950", "euc_kr", "cp949",
    "iso2022_kr", "johab",
}  # fmt: skip
"""Codecs of web charsets, which decode any bytes in linear time. Python's other codecs are excluded: punycode takes
quadratic time, idna and undefined raise errors other than LookupError, and looking up a name imports a module."""

_CHARSETS = {codec: codec for codec in _CODECS} | {alias: codec for alias, codec in aliases.items() if codec in _CODECS}
"""Charset name, as normalized by Python -> codec."""


@dataclass(frozen=True, slots=True)
class NeededMedia:
    """One image or document to load.

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


_MEDIA_BLOCKS = frozenset({"image", "document", "web_fetch_tool_result"})
"""Types of blocks that may need media, besides tool results."""


def needed_media(request: PromptRequest, ctx: TranslationContext) -> list[NeededMedia]:
    """Return the media to load for a request, in the order of its blocks, from the last compaction on."""
    found: list[NeededMedia] = []
    for index, message in compacted(request):
        if message.role != "system" and isinstance(message.content, list):
            found += _needed_in(message.content, f"messages.{index}.content", ctx)
    return found


def _needed_in(content: str | list[Any] | None, parent: str, ctx: TranslationContext) -> list[NeededMedia]:
    found: list[NeededMedia] = []
    for index, block in enumerate(content if isinstance(content, list) else ()):
        if block.type == "tool_result":
            found += _needed_in(block.content, f"{parent}.{index}.content", ctx)
        elif block.type in _MEDIA_BLOCKS:
            found += _needed_by(block, f"{parent}.{index}", ctx)
    return found


def _needed_by(block: Any, path: str, ctx: TranslationContext) -> Iterator[NeededMedia]:  # noqa: ANN401 - any block
    if isinstance(block, WebFetchToolResultBlock) and isinstance(block.content, WebFetchResultBlock):
        yield from _needed_document(block.content.content, f"{path}.content.content", ctx)
    elif isinstance(block, ImageBlock):
        if ctx.profile.images == "parts" and (url := _url_to_fetch(block.source, ctx)):
            yield NeededMedia(path, "image", url=url)
    elif isinstance(block, DocumentBlock) and isinstance(block.source, ContentSource):
        yield from _needed_in(block.source.content, f"{path}.source.content", ctx)
    elif isinstance(block, DocumentBlock):
        yield from _needed_document(block, path, ctx)


def _needed_document(block: DocumentBlock, path: str, ctx: TranslationContext) -> Iterator[NeededMedia]:
    source = block.source
    declared, data = "", ""
    if isinstance(source, Base64Source):
        declared, data = source.media_type, source.data
    elif isinstance(source, UrlSource) and (inline := data_url(source.url)):
        declared, data = inline
    if url := _url_to_fetch(source, ctx):
        yield NeededMedia(path, "document", url=url)
    elif ctx.profile.documents != "text" or not data:
        return
    elif declared == PDF or data.lstrip().startswith(_PDF_SIGNATURE_BASE64):
        yield NeededMedia(path, "document", data=data)


def _url_to_fetch(source: object, ctx: TranslationContext) -> str:
    if ctx.policy.media_urls != "fetch" or not isinstance(source, UrlSource):
        return ""
    url = source.url.strip()
    return url if url.lower().startswith(("http://", "https://")) else ""


def classify_download(kind: Literal["image", "document"], declared: str, charset: str, raw: bytes) -> Loaded:
    """Return a download as a file or a text, or the reason why it is not supported.

    Args:
        kind: The type of the block.
        declared: Media type in the response headers, in lower case.
        charset: Charset in the response headers. An unknown one is read as UTF-8, with U+FFFD for invalid bytes.
        raw: The response body.
    """
    if kind == "image":
        media_type = image_type(raw, declared)
        return LoadedFile(media_type, _base64(raw)) if media_type else Failed(image_problem(raw, declared))
    media_type = media_type_of(raw) or declared
    if media_type == PDF:
        return LoadedFile(PDF, _base64(raw))
    if not media_type.startswith(_TEXT_TYPES):
        return Failed(document_problem(media_type))
    codec = _CHARSETS.get(normalize_encoding(charset).lower(), "utf_8")
    if codec in _SINGLE_BYTE_CODECS:
        return LoadedText((codecs.charmap_decode(raw, "strict", _characters(codec))[0],), paged=False)
    return LoadedText((raw.decode(codec, errors="replace"),), paged=False)


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode("ascii")


@cache
def _characters(codec: str) -> str:
    """Return the character for each byte value. A table, because replacing bytes singly takes 0.5 s per megabyte."""
    return bytes(range(256)).decode(codec, errors="replace")
