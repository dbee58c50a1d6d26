"""Transports for httpx and httpx2 that record exchanges or play a tape inside a program.

``TapeTransport`` wraps a real transport and does not change what the program sees: the same chunks at the same time,
the same failures. While recording it requests uncompressed responses, because a tape is text.

``FailingTransport`` makes an upstream fail, so that a test can record how a program reacts without killing a server.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from functools import cache, partial
from time import monotonic
from types import ModuleType, TracebackType
from typing import ClassVar, NamedTuple, Self, cast

import httpx

from messages_tape.core.session import Session
from messages_tape.core.steps import Record, Recording, Replay, Step, Verify
from messages_tape.errors import Action
from messages_tape.format.model import End, Response
from messages_tape.secrets.scrub import RawRequest

from .streams import AsyncPlayed, AsyncTee, Ending, Http, Playback, SyncPlayed, SyncTee

PATIENCE_SECONDS = 5.0


class _Transport:
    """Common base of both transports.

    Args:
        session: The session of the tape.
        real: The transport to the upstream; by default one without proxies and retries.
        pace: Play at recorded speed; otherwise without delays.
        patience: Seconds to wait for the client to disconnect where the recorded client disconnected.
        ahead: Whether played chunks are sent before the client reads them, as a server does.
    """

    http: Http = httpx
    _default: ClassVar[str]

    def __init__(
        self,
        session: Session,
        real: Http = None,
        *,
        pace: bool = False,
        patience: float = PATIENCE_SECONDS,
        ahead: bool = False,
    ) -> None:
        self.session = session
        self._real = real
        if real is None and session.action is not Action.REPLAY:
            # created now: creating it later would delay the first request
            self._real = getattr(self.http, self._default)()
        self._playback = Playback(
            pace,
            patience,
            failure=partial(failure_of, self.http),
            timeout=partial(self.http.ReadTimeout, "the recorded client disconnected here, but this client waits"),
            client_waited=session.client_waited,
            client_closed=partial(session.client_closed, certain=not ahead),
        )

    def _raw_request(self, request: Http) -> RawRequest:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        return RawRequest(request.method, path, query, headers, request.content)

    def _uncompressed(self, request: Http) -> Http:
        """Return the request with ``accept-encoding: identity``."""
        headers = request.headers.copy()
        headers["accept-encoding"] = "identity"
        return self.http.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )

    def _recorded(self, response: Http, tee: Callable[..., Http], recording: Recording) -> Http:
        recording.head(response.status_code, response.headers.multi_items(), monotonic())
        return self.http.Response(
            response.status_code,
            headers=response.headers.raw,
            stream=tee(response.stream, recording),
            extensions=response.extensions,
        )

    def _played(self, response: Response, stream: Http) -> Http:
        headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
        return self.http.Response(
            response.status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/1.1"}
        )


class _AsyncTransport(_Transport):
    _default = "AsyncHTTPTransport"

    async def handle_async_request(self, request: Http) -> Http:
        """Play the response from the tape, or send the request to the upstream and record it."""
        await request.aread()
        return await self.perform(self.session.step_for(self._raw_request(request), monotonic()), request)

    async def perform(self, step: Step, request: Http) -> Http:
        """Execute a step for a request; return the response."""
        match step:
            case Replay():
                return await self._replay(step)
            case Record():
                return await self._record(request, step.recording)
            case Verify():
                await self._record_live(request, step)
                return await self._replay(step.replay)
        return await self._real.handle_async_request(request)

    async def _replay(self, replay: Replay) -> Http:
        stream = async_streams(self.http).player(replay, self._playback)
        await stream.begin()
        return self._played(cast("Response", replay.exchange.response), stream)

    async def _record(self, request: Http, recording: Recording) -> Http:
        with Ending(recording, clean=False):
            response = await self._real.handle_async_request(self._uncompressed(request))
        return self._recorded(response, async_streams(self.http).tee, recording)

    async def _record_live(self, request: Http, step: Verify) -> None:
        """Record a live response for comparison; a connection failure is recorded as well."""
        with suppress(self.http.TransportError):
            response = await self._record(request, step.recording)
            async with aclosing(response.stream.__aiter__()) as chunks:
                async for _ in chunks:
                    if step.has_enough_chunks:
                        break
                await response.stream.aclose()  # before the generator: its end would race with the connection's
        self.session.add_differences(step)

    async def __aenter__(self) -> Self:
        if self._real is not None:
            await self._real.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._real is not None:
            await self._real.__aexit__(kind, error, trace)

    async def aclose(self) -> None:
        """Close the real transport."""
        if self._real is not None:
            await self._real.aclose()


class _SyncTransport(_Transport):
    _default = "HTTPTransport"

    def handle_request(self, request: Http) -> Http:
        """Play the response from the tape, or send the request to the upstream and record it."""
        request.read()
        return self.perform(self.session.step_for(self._raw_request(request), monotonic()), request)

    def perform(self, step: Step, request: Http) -> Http:
        """Execute a step for a request; return the response."""
        match step:
            case Replay():
                return self._replay(step)
            case Record():
                return self._record(request, step.recording)
            case Verify():
                self._record_live(request, step)
                return self._replay(step.replay)
        return self._real.handle_request(request)

    def _replay(self, replay: Replay) -> Http:
        stream = sync_streams(self.http).player(replay, self._playback)
        stream.begin()
        return self._played(cast("Response", replay.exchange.response), stream)

    def _record(self, request: Http, recording: Recording) -> Http:
        with Ending(recording, clean=False):
            response = self._real.handle_request(self._uncompressed(request))
        return self._recorded(response, sync_streams(self.http).tee, recording)

    def _record_live(self, request: Http, step: Verify) -> None:
        with suppress(self.http.TransportError):
            response = self._record(request, step.recording)
            for _ in response.stream:
                if step.has_enough_chunks:
                    break
            response.stream.close()
        self.session.add_differences(step)

    def __enter__(self) -> Self:
        if self._real is not None:
            self._real.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._real is not None:
            self._real.__exit__(kind, error, trace)

    def close(self) -> None:
        """Close the real transport."""
        if self._real is not None:
            self._real.close()


class TapeTransport(_AsyncTransport, httpx.AsyncBaseTransport):
    """Records or plays for an ``httpx.AsyncClient``."""


class SyncTapeTransport(_SyncTransport, httpx.BaseTransport):
    """Records or plays for an ``httpx.Client``."""


@cache
def transports_for(http: ModuleType) -> tuple[type[TapeTransport], type[SyncTapeTransport]]:
    """Return the async and the sync transport for a module with the interface of httpx, such as httpx2.

    Args:
        http: The module whose clients use the transports.
    """
    if http is httpx:
        return TapeTransport, SyncTapeTransport
    async_one = type("TapeTransport", (_AsyncTransport, http.AsyncBaseTransport), {"http": http})
    sync_one = type("SyncTapeTransport", (_SyncTransport, http.BaseTransport), {"http": http})
    return cast("type[TapeTransport]", async_one), cast("type[SyncTapeTransport]", sync_one)


class StreamClasses[Tee, Player](NamedTuple):
    """The classes of ``streams.py`` with the base class that a module requires.

    Args:
        tee: Records a live body.
        player: Plays a recorded body.
    """

    tee: type[Tee]
    player: type[Player]


@cache
def async_streams(http: Http) -> StreamClasses[AsyncTee, AsyncPlayed]:
    """Return the stream classes for a module's async clients."""
    base = http.AsyncByteStream
    return StreamClasses(type("AsyncTee", (AsyncTee, base), {}), type("AsyncPlayed", (AsyncPlayed, base), {}))


