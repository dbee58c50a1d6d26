"""Encoding of server-sent events as the Messages API writes them."""

from collections.abc import Mapping
from typing import Any

from llama_stack_api_messages.json_bytes import encode_json


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return one event, named after its ``type``, as a complete frame."""
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode("ascii"), encode_json(event))


PING = encode_event({"type": "ping"})


TAIL = 4
"""Bytes that tell whether a frame is complete, the longest blank line being two of CRLF."""


def unfinished_frame(tail: bytes) -> bytes:
    """Return what ends the frame that a stream broke off in, so that another one can follow; empty if it is whole.

    Cut off, the frame would be an event whose data may be no JSON, on which clients fail before they see the error
    behind it. Named a ping, both official SDKs pass over it unread. A truncated UTF-8 sequence is completed first: the
    SDKs decode strictly.

    Args:
        tail: The last ``TAIL`` bytes sent, or less if there were not so many.
    """
    if not tail or tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r")):
        return b""
    line_end = b"" if tail.endswith(b"\n") else b"\n"  # behind a CR it makes a CRLF
    return _rest_of_character(tail) + line_end + b"event: ping\n\n"


def _rest_of_character(tail: bytes) -> bytes:
    """Return bytes that make the last character a valid one, if it was cut."""
    start = next((place for place in range(len(tail) - 1, -1, -1) if tail[place] & 0xC0 != 0x80), len(tail))
    cut = tail[start:]
    for rest in (b"", b"\x80", b"\x80\x80", b"\xa0\x80", b"\x90\x80\x80", b"\x80\x80\x80"):
        try:
            (cut + rest).decode()
        except UnicodeDecodeError:
            continue
        return rest
    return b""
