"""HTTP clients of upstreams, with keep-alive connections: one client for each upstream and event loop.

A client sends each request exactly once, to the configured host. So redirects (the key would go along), retries (a
generation may have begun), cookies (they would belong to one of the callers) and proxies of the environment are off,
and no timeout is endless. ``transport.py`` carries the requests.
"""

import ssl
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from math import isfinite
from typing import NamedTuple

import httpx

from llama_stack_provider_messages.stack import Network

from .state import PerLoop
from .transport import AiohttpTransport

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
        transport=_transport(verify, None),
        mounts={
            pattern: _transport(network.proxy_ca or verify, proxy) if proxy else None
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


def _transport(verify: ssl.SSLContext | str | bool, proxy: str | None) -> AiohttpTransport:
    context = httpx.create_ssl_context(verify, trust_env=False)  # once: reading the certificates takes 25 ms
    return AiohttpTransport(context, proxy, _MAX_CONNECTIONS, _IDLE_SECONDS)
