"""Cancels the work for a request when its client disconnects.

Starlette does not cancel an endpoint when the client disconnects. So a request that waits for its upstream would keep
the upstream busy, and its connection open, with a response that no client reads.

Three things make this harder than ``task.cancel()``:

* A disconnect is noticed only by someone who calls ``receive``. So a second task waits for it while the work runs.
* A task may ignore its cancellation, or take long to clean up: a backend's library may catch ``CancelledError``. It is
  given ``GRACE_SECONDS`` and then left running, so that the response ends; a line in the log says so.
* Closing a generator does not close the generators it reads from. An ``async for`` leaves its iterator open when the
  loop is left, so the upstream connection of an outer generator that is closed stays open until garbage collection.
  Measured on the platform's own chat completions route: more than 30 seconds. ``abandon`` cancels the stream inside its
  next read instead, and every layer unwinds.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

from llama_stack_api_messages.errors import ApiError

logger = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""How long a cancelled task may take to clean up."""
MAX_ITEMS_AFTER_CANCEL = 10_000
"""Buffered items that may be read from a cancelled stream; a stream that never suspends is not read any further."""

type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class WarningLimit:
    """Limits a warning that would otherwise be logged on many requests.

    Args:
        seconds: Least time between two warnings.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = -math.inf

    def allows_now(self) -> bool:
        """Return whether the warning may be logged now; the time counts from the last one that was allowed."""
        now = time.monotonic()
        if now - self._last <= self._seconds:
            return False
        self._last = now
        return True


warning_limit = WarningLimit(seconds=60.0)
"""Of this module's one warning."""


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected. The request body must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def cancelled_error() -> ApiError:
    """Return the error for work that was cancelled although its client is still connected."""
    return ApiError("The call of the backend was cancelled on this side; try again")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait for them, at most ``GRACE_SECONDS``; a task that ignores cancellation is left running."""
    for task in tasks:
        task.cancel()
    done, still_running = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()  # marks it as retrieved, so that asyncio does not log it
    if still_running and warning_limit.allows_now():
        logger.warning("%d cancelled tasks of a request do not end; there may be more of them", len(still_running))


async def abandon(stream: AsyncGenerator[Any]) -> None:
    """End a stream so that all nested generators release their resources at once."""

    async def read_on() -> None:
        left = MAX_ITEMS_AFTER_CANCEL
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
    gone = asyncio.create_task(disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return None
        if task.cancelled():
            raise cancelled_error()
        return task.result()
    finally:
        await end(task, gone)
