"""Errors of the stack, and errors of the upstream in the format of the API."""

import json
import re

import pytest

pytestmark = pytest.mark.integration

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
CONTEXT_TOKENS = 8192
"""Context size of the embedded engine."""


def error_of(answer, status, kind):
    """Check the envelope of an error; return its message."""
    assert answer.status == status, answer.raw
    body = answer.body
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == answer.headers["request-id"]
    return body["error"]["message"]


@pytest.mark.tape("hello")
def test_an_unknown_model_is_not_found(server):
    """The upstream gets no request, and the message lists the served models. The next request succeeds."""
    message = error_of(server.send("Hello", model="no-such-model"), 404, "not_found_error")
    assert "no-such-model" in message
    assert server.model in message
    assert not server.upstream_bodies
    assert server.send("Hello").status == 200


@pytest.mark.lacking("llama-cpp-messages", "llama.cpp's own endpoint answers them")
@pytest.mark.tape("empty-messages")
def test_empty_messages_are_rejected(server):
    """With the name of the field, streaming or not; on the native lane by the upstream."""
    for stream in (False, True):
        message = error_of(server.send(stream=stream), 400, "invalid_request_error")
        assert "messages" in message
        assert len(server.upstream_bodies) == (1 + stream if server.native else 0)
    assert server.send("Hello").status == 200


@pytest.mark.tape("image")
def test_a_backend_without_vision_rejects_an_image(server):
    """The error says so, and the image has reached the upstream unchanged."""
    answer = server.send({"role": "user", "content": [IMAGE, {"type": "text", "text": "What is this?"}]})
    if answer.status == 200:
        pytest.skip("this upstream accepts images")
    message = error_of(answer, 400, "invalid_request_error")
    assert re.search("image|multimodal|vision", message)
    assert PNG in json.dumps(server.upstream_bodies[0])


@pytest.mark.only_embedded("a prompt too long for any backend does not fit on a tape")
@pytest.mark.tape("overflow")
def test_a_prompt_that_is_too_long_is_rejected(server):
    """With the message that clients search for, with both token counts, before a stream begins."""
    for stream in (False, True):
        message = error_of(server.send("~!" * (CONTEXT_TOKENS // 2), stream=stream), 400, "invalid_request_error")
        numbers = re.fullmatch(r"prompt is too long: (\d+) tokens > (\d+) maximum", message)
        assert int(numbers[1]) > int(numbers[2]) == CONTEXT_TOKENS


@pytest.mark.tape("bad-key")
def test_a_wrong_key_of_the_client_is_an_authentication_error(server):
    """The client sends it in the provider data. No response contains the key."""
    key = "not-the-key-of-this-upstream"
    data = {"x-llamastack-provider-data": json.dumps({"vllm_api_token": key})}
    for stream in (False, True):
        answer = server.send("Hello", headers=data, stream=stream)
        if answer.status == 200:
            pytest.skip("this upstream accepts any key")
        error_of(answer, 401, "authentication_error")
        assert key not in answer.raw.decode()
