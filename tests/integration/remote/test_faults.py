"""Tests chat completions when the Messages upstream fails.

The cases match those of ``native/test_faults.py``; error bodies use OpenAI's format.
"""

import json

import openai
import pytest

from support.native_upstream import (
    ERROR_SHAPES,
    ERROR_TEXT,
    ERROR_TYPES,
    chat_request_body,
    error_body,
    frame,
    message,
    post,
    text_events,
    text_frames,
    wait_until,
)
from support.scripted_upstream import CUT, UPSTREAM_KEY, Answer, raw, responds, silent, streamed
from support.stack_process import StackProcess, remote_messages, run_config

pytestmark = pytest.mark.integration

TYPES = {status: types[-1] for status, types in ERROR_TYPES.items()}
"""Status -> error type that the upstream sends with it."""
SEEN = {529: 503}
"""Statuses that OpenAI's clients do not know."""
SECRETS = (UPSTREAM_KEY, "127.0.0.1", "localhost", "nowhere.invalid")
CHAT = "/v1/chat/completions"


def check_error(reply, status):
    """Assert status and envelope; return the error."""
    assert reply.status == SEEN.get(status, status), reply.body
    assert reply.headers["content-type"].startswith("application/json")
    assert set(reply.json) == {"error"}
    error = reply.json["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert isinstance(error["type"], str)
    for secret in SECRETS:
        assert secret not in reply.body.decode()
        assert secret not in json.dumps(reply.headers)
    return error


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", TYPES)
async def test_an_error_of_the_api_keeps_status_and_message(front, status, stream):
    """The error has OpenAI's format; retry headers and request id have OpenAI's names; nothing is retried."""
    script = responds(
        error_body(TYPES[status], ERROR_TEXT), status, retry_after="7", request_id="req_up", set_cookie="a=b"
    )
    reply, _exchange = await front.send_chat(script, stream=stream)
    error = check_error(reply, status)
    assert (error["message"], error["type"]) == (ERROR_TEXT, TYPES[status])
    assert reply.headers["retry-after"] == "7"
    assert reply.headers["x-request-id"] == "req_up"
    assert "set-cookie" not in reply.headers


@pytest.mark.parametrize("stream", [False, True])
async def test_rate_limits_have_the_names_of_openai(front, stream):
    """The headers for limits and remaining requests have OpenAI's names."""
    hints = {"anthropic_ratelimit_requests_remaining": "3", "anthropic_ratelimit_requests_limit": "50"}
    reply, _exchange = await front.send_chat(
        responds(error_body("rate_limit_error", ERROR_TEXT), 429, **hints), stream=stream
    )
    check_error(reply, 429)
    assert reply.headers["x-ratelimit-remaining-requests"] == "3"
    assert reply.headers["x-ratelimit-limit-requests"] == "50"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", ERROR_SHAPES)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503, 529])
async def test_an_error_in_another_form_keeps_status_and_message(front, shape, status, stream):
    """Error bodies of any gateway between the stack and the model keep status, message and retry-after."""
    body = json.dumps(ERROR_SHAPES[shape](status)).encode()
    reply, _exchange = await front.send_chat(responds(body, status, retry_after="7"), stream=stream)
    assert ERROR_TEXT in check_error(reply, status)["message"]
    assert reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><body>Bad Gateway at http://127.0.0.1/</body></html>", "text/html"),
        (b"", "application/json"),
        (b'{"half": ', "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xfe\x00", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 500, 529])
async def test_an_error_without_a_message_gets_one(front, status, body, kind, stream):
    """HTML, an empty body and garbage keep their status; no markup reaches the client."""
    reply, _exchange = await front.send_chat(responds(body, status, kind), stream=stream)
    assert "<" not in check_error(reply, status)["message"]


async def test_a_prompt_that_is_too_long_has_the_code_of_openai(front):
    """Clients look for it, to shorten their history."""
    text = "prompt is too long: 210000 tokens > 200000 maximum"
    reply, _exchange = await front.send_chat(responds(error_body("invalid_request_error", text), 400))
    assert check_error(reply, 400)["code"] == "context_length_exceeded"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_in_an_error_of_the_upstream_is_redacted(front, stream):
    """In an error response and in an error event."""
    text = f"Go away with {UPSTREAM_KEY}"
    script = responds(error_body("authentication_error", text), 401)
    if stream:
        failed = {"type": "error", "error": {"type": "api_error", "message": text}}
        script = streamed(frame(text_events("m")[0]), frame(failed))
    reply, _exchange = await front.send_chat(script, stream=stream)
    assert b"Go away" in reply.body
    assert UPSTREAM_KEY.encode() not in reply.body


