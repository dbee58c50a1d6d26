"""A whole Message -> the events of its stream, in pieces of any size."""

import json
from collections.abc import Iterator
from typing import Any

_PIECES = {"text": "text_delta", "thinking": "thinking_delta"}


def events_of(message: dict[str, Any], size: int = 3) -> Iterator[dict[str, Any]]:
    """Yield the events, with texts and arguments cut into pieces."""
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_details": None}}
    for index, block in enumerate(message["content"]):
        begun, deltas = _begun(block, size)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        yield {"type": "ping"}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ending = {name: message[name] for name in ("stop_reason", "stop_sequence", "stop_details") if name in message}
    yield {"type": "message_delta", "delta": ending, "usage": message.get("usage", {})}
    yield {"type": "message_stop"}


def _begun(block: dict[str, Any], size: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    kind = block["type"]
    if kind in _PIECES:
        deltas = [{"type": _PIECES[kind], kind: piece} for piece in _cut(block[kind], size)]
        deltas += [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or ()]
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {"type": kind, kind: ""}, deltas
    if kind.endswith("tool_use") and block["input"]:
        text = json.dumps(block["input"], ensure_ascii=False, separators=(",", ":"))
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": piece} for piece in _cut(text, size)
        ]
    return block, []


def _cut(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
