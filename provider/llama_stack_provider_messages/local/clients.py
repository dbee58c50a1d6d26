"""The HTTP client of the engine: one per event loop, made in it."""

import asyncio
import importlib
from weakref import WeakKeyDictionary

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

from .options import MAX_CONNECTIONS

_http = importlib.import_module(DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""httpx or its successor: whichever this openai SDK is built on."""

TRANSPORT_ERROR: type[Exception] = _http.TransportError

_CONNECT_SECONDS = 5.0


class LoopClients:
    """Clients without retries, proxies or idle connections.

    An idle connection would gain 0.5 ms and cost safety: the engine closes one after each stream, and after five
    seconds, without saying so before, which a request under way meets as an error; it holds a thread until then.

    Args:
        key: The engine's API key.
        silence_seconds: How long the next bytes may take.
    """

    def __init__(self, key: str, silence_seconds: float) -> None:
        self._key = key
        self._timeout = Timeout(silence_seconds, connect=_CONNECT_SECONDS)
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    @property
    def credentials(self) -> dict[str, str]:
        """The header that the engine wants to see."""
        return {"authorization": f"Bearer {self._key}"}

    def get(self, base_url: str) -> AsyncOpenAI:
        """Return the client of the running loop, pointed at this address."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._new(base_url)
        elif str(client.base_url).rstrip("/") != base_url:
            client.base_url = base_url
        return client

    def _new(self, base_url: str) -> AsyncOpenAI:
        limits = _http.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        http_client = DefaultAsyncHttpxClient(limits=limits, timeout=self._timeout, trust_env=False, verify=False)
        return AsyncOpenAI(
            api_key=self._key, base_url=base_url, max_retries=0, timeout=self._timeout, http_client=http_client
        )

    async def close(self) -> None:
        """Close the client of the running loop; those of other loops hold no connection."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client:
            await client.close()
