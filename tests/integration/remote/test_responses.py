"""The platform's Responses API over ``remote::messages``."""

import json

import openai
import pytest

from support.native_upstream import frame, message, text_frames
from support.scripted_upstream import streamed
from support.stack_process import StackProcess, remote_messages, run_config

pytestmark = pytest.mark.integration

APIS = ("responses", "conversations", "vector_io", "tool_runtime", "tool_groups", "files", "prompts")
STORES = {
    "agent_state": {"backend": "kv_default", "namespace": "agents"},
    "responses": {"backend": "sql_default", "table_name": "responses"},
}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def config_of(upstream, folder):
    config = run_config([remote_messages(upstream.root("responses"), "up", models=[])], {})
    config["apis"] += APIS
    files = {"storage_dir": str(folder), "metadata_store": {"backend": "sql_default", "table_name": "files"}}
    config["providers"] |= {
        "responses": [
            {"provider_id": "builtin", "provider_type": "inline::builtin", "config": {"persistence": STORES}}
        ],
        "vector_io": [],
        "tool_runtime": [],
        "files": [{"provider_id": "local", "provider_type": "inline::localfs", "config": files}],
    }
    return config


@pytest.fixture(scope="module")
def client(messages_upstream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("responses")
    config = config_of(messages_upstream, folder)
    with (
        StackProcess(config, folder, {"LLAMA_STACK_LOG_FORMAT": "json"}) as process,
        openai.OpenAI(base_url=f"{process.url}/v1", api_key="k", max_retries=0) as made,
    ):
        yield made


def called(*parts):
    """Return the frames of a stream that calls a tool with this JSON."""
    started = {"type": "message_start", "message": message("m", "", stop_reason=None)}
    block = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    events = [
        started,
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return [frame(event) for event in events]


def turns(upstream, *answers):
    """Return a model that sends these responses in order."""
    left = list(answers)

    async def script(answer):
        await left.pop(0)(answer)

    return upstream.play(script)


@pytest.mark.parametrize("stream", [False, True])
def test_a_round_trip_with_a_tool(messages_upstream, client, stream):
    """The call reaches the client, its result the upstream as a ``tool_result``, and the response the client."""
    model = turns(
        messages_upstream, streamed(*called('{"ci', 'ty": "Rome"}')), streamed(*text_frames("m", "Sunny", " in Rome"))
    )
    asked = {"model": f"up/{model}", "tools": [WEATHER], "store": False, "stream": stream}
    question = {"role": "user", "content": "How is the weather in Rome?"}
    first = final(client.responses.create(input=[question], **asked))
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Rome"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    history = [question, call.model_dump(exclude_none=True), result]
    second = final(client.responses.create(input=history, **asked))
    assert second.output_text == "Sunny in Rome"
    one, two = (exchange.json for exchange in messages_upstream.of(model))
    assert one["tools"][0]["input_schema"]["required"] == ["city"]
    assert [turn["role"] for turn in two["messages"]] == ["user", "assistant", "user"]
    sent = two["messages"][1]["content"][0]
    assert (sent["type"], sent["name"], sent["input"]) == ("tool_use", "get_weather", {"city": "Rome"})
    answer = two["messages"][2]["content"][0]
    assert (answer["type"], answer["tool_use_id"]) == ("tool_result", sent["id"])


def final(answer):
    """Return the response, or that at the end of its stream."""
    if not isinstance(answer, openai.Stream):
        return answer
    with answer:  # read to its end: a stream that the garbage collector closes may wait for a lock of its own client
        (response,) = [event.response for event in answer if event.type == "response.completed"]
    return response


def thought():
    started = {"type": "message_start", "message": message("m", "", stop_reason=None)}
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    events = [
        started,
        {"type": "content_block_start", "index": 0, "content_block": thinking},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Let me see."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
        {"type": "content_block_stop", "index": 0},
    ]
    rest = [json.loads(part.split(b"data: ")[1]) for part in text_frames("m", "Yes")[1:]]
    moved = [event | ({"index": 1} if "index" in event else {}) for event in rest]
    return [frame(event) for event in [*events, *moved]]


def test_reasoning_is_an_item_of_its_own(messages_upstream, client):
    """A client that requests reasoning gets it as a separate item; the effort is sent to the upstream."""
    model = messages_upstream.play(streamed(*thought()))
    asked = {"model": f"up/{model}", "reasoning": {"effort": "low"}, "store": False}
    response = client.responses.create(input="Is it?", **asked)
    reasoning = [item for item in response.output if item.type == "reasoning"]
    assert [part.text for item in reasoning for part in item.content] == ["Let me see."]
    assert response.output_text == "Yes"
    assert messages_upstream.of(model)[0].json["thinking"]["type"] == "enabled"


def test_a_failure_of_the_upstream_is_one_of_the_response(messages_upstream, client):
    """An error event of the upstream becomes ``response.failed`` with its message."""
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Not today"}}
    model = messages_upstream.play(streamed(*text_frames("m", "Hel")[:3], frame(failed)))
    events = list(client.responses.create(model=f"up/{model}", input="Hi", stream=True, store=False))
    assert events[-1].type == "response.failed"
    assert "Not today" in events[-1].response.error.message
