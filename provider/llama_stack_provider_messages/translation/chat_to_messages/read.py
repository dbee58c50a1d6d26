"""Typed access to unvalidated request JSON: a value of the wrong type raises a 400 that names its JSON path."""

from collections.abc import Iterator, Mapping
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError

type Record = Mapping[str, Any]

_MAX_COUNT = 10**9
_MAX_QUOTED_CHARACTERS = 60
_MAX_LEVELS = 100
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


def records_at(value: object, path: str) -> Iterator[tuple[Record, str]]:
    """Yield the objects of a list with their paths; nothing if the list is absent."""
    for index, item in enumerate(list_at(value, path)):
        yield record_at(item, f"{path}.{index}"), f"{path}.{index}"


def text_at(value: object, path: str) -> str:
    """Return a string of the request, ``""`` if absent."""
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"{path}: a string is required")
    return value or ""


def name_at(value: object, path: str) -> str:
    """Return a required string of the request."""
    if not (name := text_at(value, path)):
        raise InvalidRequestError(f"{path}: a non-empty string is required")
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
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _MAX_COUNT:
        raise InvalidRequestError(f"{path}: a whole number from {lowest} to {_MAX_COUNT} is required")
    return value


def check_depth(value: object, path: str) -> None:
    """Reject a value that is nested too deeply.

    Raises:
        InvalidRequestError: The value has more than 100 levels.
    """
    level = [value]
    for _ in range(_MAX_LEVELS):
        objects = [item.values() for item in level if isinstance(item, Mapping)]
        lists = [item for item in level if isinstance(item, list)]
        level = [inner for items in (*objects, *lists) for inner in items]
        if not level:
            return
    raise InvalidRequestError(f"{path}: nested more than {_MAX_LEVELS} levels deep; reduce the nesting")


def quoted(value: object) -> str:
    """Return a value in quotes for an error message: shortened and in ASCII; for a value of another type, its type."""
    text = value[:_MAX_QUOTED_CHARACTERS] if isinstance(value, str) else type(value).__name__
    return ascii(text)


def printable(name: object) -> str:
    """Return a field name, which the client chose, in a form that is safe in a JSON path."""
    return ascii(str(name)[:_MAX_QUOTED_CHARACTERS])[1:-1]
