"""Writes compact JSON that is safe for every client, and reads JSON that may be invalid."""

import json

_LINE_BREAKS = ("\u0085", "\u2028", "\u2029")
"""Characters that some clients treat as line ends, although the standard of server-sent events does not."""

_READABLE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ESCAPED = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


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
    """Return the value of a JSON text; None if it is not valid or nested too deeply."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
