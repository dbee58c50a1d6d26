"""Images and files of a chat message -> image and document blocks."""

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, name_at, record_at, text_at
from llama_stack_provider_messages.translation.inline_data import (
    IMAGE_TYPES,
    PDF,
    data_url,
    media_type_of,
    plain_name,
    read_base64,
)

_SCHEMES = ("http://", "https://")


def image_block(part: Record, path: str, ctx: TranslationContext) -> Block:
    """Return the image block for an ``image_url`` part; some clients send the URL in place of the object.

    Raises:
        InvalidRequestError: It is neither a web URL nor a supported image.
    """
    image, path = part.get("image_url"), f"{path}.image_url"
    if isinstance(image, str):
        return _image(image, path)
    image, url_path = record_at(image, path), f"{path}.url"
    ctx.unknown(image, ("url", "detail"), path)
    if text_at(image.get("detail"), f"{path}.detail") not in ("", "auto"):
        ctx.hint(f"{path}.detail", "detail", "the Messages API has one resolution")
    return _image(name_at(image.get("url"), url_path), url_path)


def _image(url: str, path: str) -> Block:
    if _is_address(url):
        return {"type": "image", "source": {"type": "url", "url": url.strip()}}
    inline = data_url(url)
    if inline is None:
        raise InvalidRequestError(f"{path}: an http(s) address or a data URL in base64 is required")
    data, raw = _decoded(inline[1], path)
    media_type = media_type_of(raw) or inline[0].lower()
    if media_type not in IMAGE_TYPES:
        raise InvalidRequestError(f"{path}: {plain_name(media_type)!r} is no image the model takes; send PNG or JPEG")
    return _inline("image", media_type, data)


def file_block(part: Record, path: str, ctx: TranslationContext) -> Block:
    """Return the block for a ``file`` part. Its bytes decide the media type, then its data URL.

    Raises:
        InvalidRequestError: There is no data, or its media type is not supported.
    """
    file, path = record_at(part.get("file"), f"{path}.file"), f"{path}.file"
    data, title = text_at(file.get("file_data"), f"{path}.file_data"), text_at(file.get("filename"), f"{path}.filename")
    if not data:
        raise InvalidRequestError(f"{path}: the model's server has no such file; send its bytes in file_data")
    ctx.unknown(file, ("file_data", "filename"), path)
    block = _file(data, f"{path}.file_data")
    if title.strip() and block["type"] == "document":
        block["title"] = title
    elif title.strip():
        ctx.hint(f"{path}.filename", "filename", "the Messages API gives images no name")
    return block


def _file(data: str, path: str) -> Block:
    if _is_address(data):
        return {"type": "document", "source": {"type": "url", "url": data.strip()}}
    inline = data_url(data)
    encoded, raw = _decoded(inline[1] if inline else data, path)
    media_type = media_type_of(raw)
    if media_type == PDF:
        return _inline("document", PDF, encoded)
    if media_type in IMAGE_TYPES:
        return _inline("image", media_type, encoded)
    return _text_document(raw, path)


def _text_document(raw: bytes, path: str) -> Block:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.strip() or "\0" in text:
        raise InvalidRequestError(f"{path}: neither a PDF nor an image nor text in UTF-8; convert the file")
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}


def _decoded(data: str, path: str) -> tuple[str, bytes]:
    if (found := read_base64(data)) is None:
        raise InvalidRequestError(f"{path}: base64 that is not empty is required")
    return found


def _inline(kind: str, media_type: str, data: str) -> Block:
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


def _is_address(url: str) -> bool:
    return url[:20].lstrip().lower().startswith(_SCHEMES)
