"""Chunks of an upstream, sent one by one, on a clock that the test advances."""

import asyncio
import contextlib

import pytest

from llama_stack_api_messages.streaming.response import ChunkSender
from llama_stack_api_messages.streaming.sse import PING

PAUSE = 10.0
WHOLE = b"event: a\ndata: 1\n\n"


class Time:
    """A clock with sleepers; it only advances when the test says so."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    async def sleep(self, seconds):
        due, woken = self.now + seconds, asyncio.Event()
        self.waits.append((due, woken))
        await woken.wait()

    async def advance(self, seconds):
        self.now += seconds
        for due, woken in self.waits:
            if due <= self.now:
                woken.set()
        await settle()


async def settle():
    """Let every task run to where it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


class Stream:
    """A sender between a source that the test feeds and a client that may stop reading."""

    def __init__(self, time):
        self.time = time
        self.source = asyncio.Queue()
        self.taken = []
        self.sent = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.closed = False
        self.sending = 0
        self.failure = None
        self.sender = ChunkSender(self.send, PAUSE, clock=lambda: time.now, sleep=time.sleep)
        self.task = asyncio.create_task(self.sender.run(self.frames()))

    async def frames(self):
        try:
            while (chunk := await self.source.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                self.taken.append(chunk)
                yield chunk
        finally:
            self.closed = True

    async def send(self, message):
        assert message["type"] == "http.response.body"
        assert message["more_body"] is True
        assert not self.sending, "two writes at once"
        if self.failure:
            raise self.failure
        self.sending += 1
        try:
            await self.reading.wait()
            self.sent.append(message["body"])
        finally:
            self.sending -= 1

    async def put(self, *chunks):
        for chunk in chunks:
            self.source.put_nowait(chunk)
        await settle()


@pytest.fixture
async def stream():
    made = Stream(Time())
    await settle()
    yield made
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError, ValueError):
        await made.task
    assert made.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task is still running"


async def test_chunks_are_sent_one_by_one_as_they_came(stream):
    """Also if several are ready, and wherever they end."""
    chunks = [b"event: a\nda", b"ta: 1", b"\n", b"\n", WHOLE + WHOLE[:3], WHOLE[3:]]
    await stream.put(*chunks, None)
    assert stream.sent == chunks
    await stream.task


async def test_silence_is_filled_with_a_ping_per_interval(stream):
    """From the start of the stream, and not earlier."""
    await stream.time.advance(PAUSE - 0.1)
    assert stream.sent == []
    await stream.time.advance(0.1)
    assert stream.sent == [PING]
    await stream.time.advance(PAUSE - 0.1)
    assert stream.sent == [PING]
    await stream.time.advance(0.1)
    assert stream.sent == [PING, PING]


async def test_silence_begins_with_the_last_chunk(stream):
    """A stream that sends often enough gets no ping."""
    for _ in range(3):
        await stream.time.advance(PAUSE - 1)
        await stream.put(WHOLE)
    assert stream.sent == [WHOLE] * 3
    await stream.time.advance(PAUSE - 1)
    assert PING not in stream.sent
    await stream.time.advance(1)
    assert stream.sent == [WHOLE] * 3 + [PING]


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
async def test_no_ping_is_sent_inside_a_frame(stream, cut):
    """However long the pause and however small the pieces; after the frame pings are sent again."""
    for byte in WHOLE[:cut]:
        await stream.put(bytes([byte]))
    await stream.time.advance(PAUSE)
    await stream.time.advance(PAUSE)
    assert PING not in stream.sent
    await stream.put(WHOLE[cut:])
    await stream.time.advance(PAUSE)
    assert b"".join(stream.sent) == WHOLE + PING


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_a_frame_in_pieces_is_recognised_as_complete(stream, end, size):
    """With each of the line ends, wherever they are cut."""
    frame = b"data: 1" + end
    await stream.put(*[frame[place : place + size] for place in range(0, len(frame), size)])
    assert stream.sender.tail == frame[-4:]
    await stream.time.advance(PAUSE)
    assert stream.sent[-1] == PING


async def test_a_slow_client_gets_no_ping(stream):
    """The interval starts when the client has received the chunk."""
    stream.reading.clear()
    await stream.put(WHOLE)
    await stream.time.advance(PAUSE * 3)
    stream.reading.set()
    await settle()
    assert stream.sent == [WHOLE]
    await stream.time.advance(PAUSE - 0.1)
    assert stream.sent == [WHOLE]
    await stream.time.advance(PAUSE)
    assert stream.sent == [WHOLE, PING]


async def test_nothing_is_read_ahead_of_a_slow_client(stream):
    """The upstream has to wait."""
    stream.reading.clear()
    await stream.put(b"1", b"2", b"3")
    assert stream.taken == [b"1"]
    stream.reading.set()
    await settle()
    assert stream.taken == stream.sent == [b"1", b"2", b"3"]


async def test_a_chunk_waits_for_a_ping_that_is_being_sent(stream):
    """Two writes at once would mix."""
    stream.reading.clear()
    await stream.time.advance(PAUSE)
    await stream.put(WHOLE)
    assert stream.sent == []
    stream.reading.set()
    await settle()
    assert stream.sent == [PING, WHOLE]


async def test_a_chunk_after_a_finished_ping_is_sent_at_once(stream):
    """It does not wait for the ping."""
    await stream.time.advance(PAUSE)
    await stream.put(WHOLE, WHOLE)
    assert stream.sent == [PING, WHOLE, WHOLE]


@pytest.mark.parametrize("last", [WHOLE, b"data: half", b"\xe4\xbd"])
async def test_a_failure_is_raised_after_the_chunks_before_it(stream, last):
    """The tail shows where the last frame was cut."""
    await stream.put(WHOLE, last, ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await stream.task
    assert stream.sent == [WHOLE, last]
    assert stream.sender.tail == (WHOLE + last)[-4:]


async def test_cancellation_closes_the_upstream(stream):
    """While the upstream is silent."""
    await stream.put(WHOLE)
    stream.task.cancel()
    await settle()
    assert stream.task.cancelled()
    assert stream.closed


async def test_cancellation_while_the_client_is_slow_closes_the_upstream(stream):
    """While a chunk waits for a ping that is being sent."""
    stream.reading.clear()
    await stream.time.advance(PAUSE)
    await stream.put(WHOLE)
    stream.task.cancel()
    await settle()
    assert stream.task.cancelled()
    assert stream.closed
    stream.reading.set()
    await settle()
    assert WHOLE not in stream.sent


async def test_no_ping_is_sent_after_the_end(stream):
    """The upstream has ended."""
    await stream.put(WHOLE, None)
    await stream.task
    await stream.time.advance(PAUSE * 2)
    assert stream.sent == [WHOLE]


async def test_a_ping_that_cannot_be_sent_is_a_failure(stream):
    """The next chunk raises its exception."""
    stream.failure = ValueError("gone")
    await stream.time.advance(PAUSE)
    await stream.put(WHOLE)
    with pytest.raises(ValueError, match="gone"):
        await stream.task
