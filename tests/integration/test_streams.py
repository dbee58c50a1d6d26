"""Streams, pings and disconnects on a running stack."""

import asyncio
import json

import httpx
import pytest

from support.native_upstream import wait_until

pytestmark = pytest.mark.integration

BODY = {"max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
HANG_SECONDS = 60
"""Only a hang takes that long."""


def read_events(response):
    """Yield (name, data) of each event of a streaming response."""
    name = None
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def stream(client, model):
    return client.stream("POST", "/v1/messages", json={**BODY, "model": model})


def test_a_stream_has_named_events_and_the_headers_that_proxies_need(client):
    """Event names, content type, no caching, no proxy buffering, request id."""
    with stream(client, "up/text") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["request-id"].startswith("req_")
        events = list(read_events(response))
    assert [name for name, _ in events] == [data["type"] for _, data in events]
    assert events[0][0] == "message_start"
    assert events[-1][0] == "message_stop"
    text = "".join(data["delta"]["text"] for name, data in events if name == "content_block_delta")
    assert text == "Hello there"
    usage = next(data["usage"] for name, data in events if name == "message_delta")
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (20, 10, 7)


def test_a_stream_request_always_asks_the_upstream_for_usage(client, upstream):
    """With ``stream_options.include_usage``."""
    with stream(client, "up/text") as response:
        response.read()
    assert upstream.last("text").json["stream_options"] == {"include_usage": True}


def test_pings_are_sent_before_the_upstream_responds(client, upstream):
    """Headers and pings are sent while the upstream is silent; its response follows."""
    with stream(client, "up/late") as response:
        assert response.status_code == 200
        names = []
        for name, _ in read_events(response):
            names.append(name)
            if names == ["ping", "ping"]:
                upstream.open_gate("late")
    assert names[:2] == ["ping", "ping"]
    assert names[-1] == "message_stop"


def test_an_upstream_error_after_the_first_ping_is_an_error_event(client, upstream):
    """The headers are sent by then, so a 400 of the upstream is the last event."""
    with stream(client, "up/late-refusal") as response:
        assert response.status_code == 200
        events = []
        for name, data in read_events(response):
            events.append((name, data))
            if name == "ping":
                upstream.open_gate("late-refusal")
    assert events[-1][0] == "error"
    assert events[-1][1]["error"]["type"] == "invalid_request_error"
    assert events[-1][1]["request_id"] == response.headers["request-id"]


def test_pings_fill_a_pause_in_the_middle_of_a_stream(client, upstream):
    """Between two text deltas."""
    names = []
    with stream(client, "up/pausing") as response:
        for name, _ in read_events(response):
            names.append(name)
            if name == "ping":
                upstream.open_gate("pausing")
    assert "ping" in names
    assert names.index("ping") > names.index("content_block_delta")
    assert names[-1] == "message_stop"


@pytest.mark.parametrize("model", ["up/dies", "up/error-chunk"])
def test_an_upstream_failure_in_the_middle_of_a_stream_is_one_error_event(client, model):
    """It is the last event, and there is no message_stop."""
    with stream(client, model) as response:
        events = list(read_events(response))
    names = [name for name, _ in events]
    assert names[-1] == "error"
    assert names.count("error") == 1
    assert "message_stop" not in names
    assert events[-1][1]["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize("model", ["slow", "fast"])
def test_a_disconnect_in_the_middle_of_a_stream_closes_the_upstream(stack, upstream, model):
    """The upstream would never end."""
    with httpx.Client(base_url=stack.url, timeout=60) as client, stream(client, f"up/{model}") as response:
        next(read_events(response))
        exchange = upstream.last(model)
    assert exchange.closed.wait(HANG_SECONDS), "the upstream request was not closed"


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_disconnect_before_the_first_byte_closes_the_upstream(stack, upstream, streaming):
    """While the upstream is silent, streaming or not."""
    before = len(upstream.exchanges)
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as client:
        body = {**BODY, "model": "up/never", "stream": streaming}
        request = asyncio.create_task(client.post("/v1/messages", json=body))
        await wait_until(lambda: len(upstream.exchanges) > before, "the request at the upstream")
        request.cancel()
        await asyncio.wait({request})
    closed = await asyncio.to_thread(upstream.exchanges[before].closed.wait, HANG_SECONDS)
    assert closed, "the upstream request was not closed"
