"""Malformed requests and malformed upstream responses: the client always gets a valid response or a valid error.

``FUZZ_EXAMPLES`` is the number of each; ``scripts/fuzz`` runs thousands.
"""

import asyncio
import json
import os
import re
from random import Random

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.models import ErrorBody, Message
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.grammar import check_stream
from support.mutation import broken_bytes, mutate
from support.stack_process import ROOT

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))
GOLDEN = sorted((ROOT / "tests" / "golden" / "messages_to_chat" / "request").glob("*.in.json"))
UNHANDLED = ("Internal server error", "Traceback")


def corpus():
    """Return small requests with every type of content block, and the shortest captured request."""
    bodies = [json.loads(path.read_text())["request"] for path in GOLDEN]
    captured = min((json.loads(path.read_text())["body"] for path in CAPTURES), key=lambda body: len(json.dumps(body)))
    return [{**body, "model": "up/text"} for body in (*bodies, {**captured, "tools": captured["tools"][:3]})]


def check_reply(reply, body=None):
    """Assert that a response is a message, a stream that follows the grammar, or an error in the envelope."""
    assert reply.headers["request-id"].startswith("req_")
    if reply.status_code != 200:
        error = ErrorBody.model_validate(reply.json())
        assert error.request_id == reply.headers["request-id"]
        assert not any(word in error.error.message for word in UNHANDLED), (error, body)
    elif reply.headers["content-type"].startswith("text/event-stream"):
        decoder = SSEDecoder()
        events = [json.loads(event.data) for event in [*decoder.feed(reply.content), *decoder.close()]]
        events = [event for event in events if event["type"] != "ping"]
        check_stream(events)
        if events[-1]["type"] == "error":
            assert not any(word in events[-1]["error"]["message"] for word in UNHANDLED), events[-1]
        else:
            Message.model_validate(fold(events))
    else:
        Message.model_validate(reply.json())


def check_log(stack):
    assert "Traceback" not in stack.log
    assert re.findall(r"req_\w+: unexpected .*", stack.log) == []


@given(number=st.integers(0, 10**6), which=st.integers(0, 10**6), times=st.integers(1, 4), raw=st.booleans())
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_malformed_request_is_accepted_or_rejected(stack, client, number, which, times, raw):
    """Mutated requests are never a 5xx."""
    bodies = corpus()
    random = Random(number)
    body = mutate(bodies[which % len(bodies)], random, times)
    if isinstance(body, dict) and random.randrange(8):
        body["model"] = "up/text"
    sent = json.dumps(body).encode()
    sent = broken_bytes(sent, random) if raw and times == 1 else sent
    reply = client.post("/v1/messages", content=sent, headers={"anthropic-version": "2023-06-01"})
    assert reply.status_code < 500, (reply.text, sent)
    check_reply(reply, sent)


def test_no_malformed_request_logs_a_traceback(stack):
    """The log has no unexpected failure after all requests above."""
    check_log(stack)


async def post_all(url, numbers, *, stream):
    gate = asyncio.Semaphore(8)
    fields = {"model": "up/mutated", "max_tokens": 50, "stream": stream}

    async def post(number):
        async with gate:
            body = fields | {"messages": [{"role": "user", "content": str(number)}]}
            return number, await client.post("/v1/messages", json=body)

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        return await asyncio.gather(*map(post, numbers))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "unary"])
def test_a_malformed_upstream_response_is_a_message_or_an_error(stack, stream):
    """Mutated chunks, broken bytes and dropped connections give a valid stream, a Message or a typed error."""
    for number, reply in asyncio.run(post_all(stack.url, range(EXAMPLES), stream=stream)):
        try:
            check_reply(reply)
        except Exception as error:
            raise AssertionError(f"number {number}: {reply.status_code} {reply.text[:3000]}") from error
    check_log(stack)
