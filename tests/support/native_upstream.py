"""An upstream with the Messages API whose responses are scripted byte by byte, and a client that shows raw bytes.

A test passes a script to ``NativeUpstream.play`` and gets the model name under which the upstream plays it. The server
runs in a thread with its own event loop; its public methods may be called from any thread.
"""

import asyncio
import contextlib
import hashlib
import itertools
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from support.upstream import AUTH_PATH, USAGE, chunk, completion, sse

LIMIT = 2**24
"""Buffer limit of the stream readers in bytes; chunks and headers are smaller."""
PATIENCE = 60.0
"""Timeout in seconds for an expected event."""
ENDURANCE = 120.0
"""Timeout in seconds for the end of a response."""
CUT, CLEAN = "cut", "clean"
"""How a stream ends: the connection is dropped, or the body ends with the last HTTP chunk."""

type Pairs = list[tuple[str, str]]
type Script = Callable[["Answer"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as the upstream received it.

    Attributes:
        target: Path and query string, as sent.
        pairs: Request headers as sent, names in lower case.
        body: The bytes of the body.
        connection: Number of its connection.
        sent: Number of response bytes written to the socket so far.
        closed: Set when the client closed the connection before the response was complete.
        closed_at: ``time.monotonic()`` when ``closed`` was set.
    """

    target: str
    pairs: Pairs
    body: bytes
    connection: int
    sent: int = 0
    closed_at: float = 0.0
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def headers(self) -> dict[str, str]:
        return dict(self.pairs)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer:
    """The response that a script writes; every call is a separate write to the socket."""

    def __init__(self, writer: asyncio.StreamWriter, exchange: Exchange) -> None:
        self.exchange = exchange
        self.dropped = False
        self._writer = writer

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self.exchange.sent += len(data)

    async def head(self, status: int = 200, kind: str = "text/event-stream", *more: tuple[str, str]) -> None:
        framing = [] if any(name in ("content-length", "connection") for name, _ in more) else [CHUNKED]
        lines = [f"{name}: {value}" for name, value in [("content-type", kind), *framing, *more] if value]
        await self.raw(f"HTTP/1.1 {status} X\r\n{'\r\n'.join(lines)}\r\n\r\n".encode("latin-1"))

    async def chunk(self, data: bytes) -> None:
        await self.raw(framed(data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def drop(self) -> None:
        """Close the connection when the script returns."""
        self.dropped = True


CHUNKED = ("transfer-encoding", "chunked")
TLS_RECORD = b"\x16"
"""First byte of a TLS handshake."""


def framed(data: bytes) -> bytes:
    """Return the bytes as one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Script:
    """Return a script that responds with one body."""

    async def script(answer: Answer) -> None:
        await answer.head(status, kind, *_pairs(headers))
        if body:
            await answer.chunk(body)
        await answer.end()

    return script


def streamed(*chunks: bytes, ends: str = CLEAN, at_once: bool = False, **headers: str) -> Script:
    """Return a script that responds with these HTTP chunks, written one by one or in one write."""

    async def script(answer: Answer) -> None:
        await answer.head(200, "text/event-stream", *_pairs(headers))
        for data in (b"".join(map(framed, chunks)),) if at_once else map(framed, chunks):
            await answer.raw(data)
        if ends == CLEAN:
            await answer.end()
        else:
            answer.drop()

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


def frame(event: dict[str, Any]) -> bytes:
    """Return an event as the SSE bytes of the API."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def message(model: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    """Return a complete Message."""
    usage = {"input_tokens": 3, "output_tokens": 5}
    head = {"id": "msg_up", "type": "message", "role": "assistant", "model": model}
    content = [{"type": "text", "text": text}] if text else []
    return head | {"content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage} | more


def spoken(model: str, *words: str) -> list[bytes]:
    """Return the SSE bytes of each event of a stream with these text deltas."""
    return [frame(event) for event in spoken_events(model, *words)]


def spoken_events(model: str, *words: str) -> list[dict[str, Any]]:
    """Return the events of a stream with these text deltas."""
    started = {"type": "message_start", "message": message(model, "", stop_reason=None)}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    said = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words
    ]
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    usage = {"usage": {"output_tokens": 5}}
    return [started, block, *said, {"type": "content_block_stop", "index": 0}, ended | usage, {"type": "message_stop"}]


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


class NativeUpstream:
    """The server. The path before ``/v1`` is a name, so that one server acts as several upstreams.

    Attributes:
        exchanges: Messages requests so far, without probes.
        probes: Messages requests with the body ``{}`` so far.
        chats: Chat completions requests so far.
        others: All other requests: model lists, wrong paths.
        connections: Number of connections accepted so far.
        open: Numbers of the open connections.
        probe_statuses: Upstream name -> status of the response to a probe; 400 by default.
        probe_gates: Upstream name -> gate that delays the response to a probe.
        hasty: Upstream name -> script that runs as soon as the headers of a request are read, before its body.
    """

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.probes: list[Exchange] = []
        self.chats: list[Exchange] = []
        self.others: list[Exchange] = []
        self.connections = 0
        self.open: set[int] = set()
        self.probe_statuses: dict[str, int] = {}
        self.probe_gates: dict[str, Gate] = {}
        self.hasty: dict[str, Script] = {}
        self.port = 0
        self._scripts: dict[str, Script] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    def root(self, name: str = "any") -> str:
        """Return the base URL of a named upstream for an Anthropic SDK, without ``/v1``."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def url(self, name: str = "any") -> str:
        """Return the base URL of a named upstream for an OpenAI SDK, with ``/v1``."""
        return f"{self.root(name)}/v1"

    def play(self, script: Script, name: str | None = None) -> str:
        """Register a script; return the model name under which the upstream plays it."""
        name = name or f"m{next(self._numbers)}"
        self._scripts[name] = script
        return name

    def gate(self) -> Gate:
        """Return a closed gate for a script."""
        return Gate(self._loop)

    def of(self, model: str) -> list[Exchange]:
        """Return the requests for a model so far."""
        return [exchange for exchange in self.exchanges if exchange.body and exchange.json.get("model") == model]

    async def seen(self, model: str, count: int = 1) -> list[Exchange]:
        """Wait for ``count`` requests for a model; return them."""
        await until(lambda: len(self.of(model)) >= count, f"{count} requests for {model}")
        return self.of(model)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LIMIT, backlog=1024)
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
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        exchange = Exchange(first.split(" ")[1], pairs, b"", number)
        answer = Answer(writer, exchange)
        if hasty := self.hasty.get(exchange.target.split("/")[1]):
            await hasty(answer)
        exchange.body = await reader.readexactly(int(dict(pairs).get("content-length", 0)))
        if hasty:
            return b""
        rest = await _watched(self._script_for(first.split(" ")[0], exchange)(answer), exchange, reader)
        return None if answer.dropped else rest

    def _script_for(self, method: str, exchange: Exchange) -> Script:
        path = urlsplit(exchange.target).path
        name, _, call = path.removeprefix("/").partition("/v1/")
        if (method, call) == ("POST", "messages"):
            if exchange.body.strip() == b"{}":
                self.probes.append(exchange)
                return self._probe(name)
            self.exchanges.append(exchange)
            return self._scripts.get(str(exchange.json.get("model")), _unknown_model)
        if (method, call) == ("POST", "chat/completions"):
            self.chats.append(exchange)
            return _chat
        if path == AUTH_PATH:
            return whole(json.dumps({"principal": exchange.json["api_key"]}).encode())
        self.others.append(exchange)
        return whole(b'{"object":"list","data":[{"id":"m","object":"model"}]}') if call == "models" else _no_route

    def _probe(self, name: str) -> Script:
        status = self.probe_statuses.get(name, 400)

        async def script(answer: Answer) -> None:
            if gate := self.probe_gates.get(name):
                await gate.wait()
            await whole(error_body("invalid_request_error", "model: Field required"), status)(answer)

        return script


def error_body(kind: str, text: str) -> bytes:
    """Return an error body of the Messages API."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_up"}).encode()


_unknown_model = whole(error_body("not_found_error", "model: no script of that name"), 404)
_no_route = whole(b'{"detail":"Not Found"}', 404)


async def _chat(answer: Answer) -> None:
    """Respond to a chat completions request, which shows that the translated lane was selected."""
    if not answer.exchange.json.get("stream"):
        await whole(json.dumps(completion({"content": "translated"})).encode())(answer)
        return
    pieces = [chunk({"role": "assistant", "content": "translated"}), chunk({}, "stop"), chunk(usage=USAGE)]
    await streamed(*map(sse, pieces), b"data: [DONE]\n\n")(answer)


async def _watched(work: Awaitable[None], exchange: Exchange, reader: asyncio.StreamReader) -> bytes | None:
    """Run a script until it ends or the client disconnects; return the bytes read meanwhile, None on a disconnect."""
    playing, reading = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({playing, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done() and not _came(reading):  # bytes of a pipelined request are not a disconnect
            exchange.closed_at = time.monotonic()
            exchange.closed.set()
            return None
        await playing
        return _came(reading) if reading.done() else b""
    except ConnectionError:
        exchange.closed_at = time.monotonic()
        exchange.closed.set()
        return None
    finally:
        playing.cancel()
        reading.cancel()
        await asyncio.gather(playing, reading, return_exceptions=True)


def _came(reading: asyncio.Future[bytes]) -> bytes | None:
    return None if reading.exception() else reading.result() or None


@dataclass
class Reply:
    """A response as received.

    Attributes:
        chunks: The HTTP chunks of the body; a body with a content-length is one chunk.
        ended: Whether the body is complete, judged by its framing.
        first_at: ``time.monotonic()`` when the first bytes of the body arrived.
    """

    status: int
    headers: dict[str, str]
    chunks: list[bytes]
    ended: bool
    first_at: float = 0.0

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Talk:
    """One request on its own connection, and its response, read step by step.

    Attributes:
        status: Status of the response; set by ``head``.
        headers: Headers of the response, names in lower case; set by ``head``.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self._reader = reader
        self._writer = writer

    async def head(self) -> int:
        """Read status and headers."""
        async with asyncio.timeout(PATIENCE):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return self.status

    async def chunk(self, seconds: float = PATIENCE) -> bytes | None:
        """Return the next HTTP chunk, or None at the end of the body or connection."""
        try:
            async with asyncio.timeout(seconds):
                if "transfer-encoding" not in self.headers:
                    return await self._rest()
                size = int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16)
                data = (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        self.ended = size == 0
        return data or None

    async def _rest(self) -> bytes | None:
        data = await self._reader.readexactly(0 if self.ended else int(self.headers.get("content-length", 0)))
        self.ended = True
        return data or None

    async def read_until(self, ending: bytes) -> list[bytes]:
        """Return the chunks up to the one after which the body contains ``ending``."""
        chunks: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while ending not in b"".join(chunks):
                data = await self.chunk()
                assert data is not None, f"ended before {ending!r}: {b''.join(chunks)!r}"
                chunks.append(data)
        return chunks

    async def is_quiet(self, seconds: float) -> bool:
        """Return whether nothing arrives within ``seconds``; if so, reading can continue afterwards."""
        try:
            async with asyncio.timeout(seconds):
                await self._reader.readuntil(b"\r\n")
        except TimeoutError:
            return True
        except asyncio.IncompleteReadError:
            pass
        return False

    async def rest(self) -> Reply:
        """Read to the end; return the response with the chunks not read yet."""
        if not self.status:
            await self.head()
        chunks: list[bytes] = []
        first_at = 0.0
        async with asyncio.timeout(ENDURANCE):  # pings may never end
            while (data := await self.chunk()) is not None:
                first_at = first_at or time.monotonic()
                chunks.append(data)
        return Reply(self.status, self.headers, chunks, self.ended, first_at)

    def leave(self) -> float:
        """Disconnect; return the time by ``time.monotonic()``."""
        self._writer.transport.abort()
        return time.monotonic()


@contextlib.asynccontextmanager
async def talk(
    url: str, body: bytes, headers: Iterable[tuple[str, str]] = (), path: str = "/v1/messages", receive: int = LIMIT
) -> AsyncGenerator[Talk]:
    """Send a request and yield its ``Talk``. ``receive`` limits the read buffer, in bytes."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=receive)
    fixed = [("host", at.netloc), ("content-type", "application/json"), ("content-length", str(len(body)))]
    lines = [f"{name}: {value}" for name, value in [*fixed, *headers]]
    writer.write(f"POST {path} HTTP/1.1\r\n{'\r\n'.join(lines)}\r\n\r\n".encode("latin-1") + body)
    try:
        yield Talk(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def post(url: str, body: bytes, headers: Iterable[tuple[str, str]] = (), path: str = "/v1/messages") -> Reply:
    """Send a request and return the complete response."""
    async with talk(url, body, headers, path) as one:
        return await one.rest()


def ask(model: str, stream: bool = False, **more: Any) -> bytes:
    """Return the bytes of a minimal request."""
    fields = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(fields | ({"stream": True} if stream else {}) | more).encode()


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait until a condition is true that another thread or process changes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


def assert_same(seen: bytes, expected: bytes) -> None:
    """Assert that two byte strings are equal; the error shows only the first difference, not megabytes of data."""
    if hashlib.sha256(seen).digest() == hashlib.sha256(expected).digest():
        return
    at = next((i for i, (one, other) in enumerate(zip(seen, expected, strict=False)) if one != other), -1)
    at = at if at >= 0 else min(len(seen), len(expected))
    start = max(0, at - 40)
    raise AssertionError(
        f"{len(seen)} bytes in place of {len(expected)}; from byte {at} on\n"
        f"seen     {seen[start : at + 80]!r}\nexpected {expected[start : at + 80]!r}"
    )
