"""The frames of the native lane, for scripted response bodies."""

import asyncio

import httpx
import pytest

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_provider_messages.native.model_name import ModelNameRewriter
from llama_stack_provider_messages.native.repair import StreamRepair
from llama_stack_provider_messages.native.stream import relayed, repaired
from llama_stack_provider_messages.upstream import client
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.settings import NativeSettings
from llama_stack_provider_messages.upstream.sse import MAX_EVENT_BYTES
from support.attacks import cpu_bound

START = b'event: message_start\ndata: {"type":"message_start","message":{"model":"up","usage":{"input_tokens":3}}}\n\n'
TEXT = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"Hi"}}\n\n'
DELTA = (
    b"event: message_delta\n"
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\n\n'
)
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"m"}}\n\n'
CUT = httpx.RemoteProtocolError("cut")
BIG = b"x" * 65_536
UPSTREAM = Upstream("up", "http://up", {}, NativeSettings(), secret="plain-key-42")


class Stream(httpx.AsyncByteStream):
    """A response body of bytes, a failure, or endless silence (None)."""

    def __init__(self, *parts):
        self.parts = parts
        self.closed = False

    async def __aiter__(self):
        for part in self.parts:
            if part is None:
                await asyncio.Event().wait()
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self):
        self.closed = True


class RequestMetrics:
    """Keeps the arguments of the first ``end``, and the failures."""

    ended = None

    def __init__(self):
        self.failures = []

    def fail(self, error):
        self.failures.append(error)
        self.end({}, success=False)

    def first_bytes(self):
        pass

    def end(self, usage, *, success):
        self.ended = self.ended or (dict(usage), success)


async def relay(*parts, make=None):
    """Return the bytes of a stream, the error that ends it, and what was recorded."""
    stream, tally, got = Stream(*parts), RequestMetrics(), []
    response = httpx.Response(200, stream=stream)
    frames = make(response, tally) if make else relayed(response, ModelNameRewriter("up"), tally, UPSTREAM)
    error = None
    try:
        async with asyncio.timeout(20):
            async for frame in frames:
                got.append(frame)  # noqa: PERF401 - those before an error count
    except BadGatewayError as caught:
        error = caught
    assert stream.closed
    return b"".join(got), error, tally.ended


def mended(response, tally):
    return repaired(response, StreamRepair("up", lambda prefix: f"{prefix}1"), tally, UPSTREAM)


async def test_a_stream_passes_and_is_recorded():
    """With its usage, as a success."""
    whole = START + TEXT + DELTA + STOP
    assert await relay(whole) == (whole, None, ({"input_tokens": 3, "output_tokens": 2}, True))


@pytest.mark.parametrize("make", [None, mended])
@pytest.mark.parametrize("last", [STOP, ERROR])
async def test_an_upstream_that_stays_open_after_its_last_event_is_closed(monkeypatch, last, make):
    """The client has everything; it does not wait for silence to become a failure."""
    monkeypatch.setattr(client, "STREAM_END_SECONDS", 0.05)
    data, error, ended = await relay(START, DELTA, last, None, make=make)
    assert error is None
    assert b"message_stop" in data or b"overloaded_error" in data
    assert ended[1] is (last == STOP)


async def test_bytes_right_after_the_last_event_pass():
    """Comments, or a line of another API; the connection is read to its end and can be reused."""
    rest = (b": bye\n\n", b"data: [DONE]\n\n")
    data, error, _ = await relay(START + DELTA + STOP, *rest)
    assert (data, error) == (START + DELTA + STOP + b"".join(rest), None)


async def test_an_upstream_that_keeps_sending_after_its_last_event_is_closed(monkeypatch):
    """However often something comes."""
    monkeypatch.setattr(client, "STREAM_END_SECONDS", 0.05)

    class Endless(Stream):
        async def __aiter__(self):
            yield START + STOP
            while True:
                await asyncio.sleep(0.001)
                yield b": more\n\n"

    stream = Endless()
    frames = relayed(httpx.Response(200, stream=stream), ModelNameRewriter("up"), RequestMetrics(), UPSTREAM)
    async with asyncio.timeout(20):
        assert [frame async for frame in frames][-1] == b": more\n\n"
    assert stream.closed


@pytest.mark.parametrize("end", [(), (CUT,)])
@pytest.mark.parametrize("missing", [1, 2])
async def test_an_error_without_its_blank_line_is_not_lost(end, missing):
    """The blank line is added so that clients read it, and no second error follows."""
    data, error, ended = await relay(START + ERROR[:-missing], *end)
    assert data.startswith(START + ERROR)
    assert data.removeprefix(START + ERROR).strip() == b""
    assert (error, ended[1]) == (None, False)


