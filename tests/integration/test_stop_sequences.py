"""Stop sequences on a running stack: the text ends before them, and the upstream request is closed."""

import json

import pytest

from support.streams import sdk_message

pytestmark = pytest.mark.integration

BODY = {
    "model": "up/counting",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Count"}],
    "stop_sequences": ["never", " 7", "20"],
}
HANG_SECONDS = 60
"""Only a hang takes that long."""


def test_a_stream_ends_before_the_stop_sequence_and_closes_the_upstream(client, upstream):
    """The upstream would never end; the client gets a complete message."""
    response = client.post("/v1/messages", json={**BODY, "stream": True})
    exchange = upstream.last("counting")
    message = sdk_message(response.content)
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5, 6,"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " 7")
    assert message["usage"]["output_tokens"] == 7
    assert exchange.closed.wait(HANG_SECONDS), "the upstream request was not closed"


def test_a_unary_response_ends_before_the_stop_sequence(client, upstream):
    """With the same text, and the upstream is closed, too."""
    message = client.post("/v1/messages", json=BODY).json()
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5, 6,"}], json.dumps(message)
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " 7")
    exchange = upstream.last("counting")
    assert exchange.closed.wait(HANG_SECONDS), "the upstream request was not closed"
    assert "stop" not in exchange.json
