"""Explains why a request is not on a tape: finds the closest recorded request and lists the differences."""

import json
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, unified_diff
from itertools import zip_longest
from typing import Any

from messages_tape.format.json_values import Path, dotted
from messages_tape.format.model import Body, Ignore, Request, Tape

from .match import compared

_MAX_PLACES = 5
_MAX_LINES = 120
_AROUND = 20
"""Characters shown before and after a difference within a text."""
_WIDTH = 200
_NOTHING = object()


def explain(request: Request, tape: Tape, unplayed: Iterable[int]) -> str:
    """Return a readable text that names the closest recorded exchange and its differences from a request.

    Args:
        request: The scrubbed request that matched no unplayed exchange.
        tape: The tape.
        unplayed: Positions of the exchanges that are still to be played.
    """
    unplayed = set(unplayed)
    if not tape.exchanges:
        return "The tape is empty."
    number = max(range(len(tape.exchanges)), key=lambda at: (_likeness(request, tape, at), at in unplayed, -at))
    recorded = tape.exchanges[number].request
    played = "not" if number in unplayed else "already"
    lines = [f"Closest is exchange {number + 1} of {len(tape.exchanges)}, {played} played:"]
    lines += [f"  {line}" for line in _places(recorded, request, tape.ignore)] or [
        "  the same request; it was recorded fewer times than it was made"
    ]
    return "\n".join([*lines, *_diff(recorded, request, tape.ignore, number + 1)])


def differing(old: Any, new: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON values
    """Yield one line per difference between two JSON values, such as ``messages.0.content: at character 12 ...``."""
    return _values(old, new, ())


def _likeness(request: Request, tape: Tape, number: int) -> tuple[bool, bool, float]:
    recorded = tape.exchanges[number].request
    ours, theirs = _lines(request.body, tape.ignore), _lines(recorded.body, tape.ignore)
    lines = SequenceMatcher(None, ours, theirs, autojunk=False).ratio()
    return recorded.path == request.path, recorded.method == request.method, lines + _same_ends(ours, theirs)


def _same_ends(ours: list[str], theirs: list[str]) -> float:
    """Return the share of characters in the common prefix and suffix: high if only a small part differs."""
    one, other = "\n".join(ours), "\n".join(theirs)
    shorter, longer = sorted((len(one), len(other)))
    before = _common(one, other)
    after = min(_common(one[::-1], other[::-1]), shorter - before)
    return (before + after) / longer if longer else 1.0


def _lines(body: Body | None, ignore: Ignore) -> list[str]:
    if body is None:
        return []
    if body.form == "json":
        return json.dumps(compared(body.value, ignore), indent=1, sort_keys=True, ensure_ascii=False).split("\n")
    return body.value.split("\n") if body.form == "text" else [f"{len(body.value)} bytes: {body.value[:64].hex()}"]


def _places(recorded: Request, request: Request, ignore: Ignore) -> list[str]:
    """Return one line per difference between two requests, such as ``messages.0.content: at character 12 ...``."""
    found = []
    for name in ("method", "path", "query"):
        ours, theirs = getattr(request, name), getattr(recorded, name)
        if ours != theirs:
            found.append(f"{name}: recorded {theirs!r}, now {ours!r}")
    old, new = recorded.body, request.body
    if old and new and old.form == new.form == "json":
        found += _values(compared(old.value, ignore), compared(new.value, ignore), ())
    elif (old and old.form) != (new and new.form):
        found.append(f"body: recorded {old.form if old else 'nothing'}, now {new.form if new else 'nothing'}")
    if len(found) > _MAX_PLACES:
        found[_MAX_PLACES:] = [f"and {len(found) - _MAX_PLACES} more"]
    return found


def _values(old: Any, new: Any, path: Path) -> Iterator[str]:  # noqa: ANN401 - any JSON values
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _values(old.get(key, _NOTHING), new.get(key, _NOTHING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for at, (before, now) in enumerate(zip_longest(old, new, fillvalue=_NOTHING)):
            yield from _values(before, now, (*path, at))
    elif isinstance(old, str) and isinstance(new, str):
        if old != new:
            at = _common(old, new)
            yield f"{dotted(path)}: at character {at}, recorded {_around(old, at)}, now {_around(new, at)}"
    elif type(old) is not type(new) or old != new:
        yield f"{dotted(path)}: recorded {_short(old)}, now {_short(new)}"


def _common(old: str, new: str) -> int:
    """Return the length of the common prefix of two texts."""
    return next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))


def _around(text: str, at: int) -> str:
    start, end = max(at - _AROUND, 0), at + _AROUND
    return f"{'...' if start else ''}{text[start:end]!r}{'...' if end < len(text) else ''}"


def _short(value: object) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 3 * _AROUND else f"{text[: 3 * _AROUND]}..."


def _diff(recorded: Request, request: Request, ignore: Ignore, number: int) -> list[str]:
    """Return the unified diff of the bodies; long lines and long diffs are truncated."""
    old, new = _lines(recorded.body, ignore), _lines(request.body, ignore)
    lines = [*unified_diff(old, new, f"exchange {number}", "this request", lineterm="")]
    shown = [line if len(line) <= _WIDTH else f"{line[:_WIDTH]}... ({len(line)} characters)" for line in lines]
    return [*shown[:_MAX_LINES], f"... {len(shown) - _MAX_LINES} more lines"] if len(shown) > _MAX_LINES else shown
