"""Captured requests of Claude Code reach a native upstream unchanged, except for the billing block."""

import json

import pytest

from support.native_upstream import assert_same, post, request_body, text_frames
from support.scripted_upstream import streamed
from support.stack_process import ROOT

pytestmark = pytest.mark.integration

CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))
BILLING = "x-anthropic-billing-header"
FORWARDED = ("anthropic-version", "anthropic-beta")


def ordered(raw: bytes):
    """Return JSON with objects as lists of pairs, so that a comparison includes the order of members."""
    return json.loads(raw, object_pairs_hook=list)


async def replay(relay, path, to):
    """Send a captured request; return its body, the request at the upstream and the captured headers."""
    capture = json.loads(path.read_text())
    model = relay.upstream.play(streamed(*text_frames("m", "Hello")))
    body = json.dumps({**capture["body"], "model": f"{to}/{model}"}).encode()
    own = ("host", "content-length", "content-type")
    headers = [(name.lower(), value) for name, value in capture["headers"].items() if name.lower() not in own]
    reply = await post(relay.url, body, headers, path="/v1/messages?beta=true")
    assert reply.status == 200, reply.body
    assert_same(reply.body, b"".join(text_frames(f"{to}/{model}", "Hello")))
    (exchange,) = relay.upstream.of(model)
    assert exchange.target.endswith("/v1/messages?beta=true")
    return body.replace(f"{to}/{model}".encode(), model.encode()), exchange, dict(headers)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("to", ["up", "yes"])
async def test_a_captured_request_loses_only_its_billing_block(relay, path, to):
    """All other members arrive in their order; the billing block is removed because it changes with every request."""
    sent, exchange, headers = await replay(relay, path, to)
    assert BILLING in json.loads(sent)["system"][0]["text"]
    expected = {**json.loads(sent), "system": json.loads(sent)["system"][1:]}
    assert ordered(exchange.body) == ordered(json.dumps(expected).encode())
    assert BILLING.encode() not in exchange.body
    assert {name: exchange.headers.get(name) for name in FORWARDED} == {name: headers[name] for name in FORWARDED}


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize("to", ["verbatim", "anthropic"])
async def test_a_captured_request_arrives_byte_for_byte(relay, path, to):
    """If the billing block is kept: by configuration, or because the upstream is Anthropic's own."""
    sent, exchange, _headers = await replay(relay, path, to)
    assert_same(exchange.body, sent)


@pytest.mark.parametrize(
    ("system", "kept"),
    [
        ([{"type": "text", "text": f"{BILLING}: cc_version=1;"}, {"type": "text", "text": "Be kind"}], "Be kind"),
        ([{"type": "text", "text": f"Speak of {BILLING}: a=1;"}], f"Speak of {BILLING}: a=1;"),
        (f"Speak of {BILLING}: a=1;", f"Speak of {BILLING}: a=1;"),
    ],
)
async def test_only_the_billing_block_is_removed(relay, system, kept):
    """Text that mentions the header is kept."""
    reply, exchange = await relay.send(streamed(*text_frames("m", "Hello")), system=system, stream=True)
    assert reply.status == 200
    seen = exchange.json["system"]
    assert (seen if isinstance(seen, str) else seen[-1]["text"]) == kept
    assert isinstance(seen, str) or len(seen) == 1


async def test_a_request_without_its_only_system_block_is_valid(relay):
    """The system prompt is the billing block alone; the body without it is valid JSON."""
    script = streamed(*text_frames("m", "Hello"))
    reply, exchange = await relay.send(script, system=[{"type": "text", "text": f"{BILLING}: a=1;"}], stream=True)
    assert reply.status == 200
    assert exchange.json.get("system") in (None, [], "")
    least = json.loads(request_body(exchange.json["model"], stream=True))
    assert {name: value for name, value in exchange.json.items() if name != "system"} == least
