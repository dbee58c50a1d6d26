"""Requests are distributed over pools of a few connections."""

import asyncio

import httpx
import pytest

from llama_stack_provider_messages.upstream.connections import POOL_SIZE, PooledTransport

IDLE = 4.0


class Body(httpx.AsyncByteStream):
    def __init__(self):
        self.closed = 0
        self.broken = False

    async def __aiter__(self):
        yield b"a"
        yield b"b"

    async def aclose(self):
        self.closed += 1
        if self.broken:
            raise httpx.ReadError("broken")


class Pool(httpx.AsyncBaseTransport):
    """Responds at once, or fails, or waits."""

    def __init__(self):
        self.requests = 0
        self.bodies = []
        self.closed = False
        self.failure = None
        self.waiting = asyncio.Event()
        self.waiting.set()

    async def handle_async_request(self, request):
        assert not self.closed
        self.requests += 1
        await self.waiting.wait()
        if self.failure:
            raise self.failure
        self.bodies.append(Body())
        return httpx.Response(200, stream=self.bodies[-1])

    async def aclose(self):
        self.closed = True


async def settle():
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Made:
    """A pooled transport, and the pools that it made."""

    def __init__(self, max_connections=3 * POOL_SIZE):
        self.pools = []
        self.transport = PooledTransport(self.make, max_connections, IDLE)

    def make(self):
        self.pools.append(Pool())
        return self.pools[-1]

    async def send(self, number=1):
        request = httpx.Request("POST", "http://up")
        return [await self.transport.handle_async_request(request) for _ in range(number)]

    @property
    def requests(self):
        return [pool.requests for pool in self.pools]

    async def room(self):
        """Return how many more requests fit into the first pool, by sending one more than it can have."""
        before = self.requests[0]
        await self.send(POOL_SIZE + 1)
        return self.requests[0] - before


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test advances."""

    class Loop:
        now = 100.0

        def time(self):
            return self.now

    loop = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    return loop


async def test_a_pool_is_made_on_first_use():
    """A pool is created by the first request and reused by later ones."""
    made = Made()
    assert made.pools == []
    for _ in range(3 * POOL_SIZE):
        (response,) = await made.send()
        await response.stream.aclose()
    assert made.requests == [3 * POOL_SIZE]


async def test_the_first_pool_with_room_is_used():
    """A released place in an earlier pool is taken before one in a later pool."""
    made = Made()
    responses = await made.send(POOL_SIZE + 1)
    assert made.requests == [POOL_SIZE, 1]
    await responses[3].stream.aclose()
    await made.send()
    assert made.requests == [POOL_SIZE + 1, 1]
    await made.send()
    assert made.requests == [POOL_SIZE + 1, 2]


@pytest.mark.parametrize(
    ("max_connections", "pools"), [(1, 1), (POOL_SIZE, 1), (POOL_SIZE + 1, 2), (3 * POOL_SIZE, 3), (1000, 63)]
)
async def test_the_limit_of_connections(max_connections, pools):
    """Further requests wait in the pool with the fewest, each for the timeout of that pool."""
    made = Made(max_connections)
    await made.send(pools * POOL_SIZE)
    assert made.requests == [POOL_SIZE] * pools
    await made.send(pools + 1)
    assert made.requests == [POOL_SIZE + 2] + [POOL_SIZE + 1] * (pools - 1)


async def test_the_body_passes_and_its_place_is_released_once():
    """When it is closed, however often."""
    made = Made()
    first, *_ = await made.send(POOL_SIZE)
    assert [part async for part in first.stream] == [b"a", b"b"]
    await made.send()
    assert made.requests == [POOL_SIZE, 1]
    for _ in range(3):
        await first.stream.aclose()
    assert made.pools[0].bodies[0].closed == 3
    assert await made.room() == 1


async def test_all_places_are_released():
    """One by each response."""
    made = Made()
    for response in await made.send(POOL_SIZE):
        await response.stream.aclose()
    assert await made.room() == POOL_SIZE


async def test_a_body_that_cannot_be_closed_releases_its_place():
    """Its failure is raised all the same."""
    made = Made()
    (response,) = await made.send()
    made.pools[0].bodies[0].broken = True
    with pytest.raises(httpx.ReadError):
        await response.stream.aclose()
    assert await made.room() == POOL_SIZE


async def test_a_request_that_fails_releases_its_place():
    """Failed requests do not use up the places of a pool."""
    made = Made()
    await made.send()
    made.pools[0].failure = httpx.ConnectError("refused")
    for _ in range(2 * POOL_SIZE):
        with pytest.raises(httpx.ConnectError):
            await made.send()
    assert made.requests == [1 + 2 * POOL_SIZE]
    made.pools[0].failure = None
    assert await made.room() == POOL_SIZE - 1


async def test_a_request_that_is_cancelled_releases_its_place():
    """While it waits for its response."""
    made = Made()
    await (await made.send())[0].stream.aclose()
    made.pools[0].waiting.clear()
    sending = [asyncio.create_task(made.send()) for _ in range(POOL_SIZE)]
    await settle()
    assert made.requests == [POOL_SIZE + 1]
    for task in sending:
        task.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    made.pools[0].waiting.set()
    assert await made.room() == POOL_SIZE


async def test_a_place_is_taken_before_the_response():
    """A connection counts as used before the response, so that concurrent requests are distributed."""
    made = Made()
    await (await made.send())[0].stream.aclose()
    made.pools[0].waiting.clear()
    sending = [asyncio.create_task(made.send()) for _ in range(POOL_SIZE + 2)]
    await settle()
    assert made.requests == [POOL_SIZE + 1, 2]
    made.pools[0].waiting.set()
    await asyncio.gather(*sending)


async def test_the_last_pools_are_closed_after_they_were_idle(clock):
    """All of them with the next request, never one in use; a new one is made when it is needed again."""
    made = Made()
    responses = await made.send(2 * POOL_SIZE + 1)
    assert len(made.pools) == 3
    for response in responses[POOL_SIZE:]:
        await response.stream.aclose()
    for response in responses[: POOL_SIZE // 2]:
        await response.stream.aclose()
    clock.now += IDLE
    await made.send()
    assert [pool.closed for pool in made.pools] == [False, False, False]
    clock.now += 0.1
    await made.send()
    assert [pool.closed for pool in made.pools] == [False, True, True]
    clock.now += 100
    await made.send()
    assert not made.pools[0].closed
    await made.send(POOL_SIZE)
    assert len(made.pools) == 4


async def test_a_busy_pool_is_not_closed(clock):
    """Neither a pool in use nor a recently used one is closed."""
    made = Made()
    responses = await made.send(POOL_SIZE + 1)
    await responses[0].stream.aclose()
    clock.now += 100
    await made.send()
    assert not made.pools[1].closed
    await responses[-1].stream.aclose()
    await responses[1].stream.aclose()
    await made.send()
    assert not made.pools[1].closed


async def test_the_only_pool_is_not_closed_under_its_request(clock):
    """However long it was idle."""
    made = Made()
    await (await made.send())[0].stream.aclose()
    clock.now += 100
    await made.send()
    assert (len(made.pools), made.pools[0].closed) == (1, False)


async def test_all_pools_are_closed_at_the_end():
    """Closing the transport closes every pool, also those in use."""
    made = Made()
    await made.send(POOL_SIZE + 1)
    await made.transport.aclose()
    assert [pool.closed for pool in made.pools] == [True, True]