async def test_a_truncated_error_is_replaced_by_our_own():
    """The truncated one is left out: it may hold a part of a key, and no client can read it."""
    data, error, ended = await relay(START + ERROR[:-9], CUT)
    assert data == START + b"event: error\n"
    assert "broke the connection" in error.message
    assert ended[1] is False


async def test_the_last_event_counts_without_its_blank_line():
    """With its usage."""
    data, error, ended = await relay(START + DELTA.rstrip())
    assert (data, error) == (START + DELTA, None)
    assert ended == ({"input_tokens": 3, "output_tokens": 2}, True)


async def test_an_upstream_that_omits_the_last_blank_line_is_closed(monkeypatch):
    """The line is added."""
    monkeypatch.setattr(client, "STREAM_END_SECONDS", 0.05)
    data, error, _ = await relay(START + DELTA + STOP[:-1], None)
    assert (data.rstrip(), error) == ((START + DELTA + STOP).rstrip(), None)
    assert data.endswith(b"\n\n")


async def test_a_stream_cut_after_the_name_of_an_error_is_a_failure():
    """The error itself is not known."""
    data, error, ended = await relay(START + b"event: error\n", CUT)
    assert data == START + b"event: error\n"
    assert "broke the connection" in error.message
    assert ended[1] is False


async def test_a_repaired_error_does_not_contain_the_key():
    """Repaired events are encoded again, and errors redacted."""
    event = b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"key plain-key-42 is bad"}}\n\n'
    data, _, _ = await relay(START, event, make=mended)
    assert b"plain-key-42" not in data
    assert b"key [redacted] is bad" in data


@pytest.mark.parametrize("end", [(), (CUT,)])
async def test_a_stream_that_ends_early_is_a_failure(end):
    """With or without a connection error; after ``message_delta`` only with one."""
    data, error, ended = await relay(START + TEXT, *end)
    assert (data, ended[1]) == (START + TEXT, False)
    assert error
    data, error, ended = await relay(START + DELTA, *end)
    assert (bool(error), ended[1]) == (bool(end), not end)


async def test_a_client_disconnect_closes_the_upstream_and_is_a_failure():
    """The client has received a part only."""
    stream, tally = Stream(START, TEXT, None), RequestMetrics()
    frames = relayed(httpx.Response(200, stream=stream), ModelNameRewriter("up"), tally, UPSTREAM)
    for _ in range(3):
        await anext(frames)
    await frames.aclose()
    assert stream.closed
    assert tally.ended == ({"input_tokens": 3}, False)


TOO_LONG = {
    "a line": (b"event: content_block_delta\ndata: ", BIG),
    "an event of many lines": (b"event: content_block_delta\n", (b"data: " + b"x" * 1000 + b"\n") * 65),
    "an event of shorter lines": (b"", (b"data:" + b"x" * 94 + b"\n") * 650),
}


@pytest.mark.parametrize("make", [None, mended])
@pytest.mark.parametrize("name", TOO_LONG)
async def test_an_event_without_an_end_ends_the_stream(name, make):
    """The upstream is closed after 16 MiB, and the error says why; the work is linear in the bytes."""
    first, piece = TOO_LONG[name]
    with cpu_bound(10):
        data, error, ended = await relay(START, first, *[piece] * (2 * MAX_EVENT_BYTES // len(piece)), make=make)
    assert data.startswith(START) or make
    assert len(data) < MAX_EVENT_BYTES + 10 * len(piece)
    assert "sent an event of more than 16 MiB" in (error.message if error else data.decode())
    assert not ended[1]


async def test_an_error_event_without_an_end_is_one_error():
    """The short error that replaced it is the last event."""
    pieces = [b'event: error\ndata: {"type":"error","error":{"message":"', *[BIG] * (2 * MAX_EVENT_BYTES // len(BIG))]
    data, error, ended = await relay(START, *pieces)
    assert (error, ended[1]) == (None, False)
    assert data.count(b"event: error\ndata") == 1
    assert data.endswith(b'more than 1 MiB"}}\n\n')


@pytest.mark.parametrize("parts", [(START, CUT), (START,), (START, ERROR), (START, b"data: ", *[BIG] * 300)])
@pytest.mark.parametrize("make", [None, mended])
async def test_each_failure_of_a_stream_is_reported_once(parts, make):
    """The log has one line for it, whoever notices it; a complete stream has none."""
    tallies = []

    def made(response, tally):
        tallies.append(tally)
        return mended(response, tally) if make else relayed(response, ModelNameRewriter("up"), tally, UPSTREAM)

    await relay(*parts, make=made)
    await relay(START, DELTA, STOP, make=made)
    assert [len(tally.failures) for tally in tallies] == [1, 0]
    assert "'up'" in tallies[0].failures[0].message
