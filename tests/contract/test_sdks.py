"""The official SDKs against a running stack: Python, newest and 1.x, and JavaScript."""

import itertools
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent
TRIP = {"city": "Oslo", "days": 3, "stops": [{"place": "Oslo", "kind": "museum"}], "guided": True}
FINAL_TEXT = "I heard: sunny for 3 days in Oslo; noon in Oslo"
TOOL_RUNS = [["get_weather", "Oslo", 3], ["get_time", "Oslo"]]
CLIENTS = {"python": version("anthropic"), "python-1.x": "1.17.0", "javascript": "1.11.0"}


@pytest.fixture(scope="module", params=CLIENTS)
def session(request, run_client):
    """The report of one SDK, and its requests and responses."""
    if request.param == "javascript":
        session = run_client(request.getfixturevalue("node_script")("sdk.mjs"), {})
    else:
        path = str(Path(sys.prefix) / "sdk1") if request.param == "python-1.x" else ""
        session = run_client([sys.executable, HERE / "sdk_session.py"], {"PYTHONPATH": path})
    assert session.report["version"] == CLIENTS[request.param]
    return session


def text_of(message):
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def without_pings(call):
    return [event for event in call.events if event["type"] != "ping"]


def tool_messages(upstream_body):
    return [message["content"] for message in upstream_body["messages"] if message["role"] == "tool"]


def test_create_returns_a_complete_message(session):
    """Thinking and text, the requested model name, a stop reason and the usage."""
    message = session.report["create"]
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert text_of(message) == "I heard: a greeting"
    assert (message["model"], message["role"], message["stop_reason"]) == ("try-create", "assistant", "end_turn")
    usage = message["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (20, 10, 7)


def test_the_sdk_returns_every_event_of_a_stream(session):
    """Unchanged: thinking, text and two tool calls."""
    (call,) = session.wire.requests_for("try-events")
    assert session.report["events"] == without_pings(call)
    started = [event["content_block"]["type"] for event in call.events if event["type"] == "content_block_start"]
    assert started == ["thinking", "text", "tool_use", "tool_use"]


def test_the_sdk_skips_pings(session):
    """A ping between two text deltas does not change the events."""
    (call,) = session.wire.requests_for("up/pausing")
    assert {"type": "ping"} in call.events
    assert session.report["events_over_pings"] == without_pings(call)


@pytest.mark.parametrize("step", ["tools", "tools_stream"])
def test_tool_results_reach_the_model(session, step):
    """Unary and streaming: two calls in the first response, and their results in order in the second request."""
    first, second = session.report[step]
    calls = [(block["name"], block["input"]) for block in first["content"] if block["type"] == "tool_use"]
    assert calls == [("get_weather", {"city": "Oslo", "days": 3}), ("get_time", {"city": "Oslo"})]
    assert (first["stop_reason"], second["stop_reason"]) == ("tool_use", "end_turn")
    assert text_of(second) == FINAL_TEXT
    (upstream_body,) = session.wire.requests_for(f"try-{step.replace('_', '-')}")[1].upstream_bodies
    assert tool_messages(upstream_body) == ["sunny for 3 days in Oslo", "noon in Oslo"]


def test_the_stream_helper_returns_all_events(session):
    """Those of the protocol in their order, among those that it adds itself."""
    sent = [event["type"] for call in session.wire.requests_for("try-tools-stream") for event in without_pings(call)]
    assert [kind for kind in session.report["kinds"] if kind in set(sent)] == sent


@pytest.mark.parametrize("step", ["parse", "parse_stream"])
def test_structured_output_is_parsed(session, step):
    """The model gets the SDK's schema unchanged, and the response is parsed as the requested type."""
    assert session.report[step] == TRIP
    (call,) = session.wire.requests_for(f"try-{step.replace('_', '-')}")
    (upstream_body,) = call.upstream_bodies
    assert upstream_body["response_format"]["type"] == "json_schema"
    assert upstream_body["response_format"]["json_schema"]["schema"] == call.body["output_config"]["format"]["schema"]


@pytest.mark.parametrize("step", ["runner", "runner_stream"])
def test_the_tool_runner_finishes(session, step):
    """It runs every tool once and ends with the text that repeats their results."""
    run = session.report[step]
    assert run["ran"] == TOOL_RUNS
    assert [message["stop_reason"] for message in run["messages"]] == ["tool_use", "end_turn"]
    assert text_of(run["messages"][-1]) == FINAL_TEXT


@pytest.mark.parametrize("step", ["runner", "runner_stream"])
def test_the_tool_runner_continues_without_a_thread(session, step):
    """A request for a thread is rejected once, before the upstream; the runner then sends the complete history."""
    calls = session.wire.requests_for(f"try-{step.replace('_', '-')}")
    if session.report["has_threads"]:
        rejected = calls.pop(0)
        assert rejected.body["thread"] == {"type": "create"}
        assert (rejected.status, rejected.upstream_bodies) == (400, [])
    assert [(call.status, "thread" in call.body) for call in calls] == [(200, False), (200, False)]
    (first, second) = itertools.chain.from_iterable(call.upstream_bodies for call in calls)
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "tool", "tool"]
    assert second["messages"][0] == first["messages"][0]
    assert tool_messages(second) == ["sunny for 3 days in Oslo", "noon in Oslo"]


def test_the_newest_sdks_request_threads(session):
    """Python since 2.x and JavaScript since 1.x, so that the test above covers the rejection."""
    assert session.report["has_threads"] == (session.report["version"] != "1.17.0")


def test_an_error_event_is_raised(session):
    """An error event is raised as the SDK's own exception, with the body of the event."""
    (call,) = session.wire.requests_for("up/error-chunk")
    assert call.events[-1]["type"] == "error"
    assert session.report["broken"]["body"] == call.events[-1]
    assert session.report["broken"]["class"] in ("APIStatusError", "APIError")