CANNOT = {"refusing": 502, "nameless": 502, "tls": 502}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("to", CANNOT)
async def test_an_upstream_that_cannot_be_reached(front, to, stream):
    """The message names the provider, without address and key."""
    reply = await post(front.url, chat_request_body(f"{to}/m", stream), path=CHAT)
    assert f"'{to}'" in check_error(reply, CANNOT[to])["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.9\r\n", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"],
    ids=["nothing", "ssh", "half_a_status", "half_a_head"],
)
async def test_garbage_in_place_of_http(front, answer, stream):
    """Bytes that are not an HTTP response; sent once."""
    reply, _exchange = await front.send_chat(raw(answer), stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(front, status, stream):
    """A redirect is not followed, because the key would be sent along."""
    others = len(front.upstream.others)
    script = responds(b"", status, location=front.upstream.url("trap") + "/messages")
    reply, _exchange = await front.send_chat(script, stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]
    assert len(front.upstream.others) == others


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>Welcome</html>", "text/html"),
        (b"", "application/json"),
        (b"{}", "application/json"),
        (b"[]", "application/json"),
        (b'{"type":"message"', "application/json"),
        (b'{"type":"message","content":null}', "application/json"),
        (json.dumps({"object": "chat.completion", "choices": []}).encode(), "application/json"),
    ],
)
async def test_a_200_that_is_not_a_message(front, body, kind, stream):
    """Such a response is a failure of the upstream; none of its text reaches the client."""
    reply, _exchange = await front.send_chat(responds(body, 200, kind), stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("part", [0, 1, 40])
async def test_a_truncated_message(front, part):
    """A truncated message is an error, not half a response."""
    body = json.dumps(message("m")).encode()

    async def script(answer: Answer) -> None:
        await answer.head(200, "application/json")
        if part:
            await answer.chunk(body[:part])
        answer.drop()

    reply, _exchange = await front.send_chat(script)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_before_the_status(front, stream):
    """A longer silence than the network settings allow is a timeout and closes the upstream connection."""
    reply, exchange = await front.send_chat(silent, "quick", stream=stream)
    assert "'quick'" in check_error(reply, 504)["message"]
    await wait_until(exchange.closed.is_set, "the close of the upstream", 2)


def pieces_of(reply):
    """Return the data of a stream, parsed."""
    lines = [line for line in reply.body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines if line != "data: [DONE]"]


def text_of(pieces):
    """Return the joined text of chat completions chunks."""
    return "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces if piece.get("choices"))


FAILED = {"type": "error", "error": {"type": "overloaded_error", "message": ERROR_TEXT}}
BREAKS = {
    "an error event": (streamed(*text_frames("m", "Hel")[:3], frame(FAILED)), ERROR_TEXT, "503"),
    "a cut": (streamed(*text_frames("m", "Hel")[:3], end=CUT), "'up'", "502"),
    "a clean end too soon": (streamed(*text_frames("m", "Hel")[:3]), "before its answer was complete", "502"),
    "half an event": (
        streamed(*text_frames("m", "Hel")[:3], b'event: x\ndata: {"type": "con', end=CUT),
        "'up'",
        "502",
    ),
}


@pytest.mark.parametrize("case", BREAKS)
async def test_a_stream_that_breaks_off_ends_with_an_error(front, case):
    """The chunks before it are delivered, without a finish reason."""
    script, text, code = BREAKS[case]
    reply, _exchange = await front.send_chat(script, stream=True)
    *pieces, last = pieces_of(reply)
    assert reply.status == 200
    assert text_of(pieces) == "Hel"
    assert not [piece for piece in pieces if piece["choices"] and piece["choices"][0]["finish_reason"]]
    assert text in last["error"]["message"]
    assert last["error"]["code"] == code


async def test_silence_inside_of_a_stream(front):
    """Silence in a stream is a timeout, which closes the upstream connection."""

    async def script(answer: Answer) -> None:
        await answer.head()
        for part in text_frames("m", "Hel")[:3]:
            await answer.chunk(part)
        await silent(answer)

    reply, exchange = await front.send_chat(script, "quick", stream=True)
    assert pieces_of(reply)[-1]["error"]["code"] == "504"
    await wait_until(exchange.closed.is_set, "the close of the upstream", 2)


async def test_invalid_events_are_skipped(front):
    """Pings, comments, unknown events, data that is not JSON."""
    noise = [b": ping\n\n", b"data: [DONE]\n\n", b"data: {\n\n", b"data: 5\n\n", frame({"type": "future", "a": 1})]
    parts = text_frames("m", "Hel", "lo")
    reply, _exchange = await front.send_chat(streamed(*noise, *parts[:3], *noise, *parts[3:]), stream=True)
    assert text_of(pieces_of(reply)) == "Hello"


async def test_a_client_disconnect_closes_the_upstream(front):
    """The upstream stops generating when the client disconnects."""

    async def script(answer: Answer) -> None:
        await answer.head()
        for part in text_frames("m", "Hel")[:3]:
            await answer.chunk(part)
        await silent(answer)

    model = front.upstream.play(script)
    async with openai.AsyncOpenAI(base_url=f"{front.url}/v1", api_key="k", max_retries=0) as client:
        asked = {"model": f"up/{model}", "messages": [{"role": "user", "content": "Hi"}]}
        stream = await client.chat.completions.create(**asked, stream=True)
        assert (await anext(aiter(stream))).choices
        await stream.close()
    (exchange,) = front.upstream.of(model)
    await wait_until(exchange.closed.is_set, "the close of the upstream", 5)


SDK_ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    529: openai.InternalServerError,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", SDK_ERRORS)
async def test_the_official_sdk_raises_its_own_errors(front, status, stream):
    """The SDK's exception has the upstream's message, type, request id and retry headers."""
    script = responds(error_body(TYPES[status], ERROR_TEXT), status, retry_after="7", request_id="req_up")
    model = front.upstream.play(script)
    async with openai.AsyncOpenAI(base_url=f"{front.url}/v1", api_key="k", max_retries=0) as client:
        asked = {"model": f"up/{model}", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        with pytest.raises(SDK_ERRORS[status]) as caught:
            await client.chat.completions.create(**asked)
    assert caught.value.body["message"] == ERROR_TEXT
    assert caught.value.type == TYPES[status]
    assert caught.value.request_id == "req_up"
    assert caught.value.response.headers["retry-after"] == "7"


async def test_the_official_sdk_raises_at_an_error_inside_a_stream(front):
    """The SDK raises after it has yielded the text before the error."""
    model = front.upstream.play(BREAKS["an error event"][0])
    words = []
    async with openai.AsyncOpenAI(base_url=f"{front.url}/v1", api_key="k", max_retries=0) as client:
        asked = {"model": f"up/{model}", "messages": [{"role": "user", "content": "Hi"}]}
        stream = await client.chat.completions.create(**asked, stream=True)
        with pytest.raises(openai.APIError, match=ERROR_TEXT):  # noqa: PT012 - the chunks before the error count
            async for chunk in stream:
                words += filter(None, [chunk.choices[0].delta.content])
    assert words == ["Hel"]


@pytest.mark.parametrize("stream", [False, True])
async def test_configured_retries(front, stream):
    """Failed requests are repeated up to ``max_retries`` times, after the upstream's retry-after."""
    answers = [responds(error_body("overloaded_error", ERROR_TEXT), 529, retry_after="0") for _ in range(2)]
    answers.append(streamed(*text_frames("m", "Hello")) if stream else responds(json.dumps(message("m")).encode()))

    async def script(answer: Answer) -> None:
        await answers.pop(0)(answer)

    model = front.upstream.play(script)
    reply = await post(front.url, chat_request_body(f"retrying/{model}", stream), path=CHAT)
    assert reply.status == 200
    assert len(front.upstream.of(model)) == 3


async def test_an_invalid_request_is_not_retried(front):
    """A 400 is not retried, because it would be rejected again."""
    model = front.upstream.play(responds(error_body("invalid_request_error", ERROR_TEXT), 400))
    reply = await post(front.url, chat_request_body(f"retrying/{model}"), path=CHAT)
    check_error(reply, 400)
    assert len(front.upstream.of(model)) == 1


async def test_failures_leave_no_traceback_that_stops_the_server(front):
    """The platform renders the traceback of an unknown exception, which stops the server for seconds."""
    before = front.process.log.count("Exception in ASGI application")
    await front.send_chat(responds(b"", 529))
    assert front.process.log.count("Exception in ASGI application") == before


@pytest.fixture(scope="module")
def alone(messages_upstream, tmp_path_factory):
    """A stack without the Messages API."""
    config = run_config([remote_messages(messages_upstream.root("alone"))], {})
    config["apis"].remove("messages")
    del config["providers"]["messages"]
    with StackProcess(config, tmp_path_factory.mktemp("alone"), {"LLAMA_STACK_LOG_FORMAT": "json"}) as process:
        yield process


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", TYPES)
async def test_without_the_messages_api_the_platform_responds(messages_upstream, alone, status, stream):
    """The platform's error has status and message, and no traceback that stops the server."""
    model = messages_upstream.play(responds(error_body(TYPES[status], ERROR_TEXT), status, retry_after="7"))
    reply = await post(alone.url, chat_request_body(f"up/{model}", stream), path=CHAT)
    assert (reply.status, reply.json) == (SEEN.get(status, status), {"error": {"message": ERROR_TEXT}})
    assert "Exception in ASGI application" not in alone.log
