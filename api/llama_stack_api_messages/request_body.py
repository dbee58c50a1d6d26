"""Reading of a request body within bounds."""

import zlib

from fastapi import Request

from .errors import InvalidRequestError, RequestTooLargeError

_GZIP = 16 + zlib.MAX_WBITS
"""zlib's way to ask for the gzip container."""
_MAX_RATIO = 100
"""Compression beyond this is no request: text reaches 20, and a bomb would keep the parser busy for seconds."""
_SMALL_BODY = 1024 * 1024
"""Bytes after decompression below which the ratio does not matter."""
_DRAIN_FACTOR = 4
"""How many times the limit is read and thrown away, so that a client that sends on still sees the answer."""


async def read_body(request: Request, limit: int) -> bytes:
    """Return the decoded body.

    Raises:
        RequestTooLargeError: It has more than ``limit`` bytes, before or after decompression.
        InvalidRequestError: It is compressed in a way this server does not know, or damaged.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > _DRAIN_FACTOR * limit:
            break
    if size > limit:
        raise RequestTooLargeError(f"Request exceeds the maximum size of {limit} bytes; send less, or raise the limit")
    return _decode(b"".join(parts), request.headers.get("content-encoding", "identity").strip().lower(), limit)


def _decode(body: bytes, encoding: str, limit: int) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise InvalidRequestError(
            f"content-encoding: {encoding} is not supported; send gzip or no encoding",
            details={"error_code": "request_body_encoding_unsupported"},
        )
    allowed = min(limit, max(_SMALL_BODY, _MAX_RATIO * len(body)))
    data, rest = b"", body
    while rest:  # gzip allows several members in a row
        inflate = zlib.decompressobj(_GZIP)
        try:
            data += inflate.decompress(rest, allowed - len(data) + 1)
        except zlib.error as error:
            raise _damaged() from error
        if len(data) > allowed:
            raise RequestTooLargeError(
                f"Request exceeds the maximum size of {allowed} bytes after decompression",
                details={"error_code": "request_body_too_large_after_decoding"},
            )
        if not inflate.eof:
            raise _damaged()
        rest = inflate.unused_data
    return data


def _damaged() -> InvalidRequestError:
    return InvalidRequestError(
        "The body is not valid gzip; send it again, or without content-encoding",
        details={"error_code": "request_body_encoding_invalid"},
    )
