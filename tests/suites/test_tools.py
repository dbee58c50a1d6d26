"""Tools: definitions sent to the upstream, tool calls in a response, and tool results."""

import json

import pytest

from llama_stack_provider_messages.translation.events import fold
from support.grammar import check_stream
from support.sdk import text_of

pytestmark = pytest.mark.integration

WEATHER = {
    "name": "get_weather",
    "description": "Get the current weather for a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
READ = {
    "name": "read_file",
    "description": "Read a file",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}
PARIS = "What is the weather in Paris?"
BOTH = "What is the weather in Paris and in Rome?"


def calls_of(message):
    """Return the tool calls of a message."""
    return [block for block in message["content"] if block["type"] == "tool_use"]


def turn_of(message):
    """Return a response as a message of the conversation."""
    return {"role": "assistant", "content": message["content"]}


def results_of(message, *texts):
    """Return the user message with the results of all calls."""
    pairs = zip(calls_of(message), texts, strict=True)
    content = [{"type": "tool_result", "tool_use_id": call["id"], "content": text} for call, text in pairs]
    return {"role": "user", "content": content}


@pytest.mark.tape("tools-unused")
def test_tools_may_be_unused(client):
    """The upstream gets all definitions in their order; the model responds with text."""
    message = client.send("Hello", tools=[WEATHER, READ]).body
    assert message["stop_reason"] == "end_turn"
    assert text_of(message)
    tools = client.upstream_bodies[0]["tools"]
    if client.native:
        assert tools == [WEATHER, READ]
        return
    assert [tool["function"]["name"] for tool in tools] == ["get_weather", "read_file"]
    assert [tool["function"]["parameters"] for tool in tools] == [WEATHER["input_schema"], READ["input_schema"]]
    assert [tool["function"]["description"] for tool in tools] == [WEATHER["description"], READ["description"]]


@pytest.mark.tape("tool-round-trip")
def test_a_tool_is_called_and_its_result_is_used(client):
    """The input is an object; the result follows its call in the second request and is in the final text."""
    first = client.send(PARIS, tools=[WEATHER]).body
    assert first["stop_reason"] == "tool_use"
    (call,) = calls_of(first)
    assert (call["name"], call["input"]) == ("get_weather", {"city": "Paris"})
    second = client.send(PARIS, turn_of(first), results_of(first, "21 degrees, sunny"), tools=[WEATHER]).body
    assert second["stop_reason"] == "end_turn"
    assert "21 degrees" in text_of(second)
    sent = client.upstream_bodies[1]["messages"]
    assert len(sent) == 3
    assert "get_weather" in json.dumps(sent[1])
    assert "21 degrees, sunny" in json.dumps(sent[2])


@pytest.mark.tape("tool-stream")
def test_a_call_is_streamed(client):
    """The JSON deltas of a call add up to the input of the unary response."""
    unary = client.send(PARIS, tools=[WEATHER]).body
    events = client.stream(PARIS, tools=[WEATHER]).events
    check_stream(events)
    message = fold(events)
    assert message["stop_reason"] == "tool_use"
    assert [call["input"] for call in calls_of(message)] == [call["input"] for call in calls_of(unary)]
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert next(block for block in starts if block["type"] == "tool_use")["input"] == {}


@pytest.mark.tape("tools-parallel")
def test_two_tools_are_called_in_one_response(client):
    """In two blocks with different ids; both results are sent in one message."""
    first = client.send(BOTH, tools=[WEATHER]).body
    calls = calls_of(first)
    assert [call["input"]["city"] for call in calls] == ["Paris", "Rome"]
    assert len({call["id"] for call in calls}) == 2
    results = results_of(first, "21 degrees, sunny", "25 degrees, cloudy")
    second = client.send(BOTH, turn_of(first), results, tools=[WEATHER])
    assert second.status == 200
    sent = json.dumps(client.upstream_bodies[1]["messages"])
    assert sent.index("21 degrees, sunny") < sent.index("25 degrees, cloudy")


@pytest.mark.tape("tools-parallel-stream")
def test_two_calls_are_streamed_in_sequence(client):
    """Each in its own block; the second begins after the first has ended."""
    events = client.stream(BOTH, tools=[WEATHER]).events
    check_stream(events)
    assert [call["input"] for call in calls_of(fold(events))] == [{"city": "Paris"}, {"city": "Rome"}]


@pytest.mark.tape("tool-forced")
def test_a_tool_can_be_required(client):
    """The upstream gets the choice in the format of its API."""
    message = client.send(PARIS, tools=[WEATHER], tool_choice={"type": "any"}).body
    assert [call["name"] for call in calls_of(message)] == ["get_weather"]
    (sent,) = client.upstream_bodies
    assert sent["tool_choice"] == ({"type": "any"} if client.native else "required")
