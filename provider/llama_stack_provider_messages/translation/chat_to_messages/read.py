"""Typed access to unvalidated request JSON: a value of the wrong type raises a 400 that names its JSON path."""

from collections.abc import Iterator, Mapping
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError

type Record = Mapping[str, Any]

_SHOWN = 60
_MOST = 10**9
_DEEPEST = 100
"""Levels of nesting. Deeper values are rejected: a JSON encoder may exceed its recursion limit."""


def record_at(value: object, path: str) -> Record:
    """Return a JSON object of the request."""
    if not isinstance(value, Mapping):
        raise InvalidRequestError(f"{path}: an object is required")
    return value


def list_at(value: object, path: str) -> list[Any]:
    """Return a list of the request, ``[]`` if absent."""
    if value is not None and not isinstance(value, list):
        raise InvalidRequestError(f"{path}: a list is required")
    return value or []


def text_at(value: object, path: str) -> str:
    """Return a string of the request, ``""`` if absent."""
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{path}: a string is required")
    return value or ""


def name_at(value: object, path: str) -> str:
    """Return a required string of the request."""
    if not (name := text_at(value, path)):
        raise InvalidRequestError(f"{path}: a string that is not empty is required")
    return name


def flag_at(value: object, path: str) -> bool:
    """Return a boolean of the request, False if absent."""
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(f"{path}: true or false is required")
    return bool(value)


def number_at(value: object, path: str, highest: float) -> float | None:
    """Return a number from 0 to ``highest``, None if absent."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
        raise InvalidRequestError(f"{path}: a number from 0 to {highest:g} is required")
    return value


def count_at(value: object, path: str, lowest: int = 1) -> int | None:
    """Return an integer of at least ``lowest``, None if absent."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _MOST:
        raise InvalidRequestError(f"{path}: a whole number from {lowest} to {_MOST} is required")
    return value


def records_at(value: object, path: str) -> Iterator[tuple[Record, str]]:
    """Yield the objects of a list with their paths; nothing if the list is absent."""
    for index, item in enumerate(list_at(value, path)):
        yield record_at(item, f"{path}.{index}"), f"{path}.{index}"


def shown(value: object) -> str:
    """Return a value for an error message: shortened, and in plain characters."""
    text = value[:_SHOWN] if isinstance(value, str) else type(value).__name__
    return ascii(text)


def plain(name: object) -> str:
    """Return a field name, which the client chose, in a form that is safe in a path."""
    return ascii(str(name)[:_SHOWN])[1:-1]


def check_depth(value: object, path: str) -> None:
    """Reject a value that is nested too deeply.

    Raises:
        InvalidRequestError: The value has more than 100 levels.
    """
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise InvalidRequestError(f"{path}: nested more than {_DEEPEST} levels deep; make it flatter")


def _inner(value: object) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []
