"""The tape server: a server that replaces the upstream and records or plays tapes.

It is an ASGI app. A stack in another process is tested without patches: its ``base_url`` is set to the tape server.
A control route selects the tape:

    GET    /__tape__   return the report so far
    PUT    /__tape__   {"name": "hello", "mode": "none"}: select this tape
    DELETE /__tape__   deselect it, save the recording and return the report; ?keep=no saves the ambient calls only

``serving`` runs it, or any other ASGI app, in a thread of this process. An upstream may close a connection in the
middle of a response, and the client has to see the same: ASGI has no message for that, so ``serving`` extends it.
"""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, quote

import httpx
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from messages_tape.core.session import Session
from messages_tape.errors import Report, TapeError, TapeMissingError, TapeUsageError
from messages_tape.files.store import Mode
from messages_tape.secrets.scrub import RawRequest

from .selection import TapeSelection
from .transport import PATIENCE_SECONDS, TapeTransport

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)

CONTROL_PATH = "/__tape__"
_HANG_UP = "messages.tape.hang_up"
"""An ASGI extension of ``serving``: a function that closes the connection without ending the response."""
_START_SECONDS = 10.0
"""Timeout for starting, and for stopping."""

_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
"""Headers of one connection (RFC 9110, 7.6.1)."""
_SET_AGAIN = {b"host", b"content-length", b"expect"}
"""Request headers that are set again for the upstream."""


