"""Fetches media from URLs, with limits on size, time, redirects and target addresses.

The URL of an image comes from the client, and this server can reach what the client cannot: databases, the metadata
service of a cloud (169.254.169.254). So a URL is fetched only from public addresses, and from those that the operator
lists in ``media_hosts``:

- A host name is resolved once, all its addresses are checked, and the connection goes to one of them. So a name that
  resolves to another address a moment later (DNS rebinding) has no effect. Each redirect is checked in the same way.
- An IPv4 address embedded in an IPv6 address is checked, too: ``64:ff9b::a9fe:a9fe`` is the metadata service.
- Proxies of the environment are not used: a proxy would resolve the name again.
- No error reveals which names and addresses of the private network exist.
"""

import asyncio
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from llama_stack_provider_messages.upstream.state import PerLoop

_MAX_REDIRECTS = 3
MAX_CONNECTIONS = 16
_MAX_PORT = 65535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAT64 = IPv6Network("64:ff9b::/96")
_NOT_PUBLIC = tuple(map(IPv6Network, ("64:ff9b:1::/48", "::/96")))
"""Local translation prefixes (RFC 8215), behind which the addresses of a private network may be, and IPv4-compatible
addresses (RFC 4291, deprecated); older versions of Python take some of them for global."""
_PLATFORM_ADDRESSES = frozenset({ip_address("168.63.129.16")})
"""Azure's host agent, reachable from every Azure machine (learn.microsoft.com, what-is-ip-address-168-63-129-16)."""
_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([a-z0-9._:-]{1,40})""")
"""The ``charset`` parameter of a content type; its encoded form (``charset*=``, RFC 2231) is not supported."""


class NotPublicError(Exception):
    """A host does not exist, or has an address that is not public; the error does not reveal which."""


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
    """The bytes that may still be fetched for one request, and the time until when.

    Args:
        left: The bytes.
        until: The time of the event loop, set when the first fetch begins.
    """

    left: int
    until: float | None = None

    def deadline(self, seconds: float) -> float:
        """Return the time until when; it is in ``seconds`` at the first call."""
        if self.until is None:
            self.until = asyncio.get_running_loop().time() + seconds
        return self.until

    def take(self, size: int) -> None:
        """Subtract fetched bytes.

        Raises:
            FetchError: The budget is exceeded.
        """
        self.left -= size
        if self.left < 0:
            raise FetchError("the files at the addresses are too large; send less, or smaller files")


class Fetcher:
    """Downloads over HTTP, without proxies, cookies or connection reuse.

    Connections are pooled by address and port, so a reused one could have been opened for another host name.

    Args:
        hosts: Names and addresses that may be fetched from although they are not public.
        seconds: Timeout of all URLs of one request, redirects included.
        transport: Sends the requests instead of the network.
    """

    def __init__(
        self, hosts: Collection[str], seconds: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._hosts = frozenset(host.lower().rstrip(".") for host in hosts)
        self._seconds = seconds
        self._transport = transport
        self._clients: PerLoop[httpx.AsyncClient] = PerLoop()

    async def fetch(self, url: str, budget: Budget) -> Fetched:
        """Return the content of a URL.

        Raises:
            FetchError: Fetching failed; the message gives the reason without revealing this server's network.
        """
        try:
            async with asyncio.timeout_at(budget.deadline(self._seconds)):
                return await self._follow(httpx.URL(url), budget)
        except (TimeoutError, httpx.TimeoutException):
            raise FetchError("the address did not answer in time; send the bytes in base64") from None
        except NotPublicError:
            raise FetchError("the host of the address is not public; send the bytes in base64") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError):
            raise FetchError("the address could not be fetched; send the bytes in base64") from None

    async def _follow(self, url: httpx.URL, budget: Budget) -> Fetched:
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._get(url)
            try:
                if not response.has_redirect_location:
                    return await _read(response, budget)
                url = url.join(response.headers["location"])
            finally:
                await response.aclose()
        raise FetchError("the address redirects too often; send the bytes in base64")

    async def _get(self, url: httpx.URL) -> httpx.Response:
        """Send the request to a checked address; the Host header and the TLS name are still those of the URL."""
        if url.scheme not in _DEFAULT_PORTS or not url.host or (url.port or 0) > _MAX_PORT:
            raise FetchError("the address is not a valid http or https URL; send the bytes in base64")
        addresses = await resolve(url.host, url.port or _DEFAULT_PORTS[url.scheme], self._hosts)
        client = self._clients.get(self._new_client)
        headers = {"host": url.netloc.decode("ascii"), "accept": "*/*", "accept-encoding": "identity"}
        tls_name = {"sni_hostname": url.raw_host.decode("ascii")}
        for address in addresses:
            target = url.copy_with(host=address)
            request = client.build_request("GET", target, headers=headers, extensions=tls_name)
            try:
                return await client.send(request, stream=True)
            except httpx.ConnectError as error:
                failure = error
        raise failure

    def _new_client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        return httpx.AsyncClient(
            limits=limits, timeout=self._seconds, trust_env=False, cookies=no_cookies, transport=self._transport
        )

    async def close(self) -> None:
        """Close the client of the running loop."""
        if client := self._clients.pop():
            await client.aclose()


async def _read(response: httpx.Response, budget: Budget) -> Fetched:
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


async def resolve(host: str, port: int, allowed: Collection[str]) -> list[str]:
    """Return the addresses of a host.

    Args:
        host: Host name or address.
        port: Port of the connection.
        allowed: Names and addresses that may be private.

    Raises:
        NotPublicError: The host has no address, or one that is not public.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotPublicError from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    host_allowed = host.lower().rstrip(".") in allowed
    if not addresses or not all(host_allowed or one in allowed or is_public(ip_address(one)) for one in addresses):
        raise NotPublicError
    return addresses


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is public; an IPv4 address embedded in an IPv6 address must be public, too."""
    if isinstance(address, IPv6Address):
        if any(address in network for network in _NOT_PUBLIC):
            return False
        if address in _NAT64:
            embedded: IPv4Address | None = IPv4Address(int(address) & 0xFFFFFFFF)
        else:
            embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address.is_site_local or (embedded and not is_public(embedded)):
            return False
    return address.is_global and not address.is_multicast and address not in _PLATFORM_ADDRESSES
