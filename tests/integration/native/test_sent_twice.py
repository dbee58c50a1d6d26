"""The two upstream errors after which the native lane changes the request, sends it again and reports the change."""

import json

import pytest

from support.chat_upstream import WINDOW, above_window
from support.native_upstream import error_body, message, post, request_body, text_frames
from support.scripted_upstream import responds, streamed

pytestmark = pytest.mark.integration

SIGNED = {"type": "thinking", "thinking": "hm", "signature": "EqQB"}
TEXT = {"type": "text", "text": "b"}


def rejecting(error_for, model, stream=False):
    """Return a script that responds with the error that ``error_for`` returns for a request, or with a message."""

    async def script(answer):
        error = error_for(answer.exchange.json)
        if error:
            await responds(error_body("BadRequestError", error), 400)(answer)
        elif stream:
            await streamed(*text_frames(model, "Hello"))(answer)
        else:
            await responds(json.dumps(message(model)).encode())(answer)

    return script


def small_window(body):
    return above_window(body["max_tokens"]) if body["max_tokens"] > WINDOW else ""


def signature(body):
    thinks = any(block["type"] == "thinking" for turn in body["messages"] for block in turn["content"])
    return "messages.1.content.0: Invalid `signature` in `thinking` block" if thinks else ""


@pytest.mark.parametrize("stream", [False, True])
async def test_max_tokens_above_the_window_is_lowered_in_the_clients_bytes(relay, stream):
    """After the error of vLLM's own endpoint; only the number and the model name change."""
    model = relay.upstream.play(rejecting(small_window, "m", stream))
    body = request_body(f"verbatim/{model}", stream, max_tokens=32000)
    reply = await post(relay.url, body)
    assert (reply.status, reply.headers["x-messages-dropped"]) == (200, "max_tokens")
    first, second = relay.upstream.of(model)
    assert first.body == body.replace(f"verbatim/{model}".encode(), model.encode())
    room = second.json["max_tokens"]
    assert WINDOW // 2 < room < WINDOW
    assert second.body == first.body.replace(b"32000", str(room).encode())


@pytest.mark.parametrize(
    ("fields", "error_for"),
    [
        ({"max_tokens": 32000, "messages": [{"role": "user", "content": "a" * 4 * WINDOW}]}, small_window),
        ({"max_tokens": 32000}, lambda _: above_window(5000)),
        ({"max_tokens": 32000}, lambda _: "max_tokens is too large: 32000"),
    ],
    ids=["no room", "another number", "another message"],
)
async def test_an_error_that_a_smaller_max_tokens_cannot_avoid_is_passed_on(relay, fields, error_for):
    """The upstream gets one request, and its message is returned."""
    model = relay.upstream.play(rejecting(error_for, "m"))
    reply = await post(relay.url, request_body(f"verbatim/{model}", **fields))
    (seen,) = relay.upstream.of(model)
    assert (reply.status, reply.json["error"]["message"]) == (400, error_for(seen.json))


async def test_an_error_of_the_second_request_is_passed_on(relay):
    """Nothing is sent a third time."""
    model = relay.upstream.play(rejecting(lambda body: above_window(max(5000, body["max_tokens"])), "m"))
    reply = await post(relay.url, request_body(f"verbatim/{model}", max_tokens=5000))
    assert reply.status == 400
    assert len(relay.upstream.of(model)) == 2


async def test_thinking_with_a_rejected_signature_is_removed(relay):
    """CLIProxyAPI 2172: a session broke after a change of the model."""
    model = relay.upstream.play(rejecting(signature, "m"))
    turns = [{"role": "user", "content": [TEXT]}, {"role": "assistant", "content": [SIGNED, TEXT]}]
    reply = await post(relay.url, request_body(f"verbatim/{model}", messages=[*turns, turns[0]]))
    assert (reply.status, reply.headers["x-messages-dropped"]) == (200, "messages.1.content.0")
    assert [len(seen.json["messages"][1]["content"]) for seen in relay.upstream.of(model)] == [2, 1]
