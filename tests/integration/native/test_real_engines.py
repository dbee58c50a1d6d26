"""The native lane to real servers: a second stack, and llama.cpp's own Messages endpoint."""

import json
import re

import anthropic
import httpx
import pytest

from llama_stack_provider_messages.translation.events import StreamGrammarError, fold
from support.grammar import check_stream
from support.sdk import VERSIONS, session, text_of
from support.stack_process import StackProcess, run_config, vllm

pytestmark = pytest.mark.integration

JSON_LOGS = {"LLAMA_STACK_LOG_FORMAT": "json"}
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
ASK = {"max_tokens": 100, **HELLO, "thinking": {"type": "disabled"}}


@pytest.fixture(scope="module")
def front(local_stack, tmp_path_factory):
    """A stack whose backend is a second stack with the engine."""
    config = run_config([vllm(f"{local_stack.url}/v1", "next")], {"default_model": "next/local/default"})
    with StackProcess(config, tmp_path_factory.mktemp("front"), JSON_LOGS) as process:
        yield process


@pytest.fixture(scope="module", params=VERSIONS)
def report(request, front, stack):
    """The results of a session of one SDK version through both stacks."""
    return session(request.param, front.url, stack.url)


def test_a_probe_finds_the_messages_api_of_a_second_stack(front):
    """No configuration is needed."""
    reply = httpx.post(f"{front.url}/v1/messages", json={"model": "any-name", **ASK}, timeout=60)
    assert reply.headers["x-messages-lane"] == "native; reason=probed"
    assert reply.json()["model"] == "any-name"


def test_the_official_sdk_works_through_both_stacks(report):
    """Unary, streaming, with tools, with thinking; errors of the second stack are passed on."""
    assert text_of(report["create"]).startswith(("Hello", "Hi"))
    assert report["create"]["model"] == "claude-sonnet-4-5"
    assert report["kinds"][-1] == "message_stop"
    assert text_of(report["streamed"]) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10."
    assert report["streamed"]["model"] == "any-name"
    assert "21 degrees" in text_of(report["tool_second"])
    assert [block["type"] for block in report["thinking"]["content"]] == ["thinking", "text"]
    assert report["bad_body"]["status"] == 400
    assert report["bad_body"]["request_id"] == report["bad_body"]["body"]["request_id"]


def test_counts_of_a_second_stack_are_exact(front):
    """The counts are those of the second stack's engine."""
    body = {"model": "any", "messages": ASK["messages"]}
    counted = httpx.post(f"{front.url}/v1/messages/count_tokens", json=body, timeout=60)
    assert counted.headers["x-messages-token-count"] == "exact"
    usage = httpx.post(f"{front.url}/v1/messages", json={**body, "max_tokens": 1}, timeout=60).json()["usage"]
    assert counted.json()["input_tokens"] == usage["input_tokens"] + usage["cache_read_input_tokens"]


CONTEXT_TOKENS = 8192


def engine(provider_id):
    module = "llama_stack_provider_messages.local"
    config = {"context_size": CONTEXT_TOKENS}
    return {"provider_id": provider_id, "provider_type": "inline::llama-cpp", "module": module, "config": config}


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A stack over llama.cpp's own endpoint: unchanged, repaired, and not used by default."""
    native = {"raw": "on", "repaired": {"mode": "on", "repair": True}}
    config = run_config([engine(name) for name in ("raw", "repaired", "default")], {"native": native})
    with StackProcess(config, tmp_path_factory.mktemp("engines"), JSON_LOGS) as process:
        yield process


@pytest.mark.parametrize(("provider", "lane"), [("raw", "native"), ("repaired", "native"), ("default", "translated")])
def test_the_engines_own_endpoint_is_used_only_if_configured(engines, provider, lane):
    """By default it is not, because it deviates from the API; its response has the client's model name."""
    body = {"model": f"{provider}/default", **ASK}
    reply = httpx.post(f"{engines.url}/v1/messages", json=body, timeout=60)
    assert reply.headers["x-messages-lane"].startswith(lane)
    assert reply.json()["model"] == body["model"]
    assert text_of(reply.json())


