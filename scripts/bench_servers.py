"""The servers of the benchmark: one scripted upstream, two bare relays and three stacks, each in its own process.

The upstream speaks chat completions and the Messages API and does no work but writing bytes that are ready. The model
of a request selects what it sends, the same in both APIs:

    bench       whole: 200 words; as a stream: 200 chunks in one burst, each in an HTTP chunk of its own
    every-N     a chunk every N milliseconds until the client disconnects
    silent      one chunk, and then nothing until the client disconnects
    busy        status 429

Each word ends with ``MARK``, so that the load generator can count chunks in any piece of any response.

The relays pass `/v1/messages` on and read nothing. `httpx` is what a gateway in Python usually is: uvicorn, FastAPI and
httpx. `aiohttp` is about the least that a relay in Python costs: uvicorn, an ASGI function and aiohttp.

The stacks are real ones (``llama stack run``) with one inference provider of type remote::vllm. They differ in the lane
that the configuration selects, and in the route that is measured. Each subject has a process of its own, so that no
one's memory is filled by another.

``python bench_servers.py upstream|httpx|aiohttp ...`` runs one of the first three.
"""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import aiohttp
import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.stack_process import LLAMA, StackProcess, free_port, run_config, vllm  # noqa: E402 - found through the line above

MESSAGES, COUNT, CHAT = "/v1/messages", "/v1/messages/count_tokens", "/v1/chat/completions"
WORDS = 200
MARK = b"~"
MODELS = ["bench", "silent", "busy", *[f"every-{milliseconds}" for milliseconds in (20, 80, 320)]]
START_SECONDS = 300
HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01"}


class Server(NamedTuple):
    """A server under measurement.

    Attributes:
        name: What it is called in results: translated, native, chat, httpx, aiohttp.
        url: Base URL.
        route: The path that is measured, ``MESSAGES`` or ``CHAT``.
        pid: Its process.
    """

    name: str
    url: str
    route: str
    pid: int


class Answers(NamedTuple):
    """What the upstream sends on one route.

    Attributes:
        whole: The JSON of a reply that is not a stream.
        opening: The events before the first word.
        word: The event of one word.
        closing: The events after the last word.
    """

    whole: bytes
    opening: bytes
    word: bytes
    closing: bytes


@contextmanager
def start_upstream() -> Iterator[str]:
    """Run the upstream; yield its base URL."""
    with _role("upstream", str(port := free_port())):
        url = f"http://127.0.0.1:{port}"
        _wait_for(f"{url}/v1/models")
        yield url


@contextmanager
def start_servers(upstream: str, names: tuple[str, ...]) -> Iterator[list[Server]]:
    """Run the servers of these names, fresh processes; yield them in this order."""
    lanes = {"translated": "off", "native": "on", "chat": "off"}
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        started = {}
        for name in set(names) & set(lanes):
            config = run_config([vllm(f"{upstream}/v1")], {"native": {"up": lanes[name]}})
            folder = Path(stack.enter_context(TemporaryDirectory()))
            process = StackProcess(config, folder, {"LLAMA_STACK_LOG_FORMAT": "json"}, LLAMA)
            started[name] = pool.submit(stack.enter_context, process)
        servers = {}
        for name in set(names) - set(lanes):
            relay = stack.enter_context(_role(name, str(port := free_port()), upstream))
            servers[name] = Server(name, f"http://127.0.0.1:{port}", MESSAGES, relay.pid)
            _wait_for(servers[name].url)
        for name, future in started.items():
            route = CHAT if name == "chat" else MESSAGES
            servers[name] = Server(name, (process := future.result()).url, route, process.pid)
        yield [servers[name] for name in names]


@contextmanager
def start_local_stack() -> Iterator[str]:
    """Run the local distribution with its engine; yield its base URL."""
    env = {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json"}
    config = ROOT / "distributions" / "local" / "run.yaml"
    with TemporaryDirectory() as folder, StackProcess(config, Path(folder), env, LLAMA) as stack:
        yield stack.url


@contextmanager
def _role(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run this file with arguments; stop the process at the end."""
    process = subprocess.Popen(  # an unread pipe would fill up and block it
        [sys.executable, __file__, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    """Wait until a server responds, with any status."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{url} does not respond")


def _messages_answers() -> Answers:
    usage = {"input_tokens": 12, "output_tokens": WORDS}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "bench", "content": [], "usage": usage}
    message |= {"stop_reason": None, "stop_sequence": None}
    block = {"type": "text", "text": "word~" * WORDS}

    def event(kind: str, **fields: object) -> bytes:
        return _http_chunk(f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n")

    return Answers(
        json.dumps({**message, "content": [block], "stop_reason": "end_turn"}).encode(),
        event("message_start", message=message)
        + event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word~"}),
        event("content_block_stop", index=0)
        + event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage)
        + event("message_stop"),
    )


def _chat_answers() -> Answers:
    usage = {"prompt_tokens": 12, "completion_tokens": WORDS, "total_tokens": WORDS + 12}
    common = {"id": "chatcmpl-1", "created": 1, "model": "bench"}

    def event(*choices: dict[str, Any], **fields: object) -> bytes:
        chunk = {**common, "object": "chat.completion.chunk", "choices": choices, **fields}
        return _http_chunk(f"data: {json.dumps(chunk)}\n\n")

    def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "finish_reason": finish}

    reply = {"index": 0, "message": {"role": "assistant", "content": "word~" * WORDS}, "finish_reason": "stop"}
    return Answers(
        json.dumps({**common, "object": "chat.completion", "choices": [reply], "usage": usage}).encode(),
        event(choice({"role": "assistant", "content": ""})),
        event(choice({"content": "word~"})),
        event(choice({}, "stop")) + event(usage=usage) + _http_chunk("data: [DONE]\n\n"),
    )


