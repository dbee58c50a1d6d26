"""What goes wrong at an upstream that speaks the Messages API, as the client sees it."""

import asyncio
import json

import anthropic
import httpx2
import pytest

from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.native_upstream import (
    CLEAN,
    CUT,
    PATIENCE,
    Answer,
    ask,
    assert_same,
    error_body,
    message,
    post,
    raw,
    silent,
    spoken,
    streamed,
    until,
    whole,
)

pytestmark = pytest.mark.integration

TYPES = {
    400: {"invalid_request_error"},
    401: {"authentication_error"},
    402: {"billing_error"},
    403: {"permission_error"},
    404: {"not_found_error"},
    409: {"conflict_error"},
    413: {"request_too_large"},
    422: {"invalid_request_error"},
    429: {"rate_limit_error"},
    500: {"api_error"},
    502: {"api_error"},
    503: {"api_error", "overloaded_error"},
    504: {"timeout_error"},
    529: {"overloaded_error"},
}
"""What an error of a status may be called."""
TEXT = "Not today: come back later."
HINTS = {
    "retry_after": "7",
    "retry_after_ms": "7000",
    "anthropic_ratelimit_requests_remaining": "3",
    "x_should_retry": "true",
    "set_cookie": "a=b",
    "server": "upstream",
}
SECRETS = ("sk-upstream", "127.0.0.1", "localhost", "nowhere.invalid")

SHAPES = {
    "openai": lambda status: {"error": {"message": TEXT, "type": "SomeError", "param": None, "code": status}},
    "openai_worded": lambda status: {"error": {"message": TEXT, "type": "server_error", "code": "engine_busy"}},
    "vllm_old": lambda status: {"object": "error", "message": TEXT, "type": "SomeError", "param": None, "code": status},
    "llama_cpp": lambda status: {"error": {"code": status, "message": TEXT, "type": "some_error"}},
    "fastapi": lambda status: {"detail": TEXT},
    "text": lambda status: {"error": TEXT},
}


def check_error(reply, status):
    """Assert status and envelope; return the error."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    body = reply.json
    assert body["type"] == "error"
    assert set(body) == {"type", "error", "request_id"}
    assert body["request_id"] == reply.headers["request-id"]
    assert body["error"]["type"] in TYPES[status]
    assert body["error"]["message"]
    for secret in SECRETS:
        assert secret not in reply.body.decode()
        assert secret not in json.dumps(reply.headers)
    return body["error"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", TYPES)
async def test_an_error_of_the_api_is_passed_as_sent(relay, status, stream):
    """Status and bytes are those of the upstream, with its hints and its request id, and none of its other headers."""
    kind = min(TYPES[status])
    body = error_body(kind, TEXT).replace(b'"type": "error"', b'"type" : "error", "future": 1.0')
    reply, _exchange = await relay.say(whole(body, status, **HINTS, request_id="req_up"), stream=stream)
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
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 503, 529])
async def test_another_error_is_put_into_the_envelope(relay, shape, status, stream):
    """Status, words and hints stay; the type is the API's for that status."""
    body = json.dumps(SHAPES[shape](status)).encode()
    reply, _exchange = await relay.say(whole(body, status, retry_after="7"), stream=stream)
    assert TEXT in check_error(reply, status)["message"]
    assert reply.headers["retry-after"] == "7"