@cache
def sync_streams(http: Http) -> StreamClasses[SyncTee, SyncPlayed]:
    """Return the stream classes for a module's sync clients."""
    base = http.SyncByteStream
    return StreamClasses(type("SyncTee", (SyncTee, base), {}), type("SyncPlayed", (SyncPlayed, base), {}))


def failure_of(http: Http, end: End, begun: bool) -> Exception:
    """Return the exception of a recorded connection reset.

    Args:
        http: The module of the exception classes.
        end: The recorded end of the exchange.
        begun: Whether the response had begun.
    """
    kind = getattr(http, end.error, None)
    if not isinstance(kind, type) or not issubclass(kind, http.TransportError):
        kind = http.ReadError if begun else http.ConnectError
    return cast("Exception", kind(end.message))


class FailingTransport(httpx.AsyncBaseTransport):
    """Sends requests to the upstream; while ``fails_after`` is set, its connections fail as if it had crashed.

    Args:
        real: The transport to the upstream; by default one without proxies and retries.

    Attributes:
        fails_after: Number of body chunks delivered before the failure; 0 fails before the status line, None never.
    """

    def __init__(self, real: httpx.AsyncBaseTransport | None = None) -> None:
        self._real = real or httpx.AsyncHTTPTransport()
        self.fails_after: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the upstream.

        Raises:
            httpx.RemoteProtocolError: ``fails_after`` is 0.
        """
        if self.fails_after == 0:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        response = await self._real.handle_async_request(request)
        if self.fails_after is not None and isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _FailingStream(response.stream, self.fails_after)
        return response

    async def aclose(self) -> None:
        """Close the real transport."""
        await self._real.aclose()


class _FailingStream(httpx.AsyncByteStream):
    """A response body that fails after a number of chunks.

    Args:
        whole: The complete body.
        chunks: How many chunks are delivered.
    """

    def __init__(self, whole: httpx.AsyncByteStream, chunks: int) -> None:
        self._whole = whole
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        delivered = 0
        async for chunk in self._whole:
            yield chunk
            delivered += 1
            if delivered == self._chunks:
                raise httpx.RemoteProtocolError(
                    "peer closed connection without sending complete message body (incomplete chunked read)"
                )

    async def aclose(self) -> None:
        await self._whole.aclose()
