"""The streaming response, on ASGI with scripted upstreams."""

import asyncio
import json
import signal

import pytest

from llama_stack_api_messages.api import Call, MessageReply, PendingStream, StreamReply
from llama_stack_api_messages.errors import OverloadedError, RateLimitError
from llama_stack_api_messages.streaming.response import EventStream
from llama_stack_api_messages.streaming.sse import PING, TAIL_BYTES, encode_event, unfinished_frame
from llama_stack_api_messages.streaming.stop import ended_by_signals

CALL = Call("req_1")
FRAME = encode_event({"type": "message_start"})
LONG = 30.0
SHORT = 0.02


class Client:
    """An ASGI client: records what is sent and may go away."""

    def __init__(self):
        self.messages = []
        self.gone = asyncio.Event()
        self.got = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.messages.append(message)
        self.got.set()

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.messages)


def reply(frames):
    async def open_stream():
        return StreamReply(frames, {"x-extra": "1"})

    return open_stream


async def respond(open_stream, ping_seconds=LONG):
    client = Client()
    await EventStream(open_stream, CALL, ping_seconds)({"type": "http"}, client.receive, client.send)
    return client


async def test_frames_that_are_ready_together_are_sent_together():
    """A burst of frames is sent in few writes, in order and complete."""

    async def frames():
        for number in range(100):
            yield b"%d\n\n" % number

    client = await respond(reply(frames()))
    assert client.body == b"".join(b"%d\n\n" % number for number in range(100))
    assert len(client.messages) < 20
    assert client.headers["request-id"] == "req_1"
    assert client.headers["x-extra"] == "1"


async def test_an_error_before_the_stream_keeps_its_status():
    """An error before the upstream has accepted is an ordinary HTTP error."""

    async def refuse():
        raise RateLimitError("slow down", headers={"retry-after": "3"})

    client = await respond(refuse)
    assert client.status == 429
    assert client.headers["retry-after"] == "3"
    assert json.loads(client.body)["error"]["type"] == "rate_limit_error"


async def test_an_error_inside_the_stream_is_the_last_event():
    """Frames read before it are sent first."""

    async def frames():
        yield FRAME
        raise OverloadedError("no capacity")

    client = await respond(reply(frames()))
    assert client.status == 200
    assert client.body.startswith(FRAME)
    assert client.body.endswith(encode_event(OverloadedError("no capacity").body("req_1")))


async def test_an_unexpected_exception_does_not_leak_its_text():
    """It becomes an api_error."""

    async def frames():
        yield FRAME
        raise RuntimeError("secret")

    client = await respond(reply(frames()))
    assert b"secret" not in client.body
    assert b'"api_error"' in client.body


async def test_silence_before_the_upstream_responds_is_filled_with_pings():
    """Headers and a ping go out after the interval; the response follows."""
    accepted = asyncio.Event()

    async def frames():
        yield FRAME

    async def open_stream():
        await accepted.wait()
        return StreamReply(frames())

    client = Client()
    stream = EventStream(open_stream, CALL, SHORT, open_seconds=SHORT)
    task = asyncio.create_task(stream({}, client.receive, client.send))
    while PING * 3 not in client.body:
        client.got.clear()
        await client.got.wait()
    accepted.set()
    await task
    assert client.body.endswith(FRAME)
    assert client.body.removesuffix(FRAME).replace(PING, b"") == b""


async def test_no_ping_is_sent_during_lane_selection():
    """A backend may have to be probed first, and its error has to be the status."""

    async def open_stream():
        await asyncio.sleep(SHORT * 5)
        assert client.messages == []
        raise OverloadedError("later")

    client = Client()
    await EventStream(open_stream, CALL, SHORT)({"type": "http"}, client.receive, client.send)
    assert client.status == 529


async def test_no_ping_is_sent_inside_a_frame():
    """After half a frame no ping is sent."""
    rest = asyncio.Event()

    async def frames():
        yield FRAME[:5]
        await rest.wait()
        yield FRAME[5:]

    client = Client()
    task = asyncio.create_task(EventStream(reply(frames()), CALL, SHORT)({}, client.receive, client.send))
    await asyncio.sleep(SHORT * 4)
    rest.set()
    await task
    assert client.body == FRAME


async def test_a_disconnect_closes_the_upstream():
    """The generator ends before the response returns."""
    closed = []

    async def frames():
        try:
            yield FRAME
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    client = Client()
    task = asyncio.create_task(EventStream(reply(frames()), CALL, LONG)({}, client.receive, client.send))
    while FRAME not in client.body:
        client.got.clear()
        await client.got.wait()
    client.gone.set()
    await task
    assert closed == [True]


