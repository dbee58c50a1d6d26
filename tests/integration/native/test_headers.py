"""Headers of the native lane: which ones are sent to the upstream and to the client, and whose credentials are used."""

import json

import httpx2
import pytest

from support.native_upstream import ask, message, post, spoken
from support.scripted_upstream import streamed, whole

pytestmark = pytest.mark.integration

KEY = "sk-upstream-secret-0123456789"
OK = whole(json.dumps(message("m")).encode())
CREDENTIALS = [("x-api-key", "sk-client"), ("authorization", "Bearer client"), ("cookie", "session=client")]
TRACE = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
    "baggage": "user=7",
}


async def test_protocol_headers_are_sent_to_the_upstream(relay):
    """Version, betas and tracing; host and content type are those of the new request, and no header is sent twice."""
    sent = {"anthropic-version": "2031-01-01", "anthropic-beta": "a-2025-01-01,b-2026-02-02", **TRACE}
    _reply, exchange = await relay.send(OK, headers=sent.items())
    assert {name: exchange.headers.get(name) for name in sent} == sent
    assert exchange.headers["content-type"] == "application/json"
    assert exchange.headers["host"] == f"127.0.0.1:{relay.upstream.port}"
    assert len({name for name, _ in exchange.pairs}) == len(exchange.pairs)


async def test_repeated_beta_headers_are_all_sent(relay):
    """A list may be sent as several headers."""
    _reply, exchange = await relay.send(OK, headers=[("anthropic-beta", "a-2025-01-01"), ("anthropic-beta", "b")])
    sent = ",".join(value for name, value in exchange.pairs if name == "anthropic-beta")
    assert [part.strip() for part in sent.split(",")] == ["a-2025-01-01", "b"]


async def test_a_missing_version_header_has_a_default(relay):
    """Upstreams reject requests without a version; other headers have no default."""
    _reply, exchange = await relay.send(OK)
    assert exchange.headers["anthropic-version"] == "2023-06-01"
    assert not {"anthropic-beta", *TRACE} & set(exchange.headers)


@pytest.mark.parametrize("to", ["up", "yes", "keyed", "anthropic", "elsewhere"])
async def test_the_credentials_of_the_client_are_not_sent(relay, to):
    """The upstream gets the provider's key, in the configured header."""
    _reply, exchange = await relay.send(OK, to, CREDENTIALS)
    expected = ("x-api-key", KEY) if to in ("keyed", "anthropic") else ("authorization", f"Bearer {KEY}")
    assert [pair for pair in exchange.pairs if pair[0] in ("x-api-key", "authorization", "cookie")] == [expected]
    assert "client" not in json.dumps([pair for pair in exchange.pairs if pair[0] != "user-agent"])


async def test_other_headers_of_the_client_are_not_sent(relay):
    """Headers outside the protocol may be for this server only."""
    odd = [("x-tenant", "t"), ("x-forwarded-for", "10.1.1.1"), ("x-messages-lane", "native"), ("referer", "x")]
    _reply, exchange = await relay.send(OK, headers=odd)
    assert not {name for name, _ in odd} & set(exchange.headers)


@pytest.mark.parametrize("given", [CREDENTIALS[:1], CREDENTIALS[1:2], CREDENTIALS])
async def test_credentials_are_forwarded_if_configured(relay, given):
    """Unchanged, in place of the provider's key; cookies are never forwarded."""
    _reply, exchange = await relay.send(OK, "forwarding", given)
    seen = [pair for pair in exchange.pairs if pair[0] in ("x-api-key", "authorization", "cookie")]
    assert sorted(seen) == sorted(pair for pair in given if pair[0] != "cookie")


async def test_configured_headers_are_forwarded(relay):
    """Header names match in upper and lower case."""
    _reply, exchange = await relay.send(OK, "forwarding", [("X-TENANT", "t"), ("user-agent", "me/1"), ("x-other", "o")])
    assert (exchange.headers["x-tenant"], exchange.headers["user-agent"]) == ("t", "me/1")
    assert "x-other" not in exchange.headers


