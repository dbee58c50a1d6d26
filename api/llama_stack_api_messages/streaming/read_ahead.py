"""Reads a stream ahead of its client.

A task of its own takes frames from the upstream while another sends them, so that frames which are ready
together leave in one write, silence can be filled with pings, and a slow client stops the reading.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

_HIGH_WATER = 64 * 1024
"""Bytes read ahead of the client before reading stops."""
_BURST = 32
"""Frames taken without letting the sender run; a buffered upstream never suspends by itself."""


class Pump:
    """The read-ahead buffer of one stream.

    Args:
        source: The frames of the upstream.

    Attributes:
        finished: No more frames will come.
    """

    def __init__(self, source: AsyncGenerator[bytes]) -> None:
        self.finished = False
        self._source = source
        self._frames: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    async def run(self) -> None:
        """Read to the end. Raises what the upstream raises; the frames before it can still be taken."""
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
        """Wait for news (frames or the end); return False if there was none for so long."""
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
