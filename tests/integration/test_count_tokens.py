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
BURST_REQUESTS = 28
"""Number of requests that Claude Code sends at once for ``/context``."""


def post(url, body, path="/v1/messages/count_tokens"):
    return httpx.post(url + path, json=body, timeout=60)


@pytest.mark.parametrize("case", CASES)
def test_a_count_of_the_engine_equals_the_usage(local_stack, case):
    """It is made with the engine's own tokenizer and template."""
    body = {"model": "any", **CASES[case]}
    counted = post(local_stack.url, body)
    assert counted.headers["x-messages-token-count"] == "exact"
    usage = post(local_stack.url, {**body, "max_tokens": 1}, "/v1/messages").json()["usage"]
    assert counted.json() == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}


async def test_all_counts_of_a_burst_are_exact(local_stack):
    """Concurrent count requests, as many as Claude Code sends at once, are all exact."""
    bodies = [
        {"model": "any", "messages": [{"role": "user", "content": "word " * n}]} for n in range(1, BURST_REQUESTS + 1)
    ]
    async with httpx.AsyncClient(base_url=local_stack.url, timeout=60) as client:
        replies = await asyncio.gather(
            *(client.post("/v1/messages/count_tokens?beta=true", json=body) for body in bodies)
        )
    assert {reply.headers["x-messages-token-count"] for reply in replies} == {"exact"}
    counts = [reply.json()["input_tokens"] for reply in replies]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def test_context_edits_are_counted_before_and_after(local_stack):
    """The count of the edited prompt, and that of the original."""
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "a long result " * 50}
    messages = [*HELLO["messages"], use, {"role": "user", "content": [result]}]
    edits = [{"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 0}}]
    edits[0]["keep"] = {"type": "tool_uses", "value": 0}
    body = {"model": "any", "messages": messages, "tools": [TOOL]}
    original = post(local_stack.url, body).json()["input_tokens"]
    edited = post(local_stack.url, {**body, "context_management": {"edits": edits}}).json()
    assert edited["context_management"] == {"original_input_tokens": original}
    assert edited["input_tokens"] < original - 50
    unedited = post(local_stack.url, {**body, "context_management": {"edits": []}}).json()
    assert unedited == {"input_tokens": original, "context_management": {"original_input_tokens": original}}


def test_without_a_tokenizer_the_count_is_an_estimate_and_nothing_is_generated(client, upstream):
    """A header marks the estimate."""
    before = len(upstream.exchanges)
    reply = post(str(client.base_url), {"model": "up/text", **HELLO})
    assert reply.headers["x-messages-token-count"] == "estimate"
    assert reply.headers["x-messages-lane"] == "translated; reason=probed"
    assert 2 <= reply.json()["input_tokens"] < 20
    assert [exchange.path for exchange in upstream.exchanges[before:] if exchange.path.endswith("completions")] == []


def test_the_official_sdk_counts(local_stack):
    """The SDK's ``count_tokens`` works at both base URLs."""
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
def test_an_invalid_count_request_has_the_error_of_a_message_request(client, body, status, text):
    """The error has the same status and message as for a Messages request."""
    reply = post(str(client.base_url), body)
    assert reply.status_code == status
    assert reply.json()["type"] == "error"
    assert text in reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"])
def test_a_wrong_method_is_a_405_in_the_envelope(client, path):
    """The allow header has the right one."""
    reply = client.get(path)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert reply.json()["error"]["type"] == "invalid_request_error"
