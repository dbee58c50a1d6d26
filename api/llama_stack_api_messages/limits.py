"""Limits of what is cheap to send and expensive to read; checked on the bytes, before either lane looks at a request.

    values                      to build an object for each costs memory and time in every parser
    unknown fields              each one is named in a header and in a log
    context_management.edits    each one goes over the whole history

Values are counted without parsing: outside of strings, every value follows a comma or an opening bracket. Commas and
brackets of the whole body are counted first, strings included; only if there are more than the limit, the strings are
taken out and the rest is counted again.

After that, parsing a body is affordable (half a million values at most), and unknown fields are counted in the parsed
body. A body with few colons has few fields and is not parsed. A field is unknown if no object of the API has a field
of this name, so that both lanes agree, without the validation that the native lane does not make. What is inside an
unknown field or a free-form one is not looked at. What is not valid JSON is left to what reads the request next.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from pydantic_core import from_json

from .errors import InvalidRequestError
from .json_members import Member
from .models.base import OpenModel

MAX_VALUES = 500_000
"""Fields and list items of a request, free-form ones included. Each takes a token or more, and several in practice:
the longest context window (a million tokens) has room for fewer."""
MAX_UNKNOWN_FIELDS = 1_000
"""Of one object."""
MAX_UNKNOWN_FIELDS_IN_ALL = 10_000
"""Of a request: a block of a later version of the API, some fields each, in every message of a long session."""
MAX_EDITS = 8
"""The API documents two kinds of edits, and clients send each once."""
FREE_FORM = frozenset({"input", "input_schema", "input_examples", "schema", "classifier_context"})
"""Fields whose value has any names, such as the arguments of a tool call."""

_MARKS = b",[{"
"""What comes before a value of a list or an object; a bracket that is closed at once has none."""
_NOT_MARKS = bytes(set(range(256)) - set(_MARKS))
_SPACE = b" \t\r\n"
_CONTAINERS = frozenset({dict, list})
_CHUNK_BYTES = 256 * 1024
_EXTENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])

type _Place = tuple["_Place", str | int] | None
"""Where a value is: the place of what holds it, and its name or number there."""


def check_values(data: bytes) -> None:
    """Refuse a request with too many values; the message names the field of the request that has the most.

    Raises:
        InvalidRequestError: There are more than ``MAX_VALUES``.
    """
    if len(data) <= MAX_VALUES or _mark_count(data) <= MAX_VALUES:
        return
    count = 0
    for chunk in _without_strings(data):
        count += _mark_count(chunk) - chunk.count(b"[]") - chunk.count(b"{}")
        if count > MAX_VALUES:
            raise InvalidRequestError(
                f"{_largest_field(data)}: more than {MAX_VALUES} values (fields and list items) are not accepted in a "
                "request; send fewer"
            )


def _mark_count(data: bytes) -> int:
    return len(data.translate(None, _NOT_MARKS))


def _without_strings(data: bytes) -> Iterator[bytes]:
    """Yield a JSON text in chunks, with one quote in place of each string and without white space.

    Where a chunk ends inside of an empty list or object, its brackets do not meet, and it counts twice.
    """
    text = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every quote that is left begins or ends a string
    inside = 0
    for start in range(0, len(text), _CHUNK_BYTES):
        parts = text[start : start + _CHUNK_BYTES].split(b'"')
        yield b'"'.join(parts[inside::2]).translate(None, _SPACE)
        inside ^= len(parts) - 1 & 1


def _largest_field(data: bytes) -> str:
    try:
        counts = {name: _mark_count(bytes(value)) for name, value in _EXTENTS.decode(data).items()}
    except (ValueError, RecursionError):
        return "request"
    return max(counts, key=counts.__getitem__)[:100]


def check_edits(data: bytes, members: Iterable[Member]) -> None:
    """Refuse a request with too many context edits.

    Args:
        data: The body.
        members: Its top-level members.

    Raises:
        InvalidRequestError: There are more than ``MAX_EDITS``.
    """
    for name, place in members:
        if name != "context_management" or data.count(b",", *place) < MAX_EDITS:
            continue
        settings = _parsed(data[slice(*place)])
        edits = settings.get("edits") if isinstance(settings, dict) else None
        if isinstance(edits, list) and len(edits) > MAX_EDITS:
            raise InvalidRequestError(
                f"context_management.edits: more than {MAX_EDITS} edits are not accepted, because each goes over "
                "the whole conversation; send fewer"
            )


def check_unknown_fields(data: bytes) -> None:
    """Refuse a request with too many unknown fields.

    Args:
        data: The body; it has passed ``check_values``.

    Raises:
        InvalidRequestError: There are more than ``MAX_UNKNOWN_FIELDS`` in one object, or ``..._IN_ALL`` in all.
    """
    if data.count(b":") > MAX_UNKNOWN_FIELDS:  # as many fields at most: text has colons, too
        _UnknownFields().count(_parsed(data), None)


def _parsed(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text, None if it is not valid."""
    try:
        return from_json(data)
    except ValueError:
        return None


class _UnknownFields:
    """Counts the unknown fields of a request, and refuses it as soon as there are too many."""

    def __init__(self) -> None:
        self._known = _field_names()
        self._looked_into = self._known - FREE_FORM
        self._in_all = 0

    def count(self, value: Any, place: _Place) -> None:  # noqa: ANN401 - any JSON value
        """Count those of a value and of what is in it; nested no deeper than the parser allows."""
        if isinstance(value, dict):
            if not value.keys() <= self._known:
                self._add(len(value.keys() - self._known), place)
            for name, part in value.items():
                if type(part) in _CONTAINERS and name in self._looked_into:
                    self.count(part, (place, name))
        elif isinstance(value, list):
            for number, part in enumerate(value):
                if type(part) in _CONTAINERS:
                    self.count(part, (place, number))

    def _add(self, unknown: int, place: _Place) -> None:
        self._in_all += unknown
        what = "fields that the Messages API does not have"
        if unknown > MAX_UNKNOWN_FIELDS:
            raise _refusal(place, f"more than {MAX_UNKNOWN_FIELDS} {what}; remove them")
        if self._in_all > MAX_UNKNOWN_FIELDS_IN_ALL:
            raise _refusal(
                place, f"the request has more than {MAX_UNKNOWN_FIELDS_IN_ALL} {what}, up to here; remove them"
            )


def _refusal(place: _Place, message: str) -> InvalidRequestError:
    parts: list[str] = []
    while place:
        place, name = place
        parts.append(str(name))
    return InvalidRequestError(f"{'.'.join(reversed(parts)) or 'request'}: {message}")


@cache
def _field_names() -> frozenset[str]:
    """Return the names of all fields of all objects of the API."""
    names: set[str] = set()
    models = [OpenModel]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        names.update(field.alias or name for name, field in model.model_fields.items())
    return frozenset(names)
