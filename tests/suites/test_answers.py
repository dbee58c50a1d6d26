"""What a client gets for plain requests: whole and streamed, one turn and several."""

import json

import pytest

from llama_stack_provider_messages.translation.events import fold
from support.grammar import check_stream
from support.sdk import text_of

pytestmark = pytest.mark.integration


@pytest.mark.tape("hello")
def test_a_question_is_answered(client):
    """One text block, a stop reason, usage; the upstream is asked once, under its own model name."""
    message = client.ask("Hello").body
    assert message["type"] == "message"
    assert message["role"] == "assistant"
    assert message["model"] == client.model
    assert [block["type"] for block in message["content"]] == ["text"]
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)
    assert message["usage"]["input_tokens"] > 0
    assert message["usage"]["output_tokens"] > 0
    (sent,) = client.sent
    assert f"up/{sent['model']}" == client.model
    assert sent["messages"] == [{"role": "user", "content": "Hello"}]
    assert not sent.get("stream")


@pytest.mark.tape("hello-stream")
def test_a_stream_obeys_the_grammar_and_adds_up_to_a_message(client):
    """The same words as in the whole answer, which temperature 0 makes comparable."""
    whole = client.ask("Hello").body
    events = client.stream("Hello").events
    check_stream(events)
    message = fold(events)
    assert message["content"] == whole["content"]
    assert message["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    assert message["stop_reason"] == "end_turn"
    assert sum(event["type"] == "content_block_delta" for event in events) > 1
    assert client.sent[1]["stream"] is True


@pytest.mark.tape("system")
def test_a_system_prompt_reaches_the_upstream(client):
    """As a text and as blocks; it stays in front of the conversation."""
    texts = [
        text_of(client.ask("Hello", system=system).body)
        for system in ("You are terse.", [{"type": "text", "text": "You are terse."}])
    ]
    assert texts[0] == texts[1] != ""
    for sent in client.sent:
        first = sent["system"] if client.native else sent["messages"][0]
        assert "You are terse." in str(first)
    assert client.native or client.sent[0] == client.sent[1]


@pytest.mark.tape("turns")
def test_a_conversation_goes_on(client):
    """The answer comes back as it was given, between what the user said."""
    first = client.ask("Hello").body
    said = {"role": "assistant", "content": first["content"]}
    second = client.ask("Hello", said, "Count to 10").body
    assert text_of(second)
    sent = client.sent[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert text_of(first) in str(sent[1])
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]


@pytest.mark.tape("blocks")
def test_content_may_be_a_list_of_blocks(client):
    """Blocks of text stay apart, in their order, unless the upstream wants one text; hints of caching cost nothing."""
    blocks = [
        {"type": "text", "text": "Count to 10."},
        {"type": "text", "text": "Then stop.", "cache_control": {"type": "ephemeral"}},
    ]
    answer = client.ask({"role": "user", "content": blocks})
    assert answer.status == 200
    assert text_of(answer.body)
    (message,) = client.sent[0]["messages"]
    assert str(message).index("Count to 10.") < str(message).index("Then stop.")


@pytest.mark.lacking("llama-cpp-messages", "llama.cpp's own endpoint ignores output_config")
@pytest.mark.tape("structured")
def test_an_answer_has_the_structure_that_was_asked_for(client):
    """The text is JSON of the schema, whatever the model would rather say."""
    properties = {"city": {"enum": ["Paris", "Rome"]}, "warm": {"type": "boolean"}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["city", "warm"],
        "additionalProperties": False,
    }
    wanted = {"format": {"type": "json_schema", "schema": schema}}
    message = client.ask("Where is it warm?", output_config=wanted).body
    said = json.loads(text_of(message))
    assert said.keys() == properties.keys()
    assert said["city"] in ("Paris", "Rome")
    assert isinstance(said["warm"], bool)


@pytest.mark.tape("stop-sequence")
def test_a_stop_sequence_ends_the_answer(client):
    """It is named and is not in the text; the same in a stream."""
    fields = {"stop_sequences": ["7", "5"]}
    message = client.ask("Count to 10", **fields).body
    events = client.stream("Count to 10", **fields).events
    check_stream(events)
    for seen in (message, fold(events)):
        assert (seen["stop_reason"], seen["stop_sequence"]) == ("stop_sequence", "5")
        assert text_of(seen).startswith("1")
        assert "5" not in text_of(seen)


@pytest.mark.tape("max-tokens")
def test_an_answer_ends_at_its_limit(client):
    """Says so, and has no more tokens than were allowed; the same in a stream."""
    message = client.ask("Count to 10", max_tokens=5).body
    events = client.stream("Count to 10", max_tokens=5).events
    check_stream(events)
    for seen in (message, fold(events)):
        assert seen["stop_reason"] == "max_tokens"
        assert 1 <= seen["usage"]["output_tokens"] <= 5
        assert text_of(seen)


@pytest.mark.tape("count-tokens")
def test_a_count_is_the_usage_of_the_answer(client, upstream):
    """Where the upstream has a tokenizer to ask; else it is an estimate, and says so."""
    fields = {"system": "You are terse.", "path": "/v1/messages/count_tokens", "max_tokens": None, "temperature": None}
    counted = client.ask("Hello", **fields)
    message = client.ask("Hello", system="You are terse.", max_tokens=1).body
    assert counted.body.keys() == {"input_tokens"}
    if upstream.startswith("llama-cpp") or counted.headers.get("x-messages-token-count") == "exact":
        assert counted.body["input_tokens"] == message["usage"]["input_tokens"]
    assert counted.body["input_tokens"] > 0
