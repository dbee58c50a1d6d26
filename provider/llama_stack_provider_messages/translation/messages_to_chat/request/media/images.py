"""Images -> image parts, with the media type detected from their bytes.

An unsupported image is a 400 in a user message, because the response would ignore it. In a tool result it becomes a
note to the model, so that the tool loop continues.
"""

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import Base64Source, UrlSource
from llama_stack_api_messages.models.content import ImageBlock
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
from llama_stack_provider_messages.translation.messages_to_chat.loaded_media import Failed, LoadedFile
from llama_stack_provider_messages.translation.messages_to_chat.request.parts import Part, image_part, text_part

_NO_IMAGES = "this model reads no images; describe the image in text"
_SUPPORTED = "send a " + ", ".join(kind.removeprefix("image/") for kind in IMAGE_TYPES[:-1]) + " or webp image"
_SPELLINGS = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}


def image(block: ImageBlock, path: str, ctx: TranslationContext) -> Part:
    """Return the part for an image in a user message, or a note to the model if the profile sets that.

    Raises:
        InvalidRequestError: The image is not supported.
    """
    if ctx.profile.images == "placeholder":
        return _note_instead(path, ctx)
    if ctx.profile.images == "reject":
        raise InvalidRequestError(f"{path}: {_NO_IMAGES}")
    if field(block.transformations, "oversized_image") == "error":
        ctx.drop(f"{path}.transformations", "oversized_image", "the backend decides what becomes of a large image")
    return image_part(_address(block, path, ctx))


def result_image(block: ImageBlock, path: str, ctx: TranslationContext) -> Part:
    """Return the part for an image in a tool result, or a note to the model."""
    if ctx.profile.images == "reject":
        return _note_instead(path, ctx)
    try:
        return image(block, path, ctx)
    except InvalidRequestError as error:
        reason = cause_of(error)
        ctx.drop(path, "image", f"{reason}; the model is told so")
        return text_part(f"[image: this model cannot read it: {reason}]")


def _note_instead(path: str, ctx: TranslationContext) -> Part:
    ctx.drop(path, "image", "the model reads no images; it is told so")
    return text_part("[image: this model cannot read it]")


def cause_of(error: InvalidRequestError) -> str:
    """Return the cause in an error message, without the path and the advice, which are for the client."""
    return error.message.partition(": ")[2].partition(";")[0]


def _address(block: ImageBlock, path: str, ctx: TranslationContext) -> str:
    source = block.source
    if isinstance(source, Base64Source):
        return _inline(source.media_type, source.data, f"{path}.source")
    if isinstance(source, UrlSource):
        return _linked(source.url, path, ctx)
    raise unsupported_source(source.type, f"{path}.source")


def _linked(url: str, path: str, ctx: TranslationContext) -> str:
    """Return the URL for the backend: unchanged, or a data URL with the bytes that this server loaded."""
    if inline := data_url(url):
        return _inline(*inline, f"{path}.source")
    check_address(url, f"{path}.source", ctx)
    if ctx.policy.media_urls == "pass":
        return url.strip()
    loaded = ctx.media.get(path, NOT_LOADED)
    if isinstance(loaded, LoadedFile):
        return f"data:{loaded.media_type};base64,{loaded.data}"
    reason = loaded.reason if isinstance(loaded, Failed) else f"it is not an image; {_SUPPORTED}"
    raise InvalidRequestError(f"{path}.source.url: {reason}")


def _inline(declared: str, data: str, path: str) -> str:
    read = read_base64(data)
    if read is None:
        raise InvalidRequestError(f"{path}.data: this is not valid base64; send the bytes of the image in base64")
    text, raw = read
    kind = shown_type(raw, declared)
    if not kind:
        raise InvalidRequestError(f"{path}.media_type: {not_shown(raw, declared)}")
    return f"data:{kind};base64,{text}"


def shown_type(raw: bytes, declared: str) -> str:
    """Return the media type of an image that backends accept, ``""`` for any other.

    The bytes decide, because clients often derive the type from the file name. The declared type is used only if the
    bytes are not recognized.
    """
    found = media_type_of(raw) or _SPELLINGS.get(declared.lower(), declared.lower())
    return found if found in IMAGE_TYPES else ""


def not_shown(raw: bytes, declared: str) -> str:
    """Return the error text for an unsupported image."""
    found = media_type_of(raw) or declared
    return (
        "this is a PDF; send it as a document"
        if found == PDF
        else f"'{plain_name(found)}' is not supported; {_SUPPORTED}"
    )


NOT_LOADED = Failed("the address was not loaded; send the bytes in base64")


def check_address(url: str, path: str, ctx: TranslationContext) -> None:
    """Reject a URL with another scheme than http and https, which could reach files on the backend's machine.

    Raises:
        InvalidRequestError: The policy rejects URLs, or this is not a web URL.
    """
    if ctx.policy.media_urls == "reject":
        raise InvalidRequestError(f"{path}.url: this server takes no addresses; send the bytes in base64")
    if not url.strip().lower().startswith(("http://", "https://")):
        raise InvalidRequestError(f"{path}.url: the address has to begin with https:// or http://")


def unsupported_source(kind: str, path: str) -> InvalidRequestError:
    """Return the error for a source that this server cannot read."""
    if kind == "file":
        return InvalidRequestError(
            f"{path}: sources of type 'file' are not supported, this server keeps no uploaded files; "
            "send the bytes in base64"
        )
    return InvalidRequestError(
        f"{path}: sources of type '{plain_name(kind)}' are not supported; send the bytes in base64"
    )
