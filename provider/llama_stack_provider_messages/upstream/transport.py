"""Carries the requests of httpx over connections of aiohttp, whose parser is written in C.

httpx stays the interface: its requests, responses, timeouts and exceptions. Only its transport is replaced, because
httpx's own (httpcore and h11) takes most of the CPU time of a relayed stream, and compares all pairs of its
connections at each request. ``httpx-aiohttp`` 0.2 is not used: it keeps cookies for all callers, adds headers, repeats
GET requests, reports a reset as a connect timeout and has no write and pool timeout.

What has to be added to aiohttp, each with a test against real sockets:

- *Once.* aiohttp repeats GET, PUT and DELETE if the connection breaks. A failure leaves its request loop as an
  exception of httpx (``_send_once``), which aiohttp does not repeat.
- *Idle connections.* A server may close a connection while it is idle. A request on it would fail, and may have been
  received, so that it must not be sent again. ``_Connector`` therefore looks for input before it uses a connection
  again: a closed one is readable. What the server closes later than that is an error. The connection
  that was used last is used first, so that those of a burst expire after it.
- *Limits.* aiohttp has no write timeout; ``_RequestBody`` has one for each piece. Its pool timeout includes the time of
  connecting, so requests wait here, for a place among ``max_connections``.
- *Broken bodies.* A chunk that cannot be parsed ends the connection, but not the body: reading would wait for ever.
  And after any failure aiohttp discards what it had already received, which may be an ``error`` event that explains the
  failure. ``_ResponseBody`` ends the body with its connection, and returns the received bytes before the exception.
- *Aborting.* Closing a connection of aiohttp sends what is left of the request first. A request that is given up, and a
  response that is not read to its end, abort the connection, so that the upstream notices at once.

Memory of a response that is not being read: reading from the socket pauses above twice ``_READ_BUFFER_BYTES``, checked
after each read of at most 256 KiB, so at most 384 KiB. Headers: at most 128 of 16 KiB.
"""

import asyncio
import re
import select
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_READ_BUFFER_BYTES = 65_536
_WRITE_PIECE_BYTES = 262_144
"""How much of a request has to be taken by the upstream within the write timeout."""
_MAX_HEADER_BYTES = 16_384
_SCHEMES = frozenset({"http", "https"})
_ADDED_BY_AIOHTTP = ("accept", "accept-encoding", "content-type", "user-agent")

