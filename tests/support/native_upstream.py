"""An upstream that speaks the Messages API itself, scripted to the byte, and a client that shows the bytes of a reply.

A test hands a script to ``NativeUpstream.play`` and gets the model name under which the upstream plays it. The server
lives in a thread with a loop of its own; everything a test calls may be called from any other thread.
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
"""Bytes a reader of this module holds at most; chunks and heads are smaller."""
PATIENCE = 20.0
"""Seconds after which something that has to happen did not."""
ENDURANCE = 60.0
"""Seconds after which a reply that has to end did not."""
CUT, CLEAN = "cut", "clean"
"""How a stream ends: the connection drops, or HTTP ends the body."""

type Pairs = list[tuple[str, str]]
type Script = Callable[["Answer"], Awaitable[None]]


@dataclass
class Exchange:
    """One request as the upstream saw it.

    Attributes:
        target: Path and query string, as sent.
        pairs: Request headers as sent, names in lower case.
        body: The bytes of the body.
        connection: Number of the connection it came on.
        sent: Bytes of the answer the kernel has taken so far.
        closed: Set when the other side closed before the answer was complete.
        closed_at: ``time.monotonic()`` of that.
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
    """What a script writes to; every call is a write of its own."""

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
"""First byte of a handshake."""


def framed(data: bytes) -> bytes:
    """Return the bytes as one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def whole(body: bytes, status: int = 200, kind: str = "application/json", **headers: str) -> Script:
    """Return a script that answers with one body."""

    async def script(answer: Answer) -> None:
        await answer.head(status, kind, *_pairs(headers))
        if body:
            await answer.chunk(body)
        await answer.end()

    return script


def streamed(*chunks: bytes, ends: str = CLEAN, at_once: bool = False, **headers: str) -> Script:
    """Return a script that answers with these HTTP chunks, written one by one or all together."""

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
    """Return a script that writes these bytes in place of a response and closes."""

    async def script(answer: Answer) -> None:
        await answer.raw(data)
        answer.drop()

    return script


async def silent(_answer: Answer) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def _pairs(headers: dict[str, str]) -> Pairs:
    return [(name.replace("_", "-"), value) for name, value in headers.items()]


def frame(event: dict[str, Any]) -> bytes:
    """Return an event as the API writes it."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def message(model: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    """Return a whole Message."""
    usage = {"input_tokens": 3, "output_tokens": 5}
    head = {"id": "msg_up", "type": "message", "role": "assistant", "model": model}
    content = [{"type": "text", "text": text}] if text else []
    return head | {"content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage} | more


def spoken(model: str, *words: str) -> list[bytes]:
    """Return the frames of a stream that says these words."""
    return [frame(event) for event in spoken_events(model, *words)]


def spoken_events(model: str, *words: str) -> list[dict[str, Any]]:
    """Return the events of a stream that says these words."""
    started = {"type": "message_start", "message": message(model, "", stop_reason=None)}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    said = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words
    ]
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    usage = {"usage": {"output_tokens": 5}}
    return [started, block, *said, {"type": "content_block_stop", "index": 0}, ended | usage, {"type": "message_stop"}]


class Gate:
    """Holds a script until a test opens it.

    Args:
        loop: Of the upstream.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def open(self) -> None:
        self._loop.call_soon_threadsafe(self._event.set)

    async def wait(self) -> None:
        await self._event.wait()


