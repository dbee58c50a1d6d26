"""Work that ends when its client leaves."""

import asyncio
import contextlib

import pytest

from llama_stack_api_messages.errors import ApiError
from llama_stack_api_messages.streaming import disconnect
from llama_stack_api_messages.streaming.disconnect import abandon, run_while_connected


def client(gone):
    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    return receive


async def test_the_result_is_returned():
    """While the client is connected, nothing changes."""

    async def work():
        return 7

    assert await run_while_connected(client(asyncio.Event()), work()) == 7


async def test_an_error_is_raised():
    """An error of the call is raised unchanged while the watch for a disconnect runs."""

    async def work():
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await run_while_connected(client(asyncio.Event()), work())


async def test_a_disconnect_cancels_the_work():
    """The work has cleaned up before the call returns."""
    gone, cleaned = asyncio.Event(), []

    async def work():
        gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    assert await run_while_connected(client(gone), work()) is None
    assert cleaned == [True]


async def test_abandoning_unwinds_generators_that_do_not_close_each_other():
    """The innermost source is released at once, without the garbage collector."""
    released = []

    class Source:
        """Like a network stream: waits for more, lets go only when its wait is cancelled."""

        def __init__(self):
            self.ready = 3

        def __aiter__(self):
            return self

        async def __anext__(self):
            if self.ready:
                self.ready -= 1
                return self.ready
            try:
                await asyncio.Event().wait()
            finally:
                released.append(True)

    async def layer(inner):
        async for item in inner:
            yield item

    stream = layer(layer(Source()))
    await anext(stream)
    await abandon(stream)
    assert released == [True]


async def test_a_stream_that_ignores_cancellation_is_left_running(monkeypatch):
    """The caller continues after the grace period."""
    monkeypatch.setattr(disconnect, "GRACE_SECONDS", 0.05)
    release = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
            yield 1

    stream = stubborn()
    async with asyncio.timeout(5):
        await abandon(stream)
    release.set()


async def test_a_stream_that_never_waits_is_not_read_for_ever():
    """The number of items read is limited."""
    read = 0

    async def endless():
        nonlocal read
        while True:
            read += 1
            yield read

    await abandon(endless())
    assert read < 100_000


async def test_work_that_is_cancelled_from_within_is_a_failure():
    """It is an error and not a disconnect."""

    async def work():
        raise asyncio.CancelledError

    with pytest.raises(ApiError, match="cancelled"):
        await run_while_connected(client(asyncio.Event()), work())


async def test_abandoning_a_finished_stream_does_nothing():
    """It has no resources to release."""

    async def stream():
        yield 1

    finished = stream()
    assert [item async for item in finished] == [1]
    await abandon(finished)


async def test_many_tasks_that_do_not_end_are_logged_once(monkeypatch, caplog):
    """A backend that ignores cancellation may have hundreds of them."""
    monkeypatch.setattr(disconnect, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(disconnect, "warning_limit", disconnect.WarningLimit(60.0))
    release = asyncio.Event()

    async def stubborn():
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    tasks = [asyncio.create_task(stubborn()) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.gather(*(disconnect.end(task) for task in tasks))
    release.set()
    await asyncio.gather(*tasks)
    assert caplog.text.count("do not end") == 1
