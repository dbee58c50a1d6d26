"""Limits on request bodies that are cheap to send and expensive to parse; checked before either lane reads a request.

    values                      every parser builds an object for each, which costs memory and time
    unknown fields              each one is named in a response header and in a log
    context_management.edits    each one is applied to the whole history

Values are counted without parsing: outside of strings, every value follows a comma or an opening bracket. Commas and
brackets of the whole body are counted first, strings included; only if the count exceeds the limit, the strings are
removed and the rest is counted again.

After that, parsing a body is affordable (half a million values at most), and unknown fields are counted in the parsed
body. A body with few colons has few fields and is not parsed. A field is unknown if no object of the API has a field
of this name: so both lanes count the same fields, although the native lane does not validate requests. Fields inside
an unknown or free-form field are not counted. Invalid JSON is not reported here; whatever parses the request reports
it.
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
"""Fields and list items of a request, free-form ones included. Each takes at least one token, in practice several:
the longest context window (a million tokens) has room for fewer."""
MAX_UNKNOWN_FIELDS_PER_OBJECT = 1_000
"""Unknown fields of one object."""
MAX_UNKNOWN_FIELDS_PER_REQUEST = 10_000
"""Unknown fields of a request. Enough for a long session in which every message has a block of a later API version with
a few unknown fields."""
MAX_EDITS = 8
"""The API documents two kinds of edits, and clients send each once."""
FREE_FORM = frozenset({"input", "input_schema", "input_examples", "schema", "classifier_context"})
"""Fields whose value may have any member names, such as the arguments of a tool call."""

_MARKS = b",[{"
"""Bytes that precede a value of a list or an object. A bracket that is closed at once has no value."""
_NOT_MARKS = bytes(set(range(256)) - set(_MARKS))
_SPACE = b" \t\r\n"
_CONTAINERS = frozenset({dict, list})
_CHUNK_BYTES = 256 * 1024
_EXTENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])

type _Path = tuple["_Path", str | int] | None
"""Path of a value: the path of its parent, and its name or index there."""


def check_values(data: bytes) -> None:
    """Reject a request with too many values; the message names the top-level field that has the most.

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

    If a chunk ends between the two brackets of an empty list or object, the caller counts it as having a value.
    """
    text = data.replace(b"\\\\", b"").replace(b'\\"', b"")  # every remaining quote begins or ends a string
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
    """Reject a request with too many context edits.

    Args:
        data: The body.
        members: The top-level members of the body.

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
    """Reject a request with too many unknown fields.

    Args:
        data: The body, already checked with ``check_values``.

    Raises:
        InvalidRequestError: One object has more than ``MAX_UNKNOWN_FIELDS_PER_OBJECT``, or the request has more than
            ``MAX_UNKNOWN_FIELDS_PER_REQUEST``.
    """
    if data.count(b":") > MAX_UNKNOWN_FIELDS_PER_OBJECT:  # an upper bound of the number of fields: text has colons, too
        _UnknownFields().count(_parsed(data), None)


def _parsed(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the decoded JSON text, None if it is not valid."""
    try:
        return from_json(data)
    except ValueError:
        return None


class _UnknownFields:
    """Counts the unknown fields of a request, and raises as soon as there are too many."""

    def __init__(self) -> None:
        self._known = _field_names()
        self._searched = self._known - FREE_FORM
        self._total = 0

    def count(self, value: Any, path: _Path) -> None:  # noqa: ANN401 - any JSON value
        """Count the unknown fields of a value, recursively; the parser has limited the nesting depth."""
        if isinstance(value, dict):
            if not value.keys() <= self._known:
                self._add(len(value.keys() - self._known), path)
            for name, part in value.items():
                if type(part) in _CONTAINERS and name in self._searched:
                    self.count(part, (path, name))
        elif isinstance(value, list):
            for number, part in enumerate(value):
                if type(part) in _CONTAINERS:
                    self.count(part, (path, number))

    def _add(self, unknown: int, path: _Path) -> None:
        self._total += unknown
        if unknown > MAX_UNKNOWN_FIELDS_PER_OBJECT:
            problem = f"more than {MAX_UNKNOWN_FIELDS_PER_OBJECT} fields that the Messages API does not have"
        elif self._total > MAX_UNKNOWN_FIELDS_PER_REQUEST:
            limit = MAX_UNKNOWN_FIELDS_PER_REQUEST
            problem = f"the request has more than {limit} fields that the Messages API does not have, up to here"
        else:
            return
        names: list[str] = []
        while path:
            path, name = path
            names.append(str(name))
        raise InvalidRequestError(f"{'.'.join(reversed(names)) or 'request'}: {problem}; remove them")


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
