"""The official Python SDK, newest and 1.x, against the embedded engine of the local distribution."""

import pytest

from support.sdk import VERSIONS, session, text_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=VERSIONS)
def report(request, local_stack, stack):
    """What a session with one version of the SDK saw."""
    return session(request.param, local_stack.url, stack.url)


def test_create_returns_a_greeting_under_the_requested_name(report):
    """A plain request is answered sensibly, and the model name is echoed."""
    message = report["create"]
    assert text_of(message).startswith(("Hello", "Hi"))
    assert message["model"] == "claude-sonnet-4-5"
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0


def test_the_stream_helper_accumulates_the_same_message(report):
    """The helper sees the events of the protocol and puts the answer together."""
    assert report["kinds"][0] == "message_start"
    assert report["kinds"][-1] == "message_stop"
    assert text_of(report["streamed"]) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
    assert report["streamed"]["usage"]["output_tokens"] > 0


def test_a_tool_round_trip_ends_in_an_answer_with_the_result(report):
    """The model asks for the weather of the city named, gets it, and repeats it."""
    call = next(block for block in report["tool_first"]["content"] if block["type"] == "tool_use")
    assert report["tool_first"]["stop_reason"] == "tool_use"
    assert call["name"] == "get_weather"
    assert call["input"] == {"city": "Paris"}
    assert "21 degrees" in text_of(report["tool_second"])
    assert report["tool_second"]["stop_reason"] == "end_turn"


def test_thinking_comes_back_as_a_block_before_the_text(report):
    """With thinking on, the reasoning is a thinking block."""
    kinds = [block["type"] for block in report["thinking"]["content"]]
    assert kinds == ["thinking", "text"]
    assert report["thinking"]["content"][0]["thinking"].strip()
    assert "signature" in report["thinking"]["content"][0]


def test_disabled_thinking_leaves_no_thinking_block(report):
    """With thinking off, there is none."""
    assert [block["type"] for block in report["create"]["content"]] == ["text"]


def test_a_wrong_model_raises_the_class_for_404(report):
    """Where no default model answers it, with the names that would work."""
    seen = report["wrong_model"]
    assert (seen["class"], seen["status"]) == ("NotFoundError", 404)
    assert seen["request_id"].startswith("req_")
    assert "up/text" in seen["body"]["error"]["message"]


def test_a_bad_body_raises_the_class_for_400(report):
    """The SDK raises its own class, with the request id."""
    seen = report["bad_body"]
    assert seen["class"] == "BadRequestError"
    assert seen["request_id"].startswith("req_")
    assert seen["body"]["error"]["message"].startswith("max_tokens: ")
