"""Images and documents of a request -> parts of chat messages.

    image, base64      a data URL with the media type detected from the bytes
    image, url         the URL unchanged, or a data URL with the bytes that the caller loaded (``media_urls``)
    document, text     its text
    document, content  its texts, with image parts between them
    document, PDF      by the profile: a file part, its text page by page, or rejected
    file ids           rejected: this server does not store files

In a user message, an image or document that cannot be translated is a 400, because the response would ignore it. In a
tool result it becomes a note to the model, so that the tool loop continues.
"""

import re
from collections.abc import Callable

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import Base64Source, TextSource, UrlSource
from llama_stack_api_messages.models.content import ContentSource, DocumentBlock, ImageBlock, TextBlock
from llama_stack_provider_messages.translation.fields import field
from llama_stack_provider_messages.translation.inline_data import (
    IMAGE_TYPES,
    PDF,
    data_url,
    media_type_of,
    plain_name,
    read_base64,
)
from llama_stack_provider_messages.translation.messages_to_chat.context import (
    Failed,
    Loaded,
    LoadedFile,
    LoadedText,
    TranslationContext,
)
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .parts import Part, image_part, joined, pdf_part, text_part

type ImageHandler = Callable[[ImageBlock, str, TranslationContext], Part]
"""``image`` or ``result_image``, depending on the enclosing message or tool result."""

_ALIASES = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}
"""Names of media types that clients and servers use -> the registered name."""

_USE_SUPPORTED_TYPE = "send a " + ", ".join(kind.removeprefix("image/") for kind in IMAGE_TYPES[:-1]) + " or webp image"
_NOT_LOADED = Failed("the URL was not loaded; send the bytes in base64")
_UNSAFE_IN_FILENAME = re.compile(r"[^\w .()-]+")
_MAX_FILENAME_CHARACTERS = 100


def image(block: ImageBlock, path: str, ctx: TranslationContext) -> Part:
    """Return the part for an image in a user message, or a note to the model if the profile sets that.

    Raises:
        InvalidRequestError: The image is not supported.
    """
    if ctx.profile.images == "placeholder":
        return _note_instead(path, ctx)
    if ctx.profile.images == "reject":
        raise InvalidRequestError(f"{path}: this model reads no images; describe the image in text")
    if field(block.transformations, "oversized_image") == "error":
        ctx.drop(f"{path}.transformations", "oversized_image", "the backend decides how large images are handled")
    source = block.source
    if isinstance(source, Base64Source):
        return image_part(_inline_image(source.media_type, source.data, f"{path}.source"))
    if isinstance(source, UrlSource):
        return image_part(_linked_image(source.url, path, ctx))
    raise _unsupported_source(source.type, f"{path}.source")


def result_image(block: ImageBlock, path: str, ctx: TranslationContext) -> Part:
    """Return the part for an image in a tool result, or a note to the model."""
    if ctx.profile.images == "reject":
        return _note_instead(path, ctx)
    try:
        return image(block, path, ctx)
    except InvalidRequestError as error:
        cause = _cause_of(error)
        ctx.drop(path, "image", f"{cause}; the model gets a note instead")
        return text_part(f"[image: this model cannot read it: {cause}]")


