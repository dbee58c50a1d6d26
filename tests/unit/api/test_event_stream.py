"""The streaming response, on ASGI with scripted upstreams."""

import asyncio
import json

from llama_stack_api_messages.api import Call, StreamReply
from llama_stack_api_messages.errors import OverloadedError, RateLimitError
from llama_stack_api_messages.event_stream import EventStream
from llama_stack_api_messages.sse import PING, encode_event

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


async def answer(open_stream, ping_seconds=LONG):
    client = Client()
    await EventStream(open_stream, CALL, ping_seconds)({"type": "http"}, client.receive, client.send)
    return client


async def test_frames_that_are_ready_together_are_sent_together():
    """A burst of frames leaves in few writes, in order and complete."""

    async def frames():
        for number in range(100):
            yield b"%d\n\n" % number

    client = await answer(reply(frames()))
    assert client.body == b"".join(b"%d\n\n" % number for number in range(100))
    assert len(client.messages) < 20
    assert client.headers["request-id"] == "req_1"
    assert client.headers["x-extra"] == "1"


async def test_a_refusal_before_the_stream_keeps_its_status():
    """An error that comes before the upstream accepted is an ordinary HTTP error."""

    async def refuse():
        raise RateLimitError("slow down", headers={"retry-after": "3"})

    client = await answer(refuse)
    assert client.status == 429
    assert client.headers["retry-after"] == "3"
    assert json.loads(client.body)["error"]["type"] == "rate_limit_error"


async def test_an_error_in_the_middle_is_the_last_event():
    """What was read before it is delivered first."""

    async def frames():
        yield FRAME
        raise OverloadedError("no capacity")

    client = await answer(reply(frames()))
    assert client.status == 200
    assert client.body.startswith(FRAME)
    assert client.body.endswith(encode_event(OverloadedError("no capacity").body("req_1")))


async def test_an_unforeseen_error_stays_inside():
    """A bug becomes an api_error without its text."""

    async def frames():
        yield FRAME
        raise RuntimeError("secret")

    client = await answer(reply(frames()))
    assert b"secret" not in client.body
    assert b'"api_error"' in client.body


async def test_silence_before_the_upstream_answers_is_filled_with_pings():
    """Headers and a ping go out after the interval; the answer follows."""
    accepted = asyncio.Event()

    async def frames():
        yield FRAME

    async def open_stream():
        await accepted.wait()
        return StreamReply(frames())

    client = Client()
    task = asyncio.create_task(EventStream(open_stream, CALL, SHORT)({}, client.receive, client.send))
    while PING * 3 not in client.body:
        client.got.clear()
        await client.got.wait()
    accepted.set()
    await task
    assert client.body.endswith(FRAME)
    assert client.body.removesuffix(FRAME).replace(PING, b"") == b""


async def test_no_ping_splits_a_frame():
    """While half a frame is out, silence stays silent."""
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


async def test_a_client_that_leaves_closes_the_upstream():
    """Leaving in the middle ends the generator before the response returns."""
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


async def test_a_client_that_leaves_before_the_answer_cancels_the_call():
    """So does leaving while the upstream has not accepted."""
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

    assert (await answer(cancelled)).status == 500
    assert (await answer(reply(frames()))).body.startswith(FRAME + b"event: error\n")


async def test_a_header_http_cannot_carry_costs_nothing_but_itself():
    """The stream arrives without it."""

    async def frames():
        yield FRAME

    async def open_stream():
        return StreamReply(frames(), {"x-odd": "\u20ac", "x-fine": "1"})

    client = await answer(open_stream)
    assert client.body == FRAME
    assert "x-odd" not in client.headers
    assert client.headers["x-fine"] == "1"


async def test_a_bug_while_sending_is_an_error_reply():
    """As long as nothing is sent, the client is told."""

    async def frames():
        yield FRAME

    async def open_stream():
        return StreamReply(frames(), {"x-odd": 7})

    client = await answer(open_stream)
    assert client.status == 500


async def test_a_slow_client_stops_the_reading():
    """What is read ahead is bounded, however fast the upstream is."""
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
    """There is no status to carry them."""

    async def refuse():
        raise RateLimitError("slow down")

    stream = EventStream(refuse, CALL, LONG)
    assert [chunk async for chunk in stream.body_iterator] == [encode_event(RateLimitError("slow down").body("req_1"))]
