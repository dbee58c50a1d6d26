"""Reading records of the chat completions schema without knowing their class.

SDK objects built without validation, leaner objects and plain dicts all answer ``field``; a field
that is missing, null or of another type than the schema says is as good as absent.
"""

from typing import Any


def field(record: object, name: str) -> Any:  # noqa: ANN401 - whatever the backend sent
    """Return a field of an object or of a dict, None when it has none."""
    if isinstance(record, dict):
        return record.get(name)
    return getattr(record, name, None)


def text_field(record: object, name: str) -> str:
    """Return a field that should hold text, ``""`` when it does not."""
    value = field(record, name)
    return value if isinstance(value, str) else ""


def list_field(record: object, name: str) -> list[Any]:
    """Return a field that should hold a list, ``[]`` when it does not."""
    value = field(record, name)
    return value if isinstance(value, list) else []


def first_choice(record: object) -> object | None:
    """Return the choice with index 0; others exist only when n > 1 was asked, which this project never does."""
    for choice in list_field(record, "choices"):
        if field(choice, "index") in (0, None):
            return choice  # type: ignore[no-any-return]
    return None
