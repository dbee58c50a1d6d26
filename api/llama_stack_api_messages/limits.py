"""Limits on request bodies that are cheap to send and expensive to process; checked before either lane reads a request.

    values                              every parser builds an object for each, which costs memory and time
    unknown fields                      each one is named in a response header and in a log
    messages, content blocks, tools     each one is validated, translated and sent
    context_management.edits            each one is applied to the whole history

Nothing is validated for that: validation is the most expensive step. A body is read only as far as the numbers of its
commas, colons and brackets require:

1. Outside of strings, every value follows a comma or an opening bracket, and every field has a colon. These marks are
   counted in the whole body, strings included. An ordinary body needs nothing else.
2. If there may be too many values, strings are removed and the rest is counted, piece by piece until the limit.
3. If there are many colons, the body is decoded and searched: its beginning first, so that a body full of unknown
   fields costs no more than that. If there are fewer, only the messages, tools and other parts with many colons are.

A field is unknown if no object of the API has a field of this name: so both lanes count the same fields, although the
native lane does not validate requests. Fields inside an unknown or free-form field are not counted. Invalid JSON is not
reported here; whatever parses the request reports it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from pydantic_core import from_json

from .errors import InvalidRequestError
from .json_members import Member
from .models.base import OpenModel
from .models.request import MAX_MESSAGES, CreateMessageRequest

MAX_VALUES = 500_000
"""Fields and list items of a request, free-form ones included; an empty list or object counts twice. Each takes at
least one token, in practice several: the longest context window (a million tokens) has room for fewer."""
MAX_UNKNOWN_FIELDS_PER_OBJECT = 1_000
"""Unknown fields of one object."""
MAX_UNKNOWN_FIELDS_PER_REQUEST = 10_000
"""Unknown fields of a request. Enough for a long session in which every message has a block of a later API version with
a few unknown fields."""
MAX_EDITS = 8
"""The API documents two kinds of edits, and clients send each once."""
FREE_FORM = frozenset({"input", "input_schema", "input_examples", "schema", "classifier_context"})
"""Fields whose value may have any member names, such as the arguments of a tool call."""

_VALUE_MARKS = b",[{"
"""Bytes that precede a value of a list or an object."""
_NOT_MARKS = bytes(set(range(256)) - set(_VALUE_MARKS + b":"))
_NOT_MARKS_OR_QUOTES = bytes(set(range(256)) - set(_VALUE_MARKS + b'"'))
_PIECE_BYTES = 256 * 1024
_REST_OF_ESCAPE = re.compile(rb"\\*+.?", re.DOTALL)
_CONTAINERS = frozenset({dict, list})
_BLOCK_LISTS = frozenset({"content", "system"})
"""Fields whose list items are content blocks."""
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The limits that an operator can set.

    Attributes:
        messages: Messages of a request. The default is the limit of the Messages API.
        blocks: Content blocks of a request, nested ones and those of the system prompt included. The longest context
            window has room for fewer.
        tools: Tools of a request. The default is the limit of the Messages API's own tool search.
    """

    messages: int = MAX_MESSAGES
    blocks: int = 50_000
    tools: int = 10_000


DEFAULT_LIMITS = RequestLimits()


class BodyCheck:
    """Checks one body, in two steps: the second one needs its top-level members, whose number the first one limits.

    Args:
        data: The body.
        limits: The limits that the operator has set.

    Raises:
        InvalidRequestError: A limit is exceeded; the message begins with the JSON path. Both steps raise it.
    """

    def __init__(self, data: bytes, limits: RequestLimits = DEFAULT_LIMITS) -> None:
        self._data = data
        self._limits = limits
        threshold = min(MAX_UNKNOWN_FIELDS_PER_REQUEST, limits.messages, limits.blocks, limits.tools)
        values = self._colons = 0
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            marks = piece.translate(None, _NOT_MARKS)
            colons = marks.count(b":")
            if not start and colons > threshold:
                _search(_parsed(piece, partial=True), (), limits)
            self._colons += colons
            if values <= MAX_VALUES < values + len(marks) - colons:
                _check_values(data)
            values += len(marks) - colons
        self._searched = self._colons > threshold
        if self._searched:
            _search(_parsed(data), (), limits)

    def check_members(self, members: Sequence[Member]) -> None:
        """Check the top-level members, and each part of them that has more colons than an object may have fields."""
        for name, place in members:
            if name == "context_management" and self._data.count(b",", *place) >= MAX_EDITS:
                _check_edits(_parsed(self._data[slice(*place)]))
        if self._searched or self._colons <= MAX_UNKNOWN_FIELDS_PER_OBJECT:
            return
        _search(dict.fromkeys(name for name, _ in members), (), self._limits)
        for path, part in self._parts(members):
            if part.count(b":") > MAX_UNKNOWN_FIELDS_PER_OBJECT:
                _search(_parsed(part), path, self._limits)

    def _parts(self, members: Sequence[Member]) -> Iterator[tuple[tuple[str | int, ...], bytes]]:
        """Yield the values of known members with their paths; of an array its elements."""
        for name, place in members:
            if name in _field_names() and name not in FREE_FORM:
                value = self._data[slice(*place)]
                try:
                    for index, part in enumerate(_ELEMENTS.decode(value)):
                        yield (name, index), bytes(part)
                except (ValueError, RecursionError):
                    yield (name,), value


