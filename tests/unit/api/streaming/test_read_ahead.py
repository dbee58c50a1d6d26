"""Reading a stream ahead of its consumer."""

import asyncio
from contextlib import aclosing

import pytest

from llama_stack_api_messages.errors import ApiError
from llama_stack_api_messages.streaming.read_ahead import read_ahead


async def settle():
    """Let every task run until it waits."""
    for _ in range(200):
        await asyncio.sleep(0)


class Source:
    """Yields items, raises those that are exceptions, and records what was read."""

    def __init__(self, *items):
        self.items = items
        self.read = 0
        self.closed = False

    async def frames(self):
        try:
            for item in self.items:
                self.read += 1
                if isinstance(item, BaseException):
                    raise item
                if isinstance(item, asyncio.Event):
                    await item.wait()
                else:
                    yield item
        finally:
            await asyncio.sleep(0)  # a place to be cancelled at
            self.closed = True


async def test_frames_that_are_ready_together_are_joined():
    """In their order, and none is lost."""
    source = Source(*[b"%d," % number for number in range(100)])
    taken = [data async for data in read_ahead(source.frames())]
    assert b"".join(taken) == b"".join(source.items)
    assert len(taken) < 100
    assert source.closed


async def test_a_slow_consumer_pauses_the_reading():
    """So that memory stays flat."""
    source = Source(*[bytes(16 * 1024)] * 100)
    async with aclosing(read_ahead(source.frames())) as chunks:
        await anext(chunks)
        await settle()
        assert source.read <= 40
        await settle()
        before = source.read
        await anext(chunks)
        await settle()
        assert before < source.read < 100


async def test_a_failure_comes_after_the_frames_before_it():
    """The exception of the source is raised after the frames before it."""
    chunks = read_ahead(Source(b"a", b"b", OSError("broken")).frames())
    assert await anext(chunks) == b"ab"
    with pytest.raises(OSError, match="broken"):
        await anext(chunks)


async def test_a_source_that_is_cancelled_by_itself_is_an_error():
    """The consumer was not cancelled, and waits for an end."""
    chunks = read_ahead(Source(b"a", asyncio.CancelledError()).frames())
    assert await anext(chunks) == b"a"
    with pytest.raises(ApiError, match="cancelled on this side"):
        await anext(chunks)


async def test_silence_is_an_empty_item():
    """After each interval, until the next frame."""
    more = asyncio.Event()
    source = Source(b"a", more, b"b")
    async with aclosing(read_ahead(source.frames(), 0.001)) as chunks:
        while await anext(chunks) != b"a":
            pass
        assert [await anext(chunks) for _ in range(2)] == [b"", b""]
        more.set()
        await settle()
        assert [data async for data in chunks if data] == [b"b"]


async def test_closing_it_closes_the_source():
    """While that waits for its next frame."""
    source = Source(b"a", asyncio.Event())
    chunks = read_ahead(source.frames())
    await anext(chunks)
    await chunks.aclose()
    assert source.closed


async def test_a_consumer_that_is_cancelled_again_and_again_closes_the_source():
    """The source is cancelled once only, so that it can clean up."""
    source = Source(b"a", asyncio.Event())

    async def consume():
        async with aclosing(read_ahead(source.frames())) as chunks:
            async for _ in chunks:
                pass

    consuming = asyncio.create_task(consume())
    await settle()
    while not consuming.done():
        consuming.cancel()
        await asyncio.sleep(0)
    await settle()
    assert source.closed
