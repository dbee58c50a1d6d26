"""Failures of a native upstream, as the client sees them."""

import asyncio
import json

import anthropic
import httpx2
import pytest

from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.native_upstream import (
    ERROR_SHAPES,
    ERROR_TEXT,
    ERROR_TYPES,
    assert_same,
    error_body,
    message,
    post,
    request_body,
    text_frames,
    wait_until,
)
from support.scripted_upstream import (
    CLEAN,
    CUT,
    EVENT_STREAM,
    HANG_SECONDS,
    UPSTREAM_KEY,
    Answer,
    raw,
    responds,
    silent,
    streamed,
)

pytestmark = pytest.mark.integration

HINTS = {
    "retry_after": "7",
    "retry_after_ms": "7000",
    "anthropic_ratelimit_requests_remaining": "3",
    "x_should_retry": "true",
    "set_cookie": "a=b",
    "server": "upstream",
}
SECRETS = ("sk-upstream", "127.0.0.1", "localhost", "nowhere.invalid")


def check_error(reply, status):
    """Assert the status and the error envelope; return the error."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    body = reply.json
    assert body["type"] == "error"
    assert set(body) == {"type", "error", "request_id"}
    assert body["request_id"] == reply.headers["request-id"]
    assert body["error"]["type"] in ERROR_TYPES[status]
    assert body["error"]["message"]
    for secret in SECRETS:
        assert secret not in reply.body.decode()
        assert secret not in json.dumps(reply.headers)
    return body["error"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", ERROR_TYPES)
async def test_an_error_in_the_format_of_the_api_is_passed_on_unchanged(relay, status, stream):
    """Status, bytes, retry headers and request id are those of the upstream; its other headers are removed."""
    kind = ERROR_TYPES[status][0]
    body = error_body(kind, ERROR_TEXT).replace(b'"type": "error"', b'"type" : "error", "future": 1.0')
    reply, _exchange = await relay.send(responds(body, status, **HINTS, request_id="req_up"), stream=stream)
    assert reply.status == status
    assert_same(reply.body, body)
    assert reply.headers["content-type"].startswith("application/json")
    assert (reply.headers["retry-after"], reply.headers["retry-after-ms"]) == ("7", "7000")
    assert reply.headers["anthropic-ratelimit-requests-remaining"] == "3"
    assert reply.headers["x-should-retry"] == "true"
    assert reply.headers["request-id"] == "req_up"
    assert reply.headers["x-messages-lane"].startswith("native; reason=")
    assert "set-cookie" not in reply.headers
    assert reply.headers.get("server") != "upstream"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", ERROR_SHAPES)
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 503, 529])
async def test_an_error_in_another_format_is_put_into_the_envelope(relay, shape, status, stream):
    """Status, message and retry headers are kept; the type is the API's for that status."""
    body = json.dumps(ERROR_SHAPES[shape](status)).encode()
    reply, _exchange = await relay.send(responds(body, status, retry_after="7"), stream=stream)
    assert ERROR_TEXT in check_error(reply, status)["message"]
    assert reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("to", ["up", "forwarding"])
@pytest.mark.parametrize("shape", ERROR_SHAPES)
@pytest.mark.parametrize("status", [401, 403])
async def test_an_error_about_credentials_keeps_status_and_message(relay, shape, status, to):
    """Both for the provider's key and for forwarded credentials of the client."""
    reply, _exchange = await relay.send(responds(json.dumps(ERROR_SHAPES[shape](status)).encode(), status), to)
    assert ERROR_TEXT in check_error(reply, status)["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html><body>Bad Gateway at http://127.0.0.1/</body></html>", "text/html"),
        (b"", "application/json"),
        (b"", ""),
        (b"upstream connect error", "text/plain"),
        (b'{"half": ', "application/json"),
        (b'"words"', "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xfe\x00", "application/octet-stream"),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 413, 500, 503, 529])
async def test_an_error_without_a_message_gets_one(relay, status, body, kind, stream):
    """HTML, an empty body and garbage keep their status; no markup reaches the client."""
    reply, _exchange = await relay.send(responds(body, status, kind), stream=stream)
    assert "<" not in check_error(reply, status)["message"]


