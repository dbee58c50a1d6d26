"""A whole message -> the events of a stream, for upstreams that answer at once what was asked for piece by piece."""

from collections.abc import Iterator, Mapping
from typing import Any

_END = ("stop_reason", "stop_sequence", "stop_details")


def events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events that add up to a message, each block whole in its first.

    Args:
        message: As decoded; its ``content`` is a list.
    """
    yield {"type": "message_start", "message": {**message, "content": []}}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    end = {name: message.get(name) for name in _END}
    yield {"type": "message_delta", "delta": end, "usage": message.get("usage")}
    yield {"type": "message_stop"}
