"""How an upstream is reached: paths, credentials, versions, betas, lists of models. Azure AI Foundry's shape is one."""

import json

import httpx
import pytest

from support.native_upstream import chat_request_body, message, post, request_body, text_frames
from support.scripted_upstream import UPSTREAM_KEY, responds, streamed

pytestmark = pytest.mark.integration

REPLY = responds(json.dumps(message("whatever")).encode())
CHAT = "/v1/chat/completions"


def seen(exchange, *names):
    """Return headers that the upstream received, each at most once."""
    values = {name: [value for key, value in exchange.pairs if key == name] for name in names}
    assert all(len(found) <= 1 for found in values.values()), values
    return {name: found[0] for name, found in values.items() if found}


CREDENTIALS = ("x-api-key", "authorization", "api-key")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("to", "path", "credentials"),
    [
        ("up", "/up/v1/messages", {"x-api-key": UPSTREAM_KEY}),
        ("azure", "/azure/anthropic/v1/messages", {"x-api-key": UPSTREAM_KEY}),
        ("entra", "/entra/anthropic/v1/messages", {"authorization": f"Bearer {UPSTREAM_KEY}"}),
        ("named", "/named/v1/messages", {"api-key": UPSTREAM_KEY}),
        ("keyless", "/keyless/v1/messages", {}),
    ],
)
async def test_path_and_credentials_of_a_chat_completion(front, to, path, credentials, stream):
    """The prefix of the base URL is kept, and the key is sent in the one configured header."""
    script = streamed(*text_frames("whatever", "Hel", "lo")) if stream else REPLY
    reply, exchange = await front.send_chat(script, to, stream=stream)
    assert reply.status == 200, reply.body
    assert exchange.target == path
    assert seen(exchange, *CREDENTIALS) == credentials
    assert seen(exchange, "anthropic-version", "anthropic-beta") == {"anthropic-version": "2023-06-01"}
    assert seen(exchange, "content-type") == {"content-type": "application/json"}
    assert exchange.json["model"] == exchange.json["model"].rpartition("/")[2]


@pytest.mark.parametrize("to", ["up", "azure", "entra", "named"])
async def test_path_and_credentials_of_a_native_request(front, to):
    """A Messages request goes to the same place with the same key, and is otherwise unchanged."""
    model = front.upstream.play(REPLY)
    body = request_body(f"{to}/{model}", future={"a": 1.0}).replace(b'"max_tokens": 9', b'"max_tokens" :  9')
    headers = [("x-api-key", "sk-client"), ("anthropic-version", "2025-01-01"), ("anthropic-beta", "b-client")]
    reply = await post(front.url, body, headers)
    (exchange,) = front.upstream.of(model)
    assert reply.status == 200
    assert reply.headers["x-messages-lane"] == "native; reason=declared"
    assert exchange.body == body.replace(f"{to}/{model}".encode(), model.encode())
    prefix = {"azure": "/azure/anthropic", "entra": "/entra/anthropic"}.get(to, f"/{to}")
    assert exchange.target == f"{prefix}/v1/messages"
    sent = {"entra": {"authorization": f"Bearer {UPSTREAM_KEY}"}, "named": {"api-key": UPSTREAM_KEY}}
    assert seen(exchange, *CREDENTIALS) == sent.get(to, {"x-api-key": UPSTREAM_KEY})
    assert seen(exchange, "anthropic-version", "anthropic-beta") == {
        "anthropic-version": "2025-01-01",
        "anthropic-beta": "b-client",
    }


async def test_configured_headers_are_sent_in_both_cases(front):
    """Configured headers are sent with chat completions and with Messages requests."""
    _reply, exchange = await front.send_chat(REPLY, "named")
    assert seen(exchange, "x-tenant") == {"x-tenant": "t1"}
    model = front.upstream.play(REPLY)
    await post(front.url, request_body(f"named/{model}"))
    assert seen(front.upstream.of(model)[0], "x-tenant") == {"x-tenant": "t1"}


async def test_version_and_betas_of_the_configuration(front):
    """They are sent with chat completions; Messages requests keep their own betas, too."""
    _reply, exchange = await front.send_chat(REPLY, "beta")
    assert seen(exchange, "anthropic-version", "anthropic-beta") == {
        "anthropic-version": "2024-10-10",
        "anthropic-beta": "b-one,b-two",
    }
    model = front.upstream.play(REPLY)
    await post(
        front.url, request_body(f"beta/{model}"), [("anthropic-beta", "b-client"), ("anthropic-version", "2030-01-01")]
    )
    assert seen(front.upstream.of(model)[0], "anthropic-version", "anthropic-beta") == {
        "anthropic-version": "2024-10-10",
        "anthropic-beta": "b-client,b-one,b-two",
    }


