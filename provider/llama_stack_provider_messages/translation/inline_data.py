"""Bytes inside a request: base64 as clients write it, and what the bytes are."""

import binascii
import re

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""What the Messages API takes, and what backends that see take."""

PDF = "application/pdf"

_LONGEST_HEAD = 300
"""Of a data URL: its media type with parameters."""

_ODD = re.compile(r"[^\w.+/-]", re.ASCII)
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"<svg", "image/svg+xml"),
)
"""First bytes -> media type."""

_BRANDS = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
"""What stands behind the eight bytes of a RIFF file's beginning."""

_PDF_WITHIN = 1024
"""A PDF may have other bytes before its header; readers look this far."""


def read_base64(data: str) -> tuple[str, bytes] | None:
    """Return base64 as every backend takes it, and its bytes; None if it is none, or empty.

    Clients send it with line breaks, without padding, in the alphabet of addresses, or as a whole data URL.
    """
    try:
        raw = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        data = _repaired(data)
        try:
            raw = binascii.a2b_base64(data, strict_mode=True)
        except ValueError:
            return None
    return (data, raw) if raw else None


def _repaired(data: str) -> str:
    inline = data_url(data)
    bare = "".join((inline[1] if inline else data).split()).translate(_URL_SAFE).rstrip("=")
    return bare + "=" * (-len(bare) % 4)


_URL_SAFE = str.maketrans("-_", "+/")


def data_url(url: str) -> tuple[str, str] | None:
    """Return media type and base64 of a data URL; None for another address, and for data in another form."""
    url = url.lstrip()
    head, comma, _ = url[:_LONGEST_HEAD].partition(",")
    scheme, _, kind = head.partition(":")
    if not comma or scheme.lower() != "data" or not kind.lower().endswith(";base64"):
        return None
    return kind.partition(";")[0].strip(), url[len(head) + 1 :]


def plain_name(kind: str) -> str:
    """Return a type as a client or server calls it, fit for a message and a header."""
    return _ODD.sub("?", kind[:60])


def media_type_of(raw: bytes) -> str:
    """Return what the bytes are, ``""`` where nothing is known about them."""
    start = raw[:64].lstrip() if raw[:1].isspace() else raw[:16]
    if start.startswith(b"RIFF"):
        return _BRANDS.get(start[8:12], "")
    known = (media for signature, media in _SIGNATURES if start.startswith(signature))
    return next(known, PDF if b"%PDF-" in raw[:_PDF_WITHIN] else "")
