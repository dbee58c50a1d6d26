"""Limits, adaptations, refusals and the header of losses on a running stack."""

import pytest

from support.streams import sdk_message

pytestmark = pytest.mark.integration

ASK = {"max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


def bodies(upstream, model):
    return [exchange.json for exchange in upstream.exchanges if exchange.json.get("model") == model]


def answer(client, stream, **fields):
    """Return the message and the headers of a reply."""
    reply = client.post("/v1/messages", json={**ASK, **fields, "stream": stream})
    assert reply.status_code == 200, reply.text
    return (sdk_message(reply.content) if stream else reply.json()), reply.headers


@pytest.mark.parametrize("stream", [False, True])
def test_the_header_names_what_was_dropped(client, stream):
    """Whole and streamed; and it is absent when nothing was."""
    _, headers = answer(client, stream, model="up/text", fallbacks=[{"model": "x"}], **{"odd\r\nname": 1})
    assert headers["x-messages-dropped"] == "fallbacks, odd%0D%0Aname"
    _, headers = answer(client, stream, model="up/text")
    assert "x-messages-dropped" not in headers


def test_a_window_that_is_too_small_is_filled_to_its_end(client, upstream):
    """A backend refuses the sum of prompt and max_tokens; the lane asks for what is left."""
    message, headers = answer(client, False, model="up/full-window", max_tokens=32000)
    assert [body["max_tokens"] for body in bodies(upstream, "full-window")] == [32000, 2768]
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert headers["x-messages-dropped"] == "max_tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_a_template_that_wants_system_first_is_asked_right_from_then_on(client, upstream, stream):
    """The first request takes two tries, every later one a single one."""
    turns = [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be kind."}]
    before = len(bodies(upstream, "system-first"))
    for _ in range(2):
        message, _ = answer(client, stream, model="up/system-first", messages=turns)
        assert message["content"][0]["text"] == "Good"
    asked = bodies(upstream, "system-first")[before:]
    assert len(asked) == (2 if before else 3)
    assert asked[-1]["messages"] == [
        {"role": "user", "content": "Hi\n\n<system-reminder>\nBe kind.\n</system-reminder>"}
    ]


@pytest.mark.parametrize("stream", [False, True])
def test_a_content_policy_is_a_refusal(client, stream):
    """200, no content, and the backend's words."""
    message, _ = answer(client, stream, model="up/policy")
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert "content management policy" in message["stop_details"]["explanation"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_missing_limit_is_filled_in(client, upstream, stream):
    """With the server's default."""
    answer(client, stream, model="up/text", max_tokens=None)
    assert upstream.last("text").json["max_tokens"] == 4096
