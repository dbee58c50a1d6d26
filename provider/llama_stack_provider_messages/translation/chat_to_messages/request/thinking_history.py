"""Reasoning in earlier assistant messages -> thinking blocks.

The upstream verifies the signature of each thinking block and rejects a block without one. So reasoning without a
signature is dropped, as servers of chat completions do.
"""

from collections.abc import Iterator

from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, records_at, text_at

_ALIASES = ("reasoning_content", "reasoning")
"""Field names of the reasoning text; they repeat the text of ``reasoning_details``, if both are present."""

_UNSIGNED = "only reasoning with its signature goes back to the model: bring reasoning_details back"


def thoughts_of(message: Record, path: str, ctx: TranslationContext) -> list[Block]:
    """Return the thinking blocks of an assistant message.

    Raises:
        InvalidRequestError: ``reasoning_details`` is not a list of objects.
    """
    details = f"{path}.reasoning_details"
    found = [_thought(entry, where, ctx) for entry, where in _joined(message.get("reasoning_details"), details)]
    blocks = [block for block in found if block is not None]
    for name in _ALIASES:
        if not blocks and message.get(name):
            ctx.hint(f"{path}.{name}", name, _UNSIGNED)
    if blocks and ctx.traits.thinking == "none":
        ctx.hint(details, "reasoning_details", "the model does not think")
        return []
    return blocks


def _joined(details: object, path: str) -> Iterator[tuple[Record, str]]:
    """Yield the entries with the pieces of each joined: a streaming client may send them back as separate entries.

    Pieces of one entry have the same ``index``.
    """
    entries = list(records_at(details, path))
    texts: list[str] = []
    for (entry, where), (following, _) in zip(entries, [*entries, ({}, "")][1:], strict=True):
        texts.append(text_at(entry.get("text"), f"{where}.text"))
        if not _goes_on(entry, following):
            yield {**entry, "text": "".join(texts)}, where
            texts.clear()


def _goes_on(entry: Record, following: Record) -> bool:
    both = [(part.get("type"), part.get("index")) for part in (entry, following)]
    return (
        both[0] == both[1] and both[0][0] == "reasoning.text" and both[0][1] is not None and not entry.get("signature")
    )


def _thought(entry: Record, path: str, ctx: TranslationContext) -> Block | None:
    """Return one thinking block. Its text may be empty: some models return the signature only."""
    kind = entry.get("type")
    signature = text_at(entry.get("signature"), f"{path}.signature")
    if kind == "reasoning.text" and signature:
        return {"type": "thinking", "thinking": entry["text"], "signature": signature}
    data = text_at(entry.get("data"), f"{path}.data")
    if kind == "reasoning.encrypted" and data:
        return {"type": "redacted_thinking", "data": data}
    ctx.hint(path, "reasoning_details", _UNSIGNED)
    return None
