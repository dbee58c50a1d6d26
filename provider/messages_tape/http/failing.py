"""An upstream that dies on demand: what a program does about it can be recorded without killing anything."""

from collections.abc import AsyncIterator

import httpx


class FailingTransport(httpx.AsyncBaseTransport):
    """Asks the upstream; while ``dies_after`` is set its connections fail there, as if it had died.

    Args:
        real: Asks the upstream; by default a transport without proxies and retries.

    Attributes:
        dies_after: Chunks of a body that still come; 0 is before the status line, None is never.
    """

    def __init__(self, real: httpx.AsyncBaseTransport | None = None) -> None:
        self._real = real or httpx.AsyncHTTPTransport()
        self.dies_after: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the upstream.

        Raises:
            httpx.RemoteProtocolError: It is dead.
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
    """The beginning of a body.

    Args:
        whole: The body.
        chunks: How many of it come.
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
