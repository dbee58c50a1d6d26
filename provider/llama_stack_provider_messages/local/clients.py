"""The HTTP clients of the engine, one per event loop."""

import importlib

from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

from llama_stack_provider_messages.upstream.state import PerLoop

from .options import MAX_CONNECTIONS

_http = importlib.import_module(DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""httpx or httpx2: the one that the installed openai SDK uses."""

TRANSPORT_ERROR: type[Exception] = _http.TransportError

_CONNECT_SECONDS = 5.0


class LoopClients:
    """Clients without retries, proxies or idle connections.

    Reusing connections would save 0.5 ms but is not safe: the engine closes a connection after each stream, and after
    five idle seconds, without announcing it, so a request in flight would fail. An idle connection also occupies a
    thread of the engine.

    Args:
        key: The engine's API key.
        silence_seconds: Read timeout (between two chunks).
    """

    def __init__(self, key: str, silence_seconds: float) -> None:
        self._key = key
        self._timeout = Timeout(silence_seconds, connect=_CONNECT_SECONDS)
        self._clients: PerLoop[AsyncOpenAI] = PerLoop()

    @property
    def credentials(self) -> dict[str, str]:
        """Return the header with the engine's API key."""
        return {"authorization": f"Bearer {self._key}"}

    def get(self, base_url: str) -> AsyncOpenAI:
        """Return the client of the running loop, for this base URL."""
        client = self._clients.get(lambda: self._new(base_url))
        if str(client.base_url).rstrip("/") != base_url:
            client.base_url = base_url
        return client

    def _new(self, base_url: str) -> AsyncOpenAI:
        limits = _http.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        http_client = DefaultAsyncHttpxClient(limits=limits, timeout=self._timeout, trust_env=False, verify=False)
        return AsyncOpenAI(
            api_key=self._key, base_url=base_url, max_retries=0, timeout=self._timeout, http_client=http_client
        )

    async def close(self) -> None:
        """Close the client of the running loop."""
        if client := self._clients.pop():
            await client.close()
