"""HTTP clients of upstreams, with pooled keep-alive connections: one client for each upstream and event loop.

A client sends each request exactly once, to the configured host. So redirects (the key would go along), retries (a
generation may have begun), cookies (they would belong to one of the callers) and proxies of the environment are off,
and no timeout is endless.

Many streams run at the same time, each on a connection of its own. With one connection pool for all of them, httpcore
compares every pair of its connections whenever a request begins or ends: two hundred idle connections cost 20 ms each
time, during which no stream makes progress. So the connections are in several small pools:

    pool 0   16 of 16 busy
    pool 1    9 of 16 busy      a new request goes here: the first pool with room
    pool 2    0 of 16 busy      idle; closed after ``_IDLE_SECONDS``, with the next request

The first pools are always reused, so that their connections stay warm; the last ones become idle. An idle connection
is kept for less time than servers keep it, because a request sent while the server closes the connection would fail.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import isfinite
from typing import NamedTuple

import httpx

from llama_stack_provider_messages.stack import Network

from .state import PerLoop

POOL_SIZE = 16
_MAX_CONNECTIONS = 1_000
"""Limit of concurrent requests; further ones wait for a connection."""
_IDLE_SECONDS = 4.0
"""How long an idle connection is kept open: less than the five seconds after which uvicorn (vLLM, SGLang, stacks) and
Node close it."""
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0
_WRITE_SECONDS = 60.0
_POOL_SECONDS = 30.0


class Client(NamedTuple):
    """An HTTP client, and the default headers that it would add to every request."""

    http: httpx.AsyncClient
    headers: Mapping[str, str]


class HttpClients:
    """Holds the HTTP clients by event loop and name of the upstream."""

    def __init__(self) -> None:
        self._clients: PerLoop[dict[str, Client]] = PerLoop()

    def get(self, name: str, make: Callable[[], httpx.AsyncClient]) -> Client:
        """Return the client of the running event loop for an upstream; make it on first use."""
        clients = self._clients.get(dict)
        if name not in clients:
            made = make()
            clients[name] = Client(made, dict(made.headers))
        return clients[name]

    async def close(self) -> None:
        """Close the clients of the running loop."""
        for client in (self._clients.pop() or {}).values():
            await client.http.aclose()


def new_client(network: Network, connect_seconds: float | None, silence_seconds: float | None) -> httpx.AsyncClient:
    """Return a client for one upstream.

    Args:
        network: The settings of its inference provider.
        connect_seconds: Connect timeout; None: that of the network settings, or a default.
        silence_seconds: Read timeout (between two chunks); None likewise.
    """
    options = dict(network.options)
    verify = options.pop("verify", True)
    timeout = options.get("timeout") or httpx.Timeout(None)
    return httpx.AsyncClient(
        transport=_pooled(verify, None),
        mounts={
            pattern: _pooled(network.proxy_ca or verify, proxy) if proxy else None
            for pattern, proxy in network.proxies.items()
        },
        timeout=httpx.Timeout(
            connect=connect_seconds or _finite(timeout.connect, _CONNECT_SECONDS),
            read=silence_seconds or _finite(timeout.read, _SILENCE_SECONDS),
            write=_finite(timeout.write, _WRITE_SECONDS),
            pool=_finite(timeout.pool, _POOL_SECONDS),
        ),
        headers={"accept-encoding": "identity", **(options.get("headers") or {})},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def _finite(seconds: float | None, default: float) -> float:
    return seconds if seconds and isfinite(seconds) else default


def _pooled(verify: ssl.SSLContext | str | bool, proxy: str | None) -> "PooledTransport":
    context = httpx.create_ssl_context(verify, trust_env=False)  # once: reading the certificates takes 25 ms
    limits = httpx.Limits(
        max_connections=POOL_SIZE, max_keepalive_connections=POOL_SIZE, keepalive_expiry=_IDLE_SECONDS
    )
    return PooledTransport(
        lambda: httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False),
        _MAX_CONNECTIONS,
        _IDLE_SECONDS,
    )


class PooledTransport(httpx.AsyncBaseTransport):
    """Distributes requests over several small transports.

    Args:
        make: Makes a transport for ``POOL_SIZE`` connections.
        max_connections: Limit of all connections; further requests wait at the transport with the fewest requests, up
            to the pool timeout.
        idle_seconds: The last pools are closed after being unused for this long.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], max_connections: int, idle_seconds: float) -> None:
        self._make = make
        self._idle_seconds = idle_seconds
        self._pools: list[_Pool] = []
        self._max_pools = -(-max_connections // POOL_SIZE)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through a transport with room; see ``httpx.AsyncBaseTransport``."""
        pool = self._pool_with_room()
        pool.busy += 1
        answered = False
        try:
            await self._close_idle()
            response = await pool.transport.handle_async_request(request)
            answered = True
        finally:
            if not answered:
                pool.release()
        response.stream = _CountedBody(response.stream, pool)  # type: ignore[arg-type]  # the request was async
        return response

    def _pool_with_room(self) -> "_Pool":
        for pool in self._pools:
            if pool.busy < POOL_SIZE:
                return pool
        if len(self._pools) < self._max_pools:
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


class _CountedBody(httpx.AsyncByteStream):
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