@pytest.mark.parametrize(("to", "name", "prefix"), [("up", "authorization", "Bearer "), ("keyed", "x-api-key", "")])
async def test_a_key_in_the_provider_data_is_used_for_that_request(relay, to, name, prefix):
    """The platform's header for keys works on this lane; the next request uses the provider's key again."""
    own = [("x-llamastack-provider-data", json.dumps({"vllm_api_token": "sk-own"}))]
    _reply, exchange = await relay.send(OK, to, own)
    assert exchange.headers[name] == f"{prefix}sk-own"
    assert "x-llamastack-provider-data" not in exchange.headers
    _reply, exchange = await relay.send(OK, to)
    assert exchange.headers[name] == f"{prefix}{KEY}"


async def test_requests_are_sent_to_the_native_base_url(relay):
    """If it is configured, in place of the provider's own address."""
    _reply, exchange = await relay.send(OK, "elsewhere")
    assert exchange.target == "/elsewhere/v1/messages"


HINTS = {
    "retry-after": "7",
    "retry-after-ms": "7000",
    "x-should-retry": "false",
    "anthropic-ratelimit-requests-limit": "50",
    "anthropic-ratelimit-input-tokens-reset": "2031-01-01T00:00:00Z",
}
INTERNAL = {
    "server": "upstream",
    "set-cookie": "a=b",
    "x-internal": "10.0.0.7",
    "access-control-allow-origin": "*",
    "x-messages-lane": "translated; reason=lie",
    "x-messages-model": "lie; reason=exact",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 429])
async def test_only_retry_and_rate_limit_headers_are_returned(relay, status, stream):
    """Of a success and of an error; headers that describe the upstream are removed."""
    body = b"".join(spoken("m", "Hi")) if stream else json.dumps(message("m")).encode()
    kind = "text/event-stream" if stream and status == 200 else "application/json"
    headers = {name.replace("-", "_"): value for name, value in (HINTS | INTERNAL).items()}
    reply, _exchange = await relay.send(whole(body, status, kind, **headers), stream=stream)
    assert reply.status == status
    assert {name: reply.headers.get(name) for name in HINTS} == HINTS
    assert not [name for name, value in INTERNAL.items() if reply.headers.get(name) == value]
    assert reply.headers["x-messages-lane"].startswith("native; reason=")


async def test_a_stream_has_the_headers_that_proxies_need(relay):
    """As on the translated lane."""
    reply, _exchange = await relay.send(streamed(*spoken("m", "Hi")), stream=True)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_invalid_header_of_the_upstream_is_removed(relay, stream):
    """A value that is not ASCII does not fail the response."""
    body = b"".join(spoken("m", "Hi")) if stream else json.dumps(message("m")).encode()
    kind = "text/event-stream" if stream else "application/json"
    script = whole(body, 200, kind, request_id="\u00e9", retry_after="\t7 \u00ff")
    reply, _exchange = await relay.send(script, stream=stream)
    assert reply.status == 200
    assert reply.headers["request-id"].startswith("req_")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    ("to", "given", "kept"), [("up", "req_up", True), ("up", "", False), ("numbering", "req_up", False)]
)
async def test_the_request_id(relay, to, given, kept, status, stream):
    """It is the upstream's, to find the request in its log; this server's if there is none or if configured."""
    body = b"".join(spoken("m", "Hi")) if stream else json.dumps(message("m")).encode()
    kind = "text/event-stream" if stream and status == 200 else "application/json"
    body = body if status == 200 else b'{"error":{"message":"no"}}'
    reply, _exchange = await relay.send(whole(body, status, kind, request_id=given), to, stream=stream)
    assert reply.status == status
    seen = reply.headers["request-id"]
    assert (seen == "req_up") if kept else (seen.startswith("req_") and len(seen) == 28)
    assert status == 200 or reply.json["request_id"] == seen


LANES = {
    "up": "native",
    "yes": "native",
    "listing": "native",
    "no": "translated",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("to", LANES)
async def test_every_response_names_its_lane_and_the_reason(relay, to, stream):
    """`on` and `off` may be YAML booleans."""
    chats = len(relay.upstream.chats)
    relay.upstream.play(streamed(*spoken("m", "Hi")) if stream else OK, "listed")
    reply = await post(relay.url, ask(f"{to}/listed", stream))
    assert reply.status == 200, reply.body
    assert reply.headers["x-messages-model"] == f"{to}/listed; reason=exact"
    lane, _, reason = reply.headers["x-messages-lane"].partition("; reason=")
    assert (lane, bool(reason)) == (LANES[to], True)
    assert len(relay.upstream.chats) - chats == (LANES[to] == "translated")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [200, 400])
