"""``prompt_cache_breakpoint`` of content parts -> ``cache_control`` of blocks.

Some OpenAI clients write ``cache_control`` into content parts, which OpenRouter and LiteLLM accept. The Messages API
allows four breakpoints, and rejects a one-hour breakpoint after a five-minute one. The newest four are kept, because
the next turn continues there.
"""

from collections.abc import Iterable

from llama_stack_provider_messages.translation.chat_to_messages.context import Block, Mark, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import Record, record_at, text_at

MOST = 4
"""``A maximum of 4 blocks with cache_control may be provided.``"""

_LONG, _SHORT = "1h", "5m"
_LONG_ONES = ("12h", _LONG)
_FEATURE = "prompt_cache_breakpoint"


def mark(block: Block, part: Record, path: str, ctx: TranslationContext) -> None:
    """Record a cache breakpoint at a block, if its part has one."""
    for name in (_FEATURE, "cache_control"):
        if part.get(name) is not None:
            where = f"{path}.{name}"
            wanted = text_at(record_at(part[name], where).get("ttl"), f"{where}.ttl")
            ctx.marks.append(Mark(block, where, _LONG if wanted in _LONG_ONES else _SHORT))
            return


def gather(block: Block, start: int, ctx: TranslationContext) -> None:
    """Replace the breakpoints from index ``start`` by one at the enclosing block; the last one covers the others."""
    if inner := ctx.marks[start:]:
        ctx.marks[start:] = [Mark(block, inner[-1].path, inner[-1].ttl)]
        _leave(inner[:-1], "the result they stand in has one", ctx)


def apply_marks(prompt: Iterable[Block], ctx: TranslationContext) -> None:
    """Write the newest breakpoints into their blocks, and log the others as dropped.

    Args:
        prompt: The blocks in prompt order, which may differ from the order in the request.
        ctx: State of the translation.
    """
    by_block = {id(entry.block): entry for entry in ctx.marks}
    marks = [by_block[id(block)] for block in prompt if id(block) in by_block]
    _leave(marks[:-MOST], f"the Messages API takes {MOST}", ctx)
    ttl = _LONG
    for entry in marks[-MOST:]:
        if entry.ttl != _LONG:
            ttl = entry.ttl
        elif ttl != _LONG:
            ctx.hint(f"{entry.path}.ttl", "ttl", "no longer one may follow a shorter one")
        entry.block["cache_control"] = {"type": "ephemeral", **({"ttl": _LONG} if ttl == _LONG else {})}


def _leave(marks: Iterable[Mark], reason: str, ctx: TranslationContext) -> None:
    for entry in marks:
        ctx.hint(entry.path, _FEATURE, reason)
