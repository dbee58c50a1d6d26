"""Reads the body of a response in a separate task.

When a client disconnects, the platform's server cancels its stream, and cancels it again in every iteration of the
event loop until it has ended. If httpcore is cancelled while it closes a connection, the connection stays open, and the
upstream keeps generating. The reading task is cancelled only once.
"""

import asyncio
from collections.abc import AsyncGenerator

import httpx

from llama_stack_api_messages.streaming.disconnect import end

_AHEAD = 16
"""Limit of chunks read ahead of the consumer."""


async def chunks_of(response: httpx.Response) -> AsyncGenerator[bytes]:
    """Yield the chunks of the body as they arrive, and close the response.

    Raises:
        httpx.HTTPError: The connection broke; the chunks received before have been yielded.
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
