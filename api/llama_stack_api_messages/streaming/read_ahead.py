"""Reads a stream ahead of its client.

One task reads frames from the upstream while another sends them to the client. So frames that are ready together
are sent in one write, pings can be sent while the upstream is silent, and a slow client pauses the reading.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

_HIGH_WATER = 64 * 1024
"""Bytes buffered for the client before reading pauses."""
_BURST = 32
"""Frames read before yielding to the sending task; an upstream with buffered data never suspends by itself."""


class Pump:
    """The read-ahead buffer of one stream.

    Args:
        source: The frames of the upstream.

    Attributes:
        finished: Whether the source has ended; no more frames will be added.
    """

    def __init__(self, source: AsyncGenerator[bytes]) -> None:
        self.finished = False
        self._source = source
        self._frames: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    async def run(self) -> None:
        """Read the source to its end. Raises what the source raises; frames read before that can still be taken."""
        try:
            async with aclosing(self._source) as frames:
                async for frame in frames:
                    await self._put(frame)
        finally:
            self.finished = True
            self._filled.set()

    async def _put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._size += len(frame)
        self._filled.set()
        if len(self._frames) >= _BURST:
            await asyncio.sleep(0)
        while self._size > _HIGH_WATER:
            self._drained.clear()
            await self._drained.wait()

    async def wait(self, seconds: float) -> bool:
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