async def test_an_address_in_an_error_message_is_redacted(relay):
    """Addresses and keys in an error message are replaced before it reaches the client."""
    text = f"Go away: key {UPSTREAM_KEY} at http://10.0.0.7:8000/v1"
    reply, _exchange = await relay.send(responds(json.dumps({"error": {"message": text}}).encode(), 400))
    assert "10.0.0.7" not in check_error(reply, 400)["message"]


UNREACHABLE = {"refusing": 502, "nameless": 502, "tls": 502, "full": 504}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("to", UNREACHABLE)
async def test_an_upstream_that_cannot_be_reached(relay, to, stream):
    """The error names the backend by its id; its address and key are in neither the response nor the log."""
    reply = await post(relay.url, request_body(f"{to}/m", stream))
    assert f"'{to}'" in check_error(reply, UNREACHABLE[to])["message"]
    assert reply.headers["x-messages-lane"].startswith("native; reason=")
    assert "sk-upstream-secret" not in relay.process.log


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n",
        b"HTTP/9.9 abc\r\n\r\n",
        b"\x16\x03\x01\x00\x05",
        b"<html>",
        b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 300_000,
    ],
    ids=["nothing", "ssh", "half_a_status", "half_a_head", "bad_version", "tls", "html", "huge_head"],
)
async def test_garbage_in_place_of_http(relay, answer, stream):
    """Bytes that are not a response, or only the beginning of one, are a 502 after one request."""
    reply, _exchange = await relay.send(raw(answer), stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_upstream_has_read_the_body_is_passed_on(relay, stream):
    """Servers reject a body that is too long without reading it; the client gets their error."""
    relay.upstream.early_scripts["hasty"] = responds(error_body("request_too_large", ERROR_TEXT), 413)
    reply = await post(relay.url, request_body("hasty/m", stream, system="x" * 8_000_000))
    assert (reply.status, reply.json["error"]) == (413, {"type": "request_too_large", "message": ERROR_TEXT})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
async def test_a_redirect_is_not_followed(relay, status, stream):
    """A redirect is not followed, because the key would be sent to another address."""
    others = len(relay.upstream.others)
    location = relay.upstream.url("trap") + "/messages"
    headers = {"content-type": "application/json", "location": location}
    script = streamed(status=status, headers=headers, chunked=False)  # chunks of a 304 would break the connection
    reply, _exchange = await relay.send(script, stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]
    assert "location" not in reply.headers
    assert len(relay.upstream.others) == others
    assert not [exchange for exchange in relay.upstream.exchanges if "/trap/" in exchange.target]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>Welcome</html>", "text/html"),
        (b"", "application/json"),
        (b"{}", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'{"type":"message"', "application/json"),
        (json.dumps({"object": "chat.completion", "choices": []}).encode(), "application/json"),
        (b"Hello", "text/plain"),
    ],
)
async def test_a_200_that_is_not_a_message(relay, body, kind, stream):
    """It is a 502, and nothing of the body is shown."""
    reply, _exchange = await relay.send(responds(body, 200, kind), stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("framing", ["chunked", "content-length"])
@pytest.mark.parametrize("part", [0, 1, 40])
async def test_a_truncated_message(relay, framing, part):
    """A body that ends in the middle of the JSON is a 502."""
    body = json.dumps(message("m")).encode()

    async def script(answer: Answer) -> None:
        more = [("content-length", str(len(body)))] if framing == "content-length" else []
        await answer.head(200, "application/json", *more)
        if part:
            await (answer.raw if more else answer.chunk)(body[:part])
        answer.drop()

    reply, _exchange = await relay.send(script)
    assert "'up'" in check_error(reply, 502)["message"]


async def test_a_response_without_end(relay):
    """After 64 MiB the connection is closed, and the client gets an error that names the backend."""

    async def endless(answer: Answer) -> None:
        await answer.head(200, "application/json")
        while True:
            await answer.chunk(bytes(1 << 20))

    reply, exchange = await relay.send(endless)
    assert "'up' sent a response of more than 64 MiB" in check_error(reply, 502)["message"]
    assert await asyncio.to_thread(exchange.closed.wait, HANG_SECONDS)
    assert exchange.sent < 80 << 20


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_before_the_status(impatient, stream):
    """Silence longer than ``silence_seconds`` is a timeout, and the upstream's connection is closed."""
    reply, exchange = await impatient.send(silent, "quick", stream=stream)
    assert "'quick'" in check_error(reply, 504)["message"]
    await wait_until(exchange.closed.is_set, "the close of the upstream")


async def test_silence_inside_a_message(impatient):
    """Half a response and then silence is a timeout, too."""

    async def script(answer: Answer) -> None:
        await answer.head(200, "application/json")
        await answer.chunk(b'{"type":"message"')
        await silent(answer)

    reply, exchange = await impatient.send(script, "quick")
    check_error(reply, 504)
    await wait_until(exchange.closed.is_set, "the close of the upstream")


def read(body: bytes) -> list[dict]:
    """Return the events that a client reads, without pings."""
    decoder = SSEDecoder()
    events = [*decoder.feed(body), *decoder.close()]
    return [json.loads(event.data) for event in events if event.event != "ping"]


def check_broken(body: bytes, before: list[dict], kind: str = "api_error", request_id: str | None = None) -> None:
    """Assert that the body is the events ``before`` and one error after them."""
    events = read(body)
    assert events[:-1] == before
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == kind
    assert events[-1]["error"]["message"]
    assert request_id is None or events[-1]["request_id"] == request_id
    for secret in SECRETS:
        assert secret not in body.decode(errors="replace")


FRAMES = text_frames("m", "Hello", " \u00e9\U0001f600 there")
WITHOUT_DELTA, WITHOUT_STOP = FRAMES[:-2], FRAMES[:-1]


def renamed(frames: list[bytes], model: str) -> list[dict]:
    return read(b"".join(frames).replace(b'"model": "m"', b'"model": "%s"' % model.encode()))


ENDINGS = {
    "cut_after_the_headers": ([], CUT),
    "clean_end_after_the_headers": ([], CLEAN),
    "cut_between_two_events": (WITHOUT_DELTA[:3], CUT),
    "clean_end_between_two_events": (WITHOUT_DELTA[:3], CLEAN),
    "clean_end_after_the_content": (WITHOUT_DELTA, CLEAN),
    "cut_after_message_delta": (WITHOUT_STOP, CUT),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("given", ["", "req_up"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
async def test_a_truncated_stream_ends_in_one_error(relay, name, line_end, given):
    """The events before it are unchanged; the error has the response's request id, and HTTP ends cleanly."""
    frames, end = ENDINGS[name]
    headers = {**EVENT_STREAM, "request-id": given}
    script = streamed(*(part.replace(b"\n", line_end) for part in frames), headers=headers, end=end)
    reply, exchange = await relay.send(script, stream=True)
    assert (reply.status, reply.ended) == (200, True)
    assert given in ("", reply.headers["request-id"])
    check_broken(reply.body, renamed(frames, f"up/{exchange.json['model']}"), request_id=reply.headers["request-id"])


async def test_a_truncated_chunk_ends_in_one_error(relay):
    """The connection drops inside an HTTP chunk."""

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.raw(b"ffff\r\n" + FRAMES[0] + FRAMES[1] + FRAMES[2][:30])
        answer.drop()

    reply, exchange = await relay.send(script, stream=True)
    assert reply.ended
    check_broken(reply.body, renamed(FRAMES[:2], f"up/{exchange.json['model']}"))


async def test_a_clean_end_after_message_delta_is_not_an_error(relay):
    """The response has its stop reason and usage; nothing is added."""
    reply, exchange = await relay.send(streamed(*WITHOUT_STOP), stream=True)
    assert read(reply.body) == renamed(WITHOUT_STOP, f"up/{exchange.json['model']}")


@pytest.mark.parametrize("comment", [b"", b": bye\n\n"])
async def test_a_dropped_connection_after_the_last_event_is_not_an_error(relay, comment):
    """The response was complete; only HTTP was not."""
    reply, _exchange = await relay.send(streamed(*FRAMES, *filter(None, [comment]), end=CUT), stream=True)
    assert read(reply.body)[-1]["type"] == "message_stop"


@pytest.mark.parametrize("end", [CUT, CLEAN])
async def test_no_error_is_added_after_an_error_event_of_the_upstream(relay, end):
    """Whether the upstream closes cleanly or not."""
    error_event = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"full"}}\n\n'
    reply, exchange = await relay.send(streamed(*FRAMES[:3], error_event, end=end), stream=True)
    events = read(reply.body)
    assert events[:-1] == renamed(FRAMES[:3], f"up/{exchange.json['model']}")
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "full"}
    assert reply.body.endswith(error_event)


async def test_a_stream_of_chat_completions_ends_in_an_error(relay):
    """Without the error, its end would look like success."""
    chunks = [b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', b"data: [DONE]\n\n"]
    reply, _exchange = await relay.send(streamed(*chunks), stream=True)
    assert reply.body.count(b"event: error\n") == 1 or reply.status == 502


@pytest.mark.parametrize("size", [1, 16, 10**6])
async def test_the_key_in_an_error_event_is_redacted(relay, size):
    """Only the key is replaced; the rest of the stream is unchanged."""
    error = {"type": "error", "error": {"type": "api_error", "message": f"no such key: {UPSTREAM_KEY}"}}
    raw_error = b"event: error\ndata: %s\n\n" % json.dumps(error).encode()
    parts = [raw_error[start : start + size] for start in range(0, len(raw_error), size)]
    reply, _exchange = await relay.send(streamed(*WITHOUT_DELTA, *parts), stream=True)
    events = read(reply.body)
    assert events[-1]["error"] == {"type": "api_error", "message": "no such key: [redacted]"}
    assert reply.body.count(b"event: error") == 1
    assert reply.body.startswith(b"".join(WITHOUT_DELTA[1:3]), reply.body.index(WITHOUT_DELTA[1]))
    assert b"sk-upstream-secret" not in reply.body


async def test_silence_in_the_middle_of_a_stream(impatient):
    """The client gets pings until the timeout, then a timeout error; the upstream's connection is closed."""

    async def script(answer: Answer) -> None:
        await answer.head()
        for part in FRAMES[:3]:
            await answer.chunk(part)
        await silent(answer)

    reply, exchange = await impatient.send(script, "quick", stream=True)
    check_broken(reply.body, renamed(FRAMES[:3], f"quick/{exchange.json['model']}"), "timeout_error")
    assert b"event: ping\n" in reply.body
    await wait_until(exchange.closed.is_set, "the close of the upstream")


async def test_silence_inside_an_event(impatient):
    """No ping is sent inside the half event, and one error follows it."""

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(FRAMES[0] + FRAMES[1] + FRAMES[2][:50])
        await silent(answer)

    reply, exchange = await impatient.send(script, "quick", stream=True)
    check_broken(reply.body, renamed(FRAMES[:2], f"quick/{exchange.json['model']}"), "timeout_error")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_stream_truncated_at_any_byte_is_readable(relay, end):
    """Inside names, escapes, line ends and characters: the official SDK reads the complete events, then raises."""
    frames = [part.replace(b"\n", end) for part in FRAMES[:1] + FRAMES[3:]]
    raw = b"".join(frames)

    async def check_at(model: str, at: int) -> None:
        relay.upstream.play(streamed(raw[:at], end=CUT), model)
        reply = await post(relay.url, request_body(f"up/{model}", stream=True))
        assert (reply.status, reply.ended) == (200, True)
        check_truncated(reply.body, [renamed(some, f"up/{model}") for some in complete_frames(frames, at)])

    last = raw.rindex(b"}") + 1
    for start in range(1, last, 16):
        await asyncio.gather(*(check_at(f"broken{at:04}", at) for at in range(start, min(start + 16, last))))


def complete_frames(frames: list[bytes], at: int) -> list[list[bytes]]:
    """Return the frames that are complete before byte ``at``; also with the next if only its line ends are missing."""
    complete: list[bytes] = []
    for part in frames:
        if at < len(part):
            data = part.rstrip(b"\r\n")
            return [complete, [*complete, part]] if at >= len(data) else [complete]
        complete.append(part)
        at -= len(part)
    return [complete]


def check_truncated(body: bytes, possible: list[list[dict]]) -> None:
    """Assert that a client and the official SDK read the complete events and one error after them."""
    events = read(body)
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["type"] == "error"
    assert events[:-1] in possible, body
    seen, error = sdk_events(body)
    assert seen == events[:-1], body
    assert isinstance(error, anthropic.APIStatusError), (body, error)
    assert error.body == events[-1]


def sdk_events(body: bytes):
    """Return the events that the official SDK reads from a stream, and the exception that it raises, or None."""

    def answer(_request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    seen = []
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        client = anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0)
        try:
            request = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            for event in client.messages.create(**request, stream=True):
                seen.append(event.to_dict())  # noqa: PERF401 - the events before a failure are kept
        except (anthropic.APIError, ValueError) as error:
            return seen, error
    return seen, None


@pytest.fixture
async def sdk(relay):
    async with anthropic.AsyncAnthropic(api_key="k", base_url=relay.url, max_retries=0) as client:
        yield client


SDK_CLASSES = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    404: anthropic.NotFoundError,
    413: anthropic.RequestTooLargeError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    529: anthropic.OverloadedError,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", ["messages", "openai", "html"])
@pytest.mark.parametrize("status", SDK_CLASSES)
async def test_the_official_sdk_raises_the_class_of_the_status(relay, sdk, status, shape, stream):
    """Whatever the format of the upstream's error."""
    bodies = {"messages": error_body(ERROR_TYPES[status][0], ERROR_TEXT), "html": b"<html>"}
    body = bodies.get(shape) or json.dumps(ERROR_SHAPES["openai"](status)).encode()
    model = relay.upstream.play(responds(body, status))
    with pytest.raises(SDK_CLASSES[status]) as caught:
        await sdk.messages.create(
            model=f"up/{model}", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], stream=stream
        )
    assert caught.value.type in ERROR_TYPES[status]
    assert caught.value.request_id


@pytest.mark.parametrize("cut", [0, 3, "inside", "silence"])
async def test_the_official_sdk_raises_an_error_in_the_middle_of_a_stream(relay, impatient, cut):
    """With its type, after the events before it."""

    async def script(answer: Answer) -> None:
        await answer.head()
        for part in FRAMES[: cut if isinstance(cut, int) else 3]:
            await answer.chunk(part)
        if cut == "inside":
            await answer.chunk(FRAMES[3][: FRAMES[3].index(b"\xf0") + 2])
        if cut == "silence":
            await silent(answer)
        answer.drop()

    to, stack = ("quick", impatient) if cut == "silence" else ("up", relay)
    sdk = anthropic.AsyncAnthropic(api_key="k", base_url=stack.url, max_retries=0)
    request = {
        "model": f"{to}/{relay.upstream.play(script)}",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    seen = []
    with pytest.raises(anthropic.APIStatusError) as caught:  # noqa: PT012 - raised by the iteration
        async with sdk, asyncio.timeout(HANG_SECONDS):
            async for event in await sdk.messages.create(**request, stream=True):
                seen.append(event.type)  # noqa: PERF401 - the events before the failure are kept
    assert len(seen) == (cut if isinstance(cut, int) else 3)
    assert caught.value.type == ("timeout_error" if cut == "silence" else "api_error")


async def test_no_failure_logs_a_traceback(relay):
    """A rendered traceback would stop the server for seconds. This test runs last: it checks the log of all above."""
    await relay.send(raw(b"garbage\r\n\r\n"))
    assert "Traceback" not in relay.process.log
    assert "sk-upstream-secret" not in relay.process.log
