"""Retries, learned profiles, dropped parts and content policy on the translated lane, with a scripted platform."""

import json

import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llama_stack_api_messages import Call, RequestBody
from llama_stack_api_messages.errors import InvalidRequestError, RateLimitError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.impl import MessagesImpl
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.translated.lane import Profiles
from support.replies import answer

CALL = Call("req_1", {"x-session-id": "s"})
LIMIT = "max_tokens is too large: 9000. This model supports at most 4096 completion tokens"
SYSTEM = "System message must be at the beginning."
POLICY = '{"error": {"message": "Flagged.", "code": "content_policy_violation"}}'
ANSWER = {"id": "c", "choices": [{"index": 0, "finish_reason": "length", "message": {"content": "Hi"}}]}
CHUNK = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "length"}]}


async def chunks(*records):
    for record in records:
        yield construct_type(type_=ChatCompletionChunk, value=record)


class Rejecting:
    """A backend that rejects a request as long as a rule applies, then answers."""

    def __init__(self, *rules, answer=ANSWER):
        self.rules = rules
        self.answer = answer
        self.requests = []

    def is_served(self, name):
        return True

    async def locate(self, model_id):
        return Target(model_id, "local", "remote::openai", "gpt-5.6")

    def record(self, target, **figures):
        pass

    async def chat(self, target, fields):
        self.requests.append(fields)
        for applies, text in self.rules:
            if applies(fields):
                raise ValueError(text)
        return chunks(CHUNK) if fields.get("stream") else construct_type(type_=ChatCompletion, value=self.answer)


def too_much(fields):
    return fields["max_completion_tokens"] > 4096


def late_system(fields):
    return any(message["role"] == "system" for message in fields["messages"][1:])


def always(_fields):
    return True


LANE = {"x-messages-model": "local/m; reason=exact", "x-messages-lane": "translated; reason=default"}
TURNS = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be kind."}]


async def send(impl, **fields):
    body = {"model": "local/m", "max_tokens": 9000, "messages": TURNS, **fields}
    reply = await answer(impl, RequestBody.of(CreateMessageRequest.model_validate(body)), CALL)
    data = b"".join([frame async for frame in reply.frames]) if fields.get("stream") else reply.body
    return reply, data


def lane(platform, **config):
    return MessagesImpl(MessagesConfig(**config), platform, b"key")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_adapted_to_several_errors_which_are_remembered(stream):
    """Each error causes one retry; the second request is adapted at once, with the same header."""
    platform = Rejecting((too_much, LIMIT), (late_system, SYSTEM))
    impl = lane(platform)
    reply, _ = await send(impl, stream=stream)
    assert [fields["max_completion_tokens"] for fields in platform.requests] == [9000, 4096, 4096]
    assert [late_system(fields) for fields in platform.requests] == [True, True, False]
    assert reply.headers == {**LANE, "x-messages-dropped": "max_tokens"}
    again, _ = await send(impl, stream=stream)
    assert len(platform.requests) == 4
    assert again.headers == reply.headers
    assert platform.requests[0]["prompt_cache_key"] == "s"


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
READ = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Read", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [IMAGE]}]},
]


def has_image(fields):
    return any(isinstance(message["content"], list) for message in fields["messages"])


async def test_an_image_in_a_tool_result_does_not_fail_requests_to_a_model_without_vision():
    """The image is in every later turn, so the model gets a note instead. An image of the user is rejected."""
    platform = Rejecting((has_image, "image input is not supported"))
    impl = lane(platform)
    for _ in range(2):
        reply, _ = await send(impl, messages=[TURNS[0], *READ])
        assert reply.headers == {**LANE, "x-messages-dropped": "messages.2.content.0.content.0"}
    assert [has_image(fields) for fields in platform.requests] == [True, False, False]
    with pytest.raises(InvalidRequestError, match=r"^messages\.0\.content\.0: this model reads no images"):
        await send(impl, messages=[{"role": "user", "content": [IMAGE]}])


async def test_a_full_context_window_is_not_remembered():
    """The next prompt has another length; the reply has the stop reason."""
    text = "input length and `max_tokens` exceed context limit: 4000 + 9000 > 8192"
    platform = Rejecting((too_much, text.replace("4000", "4096")))
    impl = lane(platform)
    _, body = await send(impl)
    assert json.loads(body)["stop_reason"] == "model_context_window_exceeded"
    await send(impl)
    assert [fields["max_completion_tokens"] for fields in platform.requests] == [9000, 4096, 9000, 4096]


