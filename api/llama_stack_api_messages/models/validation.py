"""Turns pydantic's list of errors into one error message: `messages.0.content.0.text.text: Field required`.

The path is pydantic's own, with the tag of a union after the element it belongs to. The labels of our unions
(`<known>`, `<0>`; see `base.py`) are removed. Of several alternatives, in the order of their labels, the error of the
one that validated furthest is reported:

    pydantic   messages.0.content.<0>: Input should be a valid string
               messages.0.content.<1>.0.<known>.text.text: Field required
               messages.0.content.<1>.0.<unknown>: This type is known
    reported   messages.0.content.0.text.text: Field required
"""

from collections.abc import Sequence
from itertools import groupby

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .base import KNOWN_TYPE_ERROR

_SIDE_EFFECTS = frozenset({"union_tag_invalid", "union_tag_not_found", KNOWN_TYPE_ERROR, "none_required"})
"""Errors of alternatives whose `type` did not match; ignored if the matching alternative has an error."""

_WORDING = dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "Input should be a valid dictionary")
"""One message for three of pydantic's, one of which contains the names of our classes."""

_EXPECTED = "Input should be "


def describe_validation_error(error: ValidationError) -> str:
    """Return `<path>: <message>` of the first error, with the protocol's own message where there is one."""
    return describe_errors(error.errors(include_url=False, include_input=False))


def describe_errors(errors: Sequence[ErrorDetails]) -> str:
    """Return the same for a list of pydantic's errors; FastAPI has only the list."""
    rivals = _first([item for item in errors if item["type"] not in _SIDE_EFFECTS] or errors)
    first = rivals[0]
    if first["type"] == "json_invalid":
        return f"The request body is not valid JSON: {first['ctx']['error']}"
    path = _path(first)
    if not path and first["type"] in _WORDING:
        return "The request body must be a JSON object"
    message = _message(rivals)
    return f"{path}: {message}" if path else message


def _path(error: ErrorDetails) -> str:
    """Return the location without labels; a missing field reported by a model-level check is appended."""
    parts = [str(part) for part in error["loc"] if not _is_label(part)]
    if error["type"] == "missing_field":
        parts.append(str(error["ctx"]["field"]))
    return ".".join(parts)


def _message(rivals: Sequence[ErrorDetails]) -> str:
    """Return the message of the error; if all alternatives were rejected at once, list what each expects."""
    texts = [_WORDING.get(item["type"], item["msg"]) for item in rivals]
    if len(texts) == 1 or not all(text.startswith(_EXPECTED) for text in texts):
        return texts[0]
    expected = [text.removeprefix(_EXPECTED).split(",")[0] for text in texts]
    return _EXPECTED + " or ".join(dict.fromkeys(expected))


def _first(errors: Sequence[ErrorDetails], start: int = 0) -> Sequence[ErrorDetails]:
    """Return the first error; in a union, that of the first alternative that validated further, or those of all."""
    location = errors[0]["loc"]
    fork = next((at for at in range(start, len(location)) if _is_label(location[at])), None)
    if fork is None:
        return errors[:1]

    def label(item: ErrorDetails) -> str:
        return str(item["loc"][fork])

    rivals = [item for item in errors if item["loc"][:fork] == location[:fork]]
    groups = [list(group) for _, group in groupby(sorted(rivals, key=label), key=label)]
    for group in groups:
        if any(not _is_label(part) for item in group for part in item["loc"][fork + 1 :]):
            return _first(group, fork + 1)
    return [group[0] for group in groups]


def _is_label(part: int | str) -> bool:
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")
