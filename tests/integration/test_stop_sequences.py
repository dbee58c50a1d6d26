"""Stop sequences on a running stack: the answer ends before them, and so does the work of the backend."""

import json
import time

import pytest

from support.streams import sdk_message

pytestmark = pytest.mark.integration

ASK = {
    "model": "up/counting",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Count"}],
    "stop_sequences": ["never", " 7", "20"],
}
WITHIN = 1.0
"""Seconds after the stop sequence by which the upstream call must be closed."""


def test_a_stream_ends_before_the_stop_sequence_and_closes_the_upstream(client, upstream):
    """An endless upstream is let go within a second, and the client has a complete message."""
    started = time.monotonic()
    response = client.post("/v1/messages", json={**ASK, "stream": True})
    ended = time.monotonic()
    exchange = upstream.last("counting")
    message = sdk_message(response.content)
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5, 6,"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " 7")
    assert message["usage"]["output_tokens"] == 7
    assert exchange.closed.wait(5), "the upstream call was not closed"
    assert exchange.closed_at - ended < WITHIN
    assert exchange.closed_at - started < 5


def test_a_whole_answer_ends_before_the_stop_sequence(client, upstream):
    """The same text, and the upstream is let go there too."""
    message = client.post("/v1/messages", json=ASK).json()
    assert message["content"] == [{"type": "text", "text": "1, 2, 3, 4, 5, 6,"}], json.dumps(message)
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", " 7")
    exchange = upstream.last("counting")
    assert exchange.closed.wait(5), "the upstream call was not closed"
    assert "stop" not in exchange.body