class NativeUpstream:
    """The server. Whatever stands before ``/v1`` in a path is a name: as many upstreams as a test needs.

    Attributes:
        exchanges: Requests for messages so far, probes left out.
        probes: Requests for messages with the body ``{}`` so far.
        chats: Chat completion requests so far.
        others: What else was asked for: model lists, wrong paths.
        connections: How many connections were accepted so far.
        open: Numbers of those that are not closed.
        probe_statuses: What the probe of a named upstream is answered with, 400 by default.
        probe_gates: Hold the answer to the probe of a named upstream.
        hasty: What a named upstream answers as soon as it has the headers of a request.
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
        """Return the base URL of a named upstream as an Anthropic SDK takes it."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def url(self, name: str = "any") -> str:
        """Return the base URL of a named upstream as an OpenAI SDK takes it; it ends in ``/v1``."""
        return f"{self.root(name)}/v1"

    def play(self, script: Script, name: str | None = None) -> str:
        """Return the model name under which the upstream plays this script from now on."""
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
        """Return the requests for a model once there are so many."""
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
        """Answer one request; return what of the next has been read, None if there is no next."""
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
    """Return an error as the Messages API writes it."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_up"}).encode()


_unknown_model = whole(error_body("not_found_error", "model: no script of that name"), 404)
_no_route = whole(b'{"detail":"Not Found"}', 404)


async def _chat(answer: Answer) -> None:
    """Answer a chat completion: the translated lane was taken."""
    if not answer.exchange.json.get("stream"):
        await whole(json.dumps(completion({"content": "translated"})).encode())(answer)
        return
    pieces = [chunk({"role": "assistant", "content": "translated"}), chunk({}, "stop"), chunk(usage=USAGE)]
    await streamed(*map(sse, pieces), b"data: [DONE]\n\n")(answer)


async def _watched(work: Awaitable[None], exchange: Exchange, reader: asyncio.StreamReader) -> bytes | None:
    """Run a script until it ends or the other side closes; return what came in meanwhile, None if it closed."""
    playing, reading = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({playing, reading}, return_when=asyncio.FIRST_COMPLETED)
        if not playing.done() and not _came(reading):  # a client that pipelines has not left
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
    """A reply as it came over the wire.

    Attributes:
        chunks: The HTTP chunks of the body; a body of known length is one.
        ended: The body is complete by its framing.
        first_at: ``time.monotonic()`` when the first bytes of the body were there.
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
    """One request on a connection of its own, and its reply, piece by piece.

    Attributes:
        status: Of the reply, once ``head`` has returned.
        headers: Likewise; names in lower case.
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
        """Return the next HTTP chunk; None at the end, clean or not."""
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
        """Return the chunks up to the one that completes these bytes."""
        chunks: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            while ending not in b"".join(chunks):
                data = await self.chunk()
                assert data is not None, f"ended before {ending!r}: {b''.join(chunks)!r}"
                chunks.append(data)
        return chunks

    async def is_quiet(self, seconds: float) -> bool:
        """Whether nothing arrives for so long; the talk goes on behind it."""
        try:
            async with asyncio.timeout(seconds):
                await self._reader.readuntil(b"\r\n")
        except TimeoutError:
            return True
        except asyncio.IncompleteReadError:
            pass
        return False

    async def rest(self) -> Reply:
        """Return the whole reply from here on."""
        if not self.status:
            await self.head()
        chunks: list[bytes] = []
        first_at = 0.0
        async with asyncio.timeout(ENDURANCE):  # pings may come for ever
            while (data := await self.chunk()) is not None:
                first_at = first_at or time.monotonic()
                chunks.append(data)
        return Reply(self.status, self.headers, chunks, self.ended, first_at)

    def leave(self) -> float:
        """Close the connection as a client that goes away; return when, by ``time.monotonic()``."""
        self._writer.transport.abort()
        return time.monotonic()


@contextlib.asynccontextmanager
async def talk(
    url: str, body: bytes, headers: Iterable[tuple[str, str]] = (), path: str = "/v1/messages", receive: int = LIMIT
) -> AsyncGenerator[Talk]:
    """Send a request and yield the talk. ``receive`` bounds what is read ahead of the caller, in bytes."""
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
    """Send a request and return the whole reply."""
    async with talk(url, body, headers, path) as one:
        return await one.rest()


def ask(model: str, stream: bool = False, **more: Any) -> bytes:
    """Return the least request there is, as bytes."""
    fields = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(fields | ({"stream": True} if stream else {}) | more).encode()


async def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a condition of another thread or process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


def assert_same(seen: bytes, expected: bytes) -> None:
    """Compare by digest; say where the bytes part, for there may be a megabyte of them."""
    if hashlib.sha256(seen).digest() == hashlib.sha256(expected).digest():
        return
    at = next((i for i, (one, other) in enumerate(zip(seen, expected, strict=False)) if one != other), -1)
    at = at if at >= 0 else min(len(seen), len(expected))
    start = max(0, at - 40)
    raise AssertionError(
        f"{len(seen)} bytes in place of {len(expected)}; from byte {at} on\n"
        f"seen     {seen[start : at + 80]!r}\nexpected {expected[start : at + 80]!r}"
    )
