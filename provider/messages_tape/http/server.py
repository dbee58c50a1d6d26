"""The tape server: a server that replaces the upstream and records or plays tapes.

It is an ASGI app. A stack in another process is tested without patches: its ``base_url`` is set to the tape server.
A control route selects the tape:

    GET    /__tape__   return the report so far
    PUT    /__tape__   {"name": "hello", "mode": "none"}: select this tape
    DELETE /__tape__   deselect it, save the recording and return the report; ?keep=no does not save
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import asdict
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, quote

import httpx

from messages_tape.core.session import Session
from messages_tape.errors import Report, TapeError, TapeMissingError
from messages_tape.files.store import Mode
from messages_tape.secrets.scrub import RawRequest

from .selection import TapeSelection
from .transport import PATIENCE_SECONDS, TapeTransport

type Scope = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
type Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)

CONTROL_PATH = "/__tape__"
HANG_UP = "messages.tape.hang_up"
"""An ASGI extension that ``runner.py`` provides: it closes the connection, for which ASGI has no message."""

_OF_ONE_CONNECTION = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
"""Hop-by-hop headers (RFC 9110, 7.6.1)."""
_OF_THE_REQUEST = {b"host", b"content-length", b"expect"}
"""Request headers that are set again for the upstream."""


class TapeServer:
    """Serves every path from the selected tape, or relays it to the upstream while the tape records.

    Args:
        deck: The tape selection.
        real: The transport to the upstream; by default one without proxies and retries.
        pace: Play at recorded speed; by default without delays.
        patience: Seconds to wait for the client to disconnect where the recorded client disconnected.

    Attributes:
        busy: The number of exchanges in progress.
    """

    def __init__(
        self,
        deck: TapeSelection,
        real: httpx.AsyncBaseTransport | None = None,
        *,
        pace: bool = False,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.deck = deck
        self.busy = 0
        self._upstream = httpx.URL(deck.upstream or "http://upstream.invalid")
        self._real = real
        self._pace = pace
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope: lifespan or http."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._asking()  # created now: creating it later would delay the first request
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for failure in self.deck.close():
            logger.warning("%s", failure)
        await self._asking().aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = self.deck.answering  # another tape may be selected by the time the body is complete
        body = await _read(receive)
        if body is None:
            return
        path = (scope.get("raw_path") or quote(scope["path"]).encode()).decode("ascii").partition("?")[0]
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        asked = RawRequest(scope["method"], path, scope["query_string"].decode("ascii"), headers, body)
        if path == CONTROL_PATH:
            await _send_json(send, *self._control(asked))
            return
        answer = _Answer(send, scope.get("extensions", {}).get(HANG_UP))
        self.busy += 1
        try:
            await _while_connected(receive, self._answer(asked, scope["headers"], answer, arrived))
        finally:
            self.busy -= 1
        if answer.hung_up:
            await _disconnected(receive)

    async def _answer(
        self, asked: RawRequest, headers: list[tuple[bytes, bytes]], answer: "_Answer", arrived: Session
    ) -> None:
        session = self.deck.session_for(asked, arrived)
        real = _Near(self._asking(), self._upstream)
        transport = TapeTransport(session, real, pace=self._pace, patience=self._patience, ahead=True)
        target = f"{self._upstream.raw_path.decode().rstrip('/')}{asked.path}{'?' if asked.query else ''}{asked.query}"
        request = httpx.Request(
            asked.method,
            self._upstream.copy_with(raw_path=target.encode("ascii")),
            headers=[*_end_to_end(headers, _OF_THE_REQUEST)],
            content=asked.body,
        )
        try:
            response = await transport.perform(session.ask(asked, monotonic()), request)
            await answer.pass_on(response)
        except httpx.TransportError as error:
            await answer.fail(error)

    def _asking(self) -> httpx.AsyncBaseTransport:
        """Return the transport to the upstream, created in the event loop that serves."""
        if self._real is None:
            self._real = httpx.AsyncHTTPTransport()
        return self._real

    def _control(self, asked: RawRequest) -> tuple[int, dict[str, Any]]:
        if asked.method == "GET":
            return 200, as_json(self.deck.report())
        if asked.method == "DELETE":
            report = self.deck.eject(keep=parse_qs(asked.query).get("keep") != ["no"])
            return (200, as_json(report)) if report else (404, {"error": "no tape is selected"})
        if asked.method != "PUT":
            return 405, {"error": f"{CONTROL_PATH} takes GET, PUT and DELETE"}
        try:
            wanted = json.loads(asked.body)
            mode = wanted.get("mode")
            self.deck.select(wanted["name"], Mode(mode) if mode else None)
        except TapeError as error:
            return 404 if isinstance(error, TapeMissingError) else 409, {"error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError):
            modes = ", ".join(Mode)
            return 400, {"error": f'this takes {{"name": "...", "mode": "..."}}; modes are {modes}'}
        return 200, as_json(self.deck.report())


class _Near(httpx.AsyncBaseTransport):
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
                response.headers["location"] = self._near(response.headers["location"], request.url)
        return response

    def _near(self, location: str, asked: httpx.URL) -> str:
        target = asked.join(location)
        origins = [(url.scheme, url.host, url.port) for url in (target, self._upstream)]
        base = self._upstream.path.rstrip("/")
        if origins[0] != origins[1] or not target.path.startswith(f"{base}/"):
            return str(target)  # not served by the tape server
        rest = target.raw_path.decode("ascii").removeprefix(base)
        return "/" + rest.lstrip("/")  # two slashes would begin a host


class _Answer:
    """The response to the client.

    Args:
        send: The ASGI send function.
        hang_up: Closes the connection; None if the server does not support it.
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
            text = f"the upstream failed before it answered ({type(error).__name__}), as a closed connection would show"
            await _send_json(self._send, 502, {"type": "error", "error": {"type": "api_error", "message": text}})


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as the JSON of the control route."""
    return {**asdict(report), "failures": report.failures}


def _end_to_end(headers: list[tuple[bytes, bytes]], without: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the end-to-end headers: without hop-by-hop headers and those in ``without``."""
    named = {
        word.strip().lower() for name, value in headers if name.lower() == b"connection" for word in value.split(b",")
    }
    dropped = _OF_ONE_CONNECTION | named | without
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
    task, watch = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        task.cancel()
        watch.cancel()
        await asyncio.wait({task, watch})


async def _send_json(send: Send, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
