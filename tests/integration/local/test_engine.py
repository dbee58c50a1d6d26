"""The embedded engine, without a stack."""

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

from .conftest import CONTEXT_TOKENS

pytestmark = pytest.mark.integration

HANG_SECONDS = 60

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
    return request(max_tokens=CONTEXT_TOKENS, ignore_eos=True, **fields)


def slots(provider):
    address = provider.engine.running_address
    call = urllib.request.Request(f"{address}/slots", headers={"authorization": f"Bearer {provider.client.api_key}"})
    with urllib.request.urlopen(call, timeout=60) as reply:
        return json.loads(reply.read())


def busy_slots(provider):
    return [slot["id"] for slot in slots(provider) if slot["is_processing"]]


async def wait_until(condition, what, pause_seconds=0.01):
    deadline = time.monotonic() + HANG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(pause_seconds)


async def assert_stops_early(provider, slot_id, pause_seconds=0.01):
    """Wait until a slot is idle; assert that it stopped before its context was full, where it stops by itself."""
    await wait_until(lambda: slot_id not in busy_slots(provider), "the engine's slot is still busy", pause_seconds)
    (tokens,) = [slot["n_prompt_tokens"] for slot in slots(provider) if slot["id"] == slot_id]
    assert tokens < CONTEXT_TOKENS - 100


async def test_a_chat_completion_has_usage(provider):
    reply = await provider.openai_chat_completion(request())
    assert reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens > 0


async def test_any_model_name_is_accepted(provider):
    reply = await provider.openai_chat_completion(request(model="default"))
    assert reply.choices[0].message.content


async def test_a_stream_has_the_text_of_the_unary_response(provider):
    unary = await provider.openai_chat_completion(request())
    stream = await provider.openai_chat_completion(request(stream=True, stream_options={"include_usage": True}))
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == unary.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == unary.usage.completion_tokens


async def test_a_text_completion_has_text(provider):
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
async def test_a_required_tool_does_not_prevent_text(provider, choice, end):
    """Llama.cpp 27217: it only prevents the end of the text. Translation reports that the choice may be ignored."""
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
async def test_only_a_tool_without_others_can_be_required(provider, fields, called):
    """Llama.cpp 26535: a choice by name means ``auto``, so translation sends that one tool and ``required``."""
    reply = await provider.openai_chat_completion(request("What is the weather in Paris?", max_tokens=200, **fields))
    assert [call.function.name for call in reply.choices[0].message.tool_calls] == [called]


async def test_thinking_can_be_enabled_and_disabled(provider):
    on = await provider.openai_chat_completion(thinking(enabled=True))
    off = await provider.openai_chat_completion(thinking(enabled=False))
    assert on.choices[0].message.reasoning_content
    assert getattr(off.choices[0].message, "reasoning_content", None) is None
    assert off.choices[0].message.content


async def test_a_prompt_that_is_too_long_is_an_error_with_both_token_counts(provider):
    with pytest.raises(openai.BadRequestError) as caught:
        await provider.openai_chat_completion(request("hi " * CONTEXT_TOKENS))
    body = caught.value.body
    assert body["type"] == "exceed_context_size_error"
    assert body["n_ctx"] == CONTEXT_TOKENS  # one request can use the whole context
    assert body["n_prompt_tokens"] > CONTEXT_TOKENS


async def test_sixty_four_concurrent_requests_get_responses(provider):
    replies = await asyncio.gather(*(provider.openai_chat_completion(request(max_tokens=4)) for _ in range(64)))
    assert all(reply.choices for reply in replies)


async def test_closing_a_stream_stops_the_engine(provider):
    stream = await provider.openai_chat_completion(endless(stream=True))
    await anext(stream)
    (slot_id,) = busy_slots(provider)
    await stream.aclose()
    await assert_stops_early(provider, slot_id)


async def test_deleting_a_stream_stops_the_engine(provider):
    """The platform's own routes do not close their streams."""
    stream = await provider.openai_chat_completion(endless(stream=True))
    await anext(stream)
    (slot_id,) = busy_slots(provider)
    del stream
    await assert_stops_early(provider, slot_id)


async def test_cancelling_a_request_stops_the_engine(provider):
    """The engine checks for a disconnect after a second without a result; slot queries are results, so pause longer."""
    task = asyncio.create_task(provider.openai_chat_completion(endless()))
    await wait_until(lambda: busy_slots(provider), "no slot of the engine is busy")
    (slot_id,) = busy_slots(provider)
    task.cancel()
    await asyncio.wait([task])
    await assert_stops_early(provider, slot_id, pause_seconds=1.2)


async def test_requests_without_the_key_are_rejected(provider):
    """Other users of the machine can connect to the port."""
    await provider.engine.address()
    with pytest.raises(openai.AuthenticationError):
        await provider.client.with_options(api_key="guess").completions.create(model="tiny", prompt="hi", max_tokens=1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_crash_fails_only_the_running_request(provider, stream):
    """It fails with a 503 after SIGKILL, and a new engine handles the next request."""
    await provider.engine.address()
    pid = provider.engine.pid
    if stream:
        chunks = await provider.openai_chat_completion(endless(stream=True))
        await anext(chunks)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="signal 9") as caught:
            async for _ in chunks:
                pass
    else:
        task = asyncio.create_task(provider.openai_chat_completion(endless()))
        await wait_until(lambda: busy_slots(provider), "no slot of the engine is busy")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineError, match="signal 9") as caught:
            await task
    assert caught.value.status_code == 503
    assert (await provider.openai_chat_completion(request())).choices[0].message.content
    assert provider.engine.pid != pid


async def test_a_truncated_model_file_is_an_error_with_the_cause(tmp_path):
    truncated = tmp_path / "cut.gguf"
    truncated.write_bytes(BUNDLED_MODEL.read_bytes()[:1_000_000])
    provider = LlamaCppInference(config=LlamaCppConfig(model_path=str(truncated)))
    with pytest.raises(EngineError, match="not within the file bounds"):
        await provider.openai_chat_completion(request())
    await provider.shutdown()
