"""Features of the platform work on the Messages route, too: access rules, load, workers, shutdown."""

import asyncio
import json
import os
import signal

import httpx
import pytest

from support.chat_upstream import AUTH_PATH
from support.stack_process import PATIENT_LLAMA, StackProcess, run_config, vllm

pytestmark = pytest.mark.integration

BODY = {"max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
CONCURRENCY = 64


async def post_all(url, bodies):
    """Send all requests at once; return the complete responses."""
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        return await asyncio.gather(*(client.post("/v1/messages", json=body) for body in bodies))


def text_of(reply):
    """Return the text of a unary or streaming response."""
    if reply.headers["content-type"].startswith("application/json"):
        return "".join(block.get("text", "") for block in reply.json()["content"])
    events = [json.loads(line[6:]) for line in reply.text.split("\n") if line.startswith("data: ")]
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def mixed_load():
    return [{**BODY, "model": "up/text", "stream": number % 2 == 0} for number in range(CONCURRENCY)]


async def test_sixty_four_concurrent_requests_get_responses(stack):
    """Streaming and not, twice, with the default SQLite storage and log format."""
    for _ in range(2):
        replies = await post_all(stack.url, mixed_load())
        assert [reply.status_code for reply in replies] == [200] * CONCURRENCY
        assert {text_of(reply) for reply in replies} == {"Hello there"}
        assert len({reply.headers["request-id"] for reply in replies}) == CONCURRENCY
    assert "database is locked" not in stack.log


async def test_two_workers_serve_requests(upstream, tmp_path):
    """A request needs no state that server processes would have to share."""
    config = run_config([vllm(upstream.url)], {"default_model": "up/text"}, workers=2)
    with StackProcess(config, tmp_path, llama=PATIENT_LLAMA) as process:
        replies = await post_all(process.url, mixed_load())
        assert {(reply.status_code, text_of(reply)) for reply in replies} == {(200, "Hello there")}
        assert "Traceback" not in process.log


@pytest.fixture(scope="module")
def guarded(upstream, tmp_path_factory):
    """A stack with authentication: alice may read every model, bob only one."""
    rules = [
        {"permit": {"principal": "alice", "actions": ["read"]}},
        {"permit": {"principal": "bob", "actions": ["read"], "resource": "model::up/reasoning"}},
    ]
    endpoint = upstream.url.removesuffix("/v1") + AUTH_PATH
    auth = {"provider_config": {"type": "custom", "endpoint": endpoint}, "access_policy": rules}
    config = run_config([vllm(upstream.url)], {"default_model": "up/text"}, auth=auth)
    with StackProcess(config, tmp_path_factory.mktemp("guarded")) as process:
        yield process


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("user", "model", "status"),
    [
        ("alice", "up/text", 200),
        ("alice", "any-name", 200),
        ("bob", "up/reasoning", 200),
        ("bob", "up/text", 404),
        ("bob", "up/slow", 404),
        ("bob", "any-name", 404),
    ],
)
def test_the_access_rules_of_the_platform_apply(guarded, upstream, user, model, status, stream):
    """A model without read permission is a 404, by its name and as the default model."""
    before = len(upstream.exchanges)
    reply = httpx.post(
        f"{guarded.url}/v1/messages",
        json={**BODY, "model": model, "stream": stream},
        headers={"authorization": f"Bearer {user}"},
        timeout=60,
    )
    assert reply.status_code == status
    if status == 404:
        assert reply.json()["error"]["type"] == "not_found_error"
        assert ("up/text" in reply.json()["error"]["message"]) == (model == "up/text")
        assert len(upstream.exchanges) == before


def test_a_request_without_credentials_is_a_401(guarded):
    """The Messages route is not public."""
    assert httpx.post(f"{guarded.url}/v1/messages", json={**BODY, "model": "up/text"}, timeout=60).status_code == 401


async def test_the_server_stops_with_a_stream_open(upstream, tmp_path):
    """The stream ends with an error that clients retry, and the process ends by itself."""
    body = {**BODY, "model": "up/pausing", "stream": True}
    with StackProcess(run_config([vllm(upstream.url)], {}), tmp_path) as process:
        async with (
            httpx.AsyncClient(base_url=process.url, timeout=60) as client,
            client.stream("POST", "/v1/messages", json=body) as reply,
        ):
            chunks = reply.aiter_text()
            assert "message_start" in await anext(chunks)
            os.kill(process.pid, signal.SIGTERM)
            rest = "".join([chunk async for chunk in chunks])
        assert rest.count("event: error") == 1
        assert '"overloaded_error"' in rest
        assert "event: message_stop" not in rest
        process.wait(60)
