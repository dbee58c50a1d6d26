"""The scripted upstream: an HTTP server whose responses a test writes byte by byte, without an HTTP library.

It can fail as real upstreams do (stay silent, close in the middle, send a broken body) and notices at once that a
client has disconnected. It runs in a thread with an event loop of its own; its public methods may be called from any
thread.

A script is a coroutine function that writes one response to an ``Answer``. Three sets of routes use this server:
``NativeUpstream`` (the Messages API), ``ChatUpstream`` (chat completions) and, for the harness, scripts by path here.
"""

import asyncio
import contextlib
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

LIMIT_BYTES = 2**24
"""Buffer limit of the stream readers; chunks and headers are smaller."""
UPSTREAM_KEY = "sk-upstream-secret-0123456789"
"""The key that the stacks under test send to their upstream; it must not appear anywhere else."""
HANG_SECONDS = 60.0
"""Timeout for an expected event; only a hang takes that long."""
CUT, CLEAN, HANG = "cut", "clean", "hang"
"""How a response ends: the connection closes in the middle; the body ends as HTTP requires; nothing more is sent until
the client disconnects."""
EVENT_STREAM = {"content-type": "text/event-stream"}
CHUNKED = ("transfer-encoding", "chunked")
TLS_RECORD = b"\x16"
"""First byte of a TLS handshake."""

