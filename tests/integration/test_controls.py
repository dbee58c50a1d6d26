"""Limits, adapted requests, refusals and the ``x-messages-dropped`` header on a running stack."""

import pytest

from support.streams import sdk_message

pytestmark = pytest.mark.integration

ASK = {"max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


def upstream_bodies(upstream, model):
    return [exchange.json for exchange in upstream.exchanges if exchange.json.get("model") == model]


def post(client, stream, **fields):
    """Send a request; return the message and the headers of the response."""
    reply = client.post("/v1/messages", json={**ASK, **fields, "stream": stream})
    assert reply.status_code == 200, reply.text
    return (sdk_message(reply.content) if stream else reply.json()), reply.headers


@pytest.mark.parametrize("stream", [False, True])
def test_the_header_names_the_dropped_fields(client, stream):
    """If nothing is dropped, the header is absent."""
    _, headers = post(client, stream, model="up/text", fallbacks=[{"model": "x"}], **{"odd\r\nname": 1})
    assert headers["x-messages-dropped"] == "fallbacks, odd%0D%0Aname"
    _, headers = post(client, stream, model="up/text")
    assert "x-messages-dropped" not in headers


def test_max_tokens_is_lowered_to_the_rest_of_the_context_window(client, upstream):
    """The backend rejects the sum of prompt and max_tokens; the second request asks for the remaining tokens."""
    message, headers = post(client, False, model="up/full-window", max_tokens=32000)
    assert [body["max_tokens"] for body in upstream_bodies(upstream, "full-window")] == [32000, 2768]
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert headers["x-messages-dropped"] == "max_tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_a_backend_that_requires_system_first_is_remembered(client, upstream, stream):
    """The first client request takes two upstream requests, every later one a single one."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be kind."}]
    before = len(upstream_bodies(upstream, "system-first"))
    for _ in range(2):
        message, _ = post(client, stream, model="up/system-first", messages=turns)
        assert message["content"][0]["text"] == "Good"
    sent = upstream_bodies(upstream, "system-first")[before:]
    assert len(sent) == (2 if before else 3)
    assert sent[-1]["messages"] == [
        {"role": "user", "content": "Hi\n\n<system-reminder>\nBe kind.\n</system-reminder>"}
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_content_policy_error_is_a_refusal(client, stream):
    """The response is a 200 without content, with the backend's message as explanation."""
    message, _ = post(client, stream, model="up/policy")
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert "content management policy" in message["stop_details"]["explanation"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_missing_max_tokens_has_a_default(client, upstream, stream):
    """A request without ``max_tokens`` gets the server's default."""
    post(client, stream, model="up/text", max_tokens=None)
    assert upstream.last("text").json["max_tokens"] == 4096
