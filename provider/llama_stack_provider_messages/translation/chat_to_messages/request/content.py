"""Content of a chat message -> content blocks.

The Messages API rejects blank text blocks, so blank parts are dropped. Each role has a table of the parts it may hold.
"""

from collections.abc import Callable, Mapping

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, list_at, record_at, shown, text_at

from .breakpoints import mark
from .media import file_block, image_block

type Handler = Callable[[Record, str, TranslationContext], Block | None]
type Handlers = Mapping[str, Handler]


def blocks_of(content: object, path: str, ctx: TranslationContext, handlers: Handlers) -> list[Block]:
    """Return the content blocks for a string or a list of parts; ``[]`` for null.

    Args:
        content: The content of the message.
        path: Its JSON path.
        ctx: State of the translation.
        handlers: Part types allowed for the role -> their handlers.

    Raises:
        InvalidRequestError: The content has another type, or a part is not allowed for the role.
    """
    if content is None or isinstance(content, str):
        return _present(text_block(content or "", path, ctx))
    if not isinstance(content, list):
        raise InvalidRequestError(f"{path}: a string or a list of parts is required")
    blocks: list[Block] = []
    for index, part in enumerate(list_at(content, path)):
        blocks += _present(_block(part, f"{path}.{index}", ctx, handlers))
    return blocks


def text_block(text: str, path: str, ctx: TranslationContext) -> Block | None:
    """Return a text block, None for a blank text; dropped white space is logged, an empty text is not."""
    if text.strip():
        return {"type": "text", "text": text}
    if text:
        ctx.hint(path, "text", "the Messages API takes no text of white space alone")
    return None


def _present(block: Block | None) -> list[Block]:
    return [] if block is None else [block]


def _block(part: object, path: str, ctx: TranslationContext, handlers: Handlers) -> Block | None:
    if isinstance(part, str):  # some clients send plain strings as parts
        return text_block(part, path, ctx)
    record = record_at(part, path)
    kind = record.get("type")
    handler = handlers.get(kind) if isinstance(kind, str) else None
    if handler is None:
        raise InvalidRequestError(f"{path}.type: {shown(kind)} is not taken here; send {', '.join(handlers)}")
    block = handler(record, path, ctx)
    ctx.unknown(record, PART_FIELDS, path)
    if block is not None:
        mark(block, record, path, ctx)
    return block


def _text(part: Record, path: str, ctx: TranslationContext) -> Block | None:
    return text_block(text_at(part.get("text"), f"{path}.text"), f"{path}.text", ctx)


def _refusal(part: Record, path: str, ctx: TranslationContext) -> Block | None:
    return text_block(text_at(part.get("refusal"), f"{path}.refusal"), f"{path}.refusal", ctx)


def _audio(_part: Record, path: str, _ctx: TranslationContext) -> Block:
    raise InvalidRequestError(f"{path}: the Messages API takes no audio; send a transcript as text")


PART_FIELDS = frozenset({"type", "text", "refusal", "image_url", "file", "prompt_cache_breakpoint", "cache_control"})
"""Known fields of content parts."""

SYSTEM_PARTS: Handlers = {"text": _text}
ASSISTANT_PARTS: Handlers = {"text": _text, "refusal": _refusal}
TOOL_PARTS: Handlers = {"text": _text, "image_url": image_block, "file": file_block}
USER_PARTS: Handlers = {**TOOL_PARTS, "input_audio": _audio}
