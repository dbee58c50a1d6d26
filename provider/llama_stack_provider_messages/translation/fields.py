"""Field access on chat completions records of any class.

``field`` works on SDK objects built without validation, on leaner objects and on plain dicts. A field that is missing,
null or of the wrong type counts as absent.
"""

from typing import Any


def field(record: object, name: str) -> Any:  # noqa: ANN401 - whatever the backend sent
    """Return a field of an object or dict, None when it is missing."""
    if isinstance(record, dict):
        return record.get(name)
    return getattr(record, name, None)


def text_field(record: object, name: str) -> str:
    """Return a field that should hold a string, ``""`` when it does not."""
    value = field(record, name)
    return value if isinstance(value, str) else ""


def list_field(record: object, name: str) -> list[Any]:
    """Return a field that should hold a list, ``[]`` when it does not."""
    value = field(record, name)
    return value if isinstance(value, list) else []


def first_choice(record: object) -> object | None:
    """Return the choice with index 0. Others exist only for ``n`` > 1, which this project never sends."""
    for choice in list_field(record, "choices"):
        if field(choice, "index") in (0, None):
            return choice  # type: ignore[no-any-return]
    return None
