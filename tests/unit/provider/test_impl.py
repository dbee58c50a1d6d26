"""The provider on the translated lane, with a scripted platform."""

import asyncio
import json

import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llama_stack_api_messages import Call, RequestBody
from llama_stack_api_messages.errors import BadGatewayError, InvalidRequestError, MessagesError, NotFoundError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.streaming.response import EventStream
from llama_stack_api_messages.streaming.sse import PING
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.impl import MessagesImpl
from llama_stack_provider_messages.stack import ModelTypeError, Target
from llama_stack_provider_messages.translated import lane as translated
from support.replies import answer

CALL = Call("req_1")
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def completion(text):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return construct_type(type_=ChatCompletion, value={"id": "c", "choices": [choice], "usage": USAGE})


async def chunks(*texts, error=None):
    for text in texts:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        yield construct_type(type_=ChatCompletionChunk, value={"id": "c", "choices": [choice]})
    if error:
        raise error
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield construct_type(type_=ChatCompletionChunk, value={"id": "c", "choices": [choice], "usage": USAGE})


async def nothing():
    for chunk in ():
        yield chunk


class ScriptedPlatform:
    """Serves ``local/*`` with a scripted response."""

    def __init__(self, answer=None, error=None, *, always=True, kind="remote::vllm"):
        self.always = always
        self.kind = kind
        self.answer = answer
        self.error = error
        self.requests = []

    def is_served(self, name):
        return name.startswith("local/")

    async def locate(self, model_id):
        return (
            Target(model_id, "local", self.kind, model_id.partition("/")[2]) if model_id.startswith("local/") else None
        )

    async def served_models(self):
        return [Target(f"local/m{number}", "local", self.kind, f"m{number}") for number in range(25)]

    async def models_named(self, name):
        return []

    def record(self, target, **figures):
        pass

    async def chat(self, target, fields):
        self.requests.append((target.model_id, fields))
        if self.error and (self.always or "chat_template_kwargs" in fields):
            raise self.error
        return self.answer


def impl(platform, **config):
    return MessagesImpl(MessagesConfig(**config), platform, b"key")


def request(model="local/m1", **more):
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **more}
    return RequestBody.of(CreateMessageRequest.model_validate(body))


async def test_a_non_streaming_reply_has_the_requested_model_name():
    """The platform gets the id of the model, the client gets back the alias that it sent."""
    platform = ScriptedPlatform(completion("Hello"))
    reply = await answer(impl(platform, aliases={"claude-*": "local/m1"}), request("claude-x"), CALL)
    message = json.loads(reply.body)
    assert platform.requests[0][0] == "local/m1"
    assert message["model"] == "claude-x"
    assert message["content"][0]["text"] == "Hello"
    assert message["usage"]["output_tokens"] == 2


async def test_a_part_of_a_stream_holds_whole_events():
    """The first begins with ``message_start``, the last ends the message."""
    platform = ScriptedPlatform(chunks("Hel", "lo"))
    reply = await answer(impl(platform), request(stream=True), CALL)
    frames = [frame async for frame in reply.frames]
    assert frames[0].startswith(b"event: message_start\n")
    assert frames[-1].endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert all(frame.startswith(b"event: ") and frame.endswith(b"\n\n") for frame in frames)


async def test_a_failure_during_a_stream_is_an_error_event_with_the_request_id():
    """It is the last frame."""
    platform = ScriptedPlatform(chunks("Hel", error=RuntimeError("x")))
    reply = await answer(impl(platform), request(stream=True), CALL)
    frames = [frame async for frame in reply.frames]
    assert frames[-1].startswith(b"event: error\n")
    assert b'"request_id":"req_1"' in frames[-1]


async def test_closing_the_frames_closes_the_upstream_response():
    """So the backend stops generating when the client disconnects."""
    closed = []

    async def endless():
        try:
            async for chunk in chunks(*["x"] * 10_000):
                yield chunk
        finally:
            closed.append(True)

    reply = await answer(impl(ScriptedPlatform(endless())), request(stream=True), CALL)
    await anext(reply.frames)
    await reply.frames.aclose()
    assert closed == [True]


async def test_a_reply_that_is_never_read_closes_the_upstream_response():
    """The client may disconnect after the backend has accepted the request and before the first frame is sent."""
    closed = asyncio.Event()

    async def endless():
        try:
            async for chunk in chunks(*["x"] * 10_000):
                yield chunk
                await asyncio.sleep(0)
        finally:
            closed.set()

    reply = await answer(impl(ScriptedPlatform(endless())), request(stream=True), CALL)
    await reply.frames.aclose()
    del reply
    async with asyncio.timeout(60):
        await closed.wait()


