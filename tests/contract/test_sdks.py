"""The official SDKs, Python newest and 1.x and JavaScript, in use against a running stack."""

import itertools
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
TRIP = {"city": "Oslo", "days": 3, "stops": [{"place": "Oslo", "kind": "museum"}], "guided": True}
ANSWER = "I heard: sunny for 3 days in Oslo; noon in Oslo"
RAN = [["get_weather", "Oslo", 3], ["get_time", "Oslo"]]
CLIENTS = {"python": version("anthropic"), "python-1.x": "1.17.0", "javascript": "1.11.0"}


@pytest.fixture(scope="module", params=CLIENTS)
def session(request, talk):
    """What a session with one SDK reported, and what went over the wire."""
    if request.param == "javascript":
        seen = talk(request.getfixturevalue("node_script")("sdk.mjs"), {})
    else:
        path = str(Path(sys.prefix) / "sdk1") if request.param == "python-1.x" else ""
        seen = talk([sys.executable, HERE / "sdk_session.py"], {"PYTHONPATH": path})
    assert seen.report["version"] == CLIENTS[request.param]
    return seen


def text_of(message):
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def without_pings(call):
    return [event for event in call.events if event["type"] != "ping"]


def tool_messages(asked):
    return [message["content"] for message in asked["messages"] if message["role"] == "tool"]


def test_create_returns_a_whole_message(session):
    """Thinking and text, the name that was asked for, a stop reason and the usage."""
    message = session.report["create"]
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert text_of(message) == "I heard: a greeting"
    assert (message["model"], message["role"], message["stop_reason"]) == ("try-create", "assistant", "end_turn")
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (20, 10, 7)


def test_every_event_of_a_stream_is_read(session):
    """The SDK hands on each event that was sent, unchanged: thinking, text and two calls."""
    (call,) = session.wire.of("try-events")
    assert session.report["events"] == without_pings(call)
    started = [event["content_block"]["type"] for event in call.events if event["type"] == "content_block_start"]
    assert started == ["thinking", "text", "tool_use", "tool_use"]


def test_pings_are_passed_over(session):
    """A ping between two words is on the wire and does not disturb what is read."""
    (call,) = session.wire.of("up/pausing")
    assert {"type": "ping"} in call.events
    assert session.report["events_over_pings"] == without_pings(call)


@pytest.mark.parametrize("step", ["tools", "tools_stream"])
def test_tool_results_reach_the_model(session, step):
    """Whole and streamed: both calls of the first answer, and the results in their order in the second request."""
    first, second = session.report[step]
    calls = [(block["name"], block["input"]) for block in first["content"] if block["type"] == "tool_use"]
    assert calls == [("get_weather", {"city": "Oslo", "days": 3}), ("get_time", {"city": "Oslo"})]
    assert (first["stop_reason"], second["stop_reason"]) == ("tool_use", "end_turn")
    assert text_of(second) == ANSWER
    (asked,) = session.wire.of(f"try-{step.replace('_', '-')}")[1].asked
    assert tool_messages(asked) == ["sunny for 3 days in Oslo", "noon in Oslo"]


def test_the_stream_helper_sees_the_events_of_the_wire(session):
    """Those of the protocol, in their order, besides those it adds itself."""
    sent = [event["type"] for call in session.wire.of("try-tools-stream") for event in without_pings(call)]
    assert [kind for kind in session.report["kinds"] if kind in set(sent)] == sent


@pytest.mark.parametrize("step", ["parse", "parse_stream"])
def test_structured_output_is_parsed(session, step):
    """The SDK's schema reaches the model as it was sent, and its answer comes back as the type asked for."""
    assert session.report[step] == TRIP
    (call,) = session.wire.of(f"try-{step.replace('_', '-')}")
    (asked,) = call.asked
    assert asked["response_format"]["type"] == "json_schema"
    assert asked["response_format"]["json_schema"]["schema"] == call.body["output_config"]["format"]["schema"]


@pytest.mark.parametrize("step", ["runner", "runner_stream"])
def test_the_tool_runner_finishes(session, step):
    """It runs every tool once and ends with the answer that repeats their results."""
    seen = session.report[step]
    assert seen["ran"] == RAN
    assert [message["stop_reason"] for message in seen["messages"]] == ["tool_use", "end_turn"]
    assert text_of(seen["messages"][-1]) == ANSWER


@pytest.mark.parametrize("step", ["runner", "runner_stream"])
def test_the_tool_runner_goes_on_without_a_thread(session, step):
    """One that asks for a thread is refused once, before the model is asked, and sends the whole history from then."""
    calls = session.wire.of(f"try-{step.replace('_', '-')}")
    if session.report["has_threads"]:
        refused = calls.pop(0)
        assert refused.body["thread"] == {"type": "create"}
        assert (refused.status, refused.asked) == (400, [])
    assert [(call.status, "thread" in call.body) for call in calls] == [(200, False), (200, False)]
    (first, second) = itertools.chain.from_iterable(call.asked for call in calls)
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
    assert second["messages"][0] == first["messages"][0]
    assert tool_messages(second) == ["sunny for 3 days in Oslo", "noon in Oslo"]


def test_the_newest_sdks_ask_for_threads(session):
    """From 2.x in Python and 1.x in JavaScript on; so the tests above have met the refusal."""
    assert session.report["has_threads"] == (session.report["version"] != "1.17.0")


def test_an_error_event_is_raised(session):
    """A failure in the middle of a stream is the SDK's own exception, with the body of the event."""
    (call,) = session.wire.of("up/error-chunk")
    assert call.events[-1]["type"] == "error"
    assert session.report["broken"]["body"] == call.events[-1]
    assert session.report["broken"]["class"] in ("APIStatusError", "APIError")
