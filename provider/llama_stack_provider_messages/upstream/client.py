"""Sends HTTP requests to upstreams; failures are raised as errors of the Messages API."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import httpx

from llama_stack_api_messages.errors import (
    AuthenticationError,
    BadGatewayError,
    GatewayTimeoutError,
    InvalidRequestError,
    MessagesError,
)
from llama_stack_provider_messages.errors.response import upstream_failure
from llama_stack_provider_messages.headers import BETA_HEADER, merged_betas
from llama_stack_provider_messages.stack import Target, network_of

from .address import Upstream
from .connections import HttpClients, new_client

_SHORT = httpx.Timeout(5.0)
"""Timeout of requests that no client made, such as probes."""
_JSON = {"content-type": "application/json"}
_LONGEST_ERROR = 1024 * 1024
LONGEST_ANSWER = 64 * 1024 * 1024
"""Limit in bytes of a non-streaming response body, which may contain images and files as base64. Without a limit an
endless response would fill the memory of the process."""

STREAM_END_SECONDS = 0.5
"""How long an upstream may keep a stream open after its last event. A connection is reusable only if read to its
end."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One request to an upstream.

    Attributes:
        path: Path after the base URL.
        data: The body.
        headers: Request headers; those of the upstream win.
        query: The query string, without the ``?``.
        short: Whether to use a timeout of a few seconds.
    """

    path: str
    data: bytes
    headers: Mapping[str, str]
    query: str = ""
    short: bool = False


class UpstreamClient:
    """Sends requests to upstreams, over pooled connections."""

    def __init__(self) -> None:
        self._clients = HttpClients()

    async def send_ok(self, target: Target, upstream: Upstream, request: UpstreamRequest) -> httpx.Response:
        """Return a successful response, with its body still to be read; the caller closes it.

        Raises:
            MessagesError: The upstream cannot be reached, or its status is not a success.
        """
        response = await self.send(target, upstream, request)
        if response.is_success:
            return response
        body = await _beginning(response)
        raise upstream_failure(
            response.status_code,
            body,
            response.headers,
            provider_id=upstream.provider_id,
            secrets=upstream.secrets,
            own_request_id=upstream.settings.own_request_id,
            now=datetime.now(UTC),
        )

    async def send(self, target: Target, upstream: Upstream, request: UpstreamRequest) -> httpx.Response:
        """Return a response of any status, with its body still to be read; the caller closes it.

        Raises:
            MessagesError: The upstream cannot be reached.
        """
        settings = upstream.settings
        try:
            client = self._clients.get(
                f"{target.provider_id} {settings.connect_seconds} {settings.silence_seconds}",
                lambda: new_client(network_of(target.provider), settings.connect_seconds, settings.silence_seconds),
            )
        except (OSError, ValueError) as error:  # missing certificate files, an invalid proxy URL
            raise BadGatewayError(
                f"The backend '{upstream.provider_id}' cannot be reached: its network settings are wrong",
                retryable=False,
            ) from error
        betas = merged_betas(request.headers.get(BETA_HEADER), upstream.headers.get(BETA_HEADER))
        headers = {**client.headers, **_JSON, **request.headers, **upstream.headers, **betas}
        try:
            return await client.http.send(_http_request(upstream, request, headers), stream=True)
        except httpx.LocalProtocolError:  # headers of clients came by HTTP and are valid
            raise _bad_key(upstream) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise connection_failure(error, upstream.provider_id) from error

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._clients.close()


def _http_request(upstream: Upstream, request: UpstreamRequest, headers: Mapping[str, str]) -> httpx.Request:
    """Return the HTTP request. ``AsyncClient.build_request`` takes 60 us more, for merging cookies and queries."""
    extensions = {"timeout": _SHORT.as_dict()} if request.short else {}
    url = _url(upstream.base_url + request.path)
    if request.query:
        try:
            url = httpx.URL(f"{url}?{request.query}")
        except httpx.InvalidURL:
            raise InvalidRequestError("The query string cannot be sent on to the backend; leave it out") from None
    try:
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    except UnicodeEncodeError:
        raise _bad_key(upstream) from None
    return httpx.Request("POST", url, content=request.data, headers=raw, extensions=extensions)


def _bad_key(upstream: Upstream) -> AuthenticationError:
    return AuthenticationError(
        f"The key for the backend '{upstream.provider_id}' has characters that HTTP cannot carry, maybe a line end"
    )


_url = lru_cache(256)(httpx.URL)


def is_event_stream(response: httpx.Response) -> bool:
    """Return whether the body of a response is a stream of events."""
    kind: str = response.headers.get("content-type", "")
    return kind.lower().startswith("text/event-stream")


async def read_body(response: httpx.Response, provider_id: str) -> bytes:
    """Return the body of a response, and close the response.

    Raises:
        MessagesError: The connection broke, or the body is longer than ``LONGEST_ANSWER``.
    """
    if "," in response.headers.get("content-encoding", ""):
        await response.aclose()
        raise BadGatewayError(f"The backend '{provider_id}' compressed its answer twice", retryable=False)
    body = bytearray()  # a list of many small chunks would take more memory than their bytes
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LONGEST_ANSWER:
                body.clear()  # the traceback would keep the memory
                raise BadGatewayError(
                    f"The backend '{provider_id}' sent an answer of more than {LONGEST_ANSWER >> 20} MiB; ask for less",
                    retryable=False,
                )
        return bytes(body)
    except httpx.HTTPError as error:
        raise connection_failure(error, provider_id) from error
    finally:
        await response.aclose()


async def chunks_after_end(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the chunks after the last event of a stream, for at most ``STREAM_END_SECONDS``."""
    clock = asyncio.get_running_loop().time
    until = clock() + STREAM_END_SECONDS
    while (left := until - clock()) > 0:
        try:
            async with asyncio.timeout(left):
                chunk = await anext(chunks)
        except (StopAsyncIteration, TimeoutError):
            return
        yield chunk