async def test_a_disconnect_before_the_response_cancels_the_call():
    """A disconnect cancels the call, also before the upstream has accepted the request."""
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def open_stream():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    client = Client()
    task = asyncio.create_task(EventStream(open_stream, CALL, LONG)({}, client.receive, client.send))
    await started.wait()
    client.gone.set()
    await task
    assert cancelled.is_set()
    assert client.messages == []


async def test_a_call_that_is_cancelled_from_within_is_an_error():
    """It does not end as a silent success, before or after the first frame."""

    async def cancelled():
        raise asyncio.CancelledError

    async def frames():
        yield FRAME
        raise asyncio.CancelledError

    assert (await respond(cancelled)).status == 500
    assert (await respond(reply(frames()))).body.startswith(FRAME + b"event: error\n")


async def test_a_header_that_http_cannot_carry_is_left_out():
    """The stream is sent without it."""

    async def frames():
        yield FRAME

    async def open_stream():
        return StreamReply(frames(), {"x-odd": "\u20ac", "x-fine": "1"})

    client = await respond(open_stream)
    assert client.body == FRAME
    assert "x-odd" not in client.headers
    assert client.headers["x-fine"] == "1"


async def test_a_bug_before_the_first_byte_is_an_error_response():
    """Its text is not shown."""

    async def frames():
        yield FRAME

    async def open_stream():
        return StreamReply(frames(), {"x-odd": 7})

    client = await respond(open_stream)
    assert client.status == 500


async def test_a_slow_client_stops_the_reading():
    """Read-ahead is bounded, however fast the upstream is."""
    produced = 0
    release = asyncio.Event()

    async def frames():
        nonlocal produced
        for _ in range(1000):
            produced += 1
            yield b"x" * 8192

    class SlowClient(Client):
        async def send(self, message):
            await super().send(message)
            await release.wait()

    client = SlowClient()
    task = asyncio.create_task(EventStream(reply(frames()), CALL, LONG)({}, client.receive, client.send))
    for _ in range(200):
        await asyncio.sleep(0)
    assert produced < 100
    release.set()
    await task
    assert len(client.body) == 1000 * 8192


async def test_a_library_client_iterates_the_same_bytes():
    """Without HTTP the body iterator yields the frames."""

    async def frames():
        yield FRAME
        yield PING

    stream = EventStream(reply(frames()), CALL, LONG)
    tasks = len(asyncio.all_tasks())
    chunks = []
    async for chunk in stream.body_iterator:
        chunks.append(chunk)
        assert len(asyncio.all_tasks()) == tasks, "the library client waits for every task when a stream is left"
    assert b"".join(chunks) == FRAME + PING


async def test_a_library_client_gets_errors_as_events():
    """It has no status."""

    async def refuse():
        raise RateLimitError("slow down")

    stream = EventStream(refuse, CALL, LONG)
    assert [chunk async for chunk in stream.body_iterator] == [encode_event(RateLimitError("slow down").body("req_1"))]


def relayed(*chunks, headers=None):
    """A reply whose frames are the upstream's own chunks; an exception among them is raised."""

    async def frames():
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    return StreamReply(frames(), headers or {}, relayed=True)


def pending(connect, *, status_first, headers=None):
    async def open_stream():
        return PendingStream(connect, headers or {}, status_first)

    return open_stream


def parts(client):
    return [message["body"] for message in client.messages if message["type"] == "http.response.body"]


async def wait_until(client, condition):
    while not condition():
        client.got.clear()
        await client.got.wait()


async def test_relayed_chunks_are_sent_one_by_one():
    """Wherever the upstream cut them, and also if several are ready."""
    chunks = [FRAME[:5], FRAME[5:] + FRAME, b"\n", FRAME]

    async def open_stream():
        return relayed(*chunks)

    client = await respond(open_stream)
    assert parts(client) == [*chunks, b""]
    assert [message.get("more_body") for message in client.messages] == [None, True, True, True, True, False]


async def test_a_relayed_stream_without_chunks_is_an_empty_success():
    """The lane decides whether that is an error."""

    async def open_stream():
        return relayed()

    client = await respond(open_stream)
    assert (client.status, parts(client)) == (200, [b""])


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_fast_pending_stream_has_the_headers_of_its_reply(status_first):
    """Not those that were known before."""

    async def connect():
        return relayed(FRAME, headers={"x-late": "1"})

    client = await respond(pending(connect, status_first=status_first, headers={"x-early": "1"}))
    assert client.body == FRAME
    assert client.headers["x-late"] == "1"
    assert "x-early" not in client.headers


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_fast_error_of_a_pending_stream_keeps_its_status(status_first):
    """Nothing has been sent before it."""

    async def connect():
        raise RateLimitError("slow down", headers={"retry-after": "3"})

    client = await respond(pending(connect, status_first=status_first))
    assert (client.status, client.headers["retry-after"]) == (429, "3")


