"""What HTTP can carry (RFC 9110, RFC 9112): a tape that says something else could not be played."""

import re
from collections.abc import Mapping

STATUS = range(200, 600)
"""Of answers; those below only announce one (RFC 9110, 15)."""

_NAME = r"[^!#$%&'*+.^_`|~0-9A-Za-z-]"
_VALUE = r"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$"
HEADERS_SCHEMA = {
    "type": "object",
    "propertyNames": {"minLength": 1, "not": {"pattern": _NAME}},
    "additionalProperties": {"type": "string", "not": {"pattern": _VALUE}},
}
"""``checked_headers`` as JSON Schema."""
_NO_NAME, _NO_VALUE = re.compile(_NAME), re.compile(_VALUE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_WITHOUT_BODY = (204, 304)


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers that are some.

    Raises:
        ValueError: A name or a value is none (RFC 9110, 5.1 and 5.5); says which, without the value.
    """
    for name, value in headers.items():
        if not name or _NO_NAME.search(name):
            raise ValueError(f"{name!r} is no name of a header")
        if _NO_VALUE.search(value):
            raise ValueError(f"the header {name} has a line break, a control character or a blank at its end")
        value.encode()  # a lone surrogate is a ValueError too
    return headers


def header_value(text: str) -> str:
    """Return the value of a header as another server can send it: lenient readers let control characters pass."""
    return _CONTROL.sub(" ", text).strip(" \t")


def length_fault(method: str, status: int, declared: str, came: int, *, complete: bool) -> str:
    """Return what is wrong with a content-length, nothing if it is right or there is none.

    Args:
        method: Of the request; an answer to HEAD has the length of what GET would give.
        status: Of the response.
        declared: The value of the header; empty if there is none.
        came: Bytes of the body.
        complete: Whether the body came to its end.
    """
    if not declared:
        return ""
    if not (declared.isascii() and declared.isdigit()):
        return "the header content-length is no number"
    if not came and (method == "HEAD" or status in _WITHOUT_BODY):
        return ""
    fits = came == int(declared) if complete else came <= int(declared)
    return "" if fits else f"the header content-length says {int(declared)} bytes, and the chunks have {came}"
