"""Transports for httpx and httpx2 that record exchanges or play a tape inside a program.

``TapeTransport`` wraps a real transport and does not change what the program sees: the same chunks at the same time,
the same failures. While recording it asks the upstream for uncompressed responses, because a tape is text.
"""

from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import cache, partial
from time import monotonic
from types import ModuleType, TracebackType
from typing import ClassVar, Self, cast

import httpx

from messages_tape.core.recording import Recording
from messages_tape.core.session import Session
from messages_tape.core.steps import Compare, Play, Record, Step
from messages_tape.errors import Action
from messages_tape.format.model import End, Response
from messages_tape.secrets.scrub import RawRequest

from .streams import AsyncPlayed, AsyncTee, Ending, Http, Playback, SyncPlayed, SyncTee

PATIENCE_SECONDS = 5.0


class _Tape:
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
        stayed = partial(self.http.ReadTimeout, "the recorded client had left by now; this one still waits")
        left = partial(session.left, certain=not ahead)
        self._stage = Playback(pace, patience, partial(failure_of, self.http), stayed, session.stayed, left)

    def _asked(self, request: Http) -> RawRequest:
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        return RawRequest(request.method, path, query, headers, request.content)

    def _readable(self, request: Http) -> Http:
        """Return the request with ``accept-encoding: identity``."""
        headers = request.headers.copy()
        headers["accept-encoding"] = "identity"
        return self.http.Request(
            request.method, request.url, headers=headers, stream=request.stream, extensions=request.extensions
        )

    def _teed(self, response: Http, tee: Callable[..., Http], recording: Recording) -> Http:
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


class _AsyncTape(_Tape):
    _default = "AsyncHTTPTransport"

    async def handle_async_request(self, request: Http) -> Http:
        """Play the response from the tape, or send the request to the upstream and record it."""
        await request.aread()
        return await self.perform(self.session.ask(self._asked(request), monotonic()), request)

    async def perform(self, step: Step, request: Http) -> Http:
        """Execute a step for a request; return the response."""
        match step:
            case Play():
                return await self._play(step)
            case Record():
                return await self._record(request, step.recording)
            case Compare():
                await self._compare(request, step)
                return await self._play(step.play)
        return await self._real.handle_async_request(request)

    async def _play(self, play: Play) -> Http:
        stream = async_streams(self.http)[1](play, self._stage)
        await stream.begin()
        return self._played(cast("Response", play.exchange.response), stream)

    async def _record(self, request: Http, recording: Recording) -> Http:
        with Ending(recording, clean=False):
            response = await self._real.handle_async_request(self._readable(request))
        return self._teed(response, async_streams(self.http)[0], recording)

    async def _compare(self, request: Http, step: Compare) -> None:
        """Record a live response for comparison; a connection failure is recorded as well."""
        with suppress(self.http.TransportError):
            response = await self._record(request, step.recording)
            async with aclosing(response.stream.__aiter__()) as pieces:
                async for _ in pieces:
                    if step.enough:
                        break
                await response.stream.aclose()  # before the generator: its end would race with the connection's
        self.session.compared(step)

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


class _SyncTape(_Tape):
    _default = "HTTPTransport"

    def handle_request(self, request: Http) -> Http:
        """Play the response from the tape, or send the request to the upstream and record it."""
        request.read()
        return self.perform(self.session.ask(self._asked(request), monotonic()), request)

    def perform(self, step: Step, request: Http) -> Http:
        """Execute a step for a request; return the response."""
        match step:
            case Play():
                return self._play(step)
            case Record():
                return self._record(request, step.recording)
            case Compare():
                self._compare(request, step)
                return self._play(step.play)
        return self._real.handle_request(request)

    def _play(self, play: Play) -> Http:
        stream = sync_streams(self.http)[1](play, self._stage)
        stream.begin()
        return self._played(cast("Response", play.exchange.response), stream)

    def _record(self, request: Http, recording: Recording) -> Http:
        with Ending(recording, clean=False):
            response = self._real.handle_request(self._readable(request))
        return self._teed(response, sync_streams(self.http)[0], recording)

    def _compare(self, request: Http, step: Compare) -> None:
        with suppress(self.http.TransportError):
            response = self._record(request, step.recording)
            for _ in response.stream:
                if step.enough:
                    break
            response.stream.close()
        self.session.compared(step)

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


class TapeTransport(_AsyncTape, httpx.AsyncBaseTransport):
    """Records or plays for an ``httpx.AsyncClient``."""


class SyncTapeTransport(_SyncTape, httpx.BaseTransport):
    """Records or plays for an ``httpx.Client``."""


@cache
def transports_for(http: ModuleType) -> tuple[type[TapeTransport], type[SyncTapeTransport]]:
    """Return the async and the sync transport for a module with the interface of httpx, such as httpx2.

    Args:
        http: The module whose clients use the transports.
    """
    if http is httpx:
        return TapeTransport, SyncTapeTransport
    async_one = type("TapeTransport", (_AsyncTape, http.AsyncBaseTransport), {"http": http})
    sync_one = type("SyncTapeTransport", (_SyncTape, http.BaseTransport), {"http": http})
    return cast("type[TapeTransport]", async_one), cast("type[SyncTapeTransport]", sync_one)


@cache
def async_streams(http: Http) -> tuple[type[AsyncTee], type[AsyncPlayed]]:
    """Return the tee and player classes for a module's async clients."""
    base = http.AsyncByteStream
    return type("AsyncTee", (AsyncTee, base), {}), type("AsyncPlayed", (AsyncPlayed, base), {})


@cache
def sync_streams(http: Http) -> tuple[type[SyncTee], type[SyncPlayed]]:
    """Return the tee and player classes for a module's sync clients."""
    base = http.SyncByteStream
    return type("SyncTee", (SyncTee, base), {}), type("SyncPlayed", (SyncPlayed, base), {})


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
