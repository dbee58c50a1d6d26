"""The official Python SDK, newest and 1.x, against the embedded engine of the local distribution."""

import pytest

from support.sdk import VERSIONS, session, text_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=VERSIONS)
def report(request, local_stack, stack):
    """The results of a session of one SDK version."""
    return session(request.param, local_stack.url, stack.url)


def test_create_returns_a_message_with_the_requested_model_name(report):
    """The text is a greeting."""
    message = report["create"]
    assert text_of(message).startswith(("Hello", "Hi"))
    assert message["model"] == "claude-sonnet-4-5"
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0


def test_the_stream_helper_accumulates_the_message(report):
    """From the events of the protocol."""
    assert report["kinds"][0] == "message_start"
    assert report["kinds"][-1] == "message_stop"
    assert text_of(report["streamed"]) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
    assert report["streamed"]["usage"]["output_tokens"] > 0


def test_a_tool_round_trip_ends_in_a_text_with_the_tool_result(report):
    """The model calls the tool with the city of the question and repeats the result."""
    call = next(block for block in report["tool_first"]["content"] if block["type"] == "tool_use")
    assert report["tool_first"]["stop_reason"] == "tool_use"
    assert call["name"] == "get_weather"
    assert call["input"] == {"city": "Paris"}
    assert "21 degrees" in text_of(report["tool_second"])
    assert report["tool_second"]["stop_reason"] == "end_turn"


def test_thinking_is_a_block_before_the_text(report):
    """With a signature."""
    kinds = [block["type"] for block in report["thinking"]["content"]]
    assert kinds == ["thinking", "text"]
    assert report["thinking"]["content"][0]["thinking"].strip()
    assert "signature" in report["thinking"]["content"][0]


def test_a_response_without_thinking_has_only_text(report):
    """If the request disables thinking."""
    assert [block["type"] for block in report["create"]["content"]] == ["text"]


def test_an_unknown_model_raises_not_found_error(report):
    """Without a default model an unknown model is a 404 whose message lists the served models."""
    error = report["wrong_model"]
    assert (error["class"], error["status"]) == ("NotFoundError", 404)
    assert error["request_id"].startswith("req_")
    assert "up/text" in error["body"]["error"]["message"]


def test_an_invalid_body_raises_bad_request_error(report):
    """With the request id."""
    error = report["bad_body"]
    assert error["class"] == "BadRequestError"
    assert error["request_id"].startswith("req_")
    assert error["body"]["error"]["message"].startswith("max_tokens: ")
