"""A transport for many connections, made of small connection pools.

httpcore compares every pair of its connections whenever a request begins or ends: two hundred idle connections cost
20 ms each time. So connections are kept in several small pools, and a request goes to the first pool with room. The
first pools are always reused; the last ones become idle and are closed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx

POOL_SIZE = 16


class PooledTransport(httpx.AsyncBaseTransport):
    """Distributes requests over several small transports.

    Args:
        make: Makes a transport for ``POOL_SIZE`` connections.
        most: Limit of all connections; further requests wait at the transport with the fewest, up to the pool timeout.
        idle_seconds: The last pools are closed after being unused for this long.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], most: int, idle_seconds: float) -> None:
        self._make = make
        self._idle_seconds = idle_seconds
        self._pools: list[_Pool] = []
        self._most = -(-most // POOL_SIZE)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through a transport with room; see ``httpx.AsyncBaseTransport``."""
        pool = self._free()
        pool.busy += 1
        answered = False
        try:
            await self._close_idle()
            response = await pool.transport.handle_async_request(request)
            answered = True
        finally:
            if not answered:
                pool.release()
        response.stream = _Counted(response.stream, pool)  # type: ignore[arg-type]  # the request was async
        return response

    def _free(self) -> "_Pool":
        for pool in self._pools:
            if pool.busy < POOL_SIZE:
                return pool
        if len(self._pools) < self._most:
            self._pools.append(_Pool(self._make()))
            return self._pools[-1]
        return min(self._pools, key=lambda pool: pool.busy)

    async def _close_idle(self) -> None:
        """Close the last pools after they were idle; httpcore closes expired connections only on the next request."""
        now = asyncio.get_running_loop().time()
        while not (last := self._pools[-1]).busy and now - last.idle_since > self._idle_seconds:
            self._pools.pop()
            await last.transport.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools:
            await pool.transport.aclose()


class _Pool:
    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.transport = transport
        self.busy = 0
        self.idle_since = 0.0

    def release(self) -> None:
        """Count a request as finished."""
        self.busy -= 1
        self.idle_since = asyncio.get_running_loop().time()


class _Counted(httpx.AsyncByteStream):
    """The body of a response; closing it releases its place in the pool."""

    def __init__(self, stream: httpx.AsyncByteStream, pool: _Pool) -> None:
        self._stream = stream
        self._pool: _Pool | None = pool

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Close the body."""
        try:
            await self._stream.aclose()
        finally:
            if self._pool:
                self._pool.release()
                self._pool = None