async def test_with_status_first_nothing_is_sent_before_the_status():
    """However long the upstream is silent: its error keeps its status."""

    async def connect():
        await asyncio.sleep(SHORT * 5)
        assert client.messages == []
        raise OverloadedError("later")

    client = Client()
    await EventStream(pending(connect, status_first=True), CALL, SHORT)({"type": "http"}, client.receive, client.send)
    assert client.status == 529
    assert PING not in client.body


async def test_without_status_first_pings_are_sent_before_the_status():
    """With the headers known so far; an error is then an event with the request id that was sent."""
    refused = asyncio.Event()

    async def connect():
        await refused.wait()
        raise OverloadedError("later", headers={"x-late": "1"})

    client = Client()
    headers = {"x-early": "1", "request-id": "req_early"}
    open_stream = pending(connect, status_first=False, headers=headers)
    task = asyncio.create_task(EventStream(open_stream, CALL, SHORT)({}, client.receive, client.send))
    await wait_until(client, lambda: PING * 2 in client.body)
    refused.set()
    await task
    assert (client.status, client.headers["x-early"], client.headers["request-id"]) == (200, "1", "req_early")
    assert client.body.replace(PING, b"") == encode_event(OverloadedError("later").body("req_early"))
    assert sum(message["type"] == "http.response.start" for message in client.messages) == 1


async def test_a_reply_after_early_pings_does_not_start_a_second_response():
    """Its headers come too late."""
    accepted = asyncio.Event()

    async def connect():
        await accepted.wait()
        return relayed(FRAME, headers={"x-late": "1"})

    client = Client()
    open_stream = pending(connect, status_first=False)
    task = asyncio.create_task(EventStream(open_stream, CALL, SHORT)({}, client.receive, client.send))
    await wait_until(client, lambda: PING in client.body)
    accepted.set()
    await task
    assert client.body.replace(PING, b"") == FRAME
    assert "x-late" not in client.headers
    assert sum(message["type"] == "http.response.start" for message in client.messages) == 1


@pytest.mark.parametrize("given", [{}, {"request-id": "req_upstream"}])
@pytest.mark.parametrize("kept", [True, False])
async def test_the_request_id_of_an_error_event_is_that_of_the_response(given, kept):
    """The upstream's if it was sent, else this server's."""

    async def open_stream():
        reply = relayed(FRAME, OverloadedError("later"), headers=given)
        return reply if kept else StreamReply(reply.frames, given)

    client = await respond(open_stream)
    request_id = given.get("request-id", "req_1")
    assert client.headers["request-id"] == request_id
    assert client.body == FRAME + encode_event(OverloadedError("later").body(request_id))


@pytest.mark.parametrize("chunks", [[FRAME[:9]], [FRAME, FRAME[:-1]], [b"data: \xe4\xbd"], [FRAME[:9], FRAME[9:]]])
@pytest.mark.parametrize("one_by_one", [True, False])
async def test_an_error_after_a_truncated_frame_is_a_frame_of_its_own(chunks, one_by_one):
    """The truncated frame is completed first; a complete one is left alone."""

    async def open_stream():
        reply = relayed(*chunks, OverloadedError("later"))
        return reply if one_by_one else StreamReply(reply.frames)

    client = await respond(open_stream)
    sent = b"".join(chunks)
    assert client.body == sent + unfinished_frame(sent[-TAIL_BYTES:]) + encode_event(
        OverloadedError("later").body("req_1")
    )
    assert parts(client)[-1] == b""


