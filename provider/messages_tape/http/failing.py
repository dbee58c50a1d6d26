"""Simulates an upstream crash, so that a test can record how a program reacts without killing a server."""

from collections.abc import AsyncIterator

import httpx


class FailingTransport(httpx.AsyncBaseTransport):
    """Sends requests to the upstream; while ``dies_after`` is set, its connections fail as if it had crashed.

    Args:
        real: The transport to the upstream; by default one without proxies and retries.

    Attributes:
        dies_after: Number of body chunks delivered before the failure; 0 fails before the status line, None never.
    """

    def __init__(self, real: httpx.AsyncBaseTransport | None = None) -> None:
        self._real = real or httpx.AsyncHTTPTransport()
        self.dies_after: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the upstream.

        Raises:
            httpx.RemoteProtocolError: ``dies_after`` is 0.
        """
        if self.dies_after == 0:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        response = await self._real.handle_async_request(request)
        if self.dies_after is not None and isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Torn(response.stream, self.dies_after)
        return response

    async def aclose(self) -> None:
        """Close the real transport."""
        await self._real.aclose()


class _Torn(httpx.AsyncByteStream):
    """A response body that fails after a number of chunks.

    Args:
        whole: The complete body.
        chunks: How many chunks are delivered.
    """

    def __init__(self, whole: httpx.AsyncByteStream, chunks: int) -> None:
        self._whole = whole
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._chunks
        async for chunk in self._whole:
            yield chunk
            left -= 1
            if left == 0:
                raise httpx.RemoteProtocolError(
                    "peer closed connection without sending complete message body (incomplete chunked read)"
                )

    async def aclose(self) -> None:
        await self._whole.aclose()
