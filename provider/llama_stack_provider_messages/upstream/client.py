"""Sends HTTP requests to upstreams and reads their responses; failures are raised as errors of the Messages API.

Everything that an upstream can make large or slow has a limit (docs/limits.md):

    whole answer       ``MAX_RESPONSE_BYTES``; the read timeout for each chunk
    error body         ``MAX_ERROR_BYTES`` and ``ERROR_BODY_SECONDS`` in all; what arrived until then is used
    event of a stream  ``MAX_EVENT_BYTES`` (``sse.py``)
    compressed body    refused unread: every request asks for an uncompressed response, and a kilobyte of gzip can be a
                       megabyte of text
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import cast

import httpx

from llama_stack_api_messages.errors import (
    ApiError,
    AuthenticationError,
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
)
from llama_stack_provider_messages.errors.exceptions import connection_failure
from llama_stack_provider_messages.errors.response import upstream_failure
from llama_stack_provider_messages.headers import BETA_HEADER, KEY_HEADERS, merged_betas
from llama_stack_provider_messages.stack import Target, network_of

from .address import Upstream
from .connections import HttpClients, new_client
from .sse import MAX_EVENT_BYTES, EventTooLongError
from .transport import is_sendable

_SHORT_TIMEOUT = httpx.Timeout(5.0)
"""Timeout of requests that no client made, such as probes."""
_JSON = {"content-type": "application/json"}
RETRY_SECONDS = 0.5
"""Pause before a failed connection is tried again."""
MAX_ERROR_BYTES = 1024 * 1024
"""Limit of an error body; the rest is not read."""
ERROR_BODY_SECONDS = 5.0
"""How long an error body is read: the status is already known, and the client waits for it."""
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
"""Limit of a non-streaming response body, which may contain images and files as base64."""

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
        method: The HTTP method.
    """

    path: str
    data: bytes
    headers: Mapping[str, str]
    query: str = ""
    short: bool = False
    method: str = "POST"


class UpstreamClient:
    """Sends requests to upstreams, over pooled connections.

    Args:
        connect_retries: How often a request is repeated that could not connect, and so has not been received.
    """

    def __init__(self, connect_retries: int = 0) -> None:
        self._clients = HttpClients()
        self._connect_retries = connect_retries

    async def send_ok(self, target: Target, upstream: Upstream, request: UpstreamRequest) -> httpx.Response:
        """Return a successful response, with its body still to be read; the caller closes it.

        Raises:
            MessagesError: The upstream cannot be reached, or its status is not a success.
        """
        response = await self.send(target, upstream, request)
        if response.is_success:
            return response
        raise upstream_failure(
            response.status_code,
            await read_error_body(response),
            response.headers,
            provider_id=upstream.provider_id,
            secrets=upstream.secrets,
            own_request_id=upstream.settings.own_request_id,
            now=datetime.now(UTC),
        )

    async def send(self, target: Target, upstream: Upstream, request: UpstreamRequest) -> httpx.Response:
        """Return a response of any status, with its body still to be read; the caller closes it.

        Raises:
            MessagesError: The upstream cannot be reached, or its response is compressed.
        """
        settings, environment = upstream.settings, upstream.environment_proxies
        try:
            client = self._clients.get(
                f"{target.provider_id} {settings.connect_seconds} {settings.silence_seconds} {environment}",
                lambda: new_client(
                    network_of(target.provider, environment=environment),
                    settings.connect_seconds,
                    settings.silence_seconds,
                ),
            )
        except (OSError, ValueError) as error:  # missing certificate files, an invalid proxy URL
            raise BadGatewayError(
                f"The backend '{upstream.provider_id}' cannot be reached: its network settings are wrong",
                retryable=False,
            ) from error
        betas = merged_betas(request.headers.get(BETA_HEADER), upstream.headers.get(BETA_HEADER))
        headers = {**client.headers, **_JSON, **request.headers, **upstream.headers, **betas}
        retries = self._connect_retries
        while True:
            try:
                response = await client.http.send(_http_request(upstream, request, headers), stream=True)
                break
            except (httpx.LocalProtocolError, UnicodeEncodeError) as error:
                failure = _header_failure(upstream, request, headers)
                raise failure or connection_failure(error, upstream.provider_id) from None
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if not retries or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                    raise connection_failure(error, upstream.provider_id) from error
            retries -= 1
            await asyncio.sleep(RETRY_SECONDS)
        await refuse_compressed(response, upstream.provider_id)
        return response

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._clients.close()


