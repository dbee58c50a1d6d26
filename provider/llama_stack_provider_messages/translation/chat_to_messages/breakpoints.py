"""``prompt_cache_breakpoint`` of content parts -> ``cache_control`` of blocks.

The API takes four at most, and none of an hour behind one of five minutes. The newest four are worth most: they stand
where the next turn goes on.
"""

from collections.abc import Iterable

from .read import Record, record_at, text_at
from .walk import Block, Mark, Walk

MOST = 4
"""``A maximum of 4 blocks with cache_control may be provided.``"""

_LONG = "1h"
_FEATURE = "prompt_cache_breakpoint"


def mark(block: Block, part: Record, path: str, walk: Walk) -> None:
    """Remember that the prompt is cached up to a block, if its part says so."""
    if part.get(_FEATURE) is not None:
        path = f"{path}.{_FEATURE}"
        wanted = text_at(record_at(part[_FEATURE], path).get("ttl"), f"{path}.ttl")
        walk.marks.append(Mark(block, path, _LONG if wanted == "12h" else walk.options.cache_ttl))


def gather(block: Block, start: int, walk: Walk) -> None:
    """Move the breakpoints since ``start`` to the block that holds their blocks; the last one covers the others."""
    if inner := walk.marks[start:]:
        walk.marks[start:] = [Mark(block, inner[-1].path, inner[-1].ttl)]
        _leave(inner[:-1], "the result they stand in has one", walk)


def apply_marks(walk: Walk) -> None:
    """Write the newest breakpoints into their blocks, and note the others."""
    _leave(walk.marks[:-MOST], f"the Messages API takes {MOST}", walk)
    ttl = _LONG
    for entry in walk.marks[-MOST:]:
        if entry.ttl != _LONG:
            ttl = entry.ttl
        elif ttl != _LONG:
            walk.hint(f"{entry.path}.ttl", "ttl", "no longer one may follow a shorter one")
        entry.block["cache_control"] = {"type": "ephemeral", **({"ttl": _LONG} if ttl == _LONG else {})}


def _leave(marks: Iterable[Mark], reason: str, walk: Walk) -> None:
    for entry in marks:
        walk.hint(entry.path, _FEATURE, reason)
