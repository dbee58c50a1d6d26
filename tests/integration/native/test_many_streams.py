"""Two hundred concurrent streams on the native lane of one process."""

import asyncio

import psutil
import pytest
import pytest_asyncio

from support.native_upstream import Reply, assert_same, post, request_body, text_frames, wait_until
from support.scripted_upstream import Answer

pytestmark = pytest.mark.integration

STREAMS = 200
FRAMES = text_frames("m", *(f"word {number} " for number in range(40)))
MEGABYTE_BYTES = 1024 * 1024
FEW_STREAMS = 10
"""A burst so small that it ends long before an idle connection is closed, which takes four seconds."""
TRIES = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bursts(relay):
    """The replies of two bursts, and the server's memory before, between and after them."""
    server = psutil.Process(relay.process.pid)
    replies, memory = [], [server.memory_info().rss]
    for number in range(2):
        replies.append(await burst(relay, f"crowd{number}", STREAMS))
        memory.append(server.memory_info().rss)
    return replies, memory


async def burst(relay, model: str, streams: int) -> list[Reply]:
    """Run concurrent streams: the upstream sends the first chunk when all requests have arrived."""
    gate = relay.upstream.gate()

    async def script(answer: Answer) -> None:
        await gate.wait()
        await answer.head()
        for part in FRAMES:
            await answer.chunk(part)
            await asyncio.sleep(0)
        await answer.end()

    relay.upstream.play(script, model)
    tasks = [asyncio.create_task(post(relay.url, request_body(f"up/{model}", stream=True))) for _ in range(streams)]
    await wait_until(lambda: len(relay.upstream.of(model)) == streams, "all requests at the upstream")
    gate.open()
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("number", [0, 1])
async def test_every_stream_is_complete(bursts, number):
    """No stream is truncated or has bytes of another."""
    replies = bursts[0][number]
    expected = b"".join(FRAMES).replace(b'"model": "m"', b'"model": "up/crowd%d"' % number)
    assert [(reply.status, reply.ended) for reply in replies] == [(200, True)] * STREAMS
    for reply in replies:
        assert_same(reply.body, expected)
    assert len({reply.headers["request-id"] for reply in replies}) == STREAMS


async def test_the_memory_of_the_server_is_bounded(bursts):
    """A stream needs kilobytes, and the second burst reuses the memory of the first."""
    before, first, second = bursts[1]
    print(
        f"memory: {before / MEGABYTE_BYTES:.0f} MB, {first / MEGABYTE_BYTES:.0f} MB, {second / MEGABYTE_BYTES:.0f} MB"
    )
    assert first - before < 64 * MEGABYTE_BYTES
    assert second - first < 16 * MEGABYTE_BYTES


async def test_a_burst_reuses_the_connections_of_the_previous_one(relay):
    """Tried several times, because on a slow machine a connection may be idle for too long."""
    used = []
    for number in range(TRIES):
        await burst(relay, f"few{number}", FEW_STREAMS)
        used.append({exchange.connection for exchange in relay.upstream.of(f"few{number}")})
        assert len(used[-1]) == FEW_STREAMS
        if number and used[-1] == used[-2]:
            return
    raise AssertionError(used)
