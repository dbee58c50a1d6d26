"""The HTTP response of a stream: its headers, frames, pings and errors.

States of a response, in order:

    waiting    nothing sent; a failure is still a JSON body with its own status
    streaming  200 sent, because the upstream accepted or the first ping was due; a failure is an ``error`` event
    ended      last frame sent, or the client has disconnected and the upstream response is closed

If the upstream's status is to become the status of this response (``PendingStream.status_first``), no ping is sent
before the upstream has responded.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse

from llama_stack_api_messages.api import Call, PendingStream, Reply, StreamReply
from llama_stack_api_messages.error_response import error_response, visible_error, wire_headers
from llama_stack_api_messages.errors import MessagesError

from .disconnect import Receive, cancelled_error, disconnected, end
from .read_ahead import read_ahead
from .relay import Relay
from .sse import PING, TAIL, encode_event, unfinished_frame

type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


_OPEN_SECONDS = 10.0
"""How long lane selection may take before pings start: longer than a probe, because after the first ping an upstream's
error can no longer be the HTTP status."""


class EventStream(StreamingResponse):
    """Streams a reply; the platform's library client iterates over ``body_iterator`` instead.

    Args:
        open_stream: Calls the upstream; returns its accepted stream, or a ``PendingStream``.
        call: The HTTP call being answered.
        ping_seconds: Silence after which a ``ping`` event is sent.
    """

    def __init__(self, open_stream: Callable[[], Awaitable[Reply]], call: Call, ping_seconds: float) -> None:
        super().__init__(self._chunks(), media_type="text/event-stream")
        self._open_stream = open_stream
        self._call = call
        self._ping_seconds = ping_seconds
        self._started = False
        self._tail = b""
        self._request_id = call.request_id

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Send the response over ASGI; if the client disconnects, close the upstream response and return promptly."""
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            left = gone.done()
        finally:
            await end(sending, gone)
        if left:
            return
        if problem := cancelled_error() if sending.cancelled() else sending.exception():
            error = visible_error(problem, self._call.request_id)
            if not self._started:
                await error_response(error, self._call.request_id)(scope, receive, send)
                return
            await send(_part(unfinished_frame(self._tail) + encode_event(error.body(self._request_id))))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        reply = await self._while_pinging(send, self._open_stream(), {}, max(self._ping_seconds, _OPEN_SECONDS))
        if isinstance(reply, PendingStream):
            connecting = reply.connect()
            answered = connecting if reply.status_first else self._while_pinging(send, connecting, reply.headers)
            reply = await answered
        stream = _stream(reply)
        async with aclosing(stream.frames) as frames:  # closed from here on, also on errors
            if not self._started:
                await self._start(send, stream.headers)
            await (self._relay(send, frames) if stream.relayed else self._pump(send, frames))

    async def _relay(self, send: Send, frames: AsyncGenerator[bytes]) -> None:
        """Send chunks as they arrive, and a ping after each interval of silence."""
        relay = Relay(send, self._ping_seconds)
        try:
            await relay.run(frames)
        finally:
            self._tail = relay.tail

    async def _while_pinging[R](
        self, send: Send, work: Awaitable[R], headers: Mapping[str, str], seconds: float | None = None
    ) -> R:
        """Return the result of ``work``; after each interval in which it is not done, send a ping.

        The first ping starts the response. ``seconds`` is the length of the first interval.
        """
        task = asyncio.ensure_future(work)
        pause = seconds or self._ping_seconds
        try:
            while not (await asyncio.wait({task}, timeout=pause))[0]:
                if not self._started:
                    await self._start(send, headers)
                await send(_part(PING))
                pause = self._ping_seconds
        finally:
            if not task.done():
                await end(task)
        if task.cancelled():
            raise cancelled_error()
        return task.result()

    async def _start(self, send: Send, headers: Mapping[str, str]) -> None:
        carried = {**STREAM_HEADERS, "request-id": self._call.request_id, **wire_headers(headers)}
        self._request_id = carried["request-id"]
        raw = [(name.lower().encode(), value.encode()) for name, value in carried.items()]
        self._started = True
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _pump(self, send: Send, frames: AsyncGenerator[bytes]) -> None:
        """Send frames, those that are ready together in one write, and a ping after each interval of silence."""
        async with aclosing(read_ahead(frames, self._ping_seconds)) as chunks:
            async for data in chunks:
                if data:
                    self._tail = (self._tail + data)[-TAIL:]
                    await send(_part(data))
                elif not unfinished_frame(self._tail):
                    await send(_part(PING))

    async def _chunks(self) -> AsyncGenerator[bytes]:
        """Yield the frames without a read-ahead task: the library client waits for every task of its loop."""
        try:
            reply = await self._open_stream()
            if isinstance(reply, PendingStream):
                reply = await reply.connect()
            async with aclosing(_stream(reply).frames) as frames:
                async for frame in frames:
                    self._tail = (self._tail + frame)[-TAIL:]
                    yield frame
        except MessagesError as error:
            yield unfinished_frame(self._tail) + encode_event(error.body(self._call.request_id))


def _stream(reply: Reply) -> StreamReply:
    if not isinstance(reply, StreamReply):
        raise TypeError(f"a stream was asked for, and answered with a {type(reply).__name__}")
    return reply


def _part(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}