async def _beginning(response: httpx.Response) -> bytes:
    """Return the first bytes of an error body, about ``_LONGEST_ERROR``."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size > _LONGEST_ERROR:
                break
    except httpx.HTTPError:
        return b"".join(parts)  # the status is known and more useful than the broken connection
    finally:
        await response.aclose()
    return b"".join(parts)


def connection_failure(error: Exception, provider_id: str) -> MessagesError:
    """Return the error for a failed HTTP exchange; its message contains no addresses.

    Args:
        error: The exception of httpx.
        provider_id: Id of the upstream's provider, for the message.
    """
    backend = f"The backend '{provider_id}'"
    if isinstance(error, httpx.PoolTimeout):
        return GatewayTimeoutError(f"{backend} has no connection free; try again")
    if isinstance(error, httpx.TimeoutException):
        return GatewayTimeoutError(f"{backend} did not answer in time")
    if isinstance(error, httpx.ConnectError):
        return BadGatewayError(f"{backend} cannot be reached: {_why(error)}")
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return BadGatewayError(f"{backend} cannot be reached: its base URL is not a valid URL", retryable=False)
    if isinstance(error, httpx.DecodingError):
        return BadGatewayError(f"{backend} sent a body that is not compressed in the way it says")
    if isinstance(error, httpx.ProxyError):
        return BadGatewayError(f"{backend} cannot be reached: the proxy refused")
    return BadGatewayError(f"{backend} broke the connection before its answer was complete")


def _why(error: BaseException | None) -> str:
    while error:
        if isinstance(error, socket.gaierror):
            return "its host name is not known"
        if isinstance(error, ssl.SSLError):
            return "TLS failed; check its certificate and the network settings of the provider"
        if isinstance(error, ConnectionRefusedError):
            return "it refused the connection; is it running?"
        error = error.__cause__ or error.__context__
    return "no connection"
