"""Content of a chat message -> content blocks: texts, images, files, and their cache breakpoints.

Each role has a table of the parts it may hold. The Messages API rejects blank text blocks, so blank parts are dropped.

``prompt_cache_breakpoint`` of a part becomes ``cache_control`` of its block. Some OpenAI clients write
``cache_control`` into the part, which OpenRouter and LiteLLM accept. The Messages API allows four breakpoints, and
rejects a one-hour breakpoint after a five-minute one. The newest four are kept, because the next turn continues there.
"""

from collections.abc import Callable, Iterable, Mapping

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, Breakpoint, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    name_at,
    quoted,
    record_at,
    text_at,
)
from llama_stack_provider_messages.translation.inline_data import (
    IMAGE_TYPES,
    PDF,
    data_url,
    media_type_of,
    plain_name,
    read_base64,
)

type PartTranslator = Callable[[Record, str, TranslationContext], Block | None]
type Parts = Mapping[str, PartTranslator]
"""Type of a part -> its translation."""

MAX_BREAKPOINTS = 4
"""``A maximum of 4 blocks with cache_control may be provided.``"""

_BREAKPOINT = "prompt_cache_breakpoint"
_HOUR, _FIVE_MINUTES = "1h", "5m"
_HOUR_OR_LONGER = ("12h", _HOUR)


def blocks_of(content: object, path: str, ctx: TranslationContext, parts: Parts) -> list[Block]:
    """Return the content blocks for a string or a list of parts; ``[]`` for null.

    Args:
        content: The content of the message.
        path: Its JSON path.
        ctx: State of the translation.
        parts: The parts allowed for the role.

    Raises:
        InvalidRequestError: The content has another type, or a part is not allowed for the role.
    """
    if content is None or isinstance(content, str):
        return text_blocks(content or "", path, ctx)
    if not isinstance(content, list):
        raise InvalidRequestError(f"{path}: a string or a list of parts is required")
    blocks: list[Block] = []
    for index, part in enumerate(content):
        blocks += _part_blocks(part, f"{path}.{index}", ctx, parts)
    return blocks


def text_blocks(text: str, path: str, ctx: TranslationContext) -> list[Block]:
    """Return a text block, none for a blank text; dropped white space is logged, an empty text is not."""
    if text.strip():
        return [{"type": "text", "text": text}]
    if text:
        ctx.hint(path, "text", "the Messages API rejects text of white space only")
    return []


def _part_blocks(part: object, path: str, ctx: TranslationContext, parts: Parts) -> list[Block]:
    if isinstance(part, str):  # some clients send plain strings as parts
        return text_blocks(part, path, ctx)
    record = record_at(part, path)
    kind = record.get("type")
    translate = parts.get(kind) if isinstance(kind, str) else None
    if translate is None:
        raise InvalidRequestError(f"{path}.type: {quoted(kind)} is not allowed here; send {', '.join(parts)}")
    block = translate(record, path, ctx)
    ctx.hint_unknown(record, PART_FIELDS, path)
    if block is None:
        return []
    for name in (_BREAKPOINT, "cache_control"):
        if record.get(name) is not None:
            where = f"{path}.{name}"
            requested = text_at(record_at(record[name], where).get("ttl"), f"{where}.ttl")
            ttl = _HOUR if requested in _HOUR_OR_LONGER else _FIVE_MINUTES
            ctx.breakpoints.append(Breakpoint(block, where, ttl))
            break
    return [block]


def _text_part(part: Record, path: str, ctx: TranslationContext) -> Block | None:
    """Return the block for a ``text`` or ``refusal`` part, whose text has the name of its type."""
    where = f"{path}.{part['type']}"
    return next(iter(text_blocks(text_at(part.get(part["type"]), where), where, ctx)), None)


def _image_part(part: Record, path: str, ctx: TranslationContext) -> Block:
    """Return the image block for an ``image_url`` part; some clients send the URL in place of the object."""
    image, path = part.get("image_url"), f"{path}.image_url"
    if isinstance(image, str):
        url = image
    else:
        image, where = record_at(image, path), f"{path}.url"
        ctx.hint_unknown(image, ("url", "detail"), path)
        if text_at(image.get("detail"), f"{path}.detail") not in ("", "auto"):
            ctx.hint(f"{path}.detail", "detail", "the Messages API has no image detail setting")
        url, path = name_at(image.get("url"), where), where
    if _is_web_url(url):
        return {"type": "image", "source": {"type": "url", "url": url.strip()}}
    inline = data_url(url)
    if inline is None:
        raise InvalidRequestError(f"{path}: an http(s) URL or a base64 data URL is required")
    data, raw = _decoded(inline[1], path)
    media_type = media_type_of(raw) or inline[0].lower()
    if media_type not in IMAGE_TYPES:
        name = plain_name(media_type)
        raise InvalidRequestError(f"{path}: {name!r} is not a supported image type; send PNG or JPEG")
    return _inline("image", media_type, data)