class TapeServer:
    """Serves every path from the selected tape, or relays it to the upstream while the tape records.

    Args:
        selection: The tape selection.
        real: The transport to the upstream; by default one without proxies and retries.
        pace: Play at recorded speed; by default without delays.
        patience: Seconds to wait for the client to disconnect where the recorded client disconnected.

    Attributes:
        in_progress: The number of exchanges in progress.
    """

    def __init__(
        self,
        selection: TapeSelection,
        real: httpx.AsyncBaseTransport | None = None,
        *,
        pace: bool = False,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.selection = selection
        self.in_progress = 0
        self._upstream = httpx.URL(selection.upstream or "http://upstream.invalid")
        self._real = real
        self._pace = pace
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope: lifespan or http."""
        if scope["type"] == "lifespan":
            await receive()
            self._upstream_transport()  # created now: creating it later would delay the first request
            await send({"type": "lifespan.startup.complete"})
            await receive()
            for failure in self.selection.close():
                logger.warning("%s", failure)
            await self._upstream_transport().aclose()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = self.selection.current  # another tape may be selected by the time the body is complete
        body = await _read(receive)
        if body is None:
            return
        path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("ascii").partition("?")[0]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        raw = RawRequest(scope["method"], path, scope["query_string"].decode("ascii"), headers, body)
        if path == CONTROL_PATH:
            await _send_json(send, *self._control(raw))
            return
        client = _ClientConnection(send, scope.get("extensions", {}).get(_HANG_UP))
        self.in_progress += 1
        try:
            await _while_connected(receive, self._answer(raw, scope["headers"], client, arrived))
        finally:
            self.in_progress -= 1
        if client.hung_up:
            await _disconnected(receive)

    async def _answer(
        self, raw: RawRequest, headers: list[tuple[bytes, bytes]], client: "_ClientConnection", arrived: Session
    ) -> None:
        """Answer a request by the transport of its session, as a client in this process would get it."""
        session = self.selection.session_for(raw, arrived)
        real = _RedirectsHere(self._upstream_transport(), self._upstream)
        transport = TapeTransport(session, real, pace=self._pace, patience=self._patience, ahead=True)
        target = f"{self._upstream.raw_path.decode().rstrip('/')}{raw.path}{'?' if raw.query else ''}{raw.query}"
        request = httpx.Request(
            raw.method,
            self._upstream.copy_with(raw_path=target.encode("ascii")),
            headers=[*_end_to_end(headers, _SET_AGAIN)],
            content=raw.body,
        )
        try:
            response = await transport.perform(session.step_for(raw, monotonic()), request)
            await client.pass_on(response)
        except httpx.TransportError as error:
            await client.fail(error)

    def _upstream_transport(self) -> httpx.AsyncBaseTransport:
        """Return the transport to the upstream, created in the event loop that serves."""
        if self._real is None:
            self._real = httpx.AsyncHTTPTransport()
        return self._real

    def _control(self, raw: RawRequest) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of the control route."""
        if raw.method == "GET":
            return 200, as_json(self.selection.report())
        if raw.method == "DELETE":
            report = self.selection.eject(keep=parse_qs(raw.query).get("keep") != ["no"])
            return (200, as_json(report)) if report else (404, {"error": "no tape is selected"})
        if raw.method != "PUT":
            return 405, {"error": f"{CONTROL_PATH} supports GET, PUT and DELETE only"}
        try:
            body = json.loads(raw.body)
            mode = body.get("mode")
            self.selection.select(body["name"], Mode(mode) if mode else None)
        except TapeError as error:
            return 404 if isinstance(error, TapeMissingError) else 409, {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError):
            modes = ", ".join(Mode)
            return 400, {"error": f'send {{"name": "...", "mode": "..."}}; the modes are {modes}'}
        return 200, as_json(self.selection.report())


class _RedirectsHere(httpx.AsyncBaseTransport):
    """Sends requests to the upstream; rewrites its redirects to itself so that they lead to the tape server.

    Args:
        real: The transport to the upstream.
        upstream: Base URL of the upstream.
    """

    def __init__(self, real: httpx.AsyncBaseTransport, upstream: httpx.URL) -> None:
        self._real = real
        self._upstream = upstream

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._real.handle_async_request(request)
        if "location" in response.headers:
            with suppress(httpx.InvalidURL):  # an invalid location is passed through
                response.headers["location"] = self._rewritten(response.headers["location"], request.url)
        return response

    def _rewritten(self, location: str, request_url: httpx.URL) -> str:
        target = request_url.join(location)
        origin, own_origin = ((url.scheme, url.host, url.port) for url in (target, self._upstream))
        base = self._upstream.path.rstrip("/")
        if origin != own_origin or not target.path.startswith(f"{base}/"):
            return str(target)  # not served by the tape server
        rest = target.raw_path.decode("ascii").removeprefix(base)
        return "/" + rest.lstrip("/")  # two slashes would begin a host


class _ClientConnection:
    """Sends the response to the client.

    Args:
        send: The ASGI send function.
        hang_up: Closes the connection; None if the server does not support it.

    Attributes:
        hung_up: Whether the connection was closed.
    """

    def __init__(self, send: Send, hang_up: Callable[[], None] | None) -> None:
        self._send = send
        self._hang_up = hang_up
        self._begun = False
        self.hung_up = False

    async def pass_on(self, response: httpx.Response) -> None:
        """Send a response, each chunk as it arrives."""
        headers = [(name.lower(), value) for name, value in _end_to_end(response.headers.raw, set())]
        try:
            self._begun = True
            await self._send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            async for data in response.aiter_raw():
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            await response.aclose()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def fail(self, error: httpx.TransportError) -> None:
        """Close the connection, as the upstream did; without ``hang_up`` send a 502 if the response has not begun."""
        if self._hang_up:
            self.hung_up = True
            self._hang_up()
        elif not self._begun:
            text = f"the upstream closed the connection before the response ({type(error).__name__})"
            await _send_json(self._send, 502, {"type": "error", "error": {"type": "api_error", "message": text}})


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as the JSON of the control route."""
    return {**asdict(report), "failures": report.failures}


def _end_to_end(headers: list[tuple[bytes, bytes]], without: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the end-to-end headers: without hop-by-hop headers and those in ``without``."""
    named = {
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named | without
    yield from ((name, value) for name, value in headers if name.lower() not in dropped)


async def _read(receive: Receive) -> bytes | None:
    """Return the body of a request, or None if the client disconnected before it was complete."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine; cancel it if the client disconnects first."""
    task, disconnect = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        task.cancel()
        disconnect.cancel()
        await asyncio.wait({task, disconnect})


async def _send_json(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(app: Any, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:  # noqa: ANN401 - any ASGI app
    """Serve an ASGI app while the block runs; yield its base URL.

    Args:
        app: An ASGI app; its lifespan events are sent.
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.

    Raises:
        TapeUsageError: The app does not start.
        OSError: The port is in use.
    """
    with socket.create_server((host, port)) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            app, http=_Protocol, ws="none", lifespan="on", loop="asyncio", log_config=None, access_log=False,
            server_header=False, date_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config)
        thread = threading.Thread(target=server.run_in_thread, args=(listener,), name="tape server", daemon=True)
        thread.start()
        try:
            if not server.ready.wait(_START_SECONDS) or not server.started:
                raise TapeUsageError("the server did not start")
            yield address
        finally:
            server.should_exit = True
            thread.join(_START_SECONDS)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    def run_in_thread(self, listener: socket.socket) -> None:
        with suppress(SystemExit):  # uvicorn raises it if the app does not start
            self.run([listener])
        self.ready.set()


class _Protocol(H11Protocol):
    """Adds the extension ``_HANG_UP``: closes the connection after the data sent so far."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app: Any = self.app

        async def with_hang_up(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_HANG_UP] = transport.close
            await app(scope, receive, send)

        self.app = with_hang_up