@pytest.mark.parametrize("to", ["up", "forwarding"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_keep_status_and_words(relay, shape, status, to):
    """Whose they were, the upstream does not know; where they are the client's, only its words help the client."""
    reply, _exchange = await relay.say(whole(json.dumps(SHAPES[shape](status)).encode(), status), to)
    assert TEXT in check_error(reply, status)["message"]


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
async def test_an_error_without_words_gets_some(relay, status, body, kind, stream):
    """HTML, nothing and garbage keep their status; no markup reaches the client."""
    reply, _exchange = await relay.say(whole(body, status, kind), stream=stream)
    assert "<" not in check_error(reply, status)["message"]


async def test_a_secret_in_the_words_of_an_upstream_stays_inside(relay):
    """Keys and addresses that a backend's error repeats."""
    text = "Go away: key sk-upstream-secret-0123456789 at http://10.0.0.7:8000/v1"
    reply, _exchange = await relay.say(whole(json.dumps({"error": {"message": text}}).encode(), 400))
    assert "10.0.0.7" not in check_error(reply, 400)["message"]


CANNOT = {"refusing": 502, "nameless": 502, "tls": 502, "full": 504}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("to", CANNOT)
async def test_an_upstream_that_cannot_be_reached(relay, to, stream):
    """The message names the backend by its id; its address and the key stay inside, in the log too."""
    reply = await post(relay.url, ask(f"{to}/m", stream))
    assert f"'{to}'" in check_error(reply, CANNOT[to])["message"]
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
    ids=["nothing", "ssh", "half_a_status", "half_a_head", "bad_version", "tls", "html", "endless_head"],
)
async def test_garbage_in_place_of_http(relay, answer, stream):
    """Bytes that are no response, or the beginning of one; asked once."""
    reply, _exchange = await relay.say(raw(answer), stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_that_comes_before_the_request_is_read(relay, stream):
    """Servers refuse what is too long without reading it; the client gets their words and not a broken connection."""
    relay.upstream.hasty["hasty"] = whole(error_body("request_too_large", TEXT), 413)
    reply = await post(relay.url, ask("hasty/m", stream, system="x" * 8_000_000))
    assert (reply.status, reply.json["error"]) == (413, {"type": "request_too_large", "message": TEXT})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
async def test_a_redirect_is_not_followed(relay, status, stream):
    """Neither to the same server nor elsewhere: the key would go along."""
    others = len(relay.upstream.others)
    location = relay.upstream.url("trap") + "/messages"
    reply, _exchange = await relay.say(whole(b"", status, location=location), stream=stream)
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
async def test_a_200_that_is_no_message(relay, body, kind, stream):
    """Is a failure of the upstream, and none of it is shown."""
    reply, _exchange = await relay.say(whole(body, 200, kind), stream=stream)
    assert "'up'" in check_error(reply, 502)["message"]


@pytest.mark.parametrize("framing", ["chunked", "content-length"])
@pytest.mark.parametrize("part", [0, 1, 40])
async def test_a_message_that_breaks_off(relay, framing, part):
    """A whole reply is whole or a failure."""
    body = json.dumps(message("m")).encode()

    async def script(answer: Answer) -> None:
        more = [("content-length", str(len(body)))] if framing == "content-length" else []
        await answer.head(200, "application/json", *more)
        if part:
            await (answer.raw if more else answer.chunk)(body[:part])
        answer.drop()

    reply, _exchange = await relay.say(script)
    assert "'up'" in check_error(reply, 502)["message"]


async def test_an_answer_without_end(relay):
    """It is left behind 64 MiB, as an error that names the backend."""

    async def endless(answer: Answer) -> None:
        await answer.head(200, "application/json")
        while True:
            await answer.chunk(bytes(1 << 20))

    reply, exchange = await relay.say(endless)
    assert "'up' sent a response of more than 64 MiB" in check_error(reply, 502)["message"]
    assert await asyncio.to_thread(exchange.closed.wait, PATIENCE)
    assert exchange.sent < 80 << 20


@pytest.mark.parametrize("stream", [False, True])
async def test_silence_before_the_status(lively, stream):
    """More of it than the provider is granted is a timeout; the upstream's connection is closed."""
    reply, exchange = await lively.say(silent, "quick", stream=stream)
    assert "'quick'" in check_error(reply, 504)["message"]
    await until(exchange.closed.is_set, "the close of the upstream", 2)


async def test_silence_inside_of_a_message(lively):
    """Half a reply and then nothing is a timeout too."""

    async def script(answer: Answer) -> None:
        await answer.head(200, "application/json")
        await answer.chunk(b'{"type":"message"')
        await silent(answer)

    reply, exchange = await lively.say(script, "quick")
    check_error(reply, 504)
    await until(exchange.closed.is_set, "the close of the upstream", 2)


def read(body: bytes) -> list[dict]:
    """Return the events a client reads; what it skips by its name need not be JSON."""
    decoder = SSEDecoder()
    events = [*decoder.feed(body), *decoder.close()]
    return [json.loads(event.data) for event in events if event.event != "ping"]


def check_broken(body: bytes, before: list[dict], kind: str = "api_error", request_id: str | None = None) -> None:
    """Assert that these events came whole, and one error behind them."""
    events = read(body)
    assert events[:-1] == before
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["type"] == kind
    assert events[-1]["error"]["message"]
    assert request_id is None or events[-1]["request_id"] == request_id
    for secret in SECRETS:
        assert secret not in body.decode(errors="replace")


FRAMES = spoken("m", "Hello", " \u00e9\U0001f600 there")
CONTENT, DELTA = FRAMES[:-2], FRAMES[:-1]


def renamed(frames: list[bytes], model: str) -> list[dict]:
    return read(b"".join(frames).replace(b'"model": "m"', b'"model": "%s"' % model.encode()))


ENDINGS = {
    "cut_behind_the_headers": ([], CUT),
    "clean_end_behind_the_headers": ([], CLEAN),
    "cut_between_two_events": (CONTENT[:3], CUT),
    "clean_end_between_two_events": (CONTENT[:3], CLEAN),
    "clean_end_behind_the_content": (CONTENT, CLEAN),
    "cut_behind_message_delta": (DELTA, CUT),
}


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("given", ["", "req_up"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_stream_that_breaks_off_ends_in_one_error(relay, name, end, given):
    """What came stays as it was, then the error, with the request id of the reply, and a clean end of HTTP."""
    frames, ends = ENDINGS[name]
    script = streamed(*(part.replace(b"\n", end) for part in frames), ends=ends, request_id=given)
    reply, exchange = await relay.say(script, stream=True)
    assert (reply.status, reply.ended) == (200, True)
    assert given in ("", reply.headers["request-id"])
    check_broken(reply.body, renamed(frames, f"up/{exchange.json['model']}"), request_id=reply.headers["request-id"])


async def test_a_chunk_that_breaks_off_ends_in_one_error(relay):
    """The connection drops inside of an HTTP chunk."""

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.raw(b"ffff\r\n" + FRAMES[0] + FRAMES[1] + FRAMES[2][:30])
        answer.drop()

    reply, exchange = await relay.say(script, stream=True)
    assert reply.ended
    check_broken(reply.body, renamed(FRAMES[:2], f"up/{exchange.json['model']}"))


async def test_a_clean_end_behind_message_delta_is_an_end(relay):
    """The answer has its stop reason and its usage; nothing is added."""
    reply, exchange = await relay.say(streamed(*DELTA), stream=True)
    assert read(reply.body) == renamed(DELTA, f"up/{exchange.json['model']}")


@pytest.mark.parametrize("behind", [b"", b": bye\n\n"])
async def test_a_connection_that_drops_behind_the_last_event_is_no_error(relay, behind):
    """The answer was complete; only HTTP was not."""
    reply, _exchange = await relay.say(streamed(*FRAMES, *filter(None, [behind]), ends=CUT), stream=True)
    assert read(reply.body)[-1]["type"] == "message_stop"


@pytest.mark.parametrize("ends", [CUT, CLEAN])
async def test_an_error_of_the_upstream_itself_is_the_only_one(relay, ends):
    """Whether the upstream then closes cleanly or not."""
    own = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"full"}}\n\n'
    reply, exchange = await relay.say(streamed(*FRAMES[:3], own, ends=ends), stream=True)
    events = read(reply.body)
    assert events[:-1] == renamed(FRAMES[:3], f"up/{exchange.json['model']}")
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "full"}
    assert reply.body.endswith(own)


async def test_a_stream_in_another_dialect_ends_in_an_error(relay):
    """Chunks of chat completions are no Messages stream; its end would look like success."""
    chunks = [b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n', b"data: [DONE]\n\n"]
    reply, _exchange = await relay.say(streamed(*chunks), stream=True)
    assert reply.body.count(b"event: error\n") == 1 or reply.status == 502


@pytest.mark.parametrize("size", [1, 16, 10**6])
async def test_the_key_in_an_error_event_stays_inside(relay, size):
    """The key is taken out of the event that ends a stream; the rest passes as it was sent."""
    error = {"type": "error", "error": {"type": "api_error", "message": "no such key: sk-upstream-secret-0123456789"}}
    whole_error = b"event: error\ndata: %s\n\n" % json.dumps(error).encode()
    parts = [whole_error[start : start + size] for start in range(0, len(whole_error), size)]
    reply, _exchange = await relay.say(streamed(*CONTENT, *parts), stream=True)
    events = read(reply.body)
    assert events[-1]["error"] == {"type": "api_error", "message": "no such key: [redacted]"}
    assert reply.body.count(b"event: error") == 1
    assert reply.body.startswith(b"".join(CONTENT[1:3]), reply.body.index(CONTENT[1]))
    assert b"sk-upstream-secret" not in reply.body


async def test_silence_in_the_middle_of_a_stream(lively):
    """Pings as long as it may last, then an error of a timeout; the upstream's connection is closed."""

    async def script(answer: Answer) -> None:
        await answer.head()
        for part in FRAMES[:3]:
            await answer.chunk(part)
        await silent(answer)

    reply, exchange = await lively.say(script, "quick", stream=True)
    check_broken(reply.body, renamed(FRAMES[:3], f"quick/{exchange.json['model']}"), "timeout_error")
    assert b"event: ping\n" in reply.body
    await until(exchange.closed.is_set, "the close of the upstream", 2)


async def test_silence_inside_of_an_event(lively):
    """Half an event and then nothing: no ping inside of it, one error behind it."""

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(FRAMES[0] + FRAMES[1] + FRAMES[2][:50])
        await silent(answer)

    reply, exchange = await lively.say(script, "quick", stream=True)
    check_broken(reply.body, renamed(FRAMES[:2], f"quick/{exchange.json['model']}"), "timeout_error")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
async def test_a_stream_cut_at_any_byte_stays_readable(relay, end):
    """Inside of names, escapes, line ends and characters: the official SDK reads what came whole, then raises."""
    frames = [part.replace(b"\n", end) for part in FRAMES[:1] + FRAMES[3:]]
    raw = b"".join(frames)

    async def one(model: str, at: int) -> None:
        relay.upstream.play(streamed(raw[:at], ends=CUT), model)
        reply = await post(relay.url, ask(f"up/{model}", stream=True))
        assert (reply.status, reply.ended) == (200, True)
        check_cut(reply.body, [renamed(some, f"up/{model}") for some in came(frames, at)])

    last = raw.rindex(b"}") + 1
    for start in range(1, last, 16):
        await asyncio.gather(*(one(f"broken{at:04}", at) for at in range(start, min(start + 16, last))))


def came(frames: list[bytes], at: int) -> list[list[bytes]]:
    """Return the frames that are whole in a stream cut there; also with the next one if only line ends are missing."""
    sure: list[bytes] = []
    for part in frames:
        if at < len(part):
            data = part.rstrip(b"\r\n")
            return [sure, [*sure, part]] if at >= len(data) else [sure]
        sure.append(part)
        at -= len(part)
    return [sure]


def check_cut(body: bytes, possible: list[list[dict]]) -> None:
    """Assert that a client reads the events that came whole and an error behind them, and the official SDK too."""
    events = read(body)
    assert [event["type"] for event in events].count("error") == 1
    assert events[-1]["type"] == "error"
    assert events[:-1] in possible, body
    seen, problem = sdk_events(body)
    assert seen == events[:-1], body
    assert isinstance(problem, anthropic.APIStatusError), (body, problem)
    assert problem.body == events[-1]


def sdk_events(body: bytes):
    """Return what the official SDK reads of a stream, and what it raises."""

    def answer(_request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    seen = []
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        client = anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0)
        try:
            asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
            for event in client.messages.create(**asked, stream=True):
                seen.append(event.to_dict())  # noqa: PERF401 - what came before a failure counts
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
    """Whatever shape the upstream's error had."""
    bodies = {"messages": error_body(min(TYPES[status]), TEXT), "html": b"<html>"}
    body = bodies.get(shape) or json.dumps(SHAPES["openai"](status)).encode()
    model = relay.upstream.play(whole(body, status))
    with pytest.raises(SDK_CLASSES[status]) as caught:
        await sdk.messages.create(
            model=f"up/{model}", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], stream=stream
        )
    assert caught.value.type in TYPES[status]
    assert caught.value.request_id


@pytest.mark.parametrize("cut", [0, 3, "inside", "silence"])
async def test_the_official_sdk_raises_an_error_of_the_middle(relay, lively, cut):
    """With its type, after the events that came."""

    async def script(answer: Answer) -> None:
        await answer.head()
        for part in FRAMES[: cut if isinstance(cut, int) else 3]:
            await answer.chunk(part)
        if cut == "inside":
            await answer.chunk(FRAMES[3][: FRAMES[3].index(b"\xf0") + 2])
        if cut == "silence":
            await silent(answer)
        answer.drop()

    to, stack = ("quick", lively) if cut == "silence" else ("up", relay)
    sdk = anthropic.AsyncAnthropic(api_key="k", base_url=stack.url, max_retries=0)
    asked = {
        "model": f"{to}/{relay.upstream.play(script)}",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }
    seen = []
    with pytest.raises(anthropic.APIStatusError) as caught:  # noqa: PT012 - raised by the iteration
        async with sdk, asyncio.timeout(PATIENCE):
            async for event in await sdk.messages.create(**asked, stream=True):
                seen.append(event.type)  # noqa: PERF401 - what came before the failure counts
    assert len(seen) == (cut if isinstance(cut, int) else 3)
    assert caught.value.type == ("timeout_error" if cut == "silence" else "api_error")


async def test_no_failure_logs_a_traceback(relay):
    """A rendered traceback would stop the server for seconds; runs last, over everything above."""
    await relay.say(raw(b"garbage\r\n\r\n"))
    assert "Traceback" not in relay.process.log
    assert "sk-upstream-secret" not in relay.process.log
