"""Places inside JSON values, written as ``messages.0.content``; in patterns ``*`` is any key or position."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

type Path = tuple[str | int, ...]


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
        wanted in ("*", str(step)) for wanted, step in zip(pattern, path, strict=True)
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