async def test_an_error_that_quotes_the_client_is_not_remembered():
    """The text of one client's schema must not lower the limit of all clients."""
    quoted = [True]
    rejection = "Invalid schema: 'max_tokens must be at most 1' is not of type 'object'"
    platform = Rejecting((lambda _: bool(quoted), rejection))
    impl = lane(platform)
    with pytest.raises(InvalidRequestError, match="Invalid schema"):
        await send(impl)
    quoted.clear()
    await send(impl)
    assert [fields["max_completion_tokens"] for fields in platform.requests] == [9000, 1, 9000]


async def test_an_error_that_persists_is_returned():
    """After one retry per kind the client gets the backend's message."""
    platform = Rejecting((always, SYSTEM))
    with pytest.raises(InvalidRequestError, match="must be at the beginning"):
        await send(lane(platform))
    assert len(platform.requests) == 2


async def test_strict_validation_rejects_max_tokens_above_a_learned_limit():
    """The API does not lower ``max_tokens`` either."""
    impl = lane(Rejecting((too_much, LIMIT)), validation="strict")
    body = {"model": "local/m", "max_tokens": 9000, "messages": TURNS}
    request = RequestBody.of(CreateMessageRequest.model_validate(body))
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="max_tokens: 9000 > 4096, which is the maximum"):
            await answer(impl, request, Call("req_1", {"anthropic-version": "2023-06-01"}))


async def test_a_reply_without_dropped_parts_has_no_dropped_header():
    reply, _ = await send(lane(Rejecting()))
    assert reply.headers == LANE


@pytest.mark.parametrize("stream", [False, True])
async def test_a_content_policy_error_becomes_a_message_with_stop_reason_refusal(stream):
    """It has status 200, the text of the error, and the usual header."""
    reply, data = await send(lane(Rejecting((always, POLICY))), stream=stream, brand_new=1)
    assert b'"stop_reason":"refusal"' in data
    assert b'"explanation":"Flagged."' in data
    assert b"content_block" not in data
    assert reply.headers == {**LANE, "x-messages-dropped": "brand_new"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_content_policy_error_can_stay_an_error(stream):
    with pytest.raises(InvalidRequestError, match="Flagged"):
        await send(lane(Rejecting((always, POLICY)), content_policy="error"), stream=stream)


async def test_a_content_policy_error_in_a_200_response_is_recognised():
    """Gateways answer 200 with an error in the body."""
    answer = {"id": "c", "error": {"message": "Flagged.", "code": "content_filter"}}
    _, body = await send(lane(Rejecting(answer=answer)))
    assert json.loads(body)["stop_details"]["explanation"] == "Flagged."
    with pytest.raises(InvalidRequestError, match="Flagged"):
        await send(lane(Rejecting(answer=answer), content_policy="error"))


def test_the_number_of_learned_profiles_is_limited():
    """A provider accepts any model name; above 1,000 models the oldest profile is removed."""
    known = Profiles({})
    targets = [Target(f"p/{number}", "p", "remote::vllm", str(number)) for number in range(1_001)]
    for target in targets:
        known.learn(target, {"max_output_tokens": 9})
    assert [known.of(target).max_output_tokens for target in (targets[-1], targets[1], targets[0])] == [9, 9, None]


class KeyedProvider:
    """An inference provider whose key has no typical form."""

    def get_api_key(self):
        return "plain-key-4711"

    def _get_api_key_from_config_or_provider_data(self):
        return "plain-key-4711"


class ReportsItsKey(Rejecting):
    """A backend that reports an error with its key inside a response with status 200."""

    async def locate(self, model_id):
        return Target(model_id, "local", "remote::openai", "m", provider=KeyedProvider())

    def record(self, target, **figures):
        pass

    async def chat(self, target, fields):
        record = {"id": "c", "choices": [], "error": {"message": "plain-key-4711 is out of credit", "code": 429}}
        if fields.get("stream"):
            return chunks(CHUNK | {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, record)
        return construct_type(type_=ChatCompletion, value=record)


async def test_the_key_is_redacted_from_an_error_inside_a_response():
    """A gateway reports errors of its provider with status 200 or in a chunk (OpenRouter), and may quote the key."""
    with pytest.raises(RateLimitError, match=r"^\[redacted\] is out of credit$"):
        await send(lane(ReportsItsKey()))
    _, data = await send(lane(ReportsItsKey()), stream=True)
    assert b"event: error" in data
    assert b"[redacted] is out of credit" in data
    assert b"plain-key" not in data