TOOL = {
    "name": "get_weather",
    "description": "Get the current weather for a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
REQUESTS = {
    "thinking and text": {},
    "one call": {"messages": [{"role": "user", "content": "What is the weather in Paris?"}], "tools": [TOOL]},
    "two calls": {
        "messages": [{"role": "user", "content": "What is the weather in Paris and in Rome?"}],
        "tools": [TOOL],
    },
    "a stop sequence": {"messages": [{"role": "user", "content": "Count to 10"}], "stop_sequences": ["5"]},
    "a limit": {"messages": [{"role": "user", "content": "Count to 10"}], "max_tokens": 3},
}
REASONS = {
    "thinking and text": "end_turn",
    "one call": "tool_use",
    "two calls": "tool_use",
    "a stop sequence": "stop_sequence",
    "a limit": "max_tokens",
}


def events_of(url, body):
    """Return the events of a stream."""
    lines = httpx.post(f"{url}/v1/messages", json={**body, "stream": True}, timeout=60).text.split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def without_random_parts(message):
    """Return a message without ids and without the share of the cache in the prompt tokens, which differ per run."""
    usage = message["usage"]
    prompt = usage["input_tokens"] + usage["cache_read_input_tokens"]
    content = [{name: value for name, value in block.items() if name != "id"} for block in message["content"]]
    kept = {name: value for name, value in message.items() if name not in ("id", "content", "usage")}
    return {**kept, "content": content, "tokens": (prompt, usage["output_tokens"])}


@pytest.mark.parametrize("case", REQUESTS)
def test_a_repaired_stream_obeys_the_grammar_and_adds_up_to_the_repaired_message(engines, case):
    """Sequential blocks, ids and stop reasons of the API, complete usage; the official SDK reads the same blocks."""
    body = {"model": "repaired/default", "temperature": 0, "max_tokens": 150, **HELLO, **REQUESTS[case]}
    events = events_of(engines.url, body)
    check_stream(events)
    unary = httpx.post(f"{engines.url}/v1/messages", json=body, timeout=60).json()
    assert unary["id"].startswith("msg_")
    assert unary["stop_reason"] == REASONS[case]
    assert without_random_parts(fold(events)) == without_random_parts(unary)
    body["extra_body"] = {"temperature": body.pop("temperature")}
    with (
        anthropic.Anthropic(base_url=engines.url, api_key="k", max_retries=0) as client,
        client.messages.stream(**body) as stream,
    ):
        accumulated = stream.get_final_message().to_dict()
    assert [block["type"] for block in accumulated["content"]] == [block["type"] for block in unary["content"]]


def test_without_repair_the_engines_stream_does_not_obey_the_grammar(engines):
    """Otherwise the setting would not be needed."""
    events = events_of(engines.url, {"model": "raw/default", "max_tokens": 150, **HELLO, **REQUESTS["one call"]})
    with pytest.raises(StreamGrammarError):
        fold(events)


@pytest.mark.parametrize("provider", ["raw", "repaired"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_engine_is_put_into_the_envelope(engines, provider, stream):
    """A prompt that does not fit has the error message of the API."""
    messages = [{"role": "user", "content": "word " * (CONTEXT_TOKENS + 1)}]
    body = {"model": f"{provider}/default", "max_tokens": 5, "messages": messages, "stream": stream}
    reply = httpx.post(f"{engines.url}/v1/messages", json=body, timeout=60)
    assert reply.status_code == 400
    assert reply.json()["type"] == "error"
    message = reply.json()["error"]["message"]
    assert re.fullmatch(rf"prompt is too long: \d+ tokens > {CONTEXT_TOKENS} maximum", message)


@pytest.mark.parametrize("provider", ["raw", "repaired"])
def test_the_official_sdk_works_with_the_engines_own_endpoint(engines, provider):
    """The SDK reads streaming and non-streaming responses."""
    with anthropic.Anthropic(base_url=engines.url, api_key="k", max_retries=0) as client:
        request = {"model": f"{provider}/default", **ASK}
        assert text_of(client.messages.create(**request).to_dict())
        with client.messages.stream(**request) as stream:
            assert text_of(stream.get_final_message().to_dict())
