"""Decides which JSON bodies a tape stores as a structure: those that YAML can store without loss."""

import json
import math
from typing import Any

_MAX_DEPTH = 64
_MAX_KEY = 128
"""Maximum length of a key in characters; YAML readers accept 1024 bytes, escapes included."""


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text.

    Raises:
        ValueError: The text is not JSON, or cannot be stored without loss: duplicate keys, numbers beyond a double,
            lone surrogates, more than 64 levels.
    """
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    check_json(value)
    return value


def check_json(value: object, depth: int = 0) -> None:
    """Check that a tape can store a JSON value without loss.

    Raises:
        ValueError: It cannot.
    """
    if depth > _MAX_DEPTH:
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
                check_json(item, depth + 1)
            return
        case dict():
            for key, item in value.items():
                _check_key(key)
                check_json(item, depth + 1)
            return
    raise ValueError(f"{value!r} is no value of JSON")


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise ValueError(f"the key {key!r} is not text; quote it")  # noqa: TRY004 - pydantic handles ValueError only
    if len(key) > _MAX_KEY:
        raise ValueError("a key is too long")
    key.encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
