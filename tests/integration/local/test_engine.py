"""The embedded engine, without a stack around it."""

import asyncio
import json
import os
import signal
import time
import urllib.request

import openai
import pytest
from llama_stack_api.inference import OpenAIChatCompletionRequestWithExtraBody, OpenAICompletionRequestWithExtraBody

from llama_stack_provider_messages.local.config import BUNDLED_MODEL, LlamaCppConfig
from llama_stack_provider_messages.local.engine import EngineError
from llama_stack_provider_messages.local.impl import LlamaCppInference

from .conftest import CONTEXT

pytestmark = pytest.mark.integration

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


READ = {
    "type": "function",
    "function": {
        "name": "read",
        "description": "Read a file",
        "parameters": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    },
}


def request(text="hi", **fields):
    fields = {"model": "tiny", "max_tokens": 60, "temperature": 0, **fields}
    return OpenAIChatCompletionRequestWithExtraBody(messages=[{"role": "user", "content": text}], **fields)


def thinking(enabled):
    return request(chat_template_kwargs={"enable_thinking": enabled})


def endless(**fields):
    return request(max_tokens=CONTEXT, ignore_eos=True, **fields)


def slots(provider):
    address = provider.engine.running_address
    call = urllib.request.Request(f"{address}/slots", headers={"authorization": f"Bearer {provider.client.api_key}"})
    with urllib.request.urlopen(call, timeout=10) as reply:
        return json.loads(reply.read())


async def until(provider, wanted, seconds=10.0, pause=0.01):
    deadline = time.monotonic() + seconds
    while any(slot["is_processing"] for slot in slots(provider)) != wanted:
        assert time.monotonic() < deadline, f"the engine's slots did not become {'busy' if wanted else 'idle'}"
        await asyncio.sleep(pause)


async def test_a_chat_completion_answers_with_usage(provider):
    reply = await provider.openai_chat_completion(request())
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens > 0


async def test_any_model_name_is_answered(provider):
    reply = await provider.openai_chat_completion(request(model="default"))
    assert reply.choices[0].message.content


async def test_a_stream_says_the_same_as_the_whole_answer(provider):
    whole = await provider.openai_chat_completion(request())
    stream = await provider.openai_chat_completion(request(stream=True, stream_options={"include_usage": True}))
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


async def test_a_text_completion_answers(provider):
    params = OpenAICompletionRequestWithExtraBody(model="tiny", prompt="Hello", max_tokens=5)
    reply = await provider.openai_completion(params)
    assert reply.choices[0].text


async def test_a_tool_is_called(provider):
    reply = await provider.openai_chat_completion(
        request("What is the weather in Paris?", tools=[WEATHER], max_tokens=200)
    )
    (call,) = reply.choices[0].message.tool_calls
    assert reply.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}


@pytest.mark.parametrize(("choice", "end"), [("auto", "stop"), ("required", "length")])
async def test_a_required_tool_only_keeps_the_answer_from_ending_without_it(provider, choice, end):
    """Llama.cpp 27217: text may still come first, without end. Translation notes that the choice may not hold."""
    reply = await provider.openai_chat_completion(request("Hello", tools=[WEATHER], tool_choice=choice))
    assert reply.choices[0].message.tool_calls is None
    assert reply.choices[0].finish_reason == end


@pytest.mark.parametrize(
    ("fields", "called"),
    [
        ({"tools": [WEATHER, READ], "tool_choice": {"type": "function", "function": {"name": "read"}}}, "get_weather"),
        ({"tools": [READ], "tool_choice": "required"}, "read"),
    ],
)
async def test_a_tool_is_required_alone_and_not_by_name(provider, fields, called):
    """Llama.cpp 26535: a choice by name is read as ``auto``. So translation sends the one function and ``required``."""
    reply = await provider.openai_chat_completion(request("What is the weather in Paris?", max_tokens=200, **fields))
    assert [call.function.name for call in reply.choices[0].message.tool_calls] == [called]


async def test_thinking_can_be_switched(provider):
    on = await provider.openai_chat_completion(thinking(enabled=True))
    off = await provider.openai_chat_completion(thinking(enabled=False))
    assert on.choices[0].message.reasoning_content
    assert getattr(off.choices[0].message, "reasoning_content", None) is None
    assert off.choices[0].message.content


async def test_a_prompt_too_long_is_refused_with_its_numbers(provider):
    with pytest.raises(openai.BadRequestError) as caught:
        await provider.openai_chat_completion(request("hi " * CONTEXT))
    body = caught.value.body
    assert body["type"] == "exceed_context_size_error"
    assert body["n_ctx"] == CONTEXT  # the whole context is one request's to use
    assert body["n_prompt_tokens"] > CONTEXT


async def test_sixty_four_requests_at_once_are_all_answered(provider):
    replies = await asyncio.gather(*(provider.openai_chat_completion(request(max_tokens=4)) for _ in range(64)))
    assert all(reply.choices for reply in replies)


async def test_closing_a_stream_stops_the_engine(provider):
    stream = await provider.openai_chat_completion(endless(stream=True))
    await anext(stream)
    assert any(slot["is_processing"] for slot in slots(provider))
    await stream.aclose()
    await until(provider, wanted=False, seconds=2)


async def test_dropping_a_stream_stops_the_engine(provider):
    """The platform's own routes do not close what they iterate."""
    stream = await provider.openai_chat_completion(endless(stream=True))
    await anext(stream)
    del stream
    await until(provider, wanted=False, seconds=2)


async def test_cancelling_an_answer_stops_the_engine(provider):
    """The engine looks after a second without any result, and asking for its slots is one: so ask rarely."""
    answer = asyncio.create_task(provider.openai_chat_completion(endless()))
    await until(provider, wanted=True)
    answer.cancel()
    await asyncio.wait([answer])
    await until(provider, wanted=False, seconds=4, pause=1.2)


async def test_requests_without_the_key_are_refused(provider):
    """Other users of the machine reach the port, too."""
    await provider.engine.address()
    with pytest.raises(openai.AuthenticationError):
        await provider.client.with_options(api_key="guess").completions.create(model="tiny", prompt="hi", max_tokens=1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_crash_is_an_error_for_those_it_meets_and_no_more(provider, stream):
    """Kill -9 under a request: that one fails with a 503, the next one is answered by a new engine."""
    await provider.engine.address()
    first = provider.engine.pid
    if stream:
        chunks = await provider.openai_chat_completion(endless(stream=True))
        await anext(chunks)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineError, match="signal 9") as caught:
            async for _ in chunks:
                pass
    else:
        answer = asyncio.create_task(provider.openai_chat_completion(endless()))
        await until(provider, wanted=True)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(EngineError, match="signal 9") as caught:
            await answer
    assert caught.value.status_code == 503
    assert (await provider.openai_chat_completion(request())).choices[0].message.content
    assert provider.engine.pid != first


async def test_a_truncated_model_is_an_error_that_says_so(tmp_path):
    truncated = tmp_path / "cut.gguf"
    truncated.write_bytes(BUNDLED_MODEL.read_bytes()[:1_000_000])
    provider = LlamaCppInference(config=LlamaCppConfig(model_path=str(truncated)))
    with pytest.raises(EngineError, match="not within the file bounds"):
        await provider.openai_chat_completion(request())
    await provider.shutdown()
