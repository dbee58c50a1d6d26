"""Writes compact JSON that is safe for every client, and reads JSON that may be invalid."""

import json
from typing import NoReturn

_LINE_BREAKS = ("\u0085", "\u2028", "\u2029")
"""Characters that some clients treat as line ends, although the standard of server-sent events does not."""

_READABLE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ESCAPED = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class JSONConstantError(ValueError):
    """A JSON text has NaN or Infinity, which Python reads and JSON does not have; other parsers differ about them."""


def reject_constant(name: str) -> NoReturn:
    """Raise ``JSONConstantError``; the ``parse_constant`` of JSON decoders."""
    raise JSONConstantError(f"{name} is not a number")


def encode_json(value: object) -> bytes:
    """Return compact JSON; characters that some clients cannot handle are escaped.

    Other non-ASCII text is not escaped. Escaped are the line separators of Unicode and lone surrogates. Numbers
    that JSON does not have (NaN, Infinity) become null.
    """
    try:
        text = _READABLE.encode(value)
    except ValueError:
        value = json.loads(json.dumps(value), parse_constant=lambda _: None)
        text = _READABLE.encode(value)
    if text.isascii():
        return text.encode("ascii")
    if not any(mark in text for mark in _LINE_BREAKS):
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:
            pass
    return _ESCAPED.encode(value).encode("ascii")


def loads_or_none(data: str | bytes) -> object:
    """Return the value of a JSON text, or None if it is unreadable; the text ``null`` gives None, too.

    Unreadable is what raises ``ValueError`` (invalid JSON, bytes that are not UTF-8, UTF-16 or UTF-32, an integer of
    more than 4,300 digits) or ``RecursionError`` (nested deeper than the interpreter's recursion limit allows, about a
    thousand levels). NaN and Infinity are read as floats, because some backends write them; ``encode_json`` turns them
    into null.
    """
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
