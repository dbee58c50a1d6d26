"""HTTP clients of upstreams: one for each upstream and event loop, with keep-alive connections.

Redirects, cookies, retries and proxies of the environment are off: each request is sent exactly once, to the configured
host.
"""

import ssl
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import isfinite
from typing import NamedTuple

import httpx

from llama_stack_provider_messages.stack import Network

from .pools import POOL_SIZE, PooledTransport
from .state import PerLoop

_STREAMS = 1_000
"""Limit of concurrent requests; further ones wait for a connection."""
_IDLE_SECONDS = 4.0
"""How long an idle connection is kept open: less than the five seconds after which uvicorn (vLLM, SGLang, stacks) and
Node close it; otherwise a request could be sent on a connection that is being closed, and fail."""
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0
_WRITE_SECONDS = 60.0
_POOL_SECONDS = 30.0


def new_client(network: Network, connect_seconds: float | None, silence_seconds: float | None) -> httpx.AsyncClient:
    """Return a client for one upstream, with connections for a thousand streams.

    Args:
        network: The settings of its inference provider.
        connect_seconds: Connect timeout; None: that of the network settings, or a default.
        silence_seconds: Read timeout (between two chunks); None likewise.
    """
    options = dict(network.options)
    verify = options.pop("verify", True)
    return httpx.AsyncClient(
        transport=_pooled(verify, None),
        mounts={
            pattern: _pooled(network.proxy_ca or verify, proxy) if proxy else None
            for pattern, proxy in network.proxies.items()
        },
        timeout=_finite(options.get("timeout"), connect_seconds, silence_seconds),
        headers={"accept-encoding": "identity", **(options.get("headers") or {})},
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def _pooled(verify: ssl.SSLContext | str | bool, proxy: str | None) -> PooledTransport:
    context = httpx.create_ssl_context(verify, trust_env=False)  # once: reading the certificates takes 25 ms
    limits = httpx.Limits(
        max_connections=POOL_SIZE, max_keepalive_connections=POOL_SIZE, keepalive_expiry=_IDLE_SECONDS
    )
    return PooledTransport(
        lambda: httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy, trust_env=False),
        _STREAMS,
        _IDLE_SECONDS,
    )


def _finite(
    configured: httpx.Timeout | None, connect_seconds: float | None, silence_seconds: float | None
) -> httpx.Timeout:
    """Return finite timeouts: the configured ones, else defaults."""
    known = configured or httpx.Timeout(None)
    return httpx.Timeout(
        connect=connect_seconds or _known(known.connect, _CONNECT_SECONDS),
        read=silence_seconds or _known(known.read, _SILENCE_SECONDS),
        write=_known(known.write, _WRITE_SECONDS),
        pool=_known(known.pool, _POOL_SECONDS),
    )


def _known(seconds: float | None, default: float) -> float:
    return seconds if seconds and isfinite(seconds) else default


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
