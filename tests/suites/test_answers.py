"""What a client gets for plain requests: whole and streamed, one turn and several."""

import pytest

from llama_stack_provider_messages.fold import fold
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
