"""Turns a complete message into stream events, for upstreams that answer a streaming request with a unary response."""

from collections.abc import Iterator, Mapping
from typing import Any

_END = ("stop_reason", "stop_sequence", "stop_details")


def events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield stream events for a message; each ``content_block_start`` holds the complete block.

    Args:
        message: The decoded message; its ``content`` is a list.
    """
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    end = {name: message.get(name) for name in _END}
    yield {"type": "message_delta", "delta": end, "usage": message.get("usage")}
    yield {"type": "message_stop"}
