"""A running stack responds to captured requests of Claude Code."""

import json

import httpx
import pytest

from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.grammar import check_stream
from support.stack_process import ROOT

pytestmark = pytest.mark.integration

CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))


def replay(url, capture, model):
    """Send a captured request with another model; return the events of the response."""
    own = ("host", "content-length")
    headers = {name: value for name, value in capture["headers"].items() if name.lower() not in own}
    body = {**capture["body"], "model": model}
    reply = httpx.post(f"{url}/v1/messages?beta=true", json=body, headers=headers, timeout=120)
    assert reply.status_code == 200, reply.text
    decoder = SSEDecoder()
    return [json.loads(event.data) for event in [*decoder.feed(reply.content), *decoder.close()]]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_captured_request_gets_a_complete_stream(stack, upstream, path):
    """With all headers, betas, system messages, deferred tools, and images and documents in tool results."""
    capture = json.loads(path.read_text())
    events = [event for event in replay(stack.url, capture, "up/text") if event["type"] != "ping"]
    check_stream(events)
    assert events[-1]["type"] == "message_stop"
    sent = upstream.last("text").json
    assert "x-anthropic-billing-header" not in json.dumps(sent)
    assert sent["messages"][0]["role"] == "system"
    assert "cache_control" not in json.dumps(sent["messages"])
