"""Response headers, clients that disconnect, and upstreams that disconnect."""

import json

import pytest

from messages_tape import Action, read_tape
from support.grammar import check_stream
from support.suites import disconnecting

from .test_tools import WEATHER

pytestmark = pytest.mark.integration


@pytest.mark.tape("headers")
def test_a_response_has_the_headers_of_the_api(server):
    """A unique request id, the lane, and content types; a stream also forbids caching."""
    unary, streamed = server.send("Hello"), server.stream("Hello")
    assert unary.headers["content-type"] == "application/json"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in streamed.headers["cache-control"]
    assert unary.headers["request-id"] != streamed.headers["request-id"]
    for answer in (unary, streamed):
        assert answer.headers["x-messages-lane"] == f"{server.lane}; reason=configured"


@pytest.mark.tape("client-leaves")
def test_a_client_disconnect_closes_the_upstream(server):
    """In the middle of a long stream."""
    numbers = {"type": "array", "items": {"enum": ["tick tack"]}, "minItems": 900}
    schema = {"type": "object", "properties": {"all": numbers}, "required": ["all"], "additionalProperties": False}
    long = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    if server.native:
        long = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    with disconnecting(server.url, server.body("Hello", max_tokens=4000, stream=True, **long), events=3) as events:
        assert events[0]["type"] == "message_start"
    server.wait_until_disconnected()
    if server.tape.action is Action.REPLAY:
        (recorded,) = read_tape(server.tape.path).exchanges
        assert recorded.end.how == "client_closed"


@pytest.mark.tape("upstream-hangs-up")
def test_an_upstream_disconnect_before_the_response_is_an_error(server):
    """With a status after which SDKs retry."""
    server.tape.fail_after(0)
    answer = server.stream("Hello")
    assert answer.status in (502, 503, 529)
    assert answer.body["type"] == "error"
    assert answer.body["error"]["type"] in ("api_error", "overloaded_error")


@pytest.mark.tape("upstream-dies")
def test_an_upstream_disconnect_in_the_middle_of_a_stream_is_an_error_event(server):
    """The events before it follow the grammar, and the error is the last event."""
    server.tape.fail_after(4)
    answer = server.stream("Hello")
    assert answer.status == 200
    check_stream(answer.events)
    assert answer.events[-1]["type"] == "error"
    assert answer.events[0]["type"] == "message_start"
    assert "error" not in json.dumps(answer.events[:-1])
