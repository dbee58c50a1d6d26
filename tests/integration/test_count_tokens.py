"""``POST /v1/messages/count_tokens`` on running stacks."""

import asyncio

import anthropic
import httpx
import pytest

pytestmark = pytest.mark.integration

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
TOOL = {
    "name": "add",
    "description": "Adds.",
    "input_schema": {"type": "object", "properties": {"a": {"type": "number"}}},
}
CASES = {
    "plain": HELLO,
    "system": HELLO | {"system": "You are terse."},
    "tools": HELLO | {"tools": [TOOL]},
    "thinking": HELLO | {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "Claude Code's": {"messages": [{"role": "user", "content": "foo"}], "tools": []},
}
AT_ONCE = 28
"""What Claude Code sends for ``/context``."""


def ask(url, body, path="/v1/messages/count_tokens"):
    return httpx.post(url + path, json=body, timeout=60)


@pytest.mark.parametrize("case", CASES)
def test_a_count_of_the_engine_is_the_usage_it_then_reports(local_stack, case):
    """It comes from the engine's own tokenizer and template."""
    body = {"model": "any", **CASES[case]}
    counted = ask(local_stack.url, body)
    assert counted.headers["x-messages-token-count"] == "exact"
    usage = ask(local_stack.url, {**body, "max_tokens": 1}, "/v1/messages").json()["usage"]
    assert counted.json() == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}


async def test_a_burst_of_counts_is_answered_exactly(local_stack):
    """As many as Claude Code sends at once."""
    bodies = [{"model": "any", "messages": [{"role": "user", "content": "word " * n}]} for n in range(1, AT_ONCE + 1)]
    async with httpx.AsyncClient(base_url=local_stack.url, timeout=60) as client:
        replies = await asyncio.gather(
            *(client.post("/v1/messages/count_tokens?beta=true", json=body) for body in bodies)
        )
    assert {reply.headers["x-messages-token-count"] for reply in replies} == {"exact"}
    counts = [reply.json()["input_tokens"] for reply in replies]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_context_edits_are_counted_before_and_after(local_stack):
    """The prompt that would be sent, and the one it was made from."""
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "a long result " * 50}
    messages = [*HELLO["messages"], use, {"role": "user", "content": [result]}]
    edits = [{"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 0}}]
    edits[0]["keep"] = {"type": "tool_uses", "value": 0}
    body = {"model": "any", "messages": messages, "tools": [TOOL]}
    whole = ask(local_stack.url, body).json()["input_tokens"]
    edited = ask(local_stack.url, {**body, "context_management": {"edits": edits}}).json()
    assert edited["context_management"] == {"original_input_tokens": whole}
    assert edited["input_tokens"] < whole - 50
    unedited = ask(local_stack.url, {**body, "context_management": {"edits": []}}).json()
    assert unedited == {"input_tokens": whole, "context_management": {"original_input_tokens": whole}}


def test_a_backend_without_a_tokenizer_is_estimated_and_not_asked_to_generate(client, upstream):
    """The reply says so."""
    asked = len(upstream.exchanges)
    reply = ask(str(client.base_url), {"model": "up/text", **HELLO})
    assert reply.headers["x-messages-token-count"] == "estimate"
    assert reply.headers["x-messages-lane"] == "translated; reason=probed"
    assert 2 <= reply.json()["input_tokens"] < 20
    assert [exchange.path for exchange in upstream.exchanges[asked:] if exchange.path.endswith("completions")] == []


def test_the_official_sdk_counts(local_stack):
    """Under the other base URL too."""
    for base_url in (local_stack.url, f"{local_stack.url}/anthropic"):
        with anthropic.Anthropic(base_url=base_url, api_key="k") as sdk:
            assert sdk.messages.count_tokens(model="any", **HELLO).input_tokens > 0


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"model": "up/text"}, 400, "messages: Field required"),
        ({"model": "nobody", **HELLO}, 404, "model: nobody"),
        ({"model": "up/text", "messages": []}, 400, "at least one message is required"),
    ],
)
def test_what_cannot_be_counted_is_refused_as_a_message_would_be(client, body, status, text):
    """In the same words."""
    reply = ask(str(client.base_url), body)
    assert reply.status_code == status
    assert reply.json()["type"] == "error"
    assert text in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"])
def test_another_method_is_a_405_in_the_envelope(client, path):
    """And names the one there is."""
    reply = client.get(path)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"]["type"] == "invalid_request_error"
