"""Requests to a backend's tokenizer."""

import json

import pytest
from llama_stack.providers.utils.inference.model_registry import RemoteInferenceProviderConfig

from llama_stack_api_messages import MessagesUpstream
from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.stack import OpenAIMixin, Target
from llama_stack_provider_messages.translated.counting import TokenizerUnavailable, poster


class Provider(OpenAIMixin):
    def get_base_url(self):
        return "http://host/v1"


class Speaking:
    async def messages_upstream(self, resource_id):
        return MessagesUpstream("http://d", {"x-api-key": "d"})


def target(provider=None):
    provider = provider or Provider(config=RemoteInferenceProviderConfig(api_key="sk-1"))
    return Target("up/m", "up", "remote::vllm", "m", provider=provider)


class Response:
    def __init__(self, status, body):
        self.status_code = status
        self.headers = {}
        self.is_success = status == 200
        self.body = body
        self.closed = False

    async def aiter_bytes(self):
        yield self.body

    async def aclose(self):
        self.closed = True


class UpstreamClient:
    def __init__(self, answer):
        self.answer = answer
        self.questions = []

    async def send(self, target, upstream, question):
        self.questions.append((upstream, question))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_tokenizer_requests_go_to_the_providers_address():
    """The request has a short timeout and the provider's key in any native mode; its connection is released."""
    exchanges = UpstreamClient(Response(200, b'{"count": 3}'))
    assert await poster(exchanges, target())("/tokenize", {"a": "\u00e9"}) == {"count": 3}
    ((found, question),) = exchanges.questions
    assert (found.base_url, found.headers) == ("http://host", {"authorization": "Bearer sk-1"})
    assert (question.path, json.loads(question.data), question.short) == ("/tokenize", {"a": "\u00e9"}, True)
    assert exchanges.answer.closed


async def test_tokenizer_requests_go_to_the_declared_upstream():
    """The base URL that the provider declares is used for tokenizer requests, as for Messages requests."""
    exchanges = UpstreamClient(Response(200, b"1"))
    await poster(exchanges, target(Speaking()))("/t", {})
    assert exchanges.questions[0][0].base_url == "http://d"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Response(404, b"{}"), 404),
        (Response(500, b"{}"), 500),
        (Response(200, b"no json"), None),
        (Response(200, b"\xff"), None),
        (BadGatewayError("gone"), None),
    ],
)
async def test_any_other_response_means_that_the_tokenizer_is_unavailable(answer, status):
    """``TokenizerUnavailable`` has the status of the response, if there was one."""
    with pytest.raises(TokenizerUnavailable) as caught:
        await poster(UpstreamClient(answer), target())("/tokenize", {})
    assert caught.value.status == status


async def test_a_deeply_nested_response_means_that_the_tokenizer_is_unavailable():
    """A response that is nested too deeply to parse does not fail the request; the count is estimated."""
    with pytest.raises(TokenizerUnavailable):
        await poster(UpstreamClient(Response(200, b"[" * 200_000)), target())("/tokenize", {})


async def test_a_provider_of_another_kind_has_no_tokenizer():
    """No request is sent."""
    exchanges = UpstreamClient(Response(200, b"1"))
    with pytest.raises(TokenizerUnavailable):
        await poster(exchanges, target(object()))("/tokenize", {})
    assert exchanges.questions == []
