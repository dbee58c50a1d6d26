"""Finding the model and handing over to the translated lane, over a scripted platform."""

import json

import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llama_stack_api_messages import Call, RequestBody
from llama_stack_api_messages.errors import BadGatewayError, InvalidRequestError, MessagesError, NotFoundError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.impl import MessagesImpl
from llama_stack_provider_messages.stack import ModelTypeError, Target
from llama_stack_provider_messages.translated import backend as translated
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
    """Serves ``local/*``; answers what the test says."""

    def __init__(self, answer=None, error=None, *, always=True, kind="remote::vllm"):
        self.always = always
        self.kind = kind
        self.answer = answer
        self.error = error
        self.asked = []

    def is_served(self, name):
        return name.startswith("local/")

    async def locate(self, model_id):
        return (
            Target(model_id, "local", self.kind, model_id.partition("/")[2]) if model_id.startswith("local/") else None
        )

    async def served_models(self):
        return [f"local/m{number}" for number in range(25)]

    async def chat(self, target, fields):
        self.asked.append((target.model_id, fields))
        if self.error and (self.always or "chat_template_kwargs" in fields):
            raise self.error
        return self.answer


def impl(platform, **config):
    return MessagesImpl(MessagesConfig(**config), platform)


def request(model="local/m1", **more):
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **more}
    return RequestBody.of(CreateMessageRequest.model_validate(body))


async def test_a_whole_answer_is_a_message_under_the_requested_name():
    """The platform is asked for the aliased model, the client sees the name it used."""
    platform = ScriptedPlatform(completion("Hello"))
    reply = await answer(impl(platform, aliases={"claude-*": "local/m1"}), request("claude-x"), CALL)
    message = json.loads(reply.body)
    assert platform.asked[0][0] == "local/m1"
    assert message["model"] == "claude-x"
    assert message["content"][0]["text"] == "Hello"
    assert message["usage"]["output_tokens"] == 2


async def test_a_stream_is_frames_of_the_protocol():
    """Each frame is one event, the last one ends the message."""
    platform = ScriptedPlatform(chunks("Hel", "lo"))
    reply = await answer(impl(platform), request(stream=True), CALL)
    frames = [frame async for frame in reply.frames]
    assert frames[0].startswith(b"event: message_start\n")
    assert frames[-1] == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    assert all(frame.endswith(b"\n\n") and frame.count(b"event: ") == 1 for frame in frames)


async def test_an_upstream_that_breaks_in_the_middle_is_an_error_frame_with_the_request_id():
    """The failure is the last frame."""
    platform = ScriptedPlatform(chunks("Hel", error=RuntimeError("x")))
    reply = await answer(impl(platform), request(stream=True), CALL)
    frames = [frame async for frame in reply.frames]
    assert frames[-1].startswith(b"event: error\n")
    assert b'"request_id":"req_1"' in frames[-1]


async def test_closing_the_frames_ends_the_upstream():
    """A client that leaves lets every layer below go."""
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


async def test_a_stop_sequence_ends_the_upstream():
    """Nothing more is read once it fired, and the message ends as one that was stopped."""
    read, closed = [], []

    async def endless():
        try:
            async for chunk in chunks(*map(str, range(10_000))):
                read.append(chunk)
                yield chunk
        finally:
            closed.append(len(read))

    asked = request(stream=True, stop_sequences=["3"])
    reply = await answer(impl(ScriptedPlatform(endless())), asked, CALL)
    frames = b"".join([frame async for frame in reply.frames])
    assert b'"stop_sequence":"3"' in frames
    assert b'"text":"2"' in frames
    assert b'"text":"4"' not in frames
    assert len(closed) == 1


async def test_a_stop_sequence_ends_the_upstream_of_a_whole_answer():
    """A backend that was to answer at once would go on to ``max_tokens``."""
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
    assert platform.asked[0][1]["stream"] is True
    assert message["content"] == [{"type": "text", "text": "12"}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "3")
    assert closed == [True]


async def test_a_whole_answer_with_stop_sequences_may_end_without_one():
    reply = await answer(impl(ScriptedPlatform(chunks("a", "b"))), request(stop_sequences=["3"]), CALL)
    message = json.loads(reply.body)
    assert (message["content"][0]["text"], message["stop_reason"]) == ("ab", "end_turn")
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (3, 2)


