"""The clients under test: the async and sync clients of httpx and httpx2, reading the raw chunks of a response."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import httpx
import httpx2

TIMEOUT_SECONDS = 60
"""Only a hang takes that long."""


def ignore(_url: str) -> None:
    """Nothing waits for what the client has read."""


@dataclass
class Seen:
    """The result of one request.

    Attributes:
        pieces: The chunks of the body.
        times: Arrival time of each chunk, in seconds since the request.
        error: The transport error that was raised, or None.
        status: Status of the response; 0 if there was none.
    """

    pieces: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    error: Exception | None = None
    status: int = 0


@dataclass(frozen=True)
class Client:
    """A kind of client.

    Attributes:
        http: Its module, httpx or httpx2.
        is_async: Whether it is the async client.
    """

    http: ModuleType
    is_async: bool

    def get(self, url: str, *, transport: Any = None, take: int | None = None, **request: Any) -> Seen:
        """Send one request and return the result; the client disconnects after ``take`` chunks if given."""
        return self.get_all({url: take}, transport=transport, **request)[url]

    def get_all(
        self,
        urls: dict[str, int | None],
        *,
        transport: Any = None,
        on_chunk: Callable[[str], None] = ignore,
        **request: Any,
    ) -> dict[str, Seen]:
        """Send several requests concurrently; return what came, by URL.

        Args:
            urls: URL -> after how many chunks the client disconnects, or None.
            transport: The client's transport; by default its own.
            on_chunk: Is called with the URL for each chunk that was read.
            request: Further arguments of the request.
        """
        request = {"method": "GET", **request}
        if self.is_async:
            return asyncio.run(self._get_all(urls, transport, on_chunk, request))
        with self.http.Client(transport=transport, timeout=TIMEOUT_SECONDS) as client, ThreadPoolExecutor() as pool:
            found = pool.map(lambda pair: self._sync_get(client, *pair, on_chunk, request), urls.items())
            return dict(zip(urls, found, strict=True))

    async def _get_all(
        self, urls: dict[str, int | None], transport: Any, on_chunk: Callable[[str], None], request: dict[str, Any]
    ) -> dict[str, Seen]:
        async with self.http.AsyncClient(transport=transport, timeout=TIMEOUT_SECONDS) as client:
            found = await asyncio.gather(*(self._async_get(client, *pair, on_chunk, request) for pair in urls.items()))
        return dict(zip(urls, found, strict=True))

    async def _async_get(
        self, client: Any, url: str, take: int | None, on_chunk: Callable[[str], None], request: dict[str, Any]
    ) -> Seen:
        seen, start = Seen(), time.monotonic()
        try:
            async with client.stream(url=url, **request) as response:
                seen.status = response.status_code
                async for piece in response.aiter_raw():
                    seen.pieces.append(piece)
                    seen.times.append(time.monotonic() - start)
                    on_chunk(url)
                    if len(seen.pieces) == take:
                        break
        except self.http.TransportError as error:
            seen.error = error
        return seen

    def _sync_get(
        self, client: Any, url: str, take: int | None, on_chunk: Callable[[str], None], request: dict[str, Any]
    ) -> Seen:
        seen, start = Seen(), time.monotonic()
        try:
            with client.stream(url=url, **request) as response:
                seen.status = response.status_code
                for piece in response.iter_raw():
                    seen.pieces.append(piece)
                    seen.times.append(time.monotonic() - start)
                    on_chunk(url)
                    if len(seen.pieces) == take:
                        break
        except self.http.TransportError as error:
            seen.error = error
        return seen


CLIENTS = {
    "httpx-async": Client(httpx, is_async=True),
    "httpx-sync": Client(httpx, is_async=False),
    "httpx2-async": Client(httpx2, is_async=True),
    "httpx2-sync": Client(httpx2, is_async=False),
}
