"""Work that ends when its client goes away.

Starlette tells nobody that a client left while an endpoint awaits, so a request that waits for its
upstream would keep the upstream busy for an answer nobody reads.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from llama_stack_api_messages.errors import ApiError

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 1.0
"""How long a cancelled task may take to clean up."""
_WARN_SECONDS = 60.0
_warned_at: float | None = None
_READ_ON_ITEMS = 10_000
"""How much a stream may still have buffered; one that never waits for anything is not read to its end."""

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone. The request body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have cleaned up; one that will not be cancelled is left to itself."""
    for task in tasks:
        task.cancel()
    done, stubborn = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not report it
    if stubborn:
        _warn(len(stubborn))


def _warn(count: int) -> None:
    """Log at most once in a while: a backend that will not be cancelled has many calls."""
    global _warned_at  # noqa: PLW0603 - one log per process
    now = time.monotonic()
    if _warned_at is None or now - _warned_at > _WARN_SECONDS:
        _warned_at = now
        logger.warning("%d tasks of a call that is over do not end; there may be more", count)


async def abandon(stream: AsyncGenerator[Any]) -> None:
    """End a stream so that everything under it lets go at once, however many generators are stacked on it.

    Closing the outermost generator is not enough: an ``async for`` does not close what it iterates, so the
    connection below would stay open until the garbage collector comes by. Cancelled inside its next read,
    every layer unwinds.
    """

    async def read_on() -> None:
        left = _READ_ON_ITEMS
        async for _ in stream:
            left -= 1
            if not left:
                await stream.aclose()
                break

    reading = asyncio.create_task(read_on())
    await asyncio.sleep(0)  # lets it run to where it waits for the upstream
    await end(reading)


async def run_while_connected[T](receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine and return its result, or cancel it and return None when the client leaves first."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(disconnected(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return None
        if task.cancelled():
            raise ApiError("The call of the backend was cancelled on this side; try again")
        return task.result()
    finally:
        await end(task, watch)
