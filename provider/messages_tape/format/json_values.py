"""JSON values: which of them a tape stores as a structure, and places inside them.

YAML cannot hold every JSON text without loss: a duplicate key, ``1e999``, ``NaN``, a lone surrogate or a thousand
levels would come back changed or not at all. A body with one of these is stored as text.

A place is a path such as ``messages.0.content``; in patterns ``*`` is any key or position.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

_MAX_LEVELS = 64
_MAX_KEY_CHARACTERS = 128
"""YAML readers accept keys of 1024 bytes, escapes included."""

type Path = tuple[str | int, ...]


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, or cannot be stored without loss: duplicate keys, numbers beyond a double,
            lone surrogates, more than 64 levels.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("duplicate key")
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    check_json(value)
    return value


def check_json(value: object, level: int = 0) -> None:
    """Check that a tape can store a JSON value without loss.

    Raises:
        ValueError: It cannot.
    """
    if level > _MAX_LEVELS:
        raise ValueError("nested too deeply")
    match value:
        case None | bool() | int():
            return
        case float() if math.isfinite(value):
            return
        case str():
            value.encode()  # a lone surrogate is a ValueError too
            return
        case list():
            for item in value:
                check_json(item, level + 1)
            return
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"the key {key!r} is not text; quote it")  # noqa: TRY004 - for pydantic
                if len(key) > _MAX_KEY_CHARACTERS:
                    raise ValueError("a key is too long")
                key.encode()
                check_json(item, level + 1)
            return
    raise ValueError(f"{value!r} is not a JSON value")


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Yield the path and value of each leaf of a JSON value; empty objects and lists are leaves."""
    pairs = _pairs(value)
    if not pairs:
        yield path, value
    for key, item in pairs:
        yield from leaves(item, (*path, key))


def dotted(path: Path) -> str:
    """Return a path in dotted notation."""
    return ".".join(map(str, path)) or "the whole"


def matches(path: Path, pattern: Sequence[str]) -> bool:
    """Return whether a path matches a pattern."""
    return len(path) == len(pattern) and all(
        expected in ("*", str(step)) for expected, step in zip(pattern, path, strict=True)
    )


def mapped(value: object, change: Callable[[Path, object], object], path: Path = ()) -> Any:  # noqa: ANN401 - any JSON
    """Return a copy of a JSON value with each leaf replaced by ``change(path, leaf)``."""
    if isinstance(value, dict):
        return {key: mapped(item, change, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [mapped(item, change, (*path, at)) for at, item in enumerate(value)]
    return change(path, value)


def without(value: object, patterns: Iterable[str]) -> Any:  # noqa: ANN401 - any JSON
    """Return a copy of a JSON value without the paths that match a pattern."""
    split = [pattern.split(".") for pattern in patterns]
    return _without(value, split, ()) if split else value


def _without(value: object, patterns: list[list[str]], path: Path) -> object:
    kept = [(key, item) for key, item in _pairs(value) if not any(matches((*path, key), one) for one in patterns)]
    if isinstance(value, dict):
        return {key: _without(item, patterns, (*path, key)) for key, item in kept}
    if isinstance(value, list):
        return [_without(item, patterns, (*path, key)) for key, item in kept]
    return value


def _pairs(value: object) -> list[tuple[str | int, object]]:
    if isinstance(value, dict):
        return [*value.items()]
    return [*enumerate(value)] if isinstance(value, list) else []
