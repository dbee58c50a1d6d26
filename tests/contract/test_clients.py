"""Libraries that speak the protocol on top of an SDK or on their own, each with one streamed tool round trip."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
VERSIONS = {"langchain": "1.7.7", "pydantic_ai": "2.68.0", "ai": "6.0.326"}


@pytest.fixture(scope="module", params=VERSIONS)
def session(request, talk):
    """What one library reported, and what went over the wire."""
    if request.param == "ai":
        seen = talk(request.getfixturevalue("node_script")("ai.mjs"), {})
    else:
        python = request.getfixturevalue("clients_python")
        seen = talk([python, HERE / f"{request.param}_session.py"], {"PYTHONPATH": ""})
    assert seen.report["version"] == VERSIONS[request.param]
    return seen


def test_the_calls_and_the_answer_arrive(session):
    """Both calls with their input, the text that repeats their results, no error on the way, and the usage."""
    assert session.report["calls"] == [["get_weather", {"city": "Oslo", "days": 3}], ["get_time", {"city": "Oslo"}]]
    assert session.report["text"] == "I heard: sunny for 3 days in Oslo; noon in Oslo"
    assert session.report.get("errors", []) == []
    assert (session.report["input_tokens"], session.report["output_tokens"]) == (30, 7)


def test_the_results_reach_the_model(session):
    """In two streamed requests; the second holds the call, its result and no error."""
    calls = session.wire.of("try-tools")
    assert [(call.status, call.body["stream"]) for call in calls] == [(200, True), (200, True)]
    assert [call.events[-1]["type"] for call in calls] == ["message_stop", "message_stop"]
    (asked,) = calls[1].asked
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "tool", "tool"]
    results = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
    assert results == ["sunny for 3 days in Oslo", "noon in Oslo"]
