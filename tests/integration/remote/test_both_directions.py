"""Messages requests to a provider whose native lane is off: translated to chat completions and back."""

import json

import pytest

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.native_upstream import frame, message, post, request_body
from support.scripted_upstream import responds, streamed

pytestmark = pytest.mark.integration

THOUGHT = {"type": "thinking", "thinking": "Let me think", "signature": "c2lnbmVk"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
THINKING = {"type": "enabled", "budget_tokens": 1024}


def events():
    """Return a stream that thinks and calls a tool."""
    start, stop = ({"type": kind, "index": 0} for kind in ("content_block_start", "content_block_stop"))
    delta = {"type": "content_block_delta", "index": 0}
    return [
        {"type": "message_start", "message": message("m", "")},
        {**start, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {**delta, "delta": {"type": "thinking_delta", "thinking": THOUGHT["thinking"]}},
        {**delta, "delta": {"type": "signature_delta", "signature": THOUGHT["signature"]}},
        stop,
        {**start, "index": 1, "content_block": {**CALL, "input": {}}},
        {**delta, "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
        {**stop, "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_and_its_signature_survive_both_directions(front, stream):
    """The client returns what the upstream signed; settings and cache breakpoints are kept, too."""
    answer = message("m", "", content=[THOUGHT, CALL], stop_reason="tool_use")
    script = streamed(*map(frame, events())) if stream else responds(json.dumps(answer).encode())
    model = front.upstream.play(script)
    fields = {"max_tokens": 4000, "thinking": THINKING, "top_k": 7, "tools": [TOOL], "stream": stream}
    question = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
    asked = {"role": "user", "content": [question]}
    reply = await post(front.url, request_body(f"off/{model}", messages=[asked], **fields))
    assert reply.headers["x-messages-lane"] == "translated; reason=configured"
    said = folded(reply) if stream else reply.json["content"]
    assert [block["type"] for block in said] == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": said[1]["id"], "content": "1"}
    turns = [asked, {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    await post(front.url, request_body(f"off/{model}", messages=turns, **fields))
    first, second = (exchange.json for exchange in front.upstream.of(model))
    assert (first["thinking"], first["top_k"], first["max_tokens"]) == (THINKING, 7, 4000)
    assert first["messages"][0]["content"] == [question]
    assert second["messages"][1]["content"] == [THOUGHT, CALL]


def folded(reply):
    """Return the content that a stream adds up to."""
    return fold(json.loads(event.data) for event in SSEDecoder().feed(reply.body))["content"]