@pytest.mark.parametrize(
    "broken", [chunks("a", error=AttributeError("x")), chunks("a", error=BadGatewayError("x")), nothing()]
)
async def test_a_whole_answer_with_stop_sequences_fails_as_any_other(broken):
    """With a status; half an answer is none."""
    with pytest.raises(MessagesError) as caught:
        await answer(impl(ScriptedPlatform(broken)), request(stop_sequences=["3"]), CALL)
    assert caught.value.status_code >= 500


async def test_a_prewarmed_prompt_is_no_stream():
    platform = ScriptedPlatform(completion("Hello"))
    reply = await answer(impl(platform), request(stop_sequences=["3"], max_tokens=0), CALL)
    assert json.loads(reply.body)["content"] == []


async def test_what_the_backend_will_not_see_is_logged(monkeypatch):
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
async def test_a_repeated_prefill_is_not_part_of_the_answer(model, stream):
    """Unless the backend was told to continue: its answer may begin with the same words."""
    texts = ["1, 2,", " 3"]
    said = chunks(*texts) if stream else completion("".join(texts))
    messages = [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "1, 2,"}]
    platform = ScriptedPlatform(said, kind="remote::vllm" if model == "local/vllm" else "remote::x")
    reply = await answer(impl(platform), request(model, messages=messages, stream=stream), CALL)
    body = b"".join([frame async for frame in reply.frames]) if stream else reply.body
    assert b'"text":" 3"' in body or model == "local/vllm"
    assert (b'"text":"1, 2,' in body) == (model == "local/vllm")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_of_the_upstream_is_raised_before_the_reply(stream):
    """So that it can keep its status."""
    with pytest.raises(BadGatewayError):
        await answer(impl(ScriptedPlatform(error=AttributeError("x"))), request(stream=stream), CALL)


async def test_a_model_that_cannot_switch_thinking_answers_all_the_same():
    """A backend that refuses the switch is asked again without it: the wish to think never costs the answer."""
    refusal = ValueError("chat_template_kwargs is not supported by this model")
    platform = ScriptedPlatform(completion("Hello"), refusal, always=False)
    reply = await answer(impl(platform), request(thinking={"type": "adaptive"}), CALL)
    assert json.loads(reply.body)["content"][0]["text"] == "Hello"
    assert ["chat_template_kwargs" in fields for _, fields in platform.asked] == [True, False]


async def test_another_refusal_is_not_asked_again():
    """Only a refusal that is about thinking leads to a second try."""
    platform = ScriptedPlatform(error=ValueError("messages are too odd"))
    with pytest.raises(InvalidRequestError, match="too odd"):
        await answer(impl(platform), request(thinking={"type": "adaptive"}), CALL)
    assert len(platform.asked) == 1


async def test_an_unknown_name_lists_what_is_served_but_not_all_of_it():
    """Twenty names and the remedy."""
    with pytest.raises(NotFoundError) as caught:
        await answer(impl(ScriptedPlatform()), request("nobody"), CALL)
    assert caught.value.message.startswith("model: nobody is not served here. Served: local/m0, local/m1, ")
    assert "local/m19, ..." in caught.value.message
    assert "m20" not in caught.value.message
    assert "default_model" in caught.value.message


async def test_what_an_alias_stands_for_is_not_told():
    """The caller may not be allowed to know that the model exists."""
    with pytest.raises(NotFoundError) as caught:
        await answer(impl(ScriptedPlatform(), aliases={"a": "gone/x"}), request("a"), CALL)
    assert caught.value.message.startswith("model: a is not served here.")
    assert "gone/x" not in caught.value.message


async def test_a_model_of_another_kind_is_a_bad_request():
    """An embedding model cannot answer."""

    class Embeddings(ScriptedPlatform):
        async def locate(self, model_id):
            raise ModelTypeError(model_id, "embedding", "llm")

    with pytest.raises(InvalidRequestError, match="model: local/e is not a language model"):
        await answer(impl(Embeddings()), request("local/e"), CALL)


async def test_the_default_model_answers_any_name():
    """With a default no name is unknown."""
    platform = ScriptedPlatform(completion("Hello"))
    await answer(impl(platform, default_model="local/d"), request("nobody"), CALL)
    assert platform.asked[0][0] == "local/d"


@pytest.mark.parametrize("name", ["local/" + "x" * 1_000_000, "local/a\nERROR forged"])
async def test_what_no_model_is_called_is_a_short_404(name):
    """The name would go to the log and to the backend as it is."""
    platform = ScriptedPlatform(completion("Hello"))
    with pytest.raises(NotFoundError) as caught:
        await answer(impl(platform, default_model="local/m1"), request(name), CALL)
    assert not platform.asked
    assert len(caught.value.message) < 2_000