async def test_a_stop_sequence_closes_the_upstream_response():
    """After the match nothing more is read, and the message ends with its stop reason."""
    read, closed = [], []

    async def endless():
        try:
            async for chunk in chunks(*map(str, range(10_000))):
                read.append(chunk)
                yield chunk
        finally:
            closed.append(len(read))

    body = request(stream=True, stop_sequences=["3"])
    reply = await answer(impl(ScriptedPlatform(endless())), body, CALL)
    frames = b"".join([frame async for frame in reply.frames])
    assert b'"stop_sequence":"3"' in frames
    assert b'"text":"2"' in frames
    assert b'"text":"4"' not in frames
    assert len(closed) == 1


async def test_a_non_streaming_request_with_stop_sequences_is_sent_as_a_stream():
    """A non-streaming backend would generate up to ``max_tokens``."""
    closed = []

    async def endless():
        try:
            async for chunk in chunks(*"123456789"):
                yield chunk
        finally:
            closed.append(True)

    platform = ScriptedPlatform(endless())
    reply = await answer(impl(platform), request(stop_sequences=["3"]), CALL)
    message = json.loads(reply.body)
    assert platform.requests[0][1]["stream"] is True
    assert message["content"] == [{"type": "text", "text": "12"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "3")
    assert closed == [True]


async def test_a_non_streaming_request_with_stop_sequences_may_end_without_a_match():
    reply = await answer(impl(ScriptedPlatform(chunks("a", "b"))), request(stop_sequences=["3"]), CALL)
    message = json.loads(reply.body)
    assert (message["content"][0]["text"], message["stop_reason"]) == ("ab", "end_turn")
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (3, 2)


@pytest.mark.parametrize(
    "broken", [chunks("a", error=AttributeError("x")), chunks("a", error=BadGatewayError("x")), nothing()]
)
async def test_a_non_streaming_request_with_stop_sequences_fails_with_a_status(broken):
    """A partial reply is not returned."""
    with pytest.raises(MessagesError) as caught:
        await answer(impl(ScriptedPlatform(broken)), request(stop_sequences=["3"]), CALL)
    assert caught.value.status_code >= 500


async def test_a_request_with_max_tokens_zero_is_not_sent_as_a_stream():
    platform = ScriptedPlatform(completion("Hello"))
    reply = await answer(impl(platform), request(stop_sequences=["3"], max_tokens=0), CALL)
    assert json.loads(reply.body)["content"] == []


async def test_dropped_parts_of_a_request_are_logged(monkeypatch):
    """Nothing is dropped silently."""
    lines = []

    class Log:
        def debug(self, *_args, **_values):
            pass

        def info(self, text, **values):
            lines.append((text, values))

    monkeypatch.setattr(translated, "logger", Log())
    await answer(impl(ScriptedPlatform(completion("Hello"))), request(brand_new=1), CALL)
    ((text, values),) = lines
    assert text == "dropped in translation"
    assert values["request_id"] == "req_1"
    assert "brand_new" in values["dropped"]


@pytest.mark.parametrize("model", ["local/m1", "local/vllm"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prefill_that_the_backend_repeats_is_removed_from_the_reply(model, stream):
    """Unless the backend continues prefills: its reply may begin with the same words."""
    texts = ["1, 2,", " 3"]
    response = chunks(*texts) if stream else completion("".join(texts))
    messages = [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "1, 2,"}]
    platform = ScriptedPlatform(response, kind="remote::vllm" if model == "local/vllm" else "remote::x")
    reply = await answer(impl(platform), request(model, messages=messages, stream=stream), CALL)
    body = b"".join([frame async for frame in reply.frames]) if stream else reply.body
    assert b'"text":" 3"' in body or model == "local/vllm"
    assert (b'"text":"1, 2,' in body) == (model == "local/vllm")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_upstream_is_raised_before_the_reply(stream):
    """So it becomes the HTTP status."""
    with pytest.raises(BadGatewayError):
        await answer(impl(ScriptedPlatform(error=AttributeError("x"))), request(stream=stream), CALL)


async def test_a_request_with_a_rejected_thinking_switch_is_retried_without_it():
    """Requested thinking never makes a request fail."""
    rejection = ValueError("chat_template_kwargs is not supported by this model")
    platform = ScriptedPlatform(completion("Hello"), rejection, always=False)
    reply = await answer(impl(platform), request(thinking={"type": "adaptive"}), CALL)
    assert json.loads(reply.body)["content"][0]["text"] == "Hello"
    assert ["chat_template_kwargs" in fields for _, fields in platform.requests] == [True, False]


async def test_other_rejected_requests_are_not_retried():
    """Only an error about a known setting leads to a retry."""
    platform = ScriptedPlatform(error=ValueError("messages are too odd"))
    with pytest.raises(InvalidRequestError, match="too odd"):
        await answer(impl(platform), request(thinking={"type": "adaptive"}), CALL)
    assert len(platform.requests) == 1


async def test_the_error_of_an_unknown_model_lists_twenty_served_models():
    """The error also says what the operator can do."""
    with pytest.raises(NotFoundError) as caught:
        await answer(impl(ScriptedPlatform()), request("unknown"), CALL)
    assert caught.value.message.startswith("model: unknown is not served here. Served: local/m0, local/m1, ")
    assert "local/m19, ..." in caught.value.message
    assert "m20" not in caught.value.message
    assert "default_model" in caught.value.message


async def test_the_error_of_an_alias_does_not_show_its_model():
    """The caller may not be allowed to know that the model exists."""
    with pytest.raises(NotFoundError) as caught:
        await answer(impl(ScriptedPlatform(), aliases={"a": "gone/x"}), request("a"), CALL)
    assert caught.value.message.startswith("model: a is not served here.")
    assert "gone/x" not in caught.value.message


async def test_an_embedding_model_is_rejected():

    class Embeddings(ScriptedPlatform):
        async def locate(self, model_id):
            raise ModelTypeError(model_id, "embedding", "llm")

    with pytest.raises(InvalidRequestError, match="model: local/e is not a language model"):
        await answer(impl(Embeddings()), request("local/e"), CALL)


async def test_the_default_model_is_used_for_an_unknown_name():
    platform = ScriptedPlatform(completion("Hello"))
    await answer(impl(platform, default_model="local/d"), request("unknown"), CALL)
    assert platform.requests[0][0] == "local/d"


@pytest.mark.parametrize("name", ["local/" + "x" * 1_000_000, "local/a\nERROR forged"])
async def test_a_name_that_is_too_long_or_not_printable_is_a_short_404(name):
    """Otherwise the log and the backend would get the name unchanged."""
    platform = ScriptedPlatform(completion("Hello"))
    with pytest.raises(NotFoundError) as caught:
        await answer(impl(platform, default_model="local/m1"), request(name), CALL)
    assert not platform.requests
    assert len(caught.value.message) < 2_000


async def test_a_ping_during_lane_selection_has_the_name_of_the_model():
    """An engine that loads a large model takes longer than the first ping; the lane is not known before."""
    started, pinged = asyncio.Event(), asyncio.Event()

    class Loading:
        async def messages_upstream(self, _resource_id):
            await started.wait()

    class LoadingPlatform(ScriptedPlatform):
        async def locate(self, model_id):
            return Target(model_id, "local", "inline::llama-cpp", "m1", provider=Loading())

    sent = []

    async def send(message):
        sent.append(message)
        if message.get("body") == PING:
            pinged.set()

    made = impl(LoadingPlatform(chunks("Hello")), default_model="local/m1")
    stream = EventStream(lambda: made.create_message(request("any", stream=True), CALL), CALL, 0.01, open_seconds=0.01)
    task = asyncio.create_task(stream({"type": "http"}, asyncio.Event().wait, send))
    async with asyncio.timeout(60):
        await pinged.wait()
        started.set()
        await task
    headers = dict(sent[0]["headers"])
    assert headers[b"x-messages-model"] == b"local/m1; reason=default"
    assert b"x-messages-lane" not in headers
    assert b"message_stop" in b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize("stream", [False, True])
async def test_every_error_after_the_name_is_resolved_has_the_name_of_the_model(stream):
    """Of the backend, and of the selection of the lane; a name without a model has none."""
    refusing = impl(ScriptedPlatform(error=BadGatewayError("x")), aliases={"a": "local/m1"}, allow_lane_header=True)
    for call, model, expected in (
        (CALL, "a", "local/m1; reason=alias"),
        (Call("req_1", {"x-messages-lane": "scenic"}), "local/m2", "local/m2; reason=exact"),
        (CALL, "unknown", None),
    ):
        with pytest.raises(MessagesError) as caught:
            await answer(refusing, request(model, stream=stream), call)
        assert caught.value.headers.get("x-messages-model") == expected
