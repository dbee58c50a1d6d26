"""Fetches media from URLs, with limits on size, time, redirects and target addresses."""

import asyncio
import re
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from llama_stack_provider_messages.upstream.state import PerLoop

from .addresses import NotPublicError, resolve

_MAX_REDIRECTS = 3
_MAX_CONNECTIONS = 16
_LAST_PORT = 65535
_PORTS = {"http": 80, "https": 443}
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([a-z0-9._:-]{1,40})""")
"""The ``charset`` parameter of a content type; its encoded form (``charset*=``, RFC 2231) is not supported."""


class FetchError(Exception):
    """Fetching failed; the message is for the client."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The content of a URL.

    Args:
        media_type: The media type of the response, in lower case.
        charset: The charset of the response, for texts.
        data: The bytes.
    """

    media_type: str
    charset: str
    data: bytes


@dataclass(slots=True)
class Budget:
    """The bytes that may still be fetched for one request."""

    left: int

    def take(self, size: int) -> None:
        """Subtract fetched bytes.

        Raises:
            FetchError: The budget is exceeded.
        """
        self.left -= size
        if self.left < 0:
            raise FetchError("what stands at the addresses is too large; send less, or smaller files")


class Fetcher:
    """Downloads over HTTP, without proxies, cookies or connection reuse.

    Connections are pooled by address and port, so a reused one could have been opened for another host name.

    Args:
        hosts: Names and addresses that may be fetched from although they are not public.
        seconds: Timeout of one URL, redirects included.
    """

    def __init__(self, hosts: Collection[str], seconds: float) -> None:
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._seconds = seconds
        self._clients: PerLoop[httpx.AsyncClient] = PerLoop()

    async def fetch(self, url: str, budget: Budget) -> Fetched:
        """Return the content of a URL.

        Raises:
            FetchError: Fetching failed; the message gives the reason without revealing this server's network.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(httpx.URL(url), budget)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchError("the address did not answer in time; send the bytes in base64") from None
        except NotPublicError:
            raise FetchError("the host of the address is not a public one; send the bytes in base64") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError):
            raise FetchError("the address could not be fetched; send the bytes in base64") from None

    async def _follow(self, url: httpx.URL, budget: Budget) -> Fetched:
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._get(url) as response:
                if not response.has_redirect_location:
                    return await _body(response, budget)
                url = url.join(response.headers["location"])
        raise FetchError("the address redirects too often; send the bytes in base64")

    @asynccontextmanager
    async def _get(self, url: httpx.URL) -> AsyncGenerator[httpx.Response]:
        """Send the request to a checked address; the Host header and the TLS name are still those of the URL."""
        if url.scheme not in _PORTS or not url.host or (url.port or 0) > _LAST_PORT:
            raise FetchError("the address leads to something that is not of the web; send the bytes in base64")
        addresses = await resolve(url.host, url.port or _PORTS[url.scheme], self._hosts)
        response = await self._connect(url, addresses)
        try:
            yield response
        finally:
            await response.aclose()

    async def _connect(self, url: httpx.URL, addresses: list[str]) -> httpx.Response:
        client = self._clients.get(self._new_client)
        headers = {"host": url.netloc.decode("ascii"), "accept": "*/*", "accept-encoding": "identity"}
        name = {"sni_hostname": url.raw_host.decode("ascii")}
        for address in addresses[:-1]:
            with suppress(httpx.ConnectError):
                return await _send(client, url.copy_with(host=address), headers, name)
        return await _send(client, url.copy_with(host=addresses[-1]), headers, name)

    def _new_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=_MAX_CONNECTIONS, max_keepalive_connections=0)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        return httpx.AsyncClient(limits=limits, timeout=self._seconds, trust_env=False, cookies=no_cookies)

    async def close(self) -> None:
        """Close the client of the running loop."""
        if client := self._clients.pop():
            await client.aclose()


async def _send(
    client: httpx.AsyncClient, url: httpx.URL, headers: dict[str, str], name: dict[str, str]
) -> httpx.Response:
    return await client.send(client.build_request("GET", url, headers=headers, extensions=name), stream=True)


async def _body(response: httpx.Response, budget: Budget) -> Fetched:
    if response.status_code != httpx.codes.OK:
        raise FetchError(f"the address answers HTTP {response.status_code}; send the bytes in base64")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchError("the address answers with compressed bytes only; send the bytes in base64")
    pieces: list[bytes] = []
    async for piece in response.aiter_raw():
        budget.take(len(piece))
        pieces.append(piece)
    content_type = response.headers.get("content-type", "").lower()
    charset = _CHARSET.search(content_type)
    return Fetched(content_type.partition(";")[0].strip(), charset[1] if charset else "utf-8", b"".join(pieces))
