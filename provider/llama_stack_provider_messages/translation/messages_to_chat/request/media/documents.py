"""Documents -> text, or file parts where the backend reads PDFs.

    text, content       text in place; images in content as parts
    base64, url (PDF)   by the profile: a `file` part, its `text` page by page, or rejected
    file                rejected

As with images (images.py), an unreadable document is a 400 in a user message and a note to the model in a tool result.
"""

import re
from collections.abc import Callable

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import Base64Source, TextSource, UrlSource
from llama_stack_api_messages.models.content import ContentSource, DocumentBlock, TextBlock
from llama_stack_provider_messages.translation.fields import field
from llama_stack_provider_messages.translation.inline_data import (
    IMAGE_TYPES,
    PDF,
    data_url,
    media_type_of,
    plain_name,
    read_base64,
)
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.loaded_media import (
    Failed,
    Loaded,
    LoadedFile,
    LoadedText,
)
from llama_stack_provider_messages.translation.messages_to_chat.request.parts import Part, joined, pdf_part, text_part
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .images import NOT_LOADED, cause_of, check_address, image, result_image, unsupported_source

type Show = Callable[..., Part]
"""The image handler of the enclosing message or tool result."""

_UNSAFE = re.compile(r"[^\w .()-]+")
_LONGEST_NAME = 100


def document(block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for a document in a user message.

    Raises:
        InvalidRequestError: It cannot be read here.
    """
    return _document(block, path, ctx, image)


def result_document(block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for a document in a tool result; a note if it cannot be read."""
    try:
        return _document(block, path, ctx, result_image)
    except InvalidRequestError as error:
        reason = cause_of(error)
        ctx.drop(path, "document", f"{reason}; the model is told so")
        name = f"document {block.title}" if block.title else "document"
        return [text_part(f"[{name}: this model cannot read it: {reason}]")]


def document_text(block: DocumentBlock, path: str, ctx: TranslationContext) -> str:
    """Return a document of an assistant message as text."""
    texts: list[str] = []
    for part in result_document(block, path, ctx):
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            ctx.drop(path, "document", "an assistant message holds no images and files; the model is told so")
            texts.append("[an image or file that cannot be shown here]")
    return "\n".join(texts)


def _document(block: DocumentBlock, path: str, ctx: TranslationContext, show: Show) -> list[Part]:
    parts = _source_parts(block, path, ctx, show)
    if field(block.citations, "enabled"):
        ctx.drop(f"{path}.citations", "citations", "the backend does not cite")
    names = "".join(f" {name}={dump_json(value)}" for name in ("title", "context") if (value := field(block, name)))
    if not names and all(part["type"] == "file" for part in parts):
        return parts
    return joined([text_part(f"<document{names}>"), *parts, text_part("</document>")])


def _source_parts(block: DocumentBlock, path: str, ctx: TranslationContext, show: Show) -> list[Part]:
    source = block.source
    if isinstance(source, TextSource):
        return [text_part(source.data)]
    if isinstance(source, ContentSource):
        return _content_parts(source, f"{path}.source.content", ctx, show)
    if isinstance(source, Base64Source):
        return _inline_parts(source.media_type, source.data, block, path, ctx)
    if isinstance(source, UrlSource):
        return _linked_parts(source.url, block, path, ctx)
    raise unsupported_source(source.type, f"{path}.source")


def _content_parts(source: ContentSource, path: str, ctx: TranslationContext, show: Show) -> list[Part]:
    if isinstance(source.content, str):
        return [text_part(source.content)]
    parts: list[Part] = []
    for index, item in enumerate(source.content):
        if isinstance(item, TextBlock):
            parts.append(text_part(item.text))
        elif item.type == "image":
            parts.append(show(item, f"{path}.{index}", ctx))
        else:
            raise InvalidRequestError(
                f"{path}.{index}: blocks of type '{plain_name(item.type)}' are not supported in a document; send text"
            )
    return parts


def _linked_parts(url: str, block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    if inline := data_url(url):
        return _inline_parts(*inline, block, path, ctx)
    check_address(url, f"{path}.source", ctx)
    if ctx.policy.media_urls == "pass":
        raise InvalidRequestError(
            f"{path}.source.url: chat completions take no address of a document; send the document in base64, "
            "or set media_urls: fetch on the server"
        )
    return _loaded_parts(ctx.media.get(path, NOT_LOADED), block, path, ctx)


def _inline_parts(declared: str, data: str, block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for base64 data. Data that the caller has already loaded is not decoded again."""
    if loaded := ctx.media.get(path):
        return _loaded_parts(loaded, block, path, ctx)
    read = read_base64(data)
    if read is None:
        raise InvalidRequestError(
            f"{path}.source.data: this is not valid base64; send the bytes of the document in base64"
        )
    text, raw = read
    kind = media_type_of(raw)
    if kind == PDF:
        return _loaded_parts(LoadedFile(PDF, text), block, path, ctx)
    if not kind and declared.startswith("text/"):
        return [text_part(raw.decode(errors="replace"))]
    raise InvalidRequestError(f"{path}.source.media_type: {not_read(kind or declared)}")


def not_read(kind: str) -> str:
    """Return the error text for a media type that is not a supported document."""
    if kind in IMAGE_TYPES:
        return "this is an image; send it as an image"
    if kind == PDF:
        return "this is not a PDF; send the bytes of a PDF, or the text of the document"
    return f"documents of type '{plain_name(kind)}' are not supported; send a PDF or the text of the document"


def _loaded_parts(loaded: Loaded, block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    if isinstance(loaded, Failed):
        raise InvalidRequestError(f"{path}.source: {loaded.reason}")
    if isinstance(loaded, LoadedText):
        return [text_part(_pages(loaded, path, ctx))]
    if ctx.profile.documents == "file":
        return [pdf_part(filename(block.title), loaded.data)]
    if ctx.profile.documents == "reject":
        raise InvalidRequestError(f"{path}: this model reads no PDF documents; send the text of the document")
    raise InvalidRequestError(f"{path}.source: the text of the PDF was not read; send the text of the document")


def _pages(loaded: LoadedText, path: str, ctx: TranslationContext) -> str:
    """Return the text with a heading for each page number, so that the model can refer to pages."""
    if not loaded.paged:
        return "\n".join(loaded.pages)
    ctx.drop(path, "document", "the backend reads no PDF; the model gets its text, without pictures and layout")
    return "\n\n".join(f"[page {number}]\n{text}".rstrip() for number, text in enumerate(loaded.pages, 1))


def filename(title: str | None) -> str:
    """Return a file name for a title, without path separators."""
    name = _UNSAFE.sub("_", (title or "")[:_LONGEST_NAME]).strip(" ._")
    if not name:
        return "document.pdf"
    return name if name.lower().endswith(".pdf") else f"{name}.pdf"
