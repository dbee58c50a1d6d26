"""Undoes base64, hex and gzip once, so that a key in them is found.

A text may hold a file as base64, and the file may hold a key. The parts of a text that can be base64 or hex are
decoded; the result is decompressed if it is gzip or zlib. Nothing is undone twice. Only ASCII matters to the scan, so
the bytes become a text of the same length.
"""

import re
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from contextlib import suppress

_WRAPPED = re.compile(r"(?<=[A-Za-z0-9+/]{60})[ \r\n]{1,2}(?=[A-Za-z0-9+/])")
"""A line break inside of base64, which MIME has after 64 or 76 characters; one that is escaped in JSON is a space."""
_BASE64 = re.compile(r"(?<!mts1\.)(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{20,}")
"""Not the signature of a thinking block: it is a MAC and compressed text."""
_SEPARATORS = re.compile(r"[/_-]")
"""May be characters of base64, or separate it from a prefix."""
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){16,}(?![0-9A-Za-z])")
_MAGIC = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
"""The first bytes of gzip, and of zlib at its four levels."""
_MAX_INFLATED_BYTES = 16 * 1024 * 1024
"""Limit of the decompressed bytes that are scanned."""
_ANY_HEADER = 32 + zlib.MAX_WBITS
"""Makes zlib detect the format."""


def decoded_parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield the encoding and the decoded text of each part of a text that can be base64 or hex."""
    joined = _WRAPPED.sub("", text)
    for found in _HEX.finditer(joined):
        yield "hex", _as_text(bytes.fromhex(found[0]))
    for found in _BASE64.finditer(joined):
        parts = [found[0], *_SEPARATORS.split(found[0])]
        for part in dict.fromkeys(part for part in parts if len(part) >= 20):
            with suppress(ValueError):
                whole = part[: len(part) - (len(part) % 4 == 1)]
                data = urlsafe_b64decode(whole.replace("+", "-").replace("/", "_") + "=" * (-len(whole) % 4))
                yield "base64", _as_text(data)


def decompressed(data: bytes) -> bytes | None:
    """Return the decompressed bytes of gzip or zlib, at most 16 MiB; None for other data."""
    if not data.startswith(_MAGIC):
        return None
    try:
        return zlib.decompressobj(_ANY_HEADER).decompress(data, _MAX_INFLATED_BYTES)
    except zlib.error:
        return None


def _as_text(data: bytes) -> str:
    return (decompressed(data) or data).decode("latin-1")