async def test_no_ping_is_sent_inside_a_relayed_frame():
    """Between two frames pings are sent."""
    rest = asyncio.Event()

    async def frames():
        yield FRAME
        await rest.wait()
        yield FRAME[:5]
        await asyncio.sleep(SHORT * 5)
        yield FRAME[5:]

    async def open_stream():
        return StreamReply(frames(), relayed=True)

    client = Client()
    task = asyncio.create_task(EventStream(open_stream, CALL, SHORT)({}, client.receive, client.send))
    await wait_until(client, lambda: client.body.endswith(PING))
    rest.set()
    await task
    sent = [part for part in parts(client) if part != PING]
    assert sent == [FRAME, FRAME[:5], FRAME[5:], b""]
    assert FRAME[:5] + FRAME[5:] in client.body


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_disconnect_before_the_status_cancels_the_call(status_first):
    """With status first or not; nothing is sent after it."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def connect():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    client = Client()
    open_stream = pending(connect, status_first=status_first)
    task = asyncio.create_task(EventStream(open_stream, CALL, LONG)({}, client.receive, client.send))
    await started.wait()
    client.gone.set()
    await task
    assert cancelled.is_set()
    assert client.messages == []


async def test_a_disconnect_from_a_relayed_stream_closes_the_upstream():
    """Before the response returns, and no task is left."""
    closed = []

    async def frames():
        try:
            yield FRAME
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    async def open_stream():
        return StreamReply(frames(), relayed=True)

    client = Client()
    before = asyncio.all_tasks()
    task = asyncio.create_task(EventStream(open_stream, CALL, LONG)({}, client.receive, client.send))
    await wait_until(client, lambda: FRAME in client.body)
    client.gone.set()
    await task
    assert closed == [True]
    assert asyncio.all_tasks() == before


async def test_a_message_reply_to_a_stream_request_is_an_error():
    """A bug of the implementation."""

    async def open_stream():
        return MessageReply(b"{}")

    client = await respond(open_stream)
    assert client.status == 500
    assert b"MessageReply" not in client.body


@pytest.mark.parametrize("status_first", [True, False])
async def test_a_library_client_waits_for_a_pending_stream(status_first):
    """It gets the chunks, or the error as an event."""

    async def connect():
        return relayed(FRAME[:5], FRAME[5:])

    async def refuse():
        raise RateLimitError("slow down")

    stream = EventStream(pending(connect, status_first=status_first), CALL, LONG)
    assert [chunk async for chunk in stream.body_iterator] == [FRAME[:5], FRAME[5:]]
    stream = EventStream(pending(refuse, status_first=status_first), CALL, LONG)
    assert [chunk async for chunk in stream.body_iterator] == [encode_event(RateLimitError("slow down").body("req_1"))]


async def test_an_error_after_a_truncated_frame_is_a_frame_of_its_own_for_a_library_client():
    """It reads the same bytes as a client over HTTP."""

    async def open_stream():
        return relayed(FRAME[:9], OverloadedError("later"))

    stream = EventStream(open_stream, CALL, LONG)
    got = b"".join([chunk async for chunk in stream.body_iterator])
    ended = FRAME[:9] + unfinished_frame(FRAME[:9][-TAIL_BYTES:])
    assert got == ended + encode_event(OverloadedError("later").body("req_1"))


async def test_silence_between_two_frames_is_filled_with_pings():
    """In a stream of our own frames; after the last one the stream ends."""
    rest, end = asyncio.Event(), asyncio.Event()

    async def frames():
        yield FRAME
        await rest.wait()
        yield FRAME
        await end.wait()

    client = Client()
    task = asyncio.create_task(EventStream(reply(frames()), CALL, SHORT)({}, client.receive, client.send))
    await wait_until(client, lambda: client.body == FRAME + PING * 2)
    rest.set()
    await wait_until(client, lambda: client.body.endswith(FRAME + PING))
    end.set()
    await task
    assert [part for part in parts(client) if part != PING] == [FRAME, FRAME, b""]


async def test_a_stream_ends_with_an_error_event_when_the_server_stops():
    """The signal handler of the server is called, too, and the upstream's stream is closed."""
    server_signals, closed = [], asyncio.Event()

    async def frames():
        try:
            yield FRAME
            await asyncio.Event().wait()
        finally:
            closed.set()

    before = signal.signal(signal.SIGTERM, lambda number, frame: server_signals.append(number))
    try:
        with ended_by_signals():
            client = Client()
            stream = EventStream(reply(frames()), CALL, LONG)
            responding = asyncio.create_task(stream({"type": "http"}, client.receive, client.send))
            while FRAME not in client.body:
                client.got.clear()
                await client.got.wait()
            signal.raise_signal(signal.SIGTERM)
            await responding
    finally:
        signal.signal(signal.SIGTERM, before)
    event = client.body.removeprefix(FRAME)
    assert event.startswith(b"event: error\n")
    error = json.loads(event.split(b"data: ")[1])["error"]
    assert error == {"type": "overloaded_error", "message": "The server is stopping; send the request again"}
    assert client.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert server_signals == [signal.SIGTERM]
    assert closed.is_set()


async def test_a_stream_that_has_not_begun_gets_the_error_as_its_status_when_the_server_stops():
    """The upstream had not answered yet."""
    begun = asyncio.Event()

    async def open_stream():
        begun.set()
        await asyncio.Event().wait()

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with ended_by_signals():
            responding = asyncio.create_task(respond(open_stream))
            await begun.wait()
            signal.raise_signal(signal.SIGTERM)
            client = await responding
    finally:
        signal.signal(signal.SIGTERM, before)
    assert client.status == 529


async def test_a_stream_that_begins_after_the_signal_ends_at_once():
    """Its request was being read when the signal arrived."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGTERM)
            client = await respond(asyncio.Event().wait)
        assert client.status == 529
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_the_signal_handlers_of_the_server_are_restored():
    """They are those of before once its lifespan has ended; without a handler none is installed."""
    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background jobs ignore it
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with ended_by_signals():
            assert signal.getsignal(signal.SIGINT) is not before[signal.SIGINT]
            assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]
        assert {number: signal.getsignal(number) for number in before} == before
    finally:
        signal.signal(signal.SIGINT, found)
