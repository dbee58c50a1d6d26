"""The body of a response, read by a task of its own.

The platform's server cancels a stream whose client has left, and cancels it again at every turn of the loop until it
has ended. httpcore, interrupted while it closes, leaves the connection open, and the upstream goes on for nobody. The
reading task is cancelled once.
"""

import asyncio
from collections.abc import AsyncGenerator

import httpx

from llama_stack_api_messages.streaming.disconnect import end

_AHEAD = 16
"""Chunks that are read ahead of who takes them."""


async def chunks_of(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield the body as it comes, and close the response.

    Raises:
        httpx.HTTPError: The connection broke; what came before it has been yielded.
    """
    queue: asyncio.Queue[bytes | httpx.HTTPError | None] = asyncio.Queue(_AHEAD)
    reading = asyncio.create_task(_read(response, queue))
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, httpx.HTTPError):
                raise item
            yield item
    finally:
        await end(reading)


async def _read(response: httpx.Response, queue: asyncio.Queue[bytes | httpx.HTTPError | None]) -> None:
    last: httpx.HTTPError | None = None
    try:
        async for data in response.aiter_bytes():
            await queue.put(data)
    except httpx.HTTPError as error:
        last = error
    finally:
        await response.aclose()
    await queue.put(last)
