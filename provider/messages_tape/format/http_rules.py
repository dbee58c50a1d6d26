"""The rules of HTTP that a tape has to keep, because otherwise it could not be played (RFC 9110, RFC 9112)."""

import re
from collections.abc import Mapping

STATUS = range(200, 600)
"""Status codes of final responses; 1xx codes are interim (RFC 9110, 15)."""

_NAME = r"[^!#$%&'*+.^_`|~0-9A-Za-z-]"
_VALUE = r"[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$"
HEADERS_SCHEMA = {
    "type": "object",
    "propertyNames": {"minLength": 1, "not": {"pattern": _NAME}},
    "additionalProperties": {"type": "string", "not": {"pattern": _VALUE}},
}
"""The rules of ``checked_headers`` as JSON Schema."""
_NO_NAME, _NO_VALUE = re.compile(_NAME), re.compile(_VALUE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]+")
_WITHOUT_BODY = (204, 304)


def checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return the headers if they are valid.

    Raises:
        ValueError: A name or a value is not valid (RFC 9110, 5.1 and 5.5). The message has the name, not the value.
    """
    for name, value in headers.items():
        if not name or _NO_NAME.search(name):
            raise ValueError(f"{name!r} is no name of a header")
        if _NO_VALUE.search(value):
            raise ValueError(f"the header {name} has a line break, a control character or a blank at its end")
        value.encode()  # a lone surrogate is a ValueError too
    return headers


def header_value(text: str) -> str:
    """Return a valid header value: control characters, which lenient HTTP clients accept, become spaces."""
    return _CONTROL.sub(" ", text).strip(" \t")


def length_fault(method: str, status: int, declared: str, came: int, *, complete: bool) -> str:
    """Return what is wrong with a content-length header, or "" if it is valid or missing.

    Args:
        method: Method of the request; the response to HEAD declares the length that GET would return.
        status: Status of the response.
        declared: The value of the header; empty if it is missing.
        came: Length of the body in bytes.
        complete: Whether the whole body was received.
    """
    if not declared:
        return ""
    if not (declared.isascii() and declared.isdigit()):
        return "the header content-length is no number"
    if not came and (method == "HEAD" or status in _WITHOUT_BODY):
        return ""
    fits = came == int(declared) if complete else came <= int(declared)
    return "" if fits else f"the header content-length says {int(declared)} bytes, and the chunks have {came}"
