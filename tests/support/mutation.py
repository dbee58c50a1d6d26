"""Mutates JSON values and bytes at random; reproducible by the seed of the generator."""

import json
from random import Random
from typing import Any

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 7, 10**20, -0.5, 1e308, "", " ", "\n", "text", "null", "a" * 200, "\u2028", "\x00",
    "\U0001f600", "{", "[1", "data:image/png;base64,AAAA", [], {}, [[]], [None], {"type": "text"}, {"type": "novel"},
    {"type": None}, {"type": "text", "text": None}, [{"type": "tool_use"}], {"": ""}, {"a": {"b": {"c": []}}},
]  # fmt: skip
"""Replacements for a value."""

KEYS = ("type", "text", "id", "name", "input", "content", "role", "source", "novel", "", "index", "delta")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside a value."""
    found = [path] if path else []
    if isinstance(value, dict):
        found += [place for key, inner in value.items() for place in places(inner, (*path, key))]
    elif isinstance(value, list):
        found += [place for at, inner in enumerate(value) for place in places(inner, (*path, at))]
    return found


def mutate(value: Any, random: Random, times: int) -> Any:
    """Return a copy of a JSON value with up to ``times`` random changes."""
    value = json.loads(json.dumps(value))
    for _ in range(times):
        found = places(value)
        if not found:
            break
        *above, last = random.choice(found)
        holder = value
        for step in above:
            holder = holder[step]
        _change(holder, last, random)
    return value


def _change(holder: Any, at: Any, random: Random) -> None:
    """Replace, remove, duplicate or extend the value at one place."""
    action = random.randrange(5)
    if action == 0:
        del holder[at]
    elif action == 1 and isinstance(holder, list):
        holder.insert(at, holder[at])
    elif action == 2 and isinstance(holder, dict):
        holder[random.choice(KEYS)] = random.choice(VALUES)
    elif action == 3 and isinstance(holder[at], str):
        cut = random.randrange(len(holder[at]) + 1)
        holder[at] = (
            holder[at][:cut] + random.choice(["", "\u2028", "</think>", "\ud7ff", '"', "  "]) + holder[at][cut:]
        )
    else:
        holder[at] = json.loads(json.dumps(random.choice(VALUES)))


def broken_bytes(raw: bytes, random: Random) -> bytes:
    """Return bytes with one byte changed, a part removed, or a part duplicated."""
    at, end = sorted(random.randrange(len(raw) + 1) for _ in range(2))
    return random.choice([
        raw[:at] + bytes([random.randrange(256)]) + raw[at + 1 :],
        raw[:at] + raw[end:],
        raw[:at],
        raw[:end] + raw[at:],
    ])  # fmt: skip
