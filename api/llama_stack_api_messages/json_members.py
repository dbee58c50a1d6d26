"""Top-level members of a JSON object: where their values stand in its bytes, without decoding them.

    {"max_tokens": 5, "messages": [...], "model": "a", "tools": [{"input_schema": {"properties": {"model": ...}}}]}
                                                  ^^^ the one value of interest, of maybe a megabyte

msgspec finds the extent of every value in one pass; between two values there are a comma, a name and a colon, so the
values are found again by walking over those.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

_OPEN = re.compile(rb"[ \t\r\n]*\{")
_PIECE = rb'(?:[^"\\]{1,1000}+|\\.)'
_FIRST = re.compile(rb'[ \t\r\n]*+("' + _PIECE + rb'{0,1000}+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+," + _FIRST.pattern, re.DOTALL)
"""What is before a value, after the brace or the value before it."""
_LONG_NAME = re.compile(rb'[ \t\r\n]*+,?+[ \t\r\n]*+"' + _PIECE + rb"{1000}+", re.DOTALL)
"""A name with more pieces than those take: with an unlimited number of pieces a name of megabytes takes a second, and
without the possessive ``+`` gigabytes."""
_CLOSE = re.compile(rb"[ \t\r\n]*\}[ \t\r\n]*\Z")
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
MAX_MEMBERS = 2_000
"""Of one object, the same name several times counted as often; each costs ten microseconds."""
MAX_NAME_BYTES = 1_000
"""Of one member. The longest name of the API has 30; a name may be copied into paths, headers and logs."""
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_EXTENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class MembersLimitError(ValueError):
    """An object has more members than ``MAX_MEMBERS``, or one with a name longer than ``MAX_NAME_BYTES``."""


class Span(NamedTuple):
    """Where a value stands: from its first byte to behind its last."""

    start: int
    end: int


class Member(NamedTuple):
    """A name, decoded, and where its value stands."""

    name: str
    value: Span


def members(body: bytes) -> list[Member]:
    """Return the top-level members in their order; a name may come several times.

    Args:
        body: A JSON object.

    Raises:
        ValueError: It is not, or (``MembersLimitError``) it has too many, or too long a name.
    """
    try:
        extents = {name: bytes(value) for name, value in _EXTENTS.decode(body).items()}
    except (ValueError, RecursionError):  # it refuses half a surrogate, which a truncated text may end with
        extents = {}
    try:
        found = _walk(body, extents) if extents else None
        found = _walk(body, {}) if found is None else found
    except RecursionError:
        raise ValueError("the object is nested too deeply") from None
    if found is None:
        raise ValueError("this is no JSON object")
    return found


def _walk(body: bytes, extents: dict[str, bytes]) -> list[Member] | None:
    """Return the members, or None where a name comes several times with another value, whose extent is not known."""
    found: list[Member] = []
    text = "" if extents else body.decode("latin-1")  # in which a character is a byte; decoded value by value below
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


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_number)


def elements(body: bytes, array: Span) -> list[Span]:
    """Return where the elements of an array stand.

    Args:
        body: The bytes around it.
        array: Where it stands.

    Raises:
        ValueError: It is no JSON array.
    """
    try:
        sizes = [len(bytes(value)) for value in _ELEMENTS.decode(body[array.start : array.end])]
    except (ValueError, RecursionError):  # as above
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
    """Return where the next element of an array begins."""
    return _end_of(_COMMA, body, before[-1].end) if before else _end_of(_SPACE, body, array.start + 1)


def _end_of(what: re.Pattern[bytes], body: bytes, position: int) -> int:
    match = what.match(body, position)
    if match is None:
        raise ValueError("a comma is missing")
    return match.end()


def text_at(body: bytes, place: Span | None) -> str | None:
    """Return the string that stands somewhere, None if there is none."""
    if place is None or not body.startswith(b'"', place.start):
        return None
    try:
        return str(json.loads(body[place.start : place.end]))
    except ValueError:  # control characters or other encodings: whoever reads the whole will refuse it
        return None


def within(body: bytes, value: Span) -> dict[str, Span]:
    """Return the members of an object inside the bytes; empty if something else is there.

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
    """Return the edits that take elements out of an array together with their commas.

    Args:
        parts: Its elements.
        dropped: Numbers of those to take out.
    """
    kept = [number for number in range(len(parts)) if number not in dropped]
    if not kept:
        return [(Span(parts[0].start, parts[-1].end), b"")] if parts else []
    first = kept[0]
    edits = [(Span(parts[0].start, parts[first].start), b"")] if first else []
    behind = (number for number in sorted(dropped) if number > first)
    return edits + [(Span(parts[number - 1].end, parts[number].end), b"") for number in behind]


def edited(body: bytes, edits: Iterable[tuple[Span, bytes]]) -> bytes:
    """Return the body with other values in some places, which must not overlap."""
    pieces, position = [], 0
    for span, value in sorted(edits):
        pieces += [body[position : span.start], value]
        position = span.end
    return b"".join([*pieces, body[position:]])