type Pairs = list[tuple[str, str]]
type Script = Callable[["Answer"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as the upstream received it.

    Attributes:
        method: The HTTP method.
        target: Path and query string, as sent.
        pairs: Request headers as sent, names in lower case.
        body: The bytes of the body.
        connection: Number of its connection.
        sent: Number of response bytes written to the socket so far.
        closed: Set when the client closed the connection before the response was complete.
    """

    method: str
    target: str
    pairs: Pairs
    body: bytes
    connection: int
    sent: int = 0
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.pairs)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Gate:
    """Blocks a script until a test opens it.

    Args:
        loop: Event loop of the upstream.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()

    async def wait_and_close(self) -> None:
        """Wait until the gate is open, then close it for the next script."""
        await self._event.wait()
        self._event.clear()


class Answer:
    """The response that a script writes; every call is a separate write to the socket."""

    def __init__(self, upstream: "ScriptedUpstream", writer: asyncio.StreamWriter, exchange: Exchange) -> None:
        self.upstream = upstream
        self.exchange = exchange
        self.dropped = False
        self._writer = writer

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self.exchange.sent += len(data)

    async def head(self, status: int = 200, kind: str = "text/event-stream", *more: tuple[str, str]) -> None:
        is_framed = any(name in ("content-length", "transfer-encoding", "connection") for name, _ in more)
        framing = [] if is_framed else [CHUNKED]
        lines = [f"{name}: {value}" for name, value in [("content-type", kind), *framing, *more] if value]
        await self.raw(f"HTTP/1.1 {status} X\r\n{'\r\n'.join(lines)}\r\n\r\n".encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        await self.raw(framed(data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def json(self, value: Any, status: int = 200, **headers: str) -> None:
        """Write a complete response with a JSON body."""
        await self.head(status, "application/json", *_pairs(headers))
        await self.chunk(json.dumps(value).encode())
        await self.end()

    def drop(self) -> None:
        """Close the connection when the script returns."""
        self.dropped = True


def framed(data: bytes) -> bytes:
    """Return the bytes as one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def responds(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Script:
    """Return a script that responds with one body."""
    return streamed(*filter(None, [body]), status=status, headers={"content-type": kind, **dict(_pairs(headers))})


def streamed(
    *chunks: bytes,
    status: int = 200,
    headers: dict[str, str] = EVENT_STREAM,
    end: str = CLEAN,
    gap: float = 0.0,
    at_once: bool = False,
    lockstep: bool = False,
    chunked: bool = True,
) -> Script:
    """Return a script that responds with these chunks, written one by one.

    Args:
        chunks: The chunks of the body.
        status: Status of the response.
        headers: Headers, in addition to the framing ones; those with an empty value are left out.
        end: How the response ends: ``CLEAN``, ``CUT`` or ``HANG``.
        gap: Seconds before each chunk.
        at_once: Whether all chunks are written at once.
        lockstep: Whether each chunk but the first waits until the client has read the one before, which the test
            reports by ``was_read``. If anything between the two delays a chunk, the stream stops for good, on a slow
            machine and on a fast one.
        chunked: Whether to use chunked encoding; if False, a content-length.
    """
    framing = CHUNKED if chunked else ("content-length", str(sum(map(len, chunks))))
    writes = [framed(data) if chunked else data for data in chunks]
    writes = [b"".join(writes)] if at_once else writes

    async def script(answer: Answer) -> None:
        await answer.head(status, "", *headers.items(), framing)
        for number, data in enumerate(writes):
            if number and lockstep:
                await answer.upstream.reading(answer.exchange.path).acquire()
            await asyncio.sleep(gap)
            await answer.raw(data)
        if end == HANG:
            await silent(answer)
        elif end == CUT:
            answer.drop()
        elif chunked:
            await answer.end()

    return script


def raw(data: bytes) -> Script:
    """Return a script that writes these bytes instead of a response and closes the connection."""

    async def script(answer: Answer) -> None:
        await answer.raw(data)
        answer.drop()

    return script


async def silent(_answer: Answer) -> None:
    """Never respond."""
    await asyncio.Event().wait()


def _pairs(headers: dict[str, str]) -> Pairs:
    return [(name.replace("_", "-"), value) for name, value in headers.items()]


class ScriptedUpstream:
    """The server; by itself it plays a script for each path.

    Attributes:
        scripts: Path -> script; ``NativeUpstream`` plays them by model instead.
        requests: All requests so far.
        connections: Number of connections accepted so far.
        open: Numbers of the open connections.
        port: The port; 0 selects a free one when the server starts.
    """

    answer_class: type[Answer] = Answer

    def __init__(self, port: int = 0) -> None:
        self.scripts: dict[str, Script] = {}
        self.requests: list[Exchange] = []
        self.connections = 0
        self.open: set[int] = set()
        self.port = port
        self._gates: dict[str, Gate] = {}
        self._read: dict[str, asyncio.Semaphore] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(HANG_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(HANG_SECONDS)
        self._loop.close()

    @property
    def address(self) -> str:
        """The base URL without a path."""
        return f"http://127.0.0.1:{self.port}"

    def script_for(self, exchange: Exchange) -> Script:
        """Return the script for a request; an override keeps the request where its tests look for it."""
        return self.scripts[exchange.path]

    def early_script_for(self, exchange: Exchange) -> Script | None:
        """Return a script that responds before the body of the request is read, or None."""
        del exchange

    def close_connections(self) -> None:
        """Close all open connections, such as those that a client keeps for its next request."""
        self._loop.call_soon_threadsafe(lambda: [task.cancel() for task in self._tasks])

    def gate(self, name: str = "") -> Gate:
        """Return the gate of that name, closed at first; without a name a new one."""
        return self._gates.setdefault(name, Gate(self._loop)) if name else Gate(self._loop)

    def reading(self, path: str) -> asyncio.Semaphore:
        """Return what ``was_read`` counts up for a path."""
        return self._read.setdefault(path, asyncio.Semaphore(0))

    def was_read(self, path: str) -> None:
        """Report that the client has read a chunk of the last response for a path."""
        self._loop.call_soon_threadsafe(lambda: self.reading(path).release())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LIMIT_BYTES, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        number, early = self.connections, b""
        self.open.add(number)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (rest := await self._exchange(reader, writer, number, early)) is not None:
                    early = rest
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 1)
            self.open.discard(number)
            self._tasks.discard(task)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, early: bytes
    ) -> bytes | None:
        """Handle one request; return the bytes already read of the next one, or None to close the connection."""
        early = early or await reader.readexactly(1)
        if early == TLS_RECORD:
            writer.write(b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n")
            return None
        head = early + await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        exchange = Exchange(method, target, pairs, b"", number)
        self._read[exchange.path] = asyncio.Semaphore(0)
        answer = self.answer_class(self, writer, exchange)
        if early_script := self.early_script_for(exchange):
            await early_script(answer)
        exchange.body = await reader.readexactly(int(exchange.headers.get("content-length", 0)))
        if early_script:
            return b""
        self.requests.append(exchange)
        rest = await _watched(self.script_for(exchange)(answer), exchange, reader)
        return None if answer.dropped else rest


async def _watched(work: Awaitable[None], exchange: Exchange, reader: asyncio.StreamReader) -> bytes | None:
    """Run a script until it ends or the client disconnects; return the bytes read meanwhile, None on a disconnect."""
    playing, reading = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({playing, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done() and not _bytes_read(reading):  # bytes of a pipelined request are not a disconnect
            exchange.closed.set()
            return None
        await playing
        return _bytes_read(reading) if reading.done() else b""
    except ConnectionError:
        exchange.closed.set()
        return None
    finally:
        playing.cancel()
        reading.cancel()
        await asyncio.gather(playing, reading, return_exceptions=True)


def _bytes_read(reading: asyncio.Future[bytes]) -> bytes | None:
    return None if reading.exception() else reading.result() or None


EVENT = b'event: delta\ndata: {"text": "one"}\n\n'
HALF = b'event: delta\ndata: {"text": "\xe4\xbd'
OTHER_HALF = b'\xa0"}\n\n'
TWO_EVENTS = b'event: delta\ndata: {"text": "two"}\n\nevent: stop\ndata: {}\n\n'
FOUR = (EVENT, HALF, OTHER_HALF, TWO_EVENTS)
GAP_SECONDS = 0.05


def four_chunks(upstream: ScriptedUpstream) -> None:
    """Add the routes of the four-chunk experiment to an upstream.

    ``/four`` sends four chunks, each 0.05 s after the client has read the one before: an event; half an event, split
    inside a character; the other half; two events. ``/dies`` closes the connection after the first chunk. ``/stays``
    would send all four and does not end the response until the client disconnects.
    """
    upstream.scripts |= {
        "/four": streamed(*FOUR, gap=GAP_SECONDS, lockstep=True),
        "/dies": streamed(*FOUR[:1], gap=GAP_SECONDS, end=CUT),
        "/stays": streamed(*FOUR, gap=GAP_SECONDS, end=HANG, lockstep=True),
    }
