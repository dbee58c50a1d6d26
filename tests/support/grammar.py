"""Checks that a Messages stream follows the grammar of the API.

stream  = start block* delta stop  |  (start block*)? error
block   = content_block_start content_block_delta* content_block_stop, indexes 0, 1, 2 ...
"""

DELTAS = {
    "text": {"text_delta", "citations_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}
USAGE_KEYS = {
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "output_tokens",
    "output_tokens_details",
    "server_tool_use",
    "service_tier",
    "inference_geo",
    "speed",
}
MESSAGE_KEYS = {
    "id",
    "type",
    "role",
    "model",
    "content",
    "stop_reason",
    "stop_sequence",
    "stop_details",
    "container",
    "usage",
}


def check_stream(events):
    """Assert the grammar of a complete stream."""
    assert events, "a stream is never empty"
    if events[-1]["type"] == "error":
        _check_error(events[-1])
        _check_open_stream(events[:-1])
        return
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    assert events[-2]["usage"].keys() >= USAGE_KEYS
    assert events[-2]["delta"]["stop_reason"]
    assert _check_open_stream(events[:-2]) == "closed"


def _check_error(event):
    assert event["error"]["type"]
    assert event["error"]["message"]
    assert "request_id" in event


def _check_open_stream(events):
    """Check the events before the end; return ``nothing``, or whether the last content block is open or closed."""
    if not events:
        return "nothing"
    first, *rest = events
    assert first["type"] == "message_start"
    assert first["message"].keys() >= MESSAGE_KEYS
    assert first["message"]["usage"].keys() >= USAGE_KEYS
    assert first["message"]["content"] == []
    open_block, index, signatures = None, 0, 0
    for event in rest:
        assert event["index"] == index, event
        kind = event["type"]
        if kind == "content_block_start":
            assert open_block is None
            open_block, signatures = event["content_block"]["type"], 0
        elif kind == "content_block_delta":
            assert open_block is not None
            assert event["delta"]["type"] in DELTAS[open_block]
            assert signatures == 0, "nothing follows the signature"
            signatures += event["delta"]["type"] == "signature_delta"
        else:
            assert kind == "content_block_stop"
            assert open_block is not None
            assert signatures == (open_block == "thinking")
            open_block, index = None, index + 1
    return "open" if open_block else "closed"