def document(block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for a document in a user message.

    Raises:
        InvalidRequestError: The document is not supported.
    """
    return _document(block, path, ctx, image)


def result_document(block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for a document in a tool result, or a note to the model."""
    try:
        return _document(block, path, ctx, result_image)
    except InvalidRequestError as error:
        cause = _cause_of(error)
        ctx.drop(path, "document", f"{cause}; the model gets a note instead")
        name = f"document {block.title}" if block.title else "document"
        return [text_part(f"[{name}: this model cannot read it: {cause}]")]


def document_text(block: DocumentBlock, path: str, ctx: TranslationContext) -> str:
    """Return a document of an assistant message as text."""
    texts: list[str] = []
    for part in result_document(block, path, ctx):
        if part["type"] == "text":
            texts.append(part["text"])
        else:
            ctx.drop(path, "document", "assistant messages cannot hold images or files; the model gets a note instead")
            texts.append("[an image or file that cannot be shown here]")
    return "\n".join(texts)


# --- images ---


def _linked_image(url: str, path: str, ctx: TranslationContext) -> str:
    """Return the URL for the backend: unchanged, or a data URL with the bytes that the caller loaded."""
    if inline := data_url(url):
        return _inline_image(*inline, f"{path}.source")
    _check_url(url, f"{path}.source", ctx)
    if ctx.policy.media_urls == "pass":
        return url.strip()
    loaded = ctx.media.get(path, _NOT_LOADED)
    if isinstance(loaded, LoadedFile):
        return f"data:{loaded.media_type};base64,{loaded.data}"
    reason = loaded.reason if isinstance(loaded, Failed) else f"this is not an image; {_USE_SUPPORTED_TYPE}"
    raise InvalidRequestError(f"{path}.source.url: {reason}")


def _inline_image(declared: str, data: str, path: str) -> str:
    """Return a data URL with the image's detected media type."""
    read = read_base64(data)
    if read is None:
        raise InvalidRequestError(f"{path}.data: this is not valid base64; send the bytes of the image in base64")
    text, raw = read
    media_type = image_type(raw, declared)
    if not media_type:
        raise InvalidRequestError(f"{path}.media_type: {image_problem(raw, declared)}")
    return f"data:{media_type};base64,{text}"


def image_type(raw: bytes, declared: str) -> str:
    """Return the media type of an image that backends accept, ``""`` for any other.

    The bytes decide, because clients often derive the type from the file name. The declared type is used only if the
    bytes are not recognized.
    """
    media_type = media_type_of(raw) or _ALIASES.get(declared.lower(), declared.lower())
    return media_type if media_type in IMAGE_TYPES else ""


def image_problem(raw: bytes, declared: str) -> str:
    """Return the error text for bytes that are not a supported image."""
    media_type = media_type_of(raw) or declared
    if media_type == PDF:
        return "this is a PDF; send it as a document"
    return f"'{plain_name(media_type)}' is not supported; {_USE_SUPPORTED_TYPE}"


# --- documents ---


def _document(block: DocumentBlock, path: str, ctx: TranslationContext, handle_image: ImageHandler) -> list[Part]:
    """Return the parts for a document, between tags that hold its title and context."""
    parts = _document_parts(block, path, ctx, handle_image)
    if field(block.citations, "enabled"):
        ctx.drop(f"{path}.citations", "citations", "the backend does not support citations")
    names = "".join(f" {name}={dump_json(value)}" for name in ("title", "context") if (value := field(block, name)))
    if not names and all(part["type"] == "file" for part in parts):
        return parts
    return joined([text_part(f"<document{names}>"), *parts, text_part("</document>")])


def _document_parts(block: DocumentBlock, path: str, ctx: TranslationContext, handle_image: ImageHandler) -> list[Part]:
    source = block.source
    if isinstance(source, TextSource):
        return [text_part(source.data)]
    if isinstance(source, ContentSource):
        return _content_parts(source, f"{path}.source.content", ctx, handle_image)
    if isinstance(source, Base64Source):
        return _inline_document(source.media_type, source.data, block, path, ctx)
    if not isinstance(source, UrlSource):
        raise _unsupported_source(source.type, f"{path}.source")
    if inline := data_url(source.url):
        return _inline_document(*inline, block, path, ctx)
    _check_url(source.url, f"{path}.source", ctx)
    if ctx.policy.media_urls == "pass":
        raise InvalidRequestError(
            f"{path}.source.url: the backend does not accept URLs of documents; send the document in base64, "
            "or set media_urls: fetch on the server"
        )
    return _loaded_parts(ctx.media.get(path, _NOT_LOADED), block, path, ctx)


def _content_parts(source: ContentSource, path: str, ctx: TranslationContext, handle_image: ImageHandler) -> list[Part]:
    if isinstance(source.content, str):
        return [text_part(source.content)]
    parts: list[Part] = []
    for index, item in enumerate(source.content):
        if isinstance(item, TextBlock):
            parts.append(text_part(item.text))
        elif isinstance(item, ImageBlock):
            parts.append(handle_image(item, f"{path}.{index}", ctx))
        else:
            raise InvalidRequestError(
                f"{path}.{index}: blocks of type '{plain_name(item.type)}' are not supported in a document; send text"
            )
    return parts


def _inline_document(declared: str, data: str, block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for base64 data. Data that the caller has already loaded is not decoded again."""
    if loaded := ctx.media.get(path):
        return _loaded_parts(loaded, block, path, ctx)
    read = read_base64(data)
    if read is None:
        raise InvalidRequestError(
            f"{path}.source.data: this is not valid base64; send the bytes of the document in base64"
        )
    text, raw = read
    media_type = media_type_of(raw)
    if media_type == PDF:
        return _loaded_parts(LoadedFile(PDF, text), block, path, ctx)
    if not media_type and declared.startswith("text/"):
        return [text_part(raw.decode(errors="replace"))]
    raise InvalidRequestError(f"{path}.source.media_type: {document_problem(media_type or declared)}")


def _loaded_parts(loaded: Loaded, block: DocumentBlock, path: str, ctx: TranslationContext) -> list[Part]:
    """Return the parts for a loaded document: text, with page numbers if it has pages, or a file."""
    if isinstance(loaded, Failed):
        raise InvalidRequestError(f"{path}.source: {loaded.reason}")
    if isinstance(loaded, LoadedText) and not loaded.paged:
        return [text_part("\n".join(loaded.pages))]
    if isinstance(loaded, LoadedText):
        ctx.drop(path, "document", "the backend does not read PDFs; the model gets the text without images and layout")
        pages = (f"[page {number}]\n{text}".rstrip() for number, text in enumerate(loaded.pages, 1))
        return [text_part("\n\n".join(pages))]
    if ctx.profile.documents == "file":
        return [pdf_part(filename(block.title), loaded.data)]
    if ctx.profile.documents == "reject":
        raise InvalidRequestError(f"{path}: this model reads no PDF documents; send the text of the document")
    raise InvalidRequestError(f"{path}.source: the text of the PDF was not extracted; send the text of the document")


def filename(title: str | None) -> str:
    """Return a file name for a title, without path separators."""
    name = _UNSAFE_IN_FILENAME.sub("_", (title or "")[:_MAX_FILENAME_CHARACTERS]).strip(" ._")
    if not name:
        return "document.pdf"
    return name if name.lower().endswith(".pdf") else f"{name}.pdf"


def document_problem(media_type: str) -> str:
    """Return the error text for a media type that is not a supported document."""
    if media_type in IMAGE_TYPES:
        return "this is an image; send it as an image"
    if media_type == PDF:
        return "this is not a PDF; send the bytes of a PDF, or the text of the document"
    return f"documents of type '{plain_name(media_type)}' are not supported; send a PDF or the text of the document"


# --- both ---


def _check_url(url: str, path: str, ctx: TranslationContext) -> None:
    """Reject a URL with another scheme than http and https, which could reach files on the backend's machine.

    Raises:
        InvalidRequestError: The policy rejects URLs, or this is not a web URL.
    """
    if ctx.policy.media_urls == "reject":
        raise InvalidRequestError(f"{path}.url: this server does not accept URLs; send the bytes in base64")
    if not url.strip().lower().startswith(("http://", "https://")):
        raise InvalidRequestError(f"{path}.url: the URL must begin with https:// or http://")


def _unsupported_source(kind: str, path: str) -> InvalidRequestError:
    """Return the error for a type of source that is not supported."""
    why = ", this server does not store files" if kind == "file" else ""
    return InvalidRequestError(
        f"{path}: sources of type '{plain_name(kind)}' are not supported{why}; send the bytes in base64"
    )


def _note_instead(path: str, ctx: TranslationContext) -> Part:
    ctx.drop(path, "image", "the model reads no images; it gets a note instead")
    return text_part("[image: this model cannot read it]")


def _cause_of(error: InvalidRequestError) -> str:
    """Return the cause in an error message, without the path and the advice, which are for the client."""
    return error.message.partition(": ")[2].partition(";")[0]
