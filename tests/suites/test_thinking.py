"""Thinking: its blocks in a response, and in the next request."""

import pytest

from llama_stack_provider_messages.translation.events import fold
from support.grammar import check_stream
from support.sdk import text_of

pytestmark = pytest.mark.integration

THINK = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 2000, "chat_template_kwargs": None}


def thinking_of(message):
    """Return the thinking of a message."""
    return "".join(block["thinking"] for block in message["content"] if block["type"] == "thinking")


@pytest.mark.tape("thinking")
def test_thinking_is_a_block_before_the_text(client):
    """With text and a signature."""
    message = client.send("Hello", **THINK).body
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert thinking_of(message).strip()
    assert "signature" in message["content"][0]
    assert text_of(message).strip()


@pytest.mark.tape("thinking-stream")
def test_thinking_is_streamed(client):
    """In its own block, which ends with the signature before the text begins."""
    events = client.stream("Hello", **THINK).events
    check_stream(events)
    message = fold(events)
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    kinds = [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"]
    assert kinds.count("signature_delta") == 1
    assert kinds.index("signature_delta") > kinds.index("thinking_delta")
    assert kinds.index("signature_delta") < kinds.index("text_delta")


@pytest.mark.tape("thinking-turns")
def test_thinking_is_accepted_in_the_next_request(client):
    """The client sends the block back, and the upstream gets both turns."""
    first = client.send("Hello", **THINK).body
    assistant = {"role": "assistant", "content": first["content"]}
    second = client.send("Hello", assistant, "Count to 10", **THINK)
    assert second.status == 200
    assert text_of(second.body).strip()
    sent = client.upstream_bodies[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]
    assert text_of(first) in str(sent[1])


@pytest.mark.tape("thinking-off")
def test_a_response_without_thinking_has_only_text(client):
    """The text has no thinking, either."""
    message = client.send("Hello").body
    assert [block["type"] for block in message["content"]] == ["text"]
    assert "<think>" not in text_of(message)