def _http_request(upstream: Upstream, request: UpstreamRequest, headers: Mapping[str, str]) -> httpx.Request:
    """Return the HTTP request. ``AsyncClient.build_request`` takes 60 us more, for merging cookies and queries."""
    extensions = {"timeout": _SHORT_TIMEOUT.as_dict()} if request.short else {}
    url = _url(upstream.base_url + request.path)
    if request.query:
        try:
            url = httpx.URL(f"{url}?{request.query}")
        except httpx.InvalidURL:
            raise InvalidRequestError("The query string is not valid in a URL; remove it") from None
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return httpx.Request(request.method, url, content=request.data, headers=raw, extensions=extensions)


def _header_failure(upstream: Upstream, request: UpstreamRequest, headers: Mapping[str, str]) -> MessagesError | None:
    """Return the error for the first header that cannot be sent; None if all can. Its value may be a key.

    Args:
        upstream: The upstream, with the headers that its provider declares.
        request: The request, with the headers of the client.
        headers: All headers.
    """
    name = next((name.lower() for name, value in headers.items() if not is_sendable(name, value)), None)
    if name is None:
        return None
    problem = "is not valid UTF-8, or has a line end or another character that cannot be sent"
    if name in request.headers and name not in upstream.headers:
        return InvalidRequestError(f"The request's header '{name}' {problem}; correct it, or leave it out")
    if name in KEY_HEADERS:
        return AuthenticationError(
            f"The key for the backend '{upstream.provider_id}' contains characters that headers cannot carry, such as "
            "a line end"
        )
    return ApiError(
        f"In the configuration, the header '{name}' for the backend '{upstream.provider_id}' {problem}; its operator "
        "has to correct it",
        retryable=False,
    )


_url = lru_cache(256)(httpx.URL)


def is_event_stream(response: httpx.Response) -> bool:
    """Return whether the body of a response is a stream of events."""
    kind: str = response.headers.get("content-type", "")
    return kind.lower().startswith("text/event-stream")


async def refuse_compressed(response: httpx.Response, provider_id: str) -> None:
    """Close a compressed response, unread, and raise its error; do nothing if it is not compressed.

    Raises:
        MessagesError: The response has a content encoding. An error response keeps its status and its retry advice.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding == "identity":
        return
    await response.aclose()
    shown = encoding if _ENCODING.fullmatch(encoding) else "unknown"
    text = (
        f"The backend '{provider_id}' compressed its response (content-encoding: {shown}), although the request does "
        "not allow that; switch compression off there, or in the proxy before it"
    )
    if response.is_success:
        raise BadGatewayError(text, retryable=False)
    body = json.dumps({"error": {"message": f"{text}. The status of the response is {response.status_code}"}})
    raise upstream_failure(response.status_code, body.encode(), response.headers, provider_id=provider_id)


_ENCODING = re.compile(r"[\w, -]{1,40}", re.ASCII)


async def read_body(response: httpx.Response, provider_id: str, max_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
    """Return the body of a response, and close the response.

    Raises:
        MessagesError: The connection broke, or the body is longer than ``max_bytes``.
    """
    body = bytearray()  # a list of many small chunks would take more memory than their bytes
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > max_bytes:
                body.clear()  # the traceback would keep the memory
                raise response_too_long(provider_id, max_bytes)
        return bytes(body)
    except httpx.HTTPError as error:
        raise connection_failure(error, provider_id) from error
    finally:
        await response.aclose()


def response_too_long(provider_id: str, max_bytes: int) -> BadGatewayError:
    """Return the error for a whole response of more than ``max_bytes``."""
    text = f"The backend '{provider_id}' sent a response of more than {max_bytes >> 20} MiB; request less"
    return BadGatewayError(text, retryable=False)


async def read_error_body(response: httpx.Response) -> bytes:
    """Return what arrives of an error body within its limits of bytes and time, and close the response.

    The status is known and more useful than a broken connection, so a failure only ends the body.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(ERROR_BODY_SECONDS):
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ERROR_BYTES:
                    break
    except (httpx.HTTPError, TimeoutError):
        pass
    finally:
        await response.aclose()
    return bytes(body[:MAX_ERROR_BYTES])


STREAM_FAILURES = (httpx.HTTPError, EventTooLongError)
"""What reading and decoding a stream raises; ``stream_failure`` translates it."""


def stream_failure(error: Exception, provider_id: str) -> MessagesError:
    """Return the error for a stream that failed: its connection broke, or it has too long an event."""
    if isinstance(error, EventTooLongError):
        limit = f"{MAX_EVENT_BYTES >> 20} MiB"
        return BadGatewayError(
            f"The backend '{provider_id}' sent an event of more than {limit} in its stream; request less",
            retryable=False,
        )
    return connection_failure(error, provider_id)


def raw_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Return the body in the upstream's chunks.

    ``aiter_raw`` is avoided: it counts the bytes, which costs more than processing them does here.
    """
    return aiter(cast("AsyncIterable[bytes]", response.stream))


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
