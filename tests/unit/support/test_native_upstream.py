"""Tests the scripted upstream and the raw client that the native suites use."""

import asyncio
import json

import pytest

from support.native_upstream import (
    NativeUpstream,
    assert_same,
    open_request,
    post,
    request_body,
    text_frames,
    wait_until,
)
from support.scripted_upstream import CUT, Answer, raw, responds, silent, streamed


@pytest.fixture(scope="module")
def native():
    with NativeUpstream() as server:
        yield server


async def send(native, script, **options):
    """Send a request to the upstream directly; return its response."""
    return await post(
        native.url("up").removesuffix("/v1"), request_body(native.play(script)), path="/up/v1/messages", **options
    )


@pytest.mark.parametrize("at_once", [False, True])
async def test_chunks_arrive_as_they_were_written(native, at_once):
    """The chunks arrive without the framing, whether written one by one or in one write."""
    chunks = [b"a", b"\r\n", b"0\r\n\r\n", *text_frames("m", "x" * 70_000)]
    reply = await send(native, streamed(*chunks, at_once=at_once))
    assert reply.chunks == chunks
    assert reply.ended


async def test_a_dropped_connection_is_not_the_end_of_the_body(native):
    """A dropped connection is distinguished from a complete body."""
    reply = await send(native, streamed(b"half", end=CUT))
    assert (reply.chunks, reply.ended) == ([b"half"], False)


async def test_the_request_is_recorded_unchanged(native):
    """Bytes, header order and path are kept; the client gets the headers of the response."""
    model = native.play(responds(b"{}", 429, retry_after="7"))
    body = b' {"model":"%s"}\n' % model.encode()
    reply = await post(native.url(), body, [("X-One", "1"), ("x-one", "2")], path="/up/v1/messages?beta=true")
    (exchange,) = native.of(model)
    assert_same(exchange.body, body)
    assert exchange.pairs[-2:] == [("x-one", "1"), ("x-one", "2")]
    assert exchange.target == "/up/v1/messages?beta=true"
    assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "7", b"{}")


async def test_a_connection_is_reused(native):
    """Two requests on one connection, the second sent before the response to the first."""
    model = native.play(responds(b"{}"))
    single = b"POST /up/v1/messages HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (
        len(request_body(model)),
        request_body(model),
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", native.port)
    writer.write(single * 2)
    for _ in range(2):
        assert b"200" in await reader.readuntil(b"0\r\n\r\n")
    writer.close()
    first, second = await native.seen(model, 2)
    assert first.connection == second.connection
    assert not first.closed.is_set()


async def test_a_client_disconnect_is_noticed(native):
    """A client that disconnects before the response marks its request as closed."""
    model = native.play(silent)
    async with open_request(native.url(), request_body(model), path="/up/v1/messages") as one:
        (exchange,) = await native.seen(model)
        one.disconnect()
        await wait_until(exchange.closed.is_set, "the close")


async def test_a_gate_blocks_a_script(native):
    """Nothing arrives until the gate is opened."""
    gate = native.gate()

    async def script(answer: Answer) -> None:
        await answer.head()
        await gate.wait()
        await answer.chunk(b"late")
        await answer.end()

    async with open_request(native.url(), request_body(native.play(script)), path="/up/v1/messages") as one:
        assert await one.head() == 200
        assert await one.is_quiet(0.05)
        gate.open()
        assert (await one.rest()).body == b"late"


async def test_a_probe_is_counted_separately(native):
    """The body ``{}`` is counted as a probe, and its response has the status set for that upstream."""
    native.probe_statuses["old"] = 404
    asked = len(native.exchanges)
    for name, status in (("old", 404), ("new", 400)):
        assert (await post(native.url(), b"{}", path=f"/{name}/v1/messages")).status == status
    assert len(native.probes) == 2
    assert len(native.exchanges) == asked


async def test_garbage_and_chat_completions(native):
    """Bytes that are not HTTP are sent as they are; chat completions have a fixed response."""
    model = native.play(raw(b"SSH-2.0\r\n"))
    async with open_request(native.url(), request_body(model), path="/up/v1/messages") as one:
        assert not await one.is_quiet(5)
    reply = await post(native.url(), request_body("any"), path="/up/v1/chat/completions")
    assert json.loads(reply.body)["choices"][0]["message"]["content"] == "translated"
    assert len(native.chats) == 1


def test_assert_same_names_the_first_difference():
    """The error names the first differing byte, also if one value is a prefix of the other."""
    assert_same(b"abc", b"abc")
    with pytest.raises(AssertionError, match="from byte 1 on"):
        assert_same(b"axc", b"abc")
    with pytest.raises(AssertionError, match="from byte 2 on"):
        assert_same(b"ab", b"abc")
