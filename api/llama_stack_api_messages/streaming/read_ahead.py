"""Reads a stream in a task of its own, ahead of its consumer.

An ``async for`` over an upstream's stream does one thing at a time: while it sends, it does not read, and while it
reads, nothing else can be done. A second task changes that:

- Frames that are ready together are taken together, and sent in one write.
- Silence is noticed while the upstream is being read, so that pings can be sent.
- A consumer that is cancelled does not cancel the reading half-way. When a client disconnects, the platform's server
  cancels its stream again in every iteration of the event loop until the stream has ended. If httpcore is cancelled a
  second time while it closes a connection, the connection stays open and the upstream keeps generating. The task is
  cancelled once, and closes the upstream's response undisturbed.

A slow consumer pauses the reading: no more than ``_HIGH_WATER_BYTES`` and one frame are buffered.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from .disconnect import cancelled_error, end

_HIGH_WATER_BYTES = 64 * 1024
_BURST = 32
"""Frames read before yielding to the consumer; an upstream with buffered data never suspends by itself."""


async def read_ahead(source: AsyncGenerator[bytes], silence_seconds: float | None = None) -> AsyncGenerator[bytes]:
    """Yield what has been read, joined; closing it ends the reading and closes the source.

    Args:
        source: The frames of the upstream.
        silence_seconds: An empty item is yielded after each interval of this length without a frame; None: never.

    Raises:
        Exception: What the source raises, after the frames before it.
        ApiError: The source was cancelled, although its consumer was not.
    """
    buffer = _Buffer()
    reading = asyncio.create_task(buffer.fill(source))
    try:
        ended = False
        while not ended:
            if not await buffer.filled(silence_seconds):
                yield b""
                continue
            ended = buffer.finished
            if data := buffer.take():
                yield data
        await asyncio.wait({reading})
    finally:
        await end(reading)
    if reading.cancelled():
        raise cancelled_error()
    reading.result()


class _Buffer:
    """The frames that were read and not yet taken.

    Attributes:
        finished: Whether the source has ended; no more frames will be added.
    """

    def __init__(self) -> None:
        self.finished = False
        self._frames: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    async def fill(self, source: AsyncGenerator[bytes]) -> None:
        """Read the source to its end; frames read before a failure can still be taken."""
        try:
            async with aclosing(source) as frames:
                async for frame in frames:
                    self._frames.append(frame)
                    self._size += len(frame)
                    self._filled.set()
                    if len(self._frames) >= _BURST:
                        await asyncio.sleep(0)
                    while self._size > _HIGH_WATER_BYTES:
                        self._drained.clear()
                        await self._drained.wait()
        finally:
            self.finished = True
            self._filled.set()

    async def filled(self, seconds: float | None) -> bool:
        """Wait for frames or the end of the source; return False on timeout."""
        if self._filled.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._filled.wait()
        except TimeoutError:
            return False
        return True

    def take(self) -> bytes:
        """Return all frames read so far, joined; empty if there are none."""
        if not self.finished:
            self._filled.clear()
        data = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        self._drained.set()
        return data