async def test_every_response_names_the_model_of_an_alias(relay, status, stream):
    """Also an error of the upstream that is passed on as it is, and a token count."""
    script = streamed(*spoken("m", "Hi")) if stream else OK
    refusal = whole(b'{"type":"error","error":{"type":"invalid_request_error","message":"no"}}', 400)
    relay.upstream.play(script if status == 200 else refusal, "aliased")
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        reply = await post(relay.url, ask("claude-x", stream), path=path)
        assert reply.headers["x-messages-model"] == "up/aliased; reason=pattern"
        assert reply.status == status or path.endswith("count_tokens")


async def test_the_lane_header_of_a_request_has_no_effect_unless_allowed(relay):
    """By default a client cannot choose the lane."""
    reply, exchange = await relay.send(OK, headers=[("x-messages-lane", "translated")])
    assert reply.headers["x-messages-lane"].startswith("native; reason=")
    assert exchange.body


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_outside_allowed_models_is_rejected(relay, stream):
    """Before a request is sent to the upstream."""
    model = relay.upstream.play(OK)
    requests_before = len(relay.upstream.exchanges)
    reply = await post(relay.url, ask(f"listing/{model}", stream))
    assert 400 <= reply.status < 500
    assert reply.json["type"] == "error"
    assert len(relay.upstream.exchanges) == requests_before
    relay.upstream.play(streamed(*spoken("m", "Hi")) if stream else OK, "listed")
    assert (await post(relay.url, ask("listing/listed", stream))).status == 200


async def test_a_model_outside_allowed_models_is_neither_counted_nor_listed(relay):
    """Token counts are a 400 and model lookups a 404, without a request or probe to the upstream."""
    version = {"anthropic-version": "2023-06-01"}
    async with httpx2.AsyncClient(base_url=relay.url, headers=version, timeout=60) as client:
        assert (await client.get("/v1/models/listing/listed")).status_code == 200
        requests_before = len(relay.upstream.requests)
        counted = await post(relay.url, ask("listing/secret"), path="/v1/messages/count_tokens")
        lookup = await client.get("/v1/models/listing/secret")
    assert (counted.status, counted.json["type"]) == (400, "error")
    assert (lookup.status_code, lookup.json()["error"]["type"]) == (404, "not_found_error")
    assert len(relay.upstream.requests) == requests_before


def as_user(name: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {name}")]


async def test_a_request_without_permission_causes_no_probe(guarded):
    """The first user with permission does."""

    def probes() -> int:
        return sum("/unprobed/" in probe.target for probe in guarded.upstream.probes)

    model = guarded.upstream.play(OK)
    assert ((await post(guarded.url, ask(f"unprobed/{model}"), as_user("bob"))).status, probes()) == (404, 0)
    assert ((await post(guarded.url, ask(f"unprobed/{model}"), as_user("alice"))).status, probes()) == (200, 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("user", "model", "status"),
    [("alice", "for-bob", 200), ("alice", "other", 200), ("bob", "for-bob", 200), ("bob", "other", 404)],
)
async def test_the_access_rules_of_the_platform_apply(guarded, user, model, status, stream):
    """A model without read permission is a 404; the upstream never gets the user's token."""
    guarded.upstream.play(streamed(*spoken("m", "Hi")) if stream else OK, model)
    requests_before = len(guarded.upstream.exchanges)
    reply = await post(guarded.url, ask(f"up/{model}", stream), as_user(user))
    assert reply.status == status, reply.body
    if status == 404:
        assert reply.json["error"]["type"] == "not_found_error"
        assert len(guarded.upstream.exchanges) == requests_before
    else:
        assert guarded.upstream.exchanges[-1].headers["authorization"] == f"Bearer {KEY}"
        assert user not in json.dumps(guarded.upstream.exchanges[-1].pairs)
