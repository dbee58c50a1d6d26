"""Real upstreams of ``remote::messages``: llama.cpp's own Messages endpoint, and a second stack that translates."""

import asyncio
import json
from collections.abc import Iterator
from typing import Literal

import httpx
import openai
import pydantic
import pytest

from llama_stack_provider_messages.local.config import LlamaCppConfig
from llama_stack_provider_messages.local.impl import LlamaCppInference
from support.stack_process import StackProcess, remote_messages, run_config

pytestmark = pytest.mark.integration

JSON_LOGS = {"LLAMA_STACK_LOG_FORMAT": "json"}
STACK, ENGINE = "second/local/default", "engine/tiny"
TOO_LONG = "word " * 200_000
"""More tokens than either context has: 8,192 of the engine, 65,536 of the local distribution."""
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather for a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def user(text):
    return {"messages": [{"role": "user", "content": text}]}


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppInference]:
    pytest.importorskip("xllamacpp")
    made = LlamaCppInference(config=LlamaCppConfig(context_size=8192, start_timeout_seconds=60))
    asyncio.run(made.engine.address())
    yield made
    asyncio.run(made.shutdown())


@pytest.fixture(scope="module")
def front(engine, local_stack, tmp_path_factory) -> Iterator[StackProcess]:
    """A stack without models of its own."""
    declared = asyncio.run(engine.messages_upstream("any"))
    bearer = declared.headers["authorization"].removeprefix("Bearer ")
    once = {"connection": "close"}  # it closes connections without saying so, which the next request would meet
    inference = [
        remote_messages(local_stack.url, "second", api_key=None),
        remote_messages(engine.engine.running_address, "engine", auth="bearer", api_key=bearer, headers=once),
    ]
    with StackProcess(run_config(inference, {}), tmp_path_factory.mktemp("front"), JSON_LOGS) as process:
        yield process


@pytest.fixture
def client(front) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key="k", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(params=[STACK, ENGINE])
def model(request) -> str:
    return request.param


def test_the_models_of_the_upstreams_are_listed(client):
    """In the form of the Messages API, and in OpenAI's, which llama.cpp has; it names models by their files."""
    listed = {found.id for found in client.models.list()}
    assert "second/local/tiny" in listed
    assert [name for name in listed if name.startswith("engine/") and name.endswith("tiny.gguf")]


def test_create(client, model):
    """The response has the client's name of the model and usage."""
    answer = client.chat.completions.create(model=model, max_tokens=100, temperature=0, **user("Hello"))
    (choice,) = answer.choices
    assert choice.message.content.startswith(("Hello", "Hi"))
    assert (choice.finish_reason, answer.model, answer.object) == ("stop", model, "chat.completion")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 0


def test_stream(client, model):
    """The same response in chunks; usage comes last and only if requested."""
    asked = {"model": model, "max_tokens": 100, "temperature": 0, **user("Count to 10")}
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
        whole.choices[0].message.content
    )
    assert len(chunks) > 10
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], whole.usage.completion_tokens)
    assert not [chunk for chunk in chunks[:-1] if chunk.usage]
    silent = client.chat.completions.create(**asked, stream=True)
    assert not [chunk for chunk in silent if chunk.usage]


@pytest.mark.parametrize("stream", [False, True])
def test_a_round_trip_with_tools(client, model, stream):
    """Tool call, result, response; streamed, the SDK's own helper joins the call."""
    question = user("What is the weather in Paris?")["messages"]
    asked = {"model": model, "max_tokens": 200, "temperature": 0, "tools": [TOOL]}
    if stream:
        with client.chat.completions.stream(messages=question, **asked) as events:
            first = events.get_final_completion().choices[0]
    else:
        first = client.chat.completions.create(messages=question, **asked).choices[0]
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    history = [
        *question,
        first.message.model_dump(exclude_none=True, exclude={"parsed", "tool_calls"})
        | {"tool_calls": [plain_call(call)]},
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"},
    ]
    second = client.chat.completions.create(messages=history, **asked).choices[0]
    assert "21 degrees" in second.message.content
    assert second.finish_reason == "stop"


def plain_call(call):
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id, "type": "function", "function": function}


class City(pydantic.BaseModel):
    city: Literal["Paris", "Rome"]


def test_structured_output(client):
    """The SDK parses the response by its schema; llama.cpp's own endpoint knows no schemas."""
    asked = {"model": STACK, "max_tokens": 200, "temperature": 0, **user("What is the capital of France?")}
    answer = client.chat.completions.parse(response_format=City, **asked)
    assert isinstance(answer.choices[0].message.parsed, City)


@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(client, model, stream):
    """The reasoning is in the field ``reasoning_content``."""
    asked = {"model": model, "max_tokens": 2000, "temperature": 0, **user("Count to 10")}
    if stream:
        chunks = client.chat.completions.create(**asked, reasoning_effort="low", stream=True)
        deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
        reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    else:
        answer = client.chat.completions.create(**asked, reasoning_effort="low")
        reasoning = answer.choices[0].message.reasoning_content
    assert "count" in reasoning


