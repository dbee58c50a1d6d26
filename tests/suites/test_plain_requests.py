"""Responses to plain requests: unary and streaming, with one turn and several."""

import json

import pytest

from llama_stack_provider_messages.translation.events import fold
from support.grammar import check_stream
from support.sdk import text_of

pytestmark = pytest.mark.integration


@pytest.mark.tape("hello")
def test_a_question_is_answered(client):
    """It has one text block, a stop reason and usage; the upstream gets one request, with its own model name."""
    message = client.send("Hello").body
    assert message["type"] == "message"
    assert message["role"] == "assistant"
    assert message["model"] == client.model
    assert [block["type"] for block in message["content"]] == ["text"]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0
    (sent,) = client.upstream_bodies
    assert f"up/{sent['model']}" == client.model
    assert sent["messages"] == [{"role": "user", "content": "Hello"}]
    assert not sent.get("stream")


@pytest.mark.tape("hello-stream")
def test_a_stream_obeys_the_grammar_and_adds_up_to_a_message(client):
    """It has the text of the unary response, because the temperature is 0."""
    unary = client.send("Hello").body
    events = client.stream("Hello").events
    check_stream(events)
    message = fold(events)
    assert message["content"] == unary["content"]
    assert message["usage"]["output_tokens"] == unary["usage"]["output_tokens"]
    assert message["stop_reason"] == "end_turn"
    assert sum(event["type"] == "content_block_delta" for event in events) > 1
    assert client.upstream_bodies[1]["stream"] is True


@pytest.mark.tape("system")
def test_a_system_prompt_reaches_the_upstream(client):
    """As a text and as blocks; it is before the conversation."""
    texts = [
        text_of(client.send("Hello", system=system).body)
        for system in ("You are terse.", [{"type": "text", "text": "You are terse."}])
    ]
    assert texts[0] == texts[1] != ""
    for sent in client.upstream_bodies:
        first = sent["system"] if client.native else sent["messages"][0]
        assert "You are terse." in str(first)
    assert client.native or client.upstream_bodies[0] == client.upstream_bodies[1]


@pytest.mark.tape("turns")
def test_a_conversation_may_have_several_turns(client):
    """The first response is sent back unchanged, between the user's messages."""
    first = client.send("Hello").body
    assistant = {"role": "assistant", "content": first["content"]}
    second = client.send("Hello", assistant, "Count to 10").body
    assert text_of(second)
    sent = client.upstream_bodies[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert text_of(first) in str(sent[1])
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]


@pytest.mark.tape("blocks")
def test_content_may_be_a_list_of_blocks(client):
    """Text blocks keep their order, and a cache breakpoint is accepted."""
    blocks = [
        {"type": "text", "text": "Count to 10."},
        {"type": "text", "text": "Then stop.", "cache_control": {"type": "ephemeral"}},
    ]
    answer = client.send({"role": "user", "content": blocks})
    assert answer.status == 200
    assert text_of(answer.body)
    (message,) = client.upstream_bodies[0]["messages"]
    assert str(message).index("Count to 10.") < str(message).index("Then stop.")


@pytest.mark.lacking("llama-cpp-messages", "llama.cpp's own endpoint ignores output_config")
@pytest.mark.tape("structured")
def test_structured_output_matches_the_schema(client):
    """The text is JSON that matches the schema."""
    properties = {"city": {"enum": ["Paris", "Rome"]}, "warm": {"type": "boolean"}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["city", "warm"],
        "additionalProperties": False,
    }
    output_config = {"format": {"type": "json_schema", "schema": schema}}
    message = client.send("Where is it warm?", output_config=output_config).body
    answer = json.loads(text_of(message))
    assert answer.keys() == properties.keys()
    assert answer["city"] in ("Paris", "Rome")
    assert isinstance(answer["warm"], bool)


@pytest.mark.tape("stop-sequence")
def test_a_stop_sequence_ends_the_response(client):
    """It is the ``stop_sequence`` and not in the text, with and without streaming."""
    fields = {"stop_sequences": ["7", "5"]}
    message = client.send("Count to 10", **fields).body
    events = client.stream("Count to 10", **fields).events
    check_stream(events)
    for received in (message, fold(events)):
        assert (received["stop_reason"], received["stop_sequence"]) == ("stop_sequence", "5")
        assert text_of(received).startswith("1")
        assert "5" not in text_of(received)


@pytest.mark.tape("max-tokens")
def test_max_tokens_ends_the_response(client):
    """The stop reason is ``max_tokens``, and the usage is within it, with and without streaming."""
    message = client.send("Count to 10", max_tokens=5).body
    events = client.stream("Count to 10", max_tokens=5).events
    check_stream(events)
    for received in (message, fold(events)):
        assert received["stop_reason"] == "max_tokens"
        assert 1 <= received["usage"]["output_tokens"] <= 5
        assert text_of(received)


@pytest.mark.tape("count-tokens")
def test_a_count_equals_the_usage(client, upstream):
    """If the upstream can count tokens; otherwise the count is marked as an estimate."""
    fields = {"system": "You are terse.", "path": "/v1/messages/count_tokens", "max_tokens": None, "temperature": None}
    counted = client.send("Hello", **fields)
    message = client.send("Hello", system="You are terse.", max_tokens=1).body
    assert counted.body.keys() == {"input_tokens"}
    if upstream.startswith("llama-cpp") or counted.headers.get("x-messages-token-count") == "exact":
        assert counted.body["input_tokens"] == message["usage"]["input_tokens"]
    assert counted.body["input_tokens"] > 0
