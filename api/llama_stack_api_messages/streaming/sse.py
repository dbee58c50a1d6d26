"""Server-sent events as the Messages API writes them, and the completion of truncated ones.

An upstream may die inside an event whose first bytes have been sent. If an ``error`` event followed directly, its lines
would become part of the truncated event; and if a blank line came first, clients would parse the truncated event as
JSON, fail, and never read the error. So the truncated event is renamed: of several ``event`` lines the last one counts,
and both official SDKs skip a ``ping`` without parsing its data.

    event: content_block_delta
    data: {"type":"content_block_de          <- sent; here the upstream died
    event: ping                              <- unfinished_frame
                                             <- unfinished_frame
    event: error
    data: {"type":"error", ...}

A truncated UTF-8 sequence is completed first, because the SDKs decode strictly.
"""

import re
from collections.abc import Mapping
from typing import Any

from llama_stack_api_messages.json_bytes import encode_json

_TEXT_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
    b'"delta":{"type":"text_delta","text":"%s"}}\n\n'
)
_NOT_PLAIN = re.compile(r'["\\\x00-\x1f]|[^\x00-\x7e]')
"""Characters that JSON or ``encode_json`` may write in another way."""


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return one event, named after its ``type``, as a complete frame.

    Nearly all events are pieces of plain text. They are put into a ready frame: the same bytes in a fifth of the time.
    """
    if event["type"] == "content_block_delta":
        delta = event["delta"]
        if delta["type"] == "text_delta" and len(delta) == 2 and not _NOT_PLAIN.search(delta["text"]):
            return _TEXT_DELTA % (event["index"], delta["text"].encode("ascii"))
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode("ascii"), encode_json(event))


PING = encode_event({"type": "ping"})

TAIL_BYTES = 4
"""Bytes needed to tell whether a frame is complete: the longest blank line is two CRLF."""


def unfinished_frame(tail: bytes) -> bytes:
    """Return the bytes that complete a truncated frame, so that another frame can follow; empty if it is complete.

    Args:
        tail: The last ``TAIL_BYTES`` bytes sent, or fewer if fewer were sent.
    """
    if not tail or tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
        return b""
    line_end = b"" if tail.endswith(b"\n") else b"\n"  # after a CR it makes a CRLF
    return _rest_of_character(tail) + line_end + b"event: ping\n\n"


def _rest_of_character(tail: bytes) -> bytes:
    """Return the bytes that complete a truncated UTF-8 sequence."""
    start = next((place for place in range(len(tail) - 1, -1, -1) if tail[place] & 0xC0 != 0x80), len(tail))
    cut = tail[start:]
    for rest in (b"", b"\x80", b"\x80\x80", b"\xa0\x80", b"\x90\x80\x80", b"\x80\x80\x80"):
        try:
            (cut + rest).decode()
        except UnicodeDecodeError:
            continue
        return rest
    return b""
