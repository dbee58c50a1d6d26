"""Limits of what is cheap to send and expensive to read; checked on the bytes, before either lane looks at a request.

    context_management.edits    each one goes over the whole history
    unknown fields              each one is named in a header and in a log
    values                      to count the unknown fields among them costs a microsecond each

A normal request pays one count of its colons, and a long one msgspec's check that it has only the fields clients send
(``_Common``). Any other body is parsed in prefixes that grow: megabytes of unknown fields are refused after the first
256 kB, and all prefixes together cost little more than the whole. What is not valid JSON is left to what reads the
request next.

A field is unknown if no object of the API has a field of this name (so that both lanes agree, without a validation
that the native lane does not make). What is inside an unknown field or a free-form one is never looked at.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import msgspec
from pydantic_core import from_json

from .errors import InvalidRequestError
from .json_members import Member
from .models import CreateMessageRequest
from .models.base import OpenModel

MAX_EDITS = 8
"""The API documents two kinds of edits, and clients send each once."""
MAX_UNKNOWN_FIELDS = 1_000
"""Of one object."""
MAX_UNKNOWN_FIELDS_IN_ALL = 10_000
"""Of a request: a block of a later version of the API, some fields each, in every message of a long session."""
MAX_VALUES = 300_000
"""Fields and list items that are counted in a request, at a microsecond each. The longest context window has room for
a tenth, and requests that are common (``_is_common``) are not counted."""
FREE_FORM = frozenset({"input", "input_schema", "input_examples", "schema", "classifier_context", "configs"})
"""Fields whose value has any names, such as the arguments of a tool call."""

_FIRST_PREFIX_BYTES = 256 * 1024
_PREFIX_FACTOR = 8

type _Place = tuple["_Place", str | int] | None
"""Where a value is: the place of what holds it, and its name or number there."""


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
        for settings in _readings(data[slice(*place)]):
            edits = settings.get("edits") if isinstance(settings, dict) else None
            if isinstance(edits, list) and len(edits) > MAX_EDITS:
                raise InvalidRequestError(
                    f"context_management.edits: more than {MAX_EDITS} edits are not accepted, because each goes over "
                    "the whole conversation; send fewer"
                )


def check_unknown_fields(data: bytes) -> None:
    """Refuse a request with too many unknown fields.

    Raises:
        InvalidRequestError: There are more than ``MAX_UNKNOWN_FIELDS`` in one object, or ``..._IN_ALL`` in all.
    """
    fields = data.count(b":")  # at most: text has colons, too
    if fields <= MAX_UNKNOWN_FIELDS or (fields <= MAX_VALUES and _is_common(data)):
        return
    for request in _readings(data):
        _Count().add(request, None)


class _Marker(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    ttl: str | None = None


class _Source(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class _Block(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw()
    tool_use_id: str | None = None
    tool_name: str | None = None
    content: "str | list[_Block] | None" = None
    is_error: bool | None = None
    source: _Source | None = None
    title: str | None = None
    citations: None = None
    cache_control: _Marker | None = None


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    effort: str | None = None


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str | list[_Block] = ""
    output_config: _Settings | None = None
    clear_at: str | None = None


class _Tool(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    input_schema: msgspec.Raw = msgspec.Raw()
    type: str | None = None
    description: str | None = None
    cache_control: _Marker | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    max_uses: int | None = None


_SHAPES: dict[str, Any] = {"messages": list[_Message], "system": str | list[_Block], "tools": list[_Tool] | None}


@cache
def _common() -> msgspec.json.Decoder[Any]:
    """Return the decoder of requests that have only the fields clients send; other top-level values are raw."""
    names = [field.alias or name for name, field in CreateMessageRequest.model_fields.items()]
    fields = [(name, _SHAPES.get(name, msgspec.Raw), msgspec.Raw()) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("_Common", fields, forbid_unknown_fields=True))


def _is_common(data: bytes) -> bool:
    """Whether a request has no unknown field in its prompt, and too few fields elsewhere; cheaper than counting."""
    try:
        request = _common().decode(data)
    except (ValueError, RecursionError):
        return False
    others = (value for value in msgspec.structs.astuple(request) if isinstance(value, msgspec.Raw))
    return sum(bytes(value).count(b":") for value in others) <= MAX_UNKNOWN_FIELDS


def _readings(data: bytes) -> Iterator[Any]:
    """Yield what growing prefixes of a JSON text say, and the whole at last; nothing from where it is not valid."""
    size = _FIRST_PREFIX_BYTES
    while True:
        try:
            yield from_json(data[:size], allow_partial=True)
        except ValueError:
            return
        if size >= len(data):
            return
        size *= _PREFIX_FACTOR


class _Count:
    """Counts what is in a request, and refuses it as soon as there is too much."""

    def __init__(self) -> None:
        self._names = _field_names()
        self._values = self._unknown = 0

    def add(self, value: Any, place: _Place) -> None:  # noqa: ANN401 - any JSON value
        """Count what is in a value, free-form and unknown fields apart."""
        if isinstance(value, dict):
            self._add_fields(value, place)
            inner: Iterable[tuple[str | int, Any]] = (
                (name, value[name]) for name in value if name in self._names and name not in FREE_FORM
            )
        else:
            inner = enumerate(value) if isinstance(value, list) else ()
            self._values += len(value) if isinstance(value, list) else 0
        if self._values > MAX_VALUES:
            raise _refusal(place, f"more than {MAX_VALUES} fields and list items are not accepted; send fewer")
        for name, part in inner:
            if isinstance(part, dict | list):
                self.add(part, (place, name))

    def _add_fields(self, value: dict[str, Any], place: _Place) -> None:
        self._values += len(value)
        if value.keys() <= self._names:
            return
        unknown = len(value.keys() - self._names)
        self._unknown += unknown
        what = "fields that the Messages API does not have"
        if unknown > MAX_UNKNOWN_FIELDS:
            raise _refusal(place, f"more than {MAX_UNKNOWN_FIELDS} {what}; remove them")
        if self._unknown > MAX_UNKNOWN_FIELDS_IN_ALL:
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
