"""The edges of an exchange: headers, clients that leave, upstreams that die."""

import json

import pytest

from messages_tape import Action, read_tape
from support.grammar import check_stream
from support.suites import leaving

from .test_tools import WEATHER

pytestmark = pytest.mark.integration


@pytest.mark.tape("headers")
def test_an_answer_has_the_headers_of_the_api(server):
    """A request id that is in no other answer, the lane, content types; a stream that no proxy may hold back."""
    whole, streamed = server.ask("Hello"), server.stream("Hello")
    assert whole.headers["content-type"] == "application/json"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert "no-cache" in streamed.headers["cache-control"]
    assert whole.headers["request-id"] != streamed.headers["request-id"]
    for answer in (whole, streamed):
        assert answer.headers["x-messages-lane"] == f"{server.lane}; reason=configured"


@pytest.mark.tape("client-leaves")
def test_the_upstream_is_left_when_the_client_leaves(server):
    """A stream that would go on for long stops with its client."""
    numbers = {"type": "array", "items": {"enum": ["tick tack"]}, "minItems": 900}
    schema = {"type": "object", "properties": {"all": numbers}, "required": ["all"], "additionalProperties": False}
    long = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
    if server.native:
        long = {"tools": [WEATHER], "tool_choice": {"type": "any"}}
    with leaving(server.url, server.body("Hello", max_tokens=4000, stream=True, **long), events=3) as events:
        assert events[0]["type"] == "message_start"
    server.wait_until_left()
    if server.tape.action is Action.REPLAY:
        (recorded,) = read_tape(server.tape.path).exchanges
        assert recorded.end.how == "client_closed"


@pytest.mark.tape("upstream-hangs-up")
def test_an_upstream_that_hangs_up_before_it_answers(server):
    """Is an error with a status of its own, which SDKs take as one to try again."""
    server.tape.fail_after(0)
    answer = server.stream("Hello")
    assert answer.status in (502, 503, 529)
    assert answer.body["type"] == "error"
    assert answer.body["error"]["type"] in ("api_error", "overloaded_error")


@pytest.mark.tape("upstream-dies")
def test_an_upstream_that_dies_in_the_middle_of_a_stream(server):
    """What came before is a stream by the grammar, and an error event is its end."""
    server.tape.fail_after(4)
    answer = server.stream("Hello")
    assert answer.status == 200
    check_stream(answer.events)
    assert answer.events[-1]["type"] == "error"
    assert answer.events[0]["type"] == "message_start"
    assert "error" not in json.dumps(answer.events[:-1])