_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(rb"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
"""RFC 9110, 5.5: no control characters, and no white space at either end."""

_FAILURES: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx.ReadTimeout),
    (TimeoutError, httpx.WriteTimeout),  # of _RequestBody
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientConnectionResetError, httpx.WriteError),
    (aiohttp.ClientConnectionError, httpx.ReadError),
    (aiohttp.ClientError, httpx.NetworkError),
    (OSError, httpx.NetworkError),
    (RuntimeError, httpx.RemoteProtocolError),  # reading a body between the loss of its connection and _connection_lost
)
"""Exceptions of aiohttp, the first that matches, and those of httpx for them."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """The connections to one upstream, directly or through one proxy.

    Args:
        context: TLS settings, for the upstream and for a proxy with an ``https`` URL.
        proxy: URL of the proxy, with or without credentials; None: connect directly.
        max_connections: Limit of concurrent requests; further ones wait, up to their pool timeout.
        idle_seconds: How long an idle connection is kept open.

    Raises:
        ValueError: The URL of the proxy is not one of ``http`` or ``https``.
    """

    def __init__(self, context: ssl.SSLContext, proxy: str | None, max_connections: int, idle_seconds: float) -> None:
        context.set_alpn_protocols(["http/1.1"])
        self._context = context
        self._idle_seconds = idle_seconds
        self._places = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None
        self._proxy: URL | None = None
        self._proxy_headers: dict[str, str] = {}
        if proxy:
            parsed = httpx.Proxy(proxy)
            if parsed.url.scheme not in _SCHEMES:
                raise ValueError("The URL of a proxy has to begin with http:// or https://")
            self._proxy = URL(str(parsed.url), encoded=True)
            if parsed.raw_auth:
                credentials = b64encode(b":".join(parsed.raw_auth)).decode("ascii")
                self._proxy_headers = {"Proxy-Authorization": f"Basic {credentials}"}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request once; see ``httpx.AsyncBaseTransport``."""
        url = _aiohttp_url(request.url)
        headers = [_header(name, value) for name, value in request.headers.raw]
        if url.scheme == "http":  # aiohttp sends them only with CONNECT
            headers.extend(self._proxy_headers.items())
        timeout = request.extensions.get("timeout", {})
        body = _RequestBody(request.content, timeout.get("write")) if request.content else None
        await self._take_place(timeout.get("pool"))
        try:
            response = await self._running_session().request(
                request.method,
                url,
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(connect=timeout.get("connect"), sock_read=timeout.get("read")),
                server_hostname=request.extensions.get("sni_hostname"),
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            )
        except BaseException:
            self._places.release()
            if body:
                body.abort()
            raise
        reason = (response.reason or "").encode("utf-8", "surrogateescape")
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=_ResponseBody(response, self._places),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reason},
        )

    async def _take_place(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds if self._places.locked() else None):
                await self._places.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("All connections are in use") from None

    def _running_session(self) -> aiohttp.ClientSession:
        """Return the session; made by the first request, because it belongs to the running event loop."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(self._idle_seconds, self._context),
                middlewares=(_send_once,),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_ADDED_BY_AIOHTTP,
                auto_decompress=False,
                read_bufsize=_READ_BUFFER_BYTES,
                max_line_size=_MAX_HEADER_BYTES,
                max_field_size=_MAX_HEADER_BYTES,
            )
        return self._session

    async def aclose(self) -> None:
        """Close all connections; bodies that are being read end with an exception."""
        if self._session:
            await self._session.close()


async def _send_once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """A middleware that raises failures as exceptions of httpx."""
    try:
        return await send(request)
    except (aiohttp.ClientError, OSError) as error:
        if request.proxy and isinstance(error, aiohttp.ClientConnectorDNSError):  # the proxy resolves all other names
            raise httpx.ProxyError("The host name of the proxy is not known") from error
        raise _failure(error) from error


def _failure(error: Exception) -> httpx.TransportError:
    """Return the exception of httpx for one of aiohttp; its message contains no URL."""
    if isinstance(error, aiohttp.ClientResponseError):
        text = f"{error.status} {error.message}"
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        text = str(error.certificate_error)
    elif isinstance(error, aiohttp.ClientConnectorError):
        text = str(error.os_error)
    elif isinstance(error, aiohttp.ServerDisconnectedError):
        text = "Server disconnected without sending a response"
    else:
        text = type(error).__name__
    return next(kind for cause, kind in _FAILURES if isinstance(error, cause))(text)


@lru_cache(256)
def _aiohttp_url(url: httpx.URL) -> URL:
    """Return the URL without credentials, which httpx has made a header of."""
    if url.scheme not in _SCHEMES:
        raise httpx.UnsupportedProtocol(f"The URL's scheme is not http or https, but '{url.scheme}'")
    if not url.host:
        raise httpx.UnsupportedProtocol("The URL has no host")
    try:
        return URL(f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}", encoded=True)
    except ValueError:
        raise httpx.InvalidURL("The URL is not valid") from None


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    """Return a header as aiohttp encodes it: to the same bytes.

    Raises:
        httpx.LocalProtocolError: The name or the value cannot be sent.
    """
    if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
        raise httpx.LocalProtocolError("A header contains characters that cannot be sent")
    try:
        return name.decode("ascii"), value.decode("utf-8")
    except UnicodeDecodeError:
        raise httpx.LocalProtocolError("A header is not UTF-8") from None


def is_sendable(name: str, value: str) -> bool:
    """Return whether a request may have a header; its characters stand for bytes, as in ASGI."""
    try:
        _header(name.encode("latin-1"), value.encode("latin-1"))
    except (httpx.LocalProtocolError, UnicodeEncodeError):
        return False
    return True


class _Connector(aiohttp.TCPConnector):
    """Does not reuse an idle connection that the server has closed, even if the event loop has not noticed it yet."""

    def __init__(self, idle_seconds: float, context: ssl.SSLContext) -> None:
        super().__init__(
            limit=0,  # the transport limits the number of requests
            keepalive_timeout=idle_seconds,
            ssl=context,
            resolver=aiohttp.ThreadedResolver(),  # the system's; aiohttp would use aiodns if it is installed
        )
        self._used: WeakSet[ResponseHandler] = WeakSet()  # not the transports: uvloop's cannot be referenced weakly

    async def _get(self, key: "ConnectionKey", traces: "list[Trace]") -> "Connection | None":
        """Reuse the connection that was used last: aiohttp takes the oldest, so that none of them would expire."""
        if idle := self._conns.get(key):
            idle.rotate(1)
        return await super()._get(key, traces)

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: "list[Trace]",
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> "Connection":
        while True:
            connection = await super().connect(req, traces=traces, timeout=timeout)
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:  # lost while it was made
                return connection
            if protocol not in self._used:
                break
            if not _has_input(transport):
                return connection
            connection.close()
        self._used.add(protocol)
        if closed := protocol.closed:
            closed.add_done_callback(_read_exception)
        return connection


def _read_exception(closed: asyncio.Future[None]) -> None:
    """Read the exception with which a connection was lost; asyncio logs unread ones."""
    if not closed.cancelled():
        closed.exception()


def _has_input(transport: asyncio.Transport) -> bool:
    """Return whether there is something to read. On an idle connection that is its end, or unexpected bytes."""
    descriptor = transport.get_extra_info("socket").fileno()
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class _RequestBody(aiohttp.Payload):
    """The body of a request, of which each piece is written within a time limit.

    Args:
        data: The bytes.
        seconds: The write timeout.
    """

    _value: bytes

    def __init__(self, data: bytes, seconds: float | None) -> None:
        super().__init__(data)
        self._size = len(data)
        self._seconds = seconds
        self._transport: asyncio.WriteTransport | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        del content_length  # httpx has set it to the length of the data
        self._transport = writer.transport
        data = memoryview(self._value)
        try:
            for start in range(0, len(data), _WRITE_PIECE_BYTES):
                async with asyncio.timeout(self._seconds):
                    await writer.write(data[start : start + _WRITE_PIECE_BYTES])
                    await writer.drain()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Close the connection without sending what is left."""
        if self._transport:
            self._transport.abort()