def test_no_reasoning(client):
    """With effort ``none`` there is no reasoning; llama.cpp's own endpoint cannot switch it off."""
    asked = {"model": STACK, "max_tokens": 100, "temperature": 0, **user("Count to 10")}
    message = client.chat.completions.create(**asked, reasoning_effort="none").choices[0].message
    assert message.content
    assert not getattr(message, "reasoning_content", None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_does_not_fit(client, model, stream):
    """A prompt that does not fit is OpenAI's error ``context_length_exceeded``."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, max_tokens=5, stream=stream, **user(TOO_LONG))
    assert caught.value.code == "context_length_exceeded"


def test_a_request_that_cannot_be_translated(client, model):
    """The request is rejected with the JSON path, before anything is sent."""
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        client.chat.completions.create(model=model, logprobs=True, **user("Hello"))


def test_messages_requests_are_passed_on(front):
    """The native lane of this stack passes them on; the second stack translates."""
    body = {"model": STACK, "max_tokens": 20, **user("Hello"), "thinking": {"type": "disabled"}}
    reply = httpx.post(f"{front.url}/v1/messages", json=body, timeout=60)
    assert reply.headers["x-messages-lane"] == "native; reason=declared"
    assert reply.json()["content"][0]["text"].startswith(("Hello", "Hi"))


CALLED = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
COMPARED_REQUESTS = {
    "text": user("Hello"),
    "a system message": {"messages": [{"role": "system", "content": "Be brief."}, *user("Count to 10")["messages"]]},
    "turns": {
        "messages": [
            *user("Hello")["messages"],
            {"role": "assistant", "content": "Hello! How can I help you today?"},
            *user("Count to 10")["messages"],
        ]
    },
    "a limit": {**user("Count to 10"), "max_tokens": 3},
    "a call": {**user("What is the weather in Paris?"), "tools": [TOOL]},
    "two calls": {**user("What is the weather in Paris and in Rome?"), "tools": [TOOL]},
    "a forced call": {**user("What is the weather in Oslo?"), "tools": [TOOL], "tool_choice": "required"},
    "a result": {
        "messages": [
            *user("What is the weather in Paris?")["messages"],
            {"role": "assistant", "content": None, "tool_calls": [CALLED]},
            {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees"},
        ],
        "tools": [TOOL],
    },
    "a schema": {
        **user("What is the capital of France?"),
        "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}},
    },
    "reasoning": {**user("Hello"), "reasoning_effort": "low"},
}


def reply_content(answer):
    """Return the content of a response: text, reasoning, calls without ids and white space, finish reason, usage."""
    choice = answer.choices[0]
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]
    usage = answer.usage and {name: getattr(answer.usage, name) for name in USAGE}
    text, reasoning = choice.message.content or "", getattr(choice.message, "reasoning_content", None)
    return text, reasoning, calls, choice.finish_reason, usage


USAGE = ("prompt_tokens", "completion_tokens", "total_tokens")


@pytest.fixture
def engine_client(local_stack) -> Iterator[openai.OpenAI]:
    """The engine, without a Messages API in between."""
    with openai.OpenAI(base_url=f"{local_stack.url}/v1", api_key="k", max_retries=0, timeout=60) as made:
        yield made


@pytest.mark.parametrize("case", COMPARED_REQUESTS)
def test_a_response_equals_that_of_the_engine(client, engine_client, case):
    """After two translations, there and back, the response is the same as without, word by word."""
    asked = {"temperature": 0, "seed": 7, "max_tokens": 150, **COMPARED_REQUESTS[case]}
    expected = reply_content(engine_client.chat.completions.create(model="local/default", **asked))
    assert reply_content(client.chat.completions.create(model=STACK, **asked)) == expected


@pytest.mark.parametrize("case", COMPARED_REQUESTS)
def test_a_stream_equals_that_of_the_engine(client, engine_client, case):
    """After two translations, there and back, the joined chunks are the same as without, word by word."""
    asked = {"temperature": 0, "seed": 7, "max_tokens": 150, **COMPARED_REQUESTS[case]}
    expected = stream_content(engine_client, model="local/default", **asked)
    assert stream_content(client, model=STACK, **asked) == expected


def test_a_response_cut_at_a_stop_sequence_equals_that_of_the_engine(client, engine_client):
    """The second stack searches for it and stops the engine, whose token count is lost."""
    asked = {"temperature": 0, "seed": 7, "max_tokens": 150, "stop": ["5"], **user("Count to 10")}
    *expected, _usage = reply_content(engine_client.chat.completions.create(model="local/default", **asked))
    *seen, _usage = reply_content(client.chat.completions.create(model=STACK, **asked))
    assert seen == expected


def stream_content(sdk, **asked):
    """Return the content of a stream, as ``reply_content`` does."""
    said, thought, reason, usage, calls = "", "", None, None, {}
    for chunk in sdk.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            said += choice.delta.content or ""
            thought += getattr(choice.delta, "reasoning_content", None) or ""
            reason = choice.finish_reason or reason
            for part in choice.delta.tool_calls or []:
                name, arguments = calls.get(part.index, ("", ""))
                calls[part.index] = (name + (part.function.name or ""), arguments + (part.function.arguments or ""))
    made = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    return said, thought, made, reason, {name: getattr(usage, name) for name in USAGE}
