"""Locates the top-level members of a JSON object in its bytes, without decoding their values.

    {"max_tokens": 5, "messages": [...], "model": "a", "tools": [{"input_schema": {"properties": {"model": ...}}}]}
                                                  ^^^ the one value needed, of maybe a megabyte

msgspec returns the raw bytes of every value in one pass, but not their positions. Between two values there are only a
comma, a name and a colon, so the positions follow from stepping over these.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from .json_bytes import loads_or_none, reject_constant

_OPEN = re.compile(rb"[ \t\r\n]*\{")
_PIECE = rb'(?:[^"\\]{1,1000}+|\\.)'
_FIRST = re.compile(rb'[ \t\r\n]*+("' + _PIECE + rb'{0,1000}+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+," + _FIRST.pattern, re.DOTALL)
"""The bytes between two values: comma, name, colon and white space."""
_LONG_NAME = re.compile(rb'[ \t\r\n]*+,?+[ \t\r\n]*+"' + _PIECE + rb"{1000}+", re.DOTALL)
"""A name that is too long for the patterns above. Their number of pieces is limited because, without a limit, a name of
megabytes takes a second, and without the possessive ``+`` gigabytes of memory."""
_CLOSE = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*\Z")
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
MAX_MEMBERS = 2_000
"""Members of one object, duplicate names included; each costs ten microseconds."""
MAX_NAME_BYTES = 1_000
"""Bytes of a member's name. The longest name of the API has 30; names may be copied into paths, headers and logs."""
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_EXTENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MembersLimitError(ValueError):
    """An object has more members than ``MAX_MEMBERS``, or one with a name longer than ``MAX_NAME_BYTES``."""


class Span(NamedTuple):
    """Position of a value: its first byte, and the byte after its last."""

    start: int
    end: int


class Member(NamedTuple):
    """A decoded name and the position of its value."""

    name: str
    value: Span


def members(body: bytes) -> list[Member]:
    """Return the top-level members in order, duplicate names included.

    Args:
        body: A JSON object. Numbers that JSON does not have, such as NaN, are not accepted.

    Raises:
        ValueError: The body is not a JSON object; as ``MembersLimitError``: too many members, or too long a name.
    """
    try:
        extents = {name: bytes(value) for name, value in _EXTENTS.decode(body).items()}
    except (ValueError, RecursionError):  # msgspec rejects lone surrogates, which truncated texts may end with
        extents = {}
    try:
        found = _walk(body, extents) if extents else None
        found = _walk(body, {}) if found is None else found
    except RecursionError:
        raise ValueError("the object is nested too deeply") from None
    if found is None:
        raise ValueError("the value is not a JSON object")
    return found


def _walk(body: bytes, extents: dict[str, bytes]) -> list[Member] | None:
    """Return the members; None if a duplicate name has another value, because its extent is not known."""
    found: list[Member] = []
    text = "" if extents else body.decode("latin-1")  # one character per byte; each value is decoded below
    opened = _OPEN.match(body)
    if opened is None:
        return None
    position = opened.end()
    while match := (_NEXT if found else _FIRST).match(body, position):
        literal = match[1]
        if len(found) == MAX_MEMBERS:
            raise MembersLimitError(f"the object has more than {MAX_MEMBERS} fields; send every field once")
        if len(literal) > MAX_NAME_BYTES:
            raise _long_name()
        name = str(json.loads(literal)) if b"\\" in literal else literal[1:-1].decode("utf-8", "replace")
        start, extent = match.end(), extents.get(name)
        if extents and not (extent and body.startswith(extent, start)):
            return None
        position = start + len(extent) if extent else _DECODER.raw_decode(text, start)[1]
        found.append(Member(name, Span(start, position)))
    if _LONG_NAME.match(body, position):
        raise _long_name()
    return found if _CLOSE.match(body, position) else None


def _long_name() -> MembersLimitError:
    return MembersLimitError(f"the name of a field has more than {MAX_NAME_BYTES} bytes; shorten it")


_DECODER = json.JSONDecoder(strict=False, parse_constant=reject_constant)


def elements(body: bytes, array: Span) -> list[Span]:
    """Return the positions of the elements of an array.

    Args:
        body: The bytes that contain the array.
        array: Position of the array.

    Raises:
        ValueError: The value is not a JSON array.
    """
    try:
        sizes = [len(bytes(value)) for value in _ELEMENTS.decode(body[array.start : array.end])]
    except (ValueError, RecursionError):  # a lone surrogate, see members
        return _elements_one_by_one(body, array)
    found: list[Span] = []
    for size in sizes:
        start = _element_start(body, array, found)
        found.append(Span(start, start + size))
    return found


def _elements_one_by_one(body: bytes, array: Span) -> list[Span]:
    found: list[Span] = []
    text = body.decode("latin-1")
    last = array.end - 1
    while _end_of(_SPACE, body, found[-1].end if found else array.start + 1) < last:
        start = _element_start(body, array, found)
        found.append(Span(start, _DECODER.raw_decode(text, start)[1]))
    return found


def _element_start(body: bytes, array: Span, before: Sequence[Span]) -> int:
    """Return the position of the first byte of the next element of an array."""
    return _end_of(_COMMA, body, before[-1].end) if before else _end_of(_SPACE, body, array.start + 1)


def _end_of(pattern: re.Pattern[bytes], body: bytes, position: int) -> int:
    match = pattern.match(body, position)
    if match is None:
        raise ValueError("a comma is missing")
    return match.end()


def text_at(body: bytes, place: Span | None) -> str | None:
    """Return the string at a position, or None if the value is not a string."""
    if place is None or not body.startswith(b'"', place.start):
        return None
    value = loads_or_none(body[place.start : place.end])  # None: parsing the whole body will reject it
    return value if isinstance(value, str) else None


def within(body: bytes, value: Span) -> dict[str, Span]:
    """Return the positions of an object's members by name; empty if the value is not an object.

    Raises:
        MembersLimitError: The object has too many members, or too long a name.
    """
    try:
        inner = members(body[value.start : value.end])
    except MembersLimitError:
        raise
    except ValueError:
        return {}
    return {name: Span(value.start + span.start, value.start + span.end) for name, span in inner}


def cuts(parts: Sequence[Span], dropped: Collection[int]) -> list[tuple[Span, bytes]]:
    """Return the edits that remove elements of an array, commas included.

    Args:
        parts: Positions of all elements.
        dropped: Indexes of the elements to remove.
    """
    kept = [number for number in range(len(parts)) if number not in dropped]
    if not kept:
        return [(Span(parts[0].start, parts[-1].end), b"")] if parts else []
    first = kept[0]
    edits = [(Span(parts[0].start, parts[first].start), b"")] if first else []
    later = (number for number in sorted(dropped) if number > first)
    return edits + [(Span(parts[number - 1].end, parts[number].end), b"") for number in later]


def edited(body: bytes, edits: Iterable[tuple[Span, bytes]]) -> bytes:
    """Return the body with the edits applied; their positions must not overlap."""
    pieces, position = [], 0
    for span, value in sorted(edits):
        pieces += [body[position : span.start], value]
        position = span.end
    return b"".join([*pieces, body[position:]])
