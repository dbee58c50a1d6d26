"""The HTTP response of a stream: headers when the upstream's status is known, frames, pings, errors.

States of a response, in order:

    waiting    nothing sent; a failure is still a JSON body with its own status
    streaming  200 sent, because the upstream accepted or the first ping was due; a failure is an ``error`` event
    ended      last frame sent, or the client is gone and the upstream closed
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse

from .api import Call, StreamReply
from .disconnect import Receive, disconnected, end
from .error_route import error_response, visible_error, wire_headers
from .errors import ApiError, MessagesError
from .pump import Pump
from .sse import PING, encode_event

type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


class EventStream(StreamingResponse):
    """Streams a reply; also iterable through ``body_iterator``, as the platform's library client does.

    Args:
        open_stream: Calls the upstream; returns once it has accepted.
        call: The HTTP call being answered.
        ping_seconds: Silence after which a ``ping`` event is sent.
    """

    def __init__(self, open_stream: Callable[[], Awaitable[StreamReply]], call: Call, ping_seconds: float) -> None:
        super().__init__(self._chunks(), media_type="text/event-stream")
        self._open_stream = open_stream
        self._pump = Pump(open_stream)
        self._started = False
        self._call = call
        self._ping_seconds = ping_seconds

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer over ASGI; returns within moments when the client goes away, with the upstream closed."""
        reading = asyncio.create_task(self._pump.run())
        sending = asyncio.create_task(self._send(scope, receive, send, reading))
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(reading, sending, gone)
        if not sending.cancelled() and (problem := sending.exception()):
            error = visible_error(problem, self._call.request_id)
            if not self._started:
                await error_response(error, self._call.request_id)(scope, receive, send)

    async def _send(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, reading: asyncio.Task[None]
    ) -> None:
        answered = await self._pump.wait(self._ping_seconds)
        refused = self._pump.headers is None and self._pump.finished
        if refused and (error := await self._failure(reading)):
            self._started = True
            await error_response(error, self._call.request_id)(scope, receive, send)
            return
        headers = self._wire_headers()
        self._started = True
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if not answered:
            await send({"type": "http.response.body", "body": PING, "more_body": True})
        async for chunk in self._paced(reading):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _wire_headers(self) -> list[tuple[bytes, bytes]]:
        carried = wire_headers(self._pump.headers or {})
        headers = {**STREAM_HEADERS, **carried, "request-id": self._call.request_id}
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def _paced(self, reading: asyncio.Task[None]) -> AsyncGenerator[bytes]:
        """Yield what was read, a ping per interval of silence, and an ``error`` event if reading failed."""
        whole = True  # a ping may only stand between two frames
        while True:
            if not await self._pump.wait(self._ping_seconds):
                if whole:
                    yield PING
                continue
            ended = self._pump.finished
            if data := self._pump.take():
                whole = data.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
                yield data
            if ended:
                break
        if error := await self._failure(reading):
            yield encode_event(error.body(self._call.request_id))

    async def _failure(self, reading: asyncio.Task[None]) -> MessagesError | None:
        await asyncio.wait({reading})
        if reading.cancelled():
            return ApiError("The call of the backend was cancelled on this side; try again")
        error = reading.exception()
        return visible_error(error, self._call.request_id) if error else None

    async def _chunks(self) -> AsyncGenerator[bytes]:
        """Yield the frames without a task that reads ahead: the library client waits for every task of its loop."""
        try:
            reply = await self._open_stream()
            async with aclosing(reply.frames) as frames:
                async for frame in frames:
                    yield frame
        except MessagesError as error:
            yield encode_event(error.body(self._call.request_id))