def _file_part(part: Record, path: str, ctx: TranslationContext) -> Block:
    """Return the block for a ``file`` part. Its bytes decide the media type, then its data URL."""
    file, path = record_at(part.get("file"), f"{path}.file"), f"{path}.file"
    data, title = text_at(file.get("file_data"), f"{path}.file_data"), text_at(file.get("filename"), f"{path}.filename")
    if not data:
        raise InvalidRequestError(f"{path}: files cannot be referenced by id; send the content in file_data")
    ctx.hint_unknown(file, ("file_data", "filename"), path)
    block = _file_block(data, f"{path}.file_data")
    if title.strip() and block["type"] == "document":
        block["title"] = title
    elif title.strip():
        ctx.hint(f"{path}.filename", "filename", "image blocks have no file name")
    return block


def _file_block(data: str, path: str) -> Block:
    if _is_web_url(data):
        return {"type": "document", "source": {"type": "url", "url": data.strip()}}
    inline = data_url(data)
    encoded, raw = _decoded(inline[1] if inline else data, path)
    media_type = media_type_of(raw)
    if media_type == PDF:
        return _inline("document", PDF, encoded)
    if media_type in IMAGE_TYPES:
        return _inline("image", media_type, encoded)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if not text.strip() or "\0" in text:
        raise InvalidRequestError(f"{path}: the file is not a PDF, an image or UTF-8 text; convert it")
    return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}


def _audio_part(_part: Record, path: str, _ctx: TranslationContext) -> Block:
    raise InvalidRequestError(f"{path}: the Messages API does not accept audio; send a transcript as text")


def _decoded(data: str, path: str) -> tuple[str, bytes]:
    if (decoded := read_base64(data)) is None:
        raise InvalidRequestError(f"{path}: non-empty base64 is required")
    return decoded


def _inline(kind: str, media_type: str, data: str) -> Block:
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}}


def _is_web_url(url: str) -> bool:
    return url[:20].lstrip().lower().startswith(("http://", "https://"))


PART_FIELDS = frozenset({"type", "text", "refusal", "image_url", "file", _BREAKPOINT, "cache_control"})
"""Known fields of content parts."""

SYSTEM_PARTS: Parts = {"text": _text_part}
ASSISTANT_PARTS: Parts = {"text": _text_part, "refusal": _text_part}
TOOL_PARTS: Parts = {"text": _text_part, "image_url": _image_part, "file": _file_part}
USER_PARTS: Parts = {**TOOL_PARTS, "input_audio": _audio_part}


def merge_breakpoints(block: Block, start: int, ctx: TranslationContext) -> None:
    """Replace the breakpoints from index ``start`` by one at the enclosing block; the last one covers the others."""
    if inner := ctx.breakpoints[start:]:
        ctx.breakpoints[start:] = [Breakpoint(block, inner[-1].path, inner[-1].ttl)]
        for entry in inner[:-1]:
            ctx.hint(entry.path, _BREAKPOINT, "a later breakpoint in the same tool result covers it")


def place_breakpoints(system: list[Block], messages: Iterable[Block], ctx: TranslationContext) -> None:
    """Write the newest breakpoints into their blocks, and log the others as dropped.

    The order of the prompt counts, which may differ from the order in the request.
    """
    prompt = [*system, *(block for message in messages for block in message["content"])]
    by_block = {id(entry.block): entry for entry in ctx.breakpoints}
    ordered = [by_block[id(block)] for block in prompt if id(block) in by_block]
    for entry in ordered[:-MAX_BREAKPOINTS]:
        ctx.hint(entry.path, _BREAKPOINT, f"the Messages API allows {MAX_BREAKPOINTS} breakpoints")
    ttl = _HOUR
    for entry in ordered[-MAX_BREAKPOINTS:]:
        if entry.ttl != _HOUR:
            ttl = entry.ttl
        elif ttl != _HOUR:
            ctx.hint(f"{entry.path}.ttl", "ttl", "a one-hour breakpoint may not follow a five-minute one")
        entry.block["cache_control"] = {"type": "ephemeral", **({"ttl": _HOUR} if ttl == _HOUR else {})}
