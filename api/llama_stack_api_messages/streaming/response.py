"""The HTTP response of a stream: its headers, frames, pings and errors.

A stream has to look healthy to the client and to proxies between, although its upstream may refuse the request, be
silent for minutes, break off inside an event, or go on after the client has left. The states of a response, in order:

    waiting    nothing is sent; a failure is still a JSON body with its own status
    streaming  200 is sent, because the upstream accepted or the first ping was due; a failure is an ``error`` event
    ended      the last frame is sent, or the client has disconnected and the upstream response is closed

Rules:

* After each interval of silence a ``ping`` event is sent, so that proxies and clients do not time out. With
  ``PendingStream.status_first`` none is sent before the upstream has responded, because the upstream's status is to
  become the status of this response.
* A ping or an error is an event of its own, and an upstream may be cut off inside an event. So no ping is sent inside
  an unfinished event, and an error first completes it, see ``unfinished_frame``.
* Frames of our own are read ahead (``read_ahead.py``): those that are ready together are sent in one write. Chunks of
  an upstream are relayed one by one (``ChunkSender``): memory stays flat, and back-pressure reaches the upstream.
* When a signal stops the server, a stream ends with an ``error`` event (``stop.py``).
* The upstream response is closed as soon as the client disconnects. Two tasks run for that, one that sends and one
  that waits for the disconnect; Starlette's own streaming response leaves the iterator to the garbage collector.
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
from .sse import PING, TAIL_BYTES, encode_event, unfinished_frame
from .stop import stopping_error, until_server_stops

type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}

OPEN_SECONDS = 10.0
"""How long lane selection may take before pings start: longer than a probe, because after the first ping an upstream's
error can no longer be the HTTP status."""


class EventStream(StreamingResponse):
    """Streams a reply; the platform's library client iterates over ``body_iterator`` instead.

    Args:
        open_stream: Calls the upstream; returns its accepted stream, or a ``PendingStream``.
        call: The HTTP call.
        ping_seconds: Silence after which a ``ping`` event is sent.
        open_seconds: Silence before the first ping, while ``open_stream`` runs or the upstream is being selected; at
            least ``ping_seconds``.
    """

    def __init__(
        self,
        open_stream: Callable[[], Awaitable[Reply]],
        call: Call,
        ping_seconds: float,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        super().__init__(self._frames_in_process(), media_type="text/event-stream")
        self._open_stream = open_stream
        self._call = call
        self._ping_seconds = ping_seconds
        self._open_seconds = max(ping_seconds, open_seconds)
        self._started = False
        self._tail = b""
        self._request_id = call.request_id

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Send the response over ASGI; if the client disconnects, close the upstream response and return promptly."""
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(disconnected(receive))
        with until_server_stops() as stopping:
            try:
                await asyncio.wait({sending, gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
                client_left, stopped = gone.done(), stopping.done()
            finally:
                await end(sending, gone)
        if client_left:
            return
        is_complete = sending.done() and not sending.cancelled()
        cancelled = stopping_error() if stopped else cancelled_error()
        if failure := sending.exception() if is_complete else cancelled:
            error = visible_error(failure, self._call.request_id)
            if not self._started:
                await error_response(error, self._call.request_id)(scope, receive, send)
                return
            await send(_part(unfinished_frame(self._tail) + encode_event(error.body(self._request_id))))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send) -> None:
        reply = await self._while_pinging(send, self._open_stream(), {}, self._open_seconds)
        while isinstance(reply, PendingStream):
            work, first_seconds = reply.connect(), self._open_seconds if reply.selecting else None
            reply = await (
                work if reply.status_first else self._while_pinging(send, work, reply.headers, first_seconds)
            )
        stream = _stream(reply)
        async with aclosing(stream.frames) as frames:  # closed from here on, also on errors
            if not self._started:
                await self._start(send, stream.headers)
            if not stream.relayed:
                await self._send_frames(send, frames)
                return
            sender = ChunkSender(send, self._ping_seconds)
            try:
                await sender.run(frames)
            finally:
                self._tail = sender.tail

    async def _while_pinging[R](
        self, send: Send, work: Awaitable[R], headers: Mapping[str, str], first_seconds: float | None = None
    ) -> R:
        """Return the result of ``work``; after each interval in which it is not done, send a ping.

        The first ping starts the response. ``first_seconds`` is the length of the first interval.
        """
        task = asyncio.ensure_future(work)
        pause = first_seconds or self._ping_seconds
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
        all_headers = {**STREAM_HEADERS, "request-id": self._call.request_id, **wire_headers(headers)}
        self._request_id = all_headers["request-id"]
        raw = [(name.lower().encode(), value.encode()) for name, value in all_headers.items()]
        self._started = True
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _send_frames(self, send: Send, frames: AsyncGenerator[bytes]) -> None:
        """Send frames, those that are ready together in one write, and a ping after each interval of silence."""
        async with aclosing(read_ahead(frames, self._ping_seconds)) as chunks:
            async for data in chunks:
                if data:
                    self._tail = (self._tail + data)[-TAIL_BYTES:]
                    await send(_part(data))
                elif not unfinished_frame(self._tail):
                    await send(_part(PING))

    async def _frames_in_process(self) -> AsyncGenerator[bytes]:
        """Yield the frames without a read-ahead task: the library client waits for every task of its loop."""
        try:
            reply = await self._open_stream()
            while isinstance(reply, PendingStream):
                reply = await reply.connect()
            async with aclosing(_stream(reply).frames) as frames:
                async for frame in frames:
                    self._tail = (self._tail + frame)[-TAIL_BYTES:]
                    yield frame
        except MessagesError as error:
            yield unfinished_frame(self._tail) + encode_event(error.body(self._call.request_id))


class ChunkSender:
    """Sends the chunks of an upstream as they arrive, one by one, with pings while it is silent.

    Nothing is read ahead: while a chunk is being sent to a slow client, nothing is read from the upstream, and no ping
    is due. A chunk waits for a ping that is being sent.

    Args:
        send: ASGI ``send``; the response must have been started.
        ping_seconds: Silence after which a ``ping`` event is sent, if the last event is complete.
        clock: Returns seconds; the event loop's clock by default.
        sleep: Waits for a number of seconds.

    Attributes:
        tail: The last bytes sent, see ``unfinished_frame``.
    """

    def __init__(
        self,
        send: Send,
        ping_seconds: float,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._send = send
        self._ping_seconds = ping_seconds
        self._sending = False
        self._pinging: asyncio.Future[None] | None = None
        self.tail = b""
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        self._active_at = 0.0

    async def run(self, frames: AsyncGenerator[bytes]) -> None:
        """Send all chunks. Raises what the upstream raises; chunks received before that have been sent."""
        self._active_at = self._clock()
        pinging = asyncio.create_task(self._ping())
        try:
            async with aclosing(frames):
                async for chunk in frames:
                    if self._pinging:
                        await self._pinging
                    self._sending = True
                    self.tail = chunk[-TAIL_BYTES:] if len(chunk) >= TAIL_BYTES else (self.tail + chunk)[-TAIL_BYTES:]
                    await self._send(_part(chunk))
                    self._active_at = self._clock()
                    self._sending = False
        finally:
            await end(pinging)

    async def _ping(self) -> None:
        while True:
            left = self._active_at + self._ping_seconds - self._clock()
            if left > 0:
                await self._sleep(left)
                continue
            if not (self._sending or unfinished_frame(self.tail)):
                self._pinging = asyncio.ensure_future(self._send(_part(PING)))
                await self._pinging
                self._pinging = None
            self._active_at = self._clock()


def _stream(reply: Reply) -> StreamReply:
    if not isinstance(reply, StreamReply):
        raise TypeError(f"a request with stream got a {type(reply).__name__} instead of a StreamReply")
    return reply


def _part(data: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": True}