def _check_values(data: bytes) -> None:
    """Reject a request with too many values; the message names the top-level field that has most of them."""
    count = inside = start = 0
    while start < len(data):
        end = _REST_OF_ESCAPE.match(data, min(start + _PIECE_BYTES, len(data))).end()  # type: ignore[union-attr] # always
        text = data[start:end].replace(b"\\\\", b"").replace(b'\\"', b"")  # each other quote begins or ends a string
        parts = text.translate(None, _NOT_MARKS_OR_QUOTES).replace(b'""', b"").split(b'"')
        count += sum(map(len, parts[inside::2]))
        if count > MAX_VALUES:
            raise InvalidRequestError(
                f"{_largest_field(data, end)}: more than {MAX_VALUES} values (fields and list items) are not accepted "
                "in a request; send fewer"
            )
        inside ^= (len(parts) - 1) & 1
        start = end


def _largest_field(data: bytes, read: int) -> str:
    """Return the top-level field of the API with most values in its first ``read`` bytes, or ``request``."""
    try:
        values = msgspec.structs.asdict(_extents_decoder().decode(data))
    except (ValueError, RecursionError):
        return "request"
    counts = {name: len(bytes(memoryview(value)[:read]).translate(None, _NOT_MARKS)) for name, value in values.items()}
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] > MAX_VALUES // 2 else "request"


@cache
def _extents_decoder() -> msgspec.json.Decoder[Any]:
    """Return a decoder of the positions of known top-level fields; a dict of all would take a second for a million."""
    fields = [(name, msgspec.Raw, msgspec.Raw(b"")) for name in CreateMessageRequest.model_fields]
    return msgspec.json.Decoder(msgspec.defstruct("Extents", fields))


def _check_edits(settings: Any) -> None:  # noqa: ANN401 - any JSON value
    edits = settings.get("edits") if isinstance(settings, dict) else None
    if isinstance(edits, list) and len(edits) > MAX_EDITS:
        raise InvalidRequestError(
            f"context_management.edits: more than {MAX_EDITS} edits are not accepted, because each goes over "
            "the whole conversation; send fewer"
        )


def _parsed(data: bytes, *, partial: bool = False) -> Any:  # noqa: ANN401 - any JSON value
    """Return the decoded JSON text, None if it is not valid.

    Args:
        data: The text.
        partial: It is the beginning of a longer text; incomplete values at its end are left out.
    """
    try:
        return from_json(data, allow_partial=partial, cache_strings="none")
    except ValueError:
        return None


def _search(value: Any, path: tuple[str | int, ...], limits: RequestLimits) -> None:  # noqa: ANN401 - any JSON value
    """Reject a value with too many unknown fields, messages, blocks or tools.

    Raises:
        InvalidRequestError: The message begins with the path.
    """
    try:
        _Search(limits).visit(value, str(path[-1]) if path else "")
    except _TooManyError as error:
        place = ".".join(str(name) for name in (*path, *reversed(error.path))) or "request"
        raise InvalidRequestError(f"{place}: {error}") from None


class _TooManyError(Exception):
    """A limit is exceeded; on its way up it collects its path."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.path: list[str | int] = []


class _Search:
    """Counts unknown fields, messages, blocks and tools, and raises as soon as there are too many."""

    def __init__(self, limits: RequestLimits) -> None:
        self._limits = limits
        self._known = _field_names()
        self._searched = self._known - FREE_FORM
        self._unknown = self._blocks = 0

    def visit(self, value: Any, name: str) -> None:  # noqa: ANN401 - any JSON value
        """Count the parts of a value, recursively; the parser has limited the nesting depth.

        Args:
            value: An object or array; others have no parts.
            name: Its field.
        """
        key: str | int = ""
        try:
            if type(value) is dict:
                if not self._known.issuperset(value):
                    self._add_unknown(len(value.keys() - self._known))
                for key, part in value.items():
                    if (type(part) is dict or type(part) is list) and key in self._searched:
                        self.visit(part, key)
            elif type(value) is list:
                self._add_items(len(value), name)
                for key, part in enumerate(value):  # noqa: B007 - used below
                    if type(part) is dict or type(part) is list:
                        self.visit(part, "")
        except _TooManyError as error:
            if key != "":
                error.path.append(key)
            raise

    def _add_unknown(self, count: int) -> None:
        self._unknown += count
        if count > MAX_UNKNOWN_FIELDS_PER_OBJECT:
            raise _TooManyError(
                f"more than {MAX_UNKNOWN_FIELDS_PER_OBJECT} fields that the Messages API does not have; remove them"
            )
        if self._unknown > MAX_UNKNOWN_FIELDS_PER_REQUEST:
            raise _TooManyError(
                f"the request has more than {MAX_UNKNOWN_FIELDS_PER_REQUEST} fields that the Messages API does not "
                "have, up to here; remove them"
            )

    def _add_items(self, count: int, name: str) -> None:
        limits = self._limits
        if name in _BLOCK_LISTS:
            self._blocks += count
            if self._blocks > limits.blocks:
                raise _TooManyError(
                    f"the request has more than {limits.blocks} content blocks, up to here; shorten the conversation, "
                    "or raise max_content_blocks of the server"
                )
        elif name == "messages" and count > limits.messages:
            raise _TooManyError(
                f"more than {limits.messages} messages are not accepted; shorten the conversation, or raise "
                "max_messages of the server"
            )
        elif name == "tools" and count > limits.tools:
            raise _TooManyError(
                f"more than {limits.tools} tools are not accepted; send fewer, or raise max_tools of the server"
            )


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