@pytest.mark.parametrize("lane", ["chat", "native"])
@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"messages_api_key": "sk-user"}, "sk-user"),
        ({"up_api_key": "sk-own", "messages_api_key": "sk-user"}, "sk-own"),
        ({"azure_api_key": "sk-other"}, UPSTREAM_KEY),
        ({"messages_api_key": ""}, UPSTREAM_KEY),
    ],
)
async def test_a_request_may_have_its_own_key(front, data, key, lane):
    """The platform's provider data may hold a key for this provider, or for all providers of the type."""
    model = front.upstream.play(REPLY)
    body = (request_body if lane == "native" else chat_request_body)(f"up/{model}")
    headers = [("x-llamastack-provider-data", json.dumps(data))]
    reply = await post(front.url, body, headers, CHAT if lane == "chat" else "/v1/messages")
    (exchange,) = front.upstream.of(model)
    assert reply.status == 200
    assert seen(exchange, *CREDENTIALS) == {"x-api-key": key}


@pytest.mark.parametrize("lane", ["chat", "native"])
async def test_a_key_that_is_not_a_string_is_a_400(front, lane):
    """The operator's key is not used in place of an invalid key of the client."""
    model = front.upstream.play(REPLY)
    body = (request_body if lane == "native" else chat_request_body)(f"up/{model}")
    headers = [("x-llamastack-provider-data", json.dumps({"messages_api_key": ["sk-in-a-list"]}))]
    reply = await post(front.url, body, headers, CHAT if lane == "chat" else "/v1/messages")
    assert reply.status == 400
    assert "messages_api_key has to be a string" in reply.json["error"]["message"]
    assert front.upstream.of(model) == []


def listed(front):
    models = httpx.get(f"{front.url}/v1/models", timeout=30).json()["data"]
    return {model["id"]: model["custom_metadata"] for model in models}


def test_models_come_from_the_upstream_or_from_the_configuration(front):
    """The upstream lists ``m``; configured models win; ``allowed_models`` filters, and replaces a missing list."""
    found = listed(front)
    assert "up/m" in found
    assert "listing/m" not in found
    assert {name for name in found if name.startswith("azure/")} == {"azure/opus-deployment", "azure/mine"}
    assert found["azure/mine"]["max_tokens"] == 777
    assert found["azure/mine"]["context_length"] == 9000
    assert not [exchange for exchange in front.upstream.others if exchange.target.startswith("/azure")]
    (asked,) = [exchange for exchange in front.upstream.others if exchange.target.startswith("/up/")][:1]
    assert asked.target == "/up/v1/models?limit=1000"
    assert seen(asked, "x-api-key", "anthropic-version") == {
        "x-api-key": UPSTREAM_KEY,
        "anthropic-version": "2023-06-01",
    }


async def test_a_model_that_is_not_allowed_is_rejected_in_both_cases(front):
    """Chat completions and Messages requests for it are rejected before anything is sent."""
    model = front.upstream.play(REPLY)
    chat = await post(front.url, chat_request_body(f"listing/{model}"), path=CHAT)
    assert (chat.status, chat.json["error"]["code"]) == (400, "model_not_allowed")
    native = await post(front.url, request_body(f"listing/{model}"))
    assert (native.status, native.json["error"]["type"]) == (400, "invalid_request_error")
    assert front.upstream.of(model) == []


async def test_a_missing_max_tokens_is_that_of_the_model(front):
    """The API requires ``max_tokens``: the listed limit of the model is sent, else the configured default."""
    front.upstream.play(REPLY, "mine")
    await post(front.url, chat_request_body("azure/mine"), path=CHAT)
    assert front.upstream.of("mine")[-1].json["max_tokens"] == 777
    _reply, exchange = await front.send_chat(REPLY)
    assert exchange.json["max_tokens"] == 4096


async def test_what_a_deployment_takes_follows_from_its_type(front):
    """``mine`` is a Sonnet 4.5, which thinks with a budget; without a type, settings suit any server."""
    front.upstream.play(REPLY, "mine")
    await post(front.url, chat_request_body("azure/mine", temperature=0.5, top_p=0.5), path=CHAT)
    body = front.upstream.of("mine")[-1].json
    assert ("temperature" in body, "top_p" in body) == (True, False)
    assert "dropped" in front.process.log


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "up/m", "prompt": "Hi"}),
        ("/v1/embeddings", {"model": "up/other", "input": "Hi"}),
        ("/v1alpha/inference/rerank", {"model": "up/other", "query": "Hi", "items": ["a"]}),
    ],
)
def test_calls_without_an_equivalent_are_a_501(front, path, body):
    """Legacy completions, embeddings and reranking have no equivalent in the Messages API."""
    reply = httpx.post(front.url + path, json=body, timeout=30)
    assert reply.status_code == 501
    assert "remote::messages does not offer" in reply.json()["error"]["message"]


async def test_connections_are_reused(front):
    """Chat completions one after the other need one connection."""
    numbers = {(await front.send_chat(REPLY, "keyless"))[1].connection for _ in range(5)}
    assert len(numbers) == 1


async def test_keys_stay_out_of_the_log(front):
    """Neither configured keys nor keys of requests are in the log after all tests above."""
    await front.send_chat(REPLY)
    for key in (UPSTREAM_KEY, "sk-user", "sk-own", "sk-in-a-list"):
        assert key not in front.process.log
