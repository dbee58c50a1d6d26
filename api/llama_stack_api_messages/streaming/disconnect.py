"""Cancels the work for a request when its client disconnects.

Starlette does not cancel an endpoint when the client disconnects. So a request that waits for its upstream
would keep the upstream busy with a response that no client reads.
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
"""Buffered items that may be read from a cancelled stream; a stream that never suspends is not read any further."""

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected. The request body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def cancelled_error() -> ApiError:
    """Return the error for work that was cancelled although its client is still connected."""
    return ApiError("The call of the backend was cancelled on this side; try again")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them, at most ``_GRACE_SECONDS``; a task that ignores cancellation is left running."""
    for task in tasks:
        task.cancel()
    done, stubborn = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()  # marks it as retrieved, so that asyncio does not log it
    if stubborn:
        _warn(len(stubborn))


def _warn(count: int) -> None:
    """Log, rate-limited: with a backend that ignores cancellation this happens on many requests."""
    global _warned_at  # noqa: PLW0603 - one log per process
    now = time.monotonic()
    if _warned_at is None or now - _warned_at > _WARN_SECONDS:
        _warned_at = now
        logger.warning("%d tasks of a call that is over do not end; there may be more", count)


async def abandon(stream: AsyncGenerator[Any]) -> None:
    """End a stream so that all nested generators release their resources at once.

    Closing the outermost generator is not enough: an ``async for`` does not close the iterator it reads, so the
    upstream connection would stay open until garbage collection. Cancelled during its next read, every layer
    unwinds.
    """

    async def read_on() -> None:
        left = _READ_ON_ITEMS
        async for _ in stream:
            left -= 1
            if not left:
                await stream.aclose()
                break

    reading = asyncio.create_task(read_on())
    await asyncio.sleep(0)  # lets the task run until it waits for the upstream
    await end(reading)


async def run_while_connected[T](receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine and return its result; cancel it and return None if the client disconnects first."""
    task = asyncio.create_task(work)
    watch = asyncio.create_task(disconnected(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return None
        if task.cancelled():
            raise cancelled_error()
        return task.result()
    finally:
        await end(task, watch)