def _http_chunk(text: str) -> bytes:
    return f"{len(text):x}\r\n{text}\r\n".encode()


class Upstream:
    """The scripted upstream. ``/open`` returns how many streams are being sent, and ``/v1/models`` lists the models."""

    model = re.compile(rb'"model"\s*:\s*"(?:[^"/]*/)?([^"]*)"')
    streaming = re.compile(rb'"stream"\s*:\s*true')

    def __init__(self) -> None:
        self.open_streams = 0
        self.answers = {MESSAGES: _messages_answers(), CHAT: _chat_answers()}
        listed = [{"id": name, "object": "model", "created": 1, "owned_by": "bench"} for name in MODELS]
        self.models = json.dumps({"object": "list", "data": listed}).encode()

    async def serve(self, port: int) -> None:
        """Serve until the process is terminated."""
        server = await asyncio.start_server(self.connection, "127.0.0.1", port, limit=2**24, backlog=4096)
        await server.serve_forever()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self.answer(first.split(" ")[1], body, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        answers, model = self.answers.get(path), self.model.search(body)
        fixed = {"/open": b"%d" % self.open_streams, "/v1/models": self.models, COUNT: b'{"input_tokens": 12}'}
        if path in fixed:
            writer.write(_complete(fixed[path]))
        elif answers is None or model is None:
            writer.write(_complete(b"{}", b"404 Not Found"))
        elif model[1] == b"busy":
            error = b'{"type":"error","error":{"type":"rate_limit_error","message":"busy"}}'
            writer.write(_complete(error, b"429 Busy\r\nretry-after: 1\r\nx-should-retry: false"))
        elif not self.streaming.search(body):
            writer.write(_complete(answers.whole))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            writer.write(answers.opening)
            if model[1] == b"bench":
                writer.write(answers.word * WORDS)
            else:
                self.open_streams += 1
                try:
                    await self.send_until_left(model[1].decode(), answers.word, reader, writer)
                finally:
                    self.open_streams -= 1
            writer.write(answers.closing + b"0\r\n\r\n")

    async def send_until_left(
        self, model: str, word: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send a word at the pace that the model names, or a single one, until the client disconnects."""
        writer.write(word)
        if model == "silent":
            await reader.read(1)
            return
        pause, loop = int(model.removeprefix("every-")) / 1000, asyncio.get_running_loop()
        due = loop.time()
        while not (reader.at_eof() or writer.is_closing()):
            due += pause
            await asyncio.sleep(due - loop.time())
            writer.write(word)


def _complete(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body


def httpx_relay(target: str) -> FastAPI:
    """Return the relay that is the unit of all ratios: FastAPI and httpx."""
    clients: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
        clients.append(httpx.AsyncClient(timeout=600, limits=limits, trust_env=False))
        yield
        await clients.pop().aclose()

    app = FastAPI(lifespan=lifespan)

    async def pieces(reply: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for piece in reply.aiter_raw():
                yield piece
        finally:
            await reply.aclose()

    @app.post(MESSAGES)
    async def relay(request: Request) -> Response:
        body = await request.body()
        forwarded = clients[0].build_request("POST", target + MESSAGES, content=body, headers=HEADERS)
        reply = await clients[0].send(forwarded, stream=True)
        kind = reply.headers["content-type"]
        if kind.startswith("text/event-stream"):
            return StreamingResponse(pieces(reply), reply.status_code, media_type=kind)
        return Response(await reply.aread(), reply.status_code, media_type=kind)

    return app


type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]


def aiohttp_relay(target: str) -> Callable[[dict[str, Any], Receive, Send], Awaitable[None]]:
    """Return the second relay: an ASGI function and aiohttp."""
    sessions: list[aiohttp.ClientSession] = []

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if not sessions:
            connector = aiohttp.TCPConnector(limit=0)
            sessions.append(aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(600)))
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        async with sessions[0].request(scope["method"], target + scope["path"], data=body, headers=HEADERS) as reply:
            disconnected = asyncio.ensure_future(receive())
            disconnected.add_done_callback(lambda _: reply.close())
            headers = [(b"content-type", reply.headers["content-type"].encode())]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            try:
                async for piece in reply.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except aiohttp.ClientError:
                if not disconnected.done():
                    raise
            await send({"type": "http.response.body", "body": b""})
            disconnected.cancel()

    return app


def main() -> None:
    """Run one server: ``upstream PORT``, ``httpx PORT UPSTREAM`` or ``aiohttp PORT UPSTREAM``."""
    role, port, *target = sys.argv[1:]
    if role == "upstream":
        asyncio.run(Upstream().serve(int(port)))
    elif role == "httpx":
        uvicorn.run(httpx_relay(*target), host="127.0.0.1", port=int(port))
    else:
        uvicorn.run(aiohttp_relay(*target), host="127.0.0.1", port=int(port), lifespan="off")


if __name__ == "__main__":
    main()
