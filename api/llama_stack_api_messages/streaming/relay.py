"""Sends the chunks of an upstream as they arrive, one by one, with pings while it is silent.

Nothing is read ahead: while a slow client is being sent to, nothing is read from the upstream, so that memory stays
flat and back-pressure reaches the upstream. A chunk may end inside an event, so a ping is sent only if the last bytes
sent complete an event.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from .disconnect import end
from .sse import PING, TAIL, unfinished_frame


class Relay:
    """Sends one stream to the client.

    Args:
        send: ASGI ``send``; the response must have been started.
        ping_seconds: Silence after which a ``ping`` event is sent, if the last frame is complete.

    Attributes:
        tail: The last bytes sent, see ``unfinished_frame``.
    """

    def __init__(self, send: Callable[[MutableMapping[str, Any]], Awaitable[None]], ping_seconds: float) -> None:
        self._send = send
        self._ping_seconds = ping_seconds
        self._sending = False
        self._pinging: asyncio.Future[None] | None = None
        self.tail = b""
        self._clock = asyncio.get_running_loop().time
        self._active_at = 0.0

    async def run(self, frames: AsyncGenerator[bytes]) -> None:
        """Send all chunks. Raises what the upstream raises; chunks received before that have been sent."""
        self._active_at = self._clock()
        pinging = asyncio.create_task(self._ping())
        try:
            async with aclosing(frames):
                async for chunk in frames:
                    if self._pinging:
                        await self._pinging
                    self._sending = True
                    self.tail = chunk[-TAIL:] if len(chunk) >= TAIL else (self.tail + chunk)[-TAIL:]
                    await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                    self._active_at = self._clock()
                    self._sending = False
        finally:
            await end(pinging)

    async def _ping(self) -> None:
        while True:
            left = self._active_at + self._ping_seconds - self._clock()
            if left > 0:
                await asyncio.sleep(left)
                continue
            if not (
                self._sending or unfinished_frame(self.tail)
            ):  # while a slow client is being sent to, no ping is due
                sending = self._send({"type": "http.response.body", "body": PING, "more_body": True})
                self._pinging = asyncio.ensure_future(sending)
                await self._pinging
                self._pinging = None
            self._active_at = self._clock()
