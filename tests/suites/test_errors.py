"""Errors: of the stack itself, and of the upstream in the words of the API."""

import json
import re

import pytest

pytestmark = pytest.mark.integration

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
CONTEXT = 8192
"""Tokens of the embedded engine."""


def error_of(answer, status, kind):
    """Return the message of an error, whose envelope has to be that of the API."""
    assert answer.status == status, answer.raw
    body = answer.body
    assert body.keys() == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == answer.headers["request-id"]
    return body["error"]["message"]


@pytest.mark.tape("hello")
def test_an_unknown_model_is_not_found(server):
    """The upstream is not asked; the message says what there is. The next request is answered."""
    message = error_of(server.ask("Hello", model="no-such-model"), 404, "not_found_error")
    assert "no-such-model" in message
    assert server.model in message
    assert not server.sent
    assert server.ask("Hello").status == 200


@pytest.mark.lacking("llama-cpp-messages", "llama.cpp's own endpoint answers them")
@pytest.mark.tape("empty-messages")
def test_empty_messages_are_refused(server):
    """Naming the field, also where a stream was asked for; on the native lane by the upstream itself."""
    for stream in (False, True):
        message = error_of(server.ask(stream=stream), 400, "invalid_request_error")
        assert "messages" in message
        assert len(server.sent) == (1 + stream if server.native else 0)
    assert server.ask("Hello").status == 200


@pytest.mark.tape("image")
def test_an_image_is_refused_by_a_backend_that_cannot_see(server):
    """In an answer that says so, and does not end the stack; the image reached the upstream as it was."""
    answer = server.ask({"role": "user", "content": [IMAGE, {"type": "text", "text": "What is this?"}]})
    if answer.status == 200:
        pytest.skip("this upstream sees")
    message = error_of(answer, 400, "invalid_request_error")
    assert re.search("image|multimodal|vision", message)
    assert PNG in json.dumps(server.sent[0])


@pytest.mark.only_embedded("a prompt too long for any backend does not fit on a tape")
@pytest.mark.tape("overflow")
def test_a_prompt_that_is_too_long_is_refused(server):
    """In the words that clients look for, with the numbers, before a stream begins."""
    for stream in (False, True):
        message = error_of(server.ask("~!" * (CONTEXT // 2), stream=stream), 400, "invalid_request_error")
        numbers = re.fullmatch(r"prompt is too long: (\d+) tokens > (\d+) maximum", message)
        assert int(numbers[1]) > int(numbers[2]) == CONTEXT


@pytest.mark.tape("bad-key")
def test_a_key_that_the_upstream_does_not_know(server):
    """It is the client's own, in the provider data, and so is the refusal. The key is in no answer."""
    key = "not-the-key-of-this-upstream"
    data = {"x-llamastack-provider-data": json.dumps({"vllm_api_token": key})}
    for stream in (False, True):
        answer = server.ask("Hello", headers=data, stream=stream)
        if answer.status == 200:
            pytest.skip("this upstream takes any key")
        error_of(answer, 401, "authentication_error")
        assert key not in answer.raw.decode()
