"""Wrong requests, and upstreams that answer wrong: the client always gets what the protocol knows.

``FUZZ_EXAMPLES`` says how many of each; ``scripts/fuzz`` runs thousands.
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
UNFORESEEN = ("Internal server error", "Traceback")


def corpus():
    """Return small requests with every kind of block, and the shortest of real ones."""
    bodies = [json.loads(path.read_text())["request"] for path in GOLDEN]
    real = min((json.loads(path.read_text())["body"] for path in CAPTURES), key=lambda body: len(json.dumps(body)))
    return [{**body, "model": "up/text"} for body in (*bodies, {**real, "tools": real["tools"][:3]})]


def check_reply(reply, body=None):
    """Assert that a reply is a message, a stream that obeys the grammar, or an error in the envelope."""
    assert reply.headers["request-id"].startswith("req_")
    if reply.status_code != 200:
        error = ErrorBody.model_validate(reply.json())
        assert error.request_id == reply.headers["request-id"]
        assert not any(word in error.error.message for word in UNFORESEEN), (error, body)
    elif reply.headers["content-type"].startswith("text/event-stream"):
        decoder = SSEDecoder()
        events = [json.loads(event.data) for event in [*decoder.feed(reply.content), *decoder.close()]]
        events = [event for event in events if event["type"] != "ping"]
        check_stream(events)
        if events[-1]["type"] == "error":
            assert not any(word in events[-1]["error"]["message"] for word in UNFORESEEN), events[-1]
        else:
            Message.model_validate(fold(events))
    else:
        Message.model_validate(reply.json())


def check_log(stack):
    assert "Traceback" not in stack.log
    assert re.findall(r"req_\w+: unexpected .*", stack.log) == []


@given(number=st.integers(0, 10**6), which=st.integers(0, 10**6), times=st.integers(1, 4), raw=st.booleans())
@settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
def test_a_wrong_request_gets_an_answer_or_a_400(stack, client, number, which, times, raw):
    """Mutated requests are answered or refused with a 4xx, never with a 5xx."""
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


def test_no_wrong_request_left_a_traceback(stack):
    """Whatever was sent before, the log has no failure that nobody foresaw."""
    check_log(stack)


async def ask_many(url, numbers, *, stream):
    gate = asyncio.Semaphore(8)
    asked = {"model": "up/mutated", "max_tokens": 50, "stream": stream}

    async def ask(number):
        async with gate:
            body = asked | {"messages": [{"role": "user", "content": str(number)}]}
            return number, await client.post("/v1/messages", json=body)

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        return await asyncio.gather(*map(ask, numbers))


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_wrong_upstream_gives_a_message_or_an_error(stack, stream):
    """Mutated chunks, broken bytes and cut connections end in a legal stream, a Message or a typed error."""
    for number, reply in asyncio.run(ask_many(stack.url, range(EXAMPLES), stream=stream)):
        try:
            check_reply(reply)
        except Exception as error:
            raise AssertionError(f"number {number}: {reply.status_code} {reply.text[:3000]}") from error
    check_log(stack)
