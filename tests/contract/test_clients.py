"""Client libraries, with or without an SDK: each makes one streaming tool round trip."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
VERSIONS = {"langchain": "1.7.7", "pydantic_ai": "2.68.0", "ai": "6.0.326"}


@pytest.fixture(scope="module", params=VERSIONS)
def session(request, run_client):
    """The report of one library, and its requests and responses."""
    if request.param == "ai":
        session = run_client(request.getfixturevalue("node_script")("ai.mjs"), {})
    else:
        python = request.getfixturevalue("clients_python")
        session = run_client([python, HERE / f"{request.param}_session.py"], {"PYTHONPATH": ""})
    assert session.report["version"] == VERSIONS[request.param]
    return session


def test_the_client_gets_the_tool_calls_and_the_response(session):
    """Both calls with their input, the text that repeats their results, the usage, and no error."""
    assert session.report["calls"] == [["get_weather", {"city": "Oslo", "days": 3}], ["get_time", {"city": "Oslo"}]]
    assert session.report["text"] == "I heard: sunny for 3 days in Oslo; noon in Oslo"
    assert session.report.get("errors", []) == []
    assert (session.report["input_tokens"], session.report["output_tokens"]) == (30, 7)


def test_the_results_reach_the_model(session):
    """In two streaming requests; the second has the calls and their results."""
    calls = session.wire.requests_for("try-tools")
    assert [(call.status, call.body["stream"]) for call in calls] == [(200, True), (200, True)]
    assert [call.events[-1]["type"] for call in calls] == ["message_stop", "message_stop"]
    (upstream_body,) = calls[1].upstream_bodies
    assert [message["role"] for message in upstream_body["messages"]] == ["user", "assistant", "tool", "tool"]
    results = [message["content"] for message in upstream_body["messages"] if message["role"] == "tool"]
    assert results == ["sunny for 3 days in Oslo", "noon in Oslo"]