class _ResponseBody(httpx.AsyncByteStream):
    """The body of a response: the bytes as they arrive, in pieces of what was read from the socket."""

    def __init__(self, response: aiohttp.ClientResponse, places: asyncio.Semaphore) -> None:
        self._response = response
        self._places: asyncio.Semaphore | None = places
        self._protocol = response.connection.protocol if response.connection else None
        """None: the body has arrived completely. A protocol without received messages is false."""
        if self._protocol is not None and (closed := self._protocol.closed):
            closed.add_done_callback(self._connection_lost)

    def _connection_lost(self, _closed: asyncio.Future[None]) -> None:
        """Wake the reader of a body that aiohttp has left without an end."""
        content = self._response.content
        if not content.is_eof() and not content.exception():
            content.set_exception(aiohttp.ClientPayloadError("The body cannot be parsed"))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while data := await content.readany():
                yield data
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            content.set_exception(cast("BaseException", None))  # otherwise it does not return what it has received
            if data := content.read_nowait():
                yield data
            if self._protocol is not None and isinstance(self._protocol.exception(), aiohttp.ClientOSError):
                raise httpx.ReadError("The connection was reset") from error
            raise _failure(error) from error

    async def aclose(self) -> None:
        """Abort the connection, unless the body has arrived completely."""
        if self._places is None:
            return
        self._places.release()
        self._places = None
        if self._protocol is not None and (closed := self._protocol.closed):
            closed.remove_done_callback(self._connection_lost)
        if (connection := self._response.connection) and connection.transport:
            connection.transport.abort()
        self._response.close()
