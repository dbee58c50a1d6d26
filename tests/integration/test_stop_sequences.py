"""Stop sequences on a running stack: the answer ends before them, and so does the work of the backend."""

import json

import pytest

from support.streams import sdk_message

pytestmark = pytest.mark.integration

ASK = {
    "model": "up/counting",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Count"}],
    "stop_sequences": ["never", " 7", "20"],
}
HANG_SECONDS = 60
"""Only a request that is never closed takes that long."""


def test_a_stream_ends_before_the_stop_sequence_and_closes_the_upstream(client, upstream):
    """An endless upstream is closed, and the client has a complete message."""
    response = client.post("/v1/messages", json={**ASK, "stream": True})
    exchange = upstream.last("counting")
    message = sdk_message(response.content)
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5, 6,"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " 7")
    assert message["usage"]["output_tokens"] == 7
    assert exchange.closed.wait(HANG_SECONDS), "the upstream request was not closed"


def test_a_whole_answer_ends_before_the_stop_sequence(client, upstream):
    """The same text, and the upstream is let go there too."""
    message = client.post("/v1/messages", json=ASK).json()
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5, 6,"}], json.dumps(message)
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " 7")
    exchange = upstream.last("counting")
    assert exchange.closed.wait(5), "the upstream call was not closed"
    assert "stop" not in exchange.json
