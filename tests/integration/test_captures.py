"""What Claude Code sends is answered by a running stack."""

import json

import httpx
import pytest

from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.grammar import check_stream
from support.stack_process import ROOT

pytestmark = pytest.mark.integration

CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))


def replay(url, capture, model):
    """Send a captured request as it was sent, to another model; return its events."""
    own = ("host", "content-length")
    headers = {name: value for name, value in capture["headers"].items() if name.lower() not in own}
    body = {**capture["body"], "model": model}
    reply = httpx.post(f"{url}/v1/messages?beta=true", json=body, headers=headers, timeout=120)
    assert reply.status_code == 200, reply.text
    decoder = SSEDecoder()
    return [json.loads(event.data) for event in [*decoder.feed(reply.content), *decoder.close()]]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_turn_of_claude_code_is_answered(stack, upstream, path):
    """Headers, betas, system messages, deferred tools, images and documents in results: all of it gets an answer."""
    capture = json.loads(path.read_text())
    events = [event for event in replay(stack.url, capture, "up/text") if event["type"] != "ping"]
    check_stream(events)
    assert events[-1]["type"] == "message_stop"
    sent = upstream.last("text").json
    assert "x-anthropic-billing-header" not in json.dumps(sent)
    assert sent["messages"][0]["role"] == "system"
    assert "cache_control" not in json.dumps(sent["messages"])
