"""The scripted upstream with the routes of the Messages API, and a client that shows the raw bytes of a response.

A test passes a script to ``NativeUpstream.play`` and gets the model name under which the upstream plays it.
"""

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from support.chat_upstream import AUTH_PATH, USAGE, chunk, completion, sse
from support.scripted_upstream import (
    HANG_SECONDS,
    LIMIT_BYTES,
    Answer,
    Exchange,
    Gate,
    Script,
    ScriptedUpstream,
    responds,
    streamed,
)

RESPONSE_SECONDS = 120
"""Timeout in seconds for the end of a response."""


def frame(event: dict[str, Any]) -> bytes:
    """Return an event as the SSE bytes of the API."""
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def message(model: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    """Return a complete Message."""
    usage = {"input_tokens": 3, "output_tokens": 5}
    head = {"id": "msg_up", "type": "message", "role": "assistant", "model": model}
    content = [{"type": "text", "text": text}] if text else []
    return head | {"content": content, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage} | more


def text_frames(model: str, *words: str) -> list[bytes]:
    """Return the SSE bytes of each event of a stream with these text deltas."""
    return [frame(event) for event in text_events(model, *words)]


def text_events(model: str, *words: str) -> list[dict[str, Any]]:
    """Return the events of a stream with these text deltas."""
    started = {"type": "message_start", "message": message(model, "", stop_reason=None)}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}} for word in words
    ]
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    usage = {"usage": {"output_tokens": 5}}
    return [
        started,
        block,
        *deltas,
        {"type": "content_block_stop", "index": 0},
        ended | usage,
        {"type": "message_stop"},
    ]


class NativeUpstream(ScriptedUpstream):
    """The upstream with the routes of the Messages API; a request's model selects the script.

    The path before ``/v1`` is a name, so that one server acts as several upstreams.

    Attributes:
        exchanges: Messages requests so far, without probes.
        probes: Messages requests with the body ``{}`` so far.
        chats: Chat completions requests so far.
        others: All other requests: model lists, wrong paths.
        probe_statuses: Upstream name -> status of the response to a probe; 400 by default.
        probe_gates: Upstream name -> gate that delays the response to a probe.
        early_scripts: Upstream name -> script that runs as soon as the headers of a request are read, before its body.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exchanges: list[Exchange] = []
        self.probes: list[Exchange] = []
        self.chats: list[Exchange] = []
        self.others: list[Exchange] = []
        self.probe_statuses: dict[str, int] = {}
        self.probe_gates: dict[str, Gate] = {}
        self.early_scripts: dict[str, Script] = {}

    def root(self, name: str = "any") -> str:
        """Return the base URL of a named upstream for an Anthropic SDK, without ``/v1``."""
        return f"{self.address}/{name}"

    def url(self, name: str = "any") -> str:
        """Return the base URL of a named upstream for an OpenAI SDK, with ``/v1``."""
        return f"{self.root(name)}/v1"

    def play(self, script: Script, name: str | None = None) -> str:
        """Register a script; return the model name under which the upstream plays it."""
        name = name or f"m{next(self._numbers)}"
        self.scripts[name] = script
        return name

    def of(self, model: str) -> list[Exchange]:
        """Return the requests for a model so far."""
        return [exchange for exchange in self.exchanges if exchange.body and exchange.json.get("model") == model]

    async def seen(self, model: str, count: int = 1) -> list[Exchange]:
        """Wait for ``count`` requests for a model; return them."""
        await wait_until(lambda: len(self.of(model)) >= count, f"{count} requests for {model}")
        return self.of(model)

    def early_script_for(self, exchange: Exchange) -> Script | None:
        return self.early_scripts.get(exchange.target.split("/")[1])

    def script_for(self, exchange: Exchange) -> Script:
        name, _, call = exchange.path.removeprefix("/").partition("/v1/")
        if (exchange.method, call) == ("POST", "messages"):
            if exchange.body.strip() == b"{}":
                self.probes.append(exchange)
                return self._probe(name)
            self.exchanges.append(exchange)
            return self.scripts.get(str(exchange.json.get("model")), _unknown_model)
        if (exchange.method, call) == ("POST", "chat/completions"):
            self.chats.append(exchange)
            return _chat
        if exchange.path == AUTH_PATH:
            return responds(json.dumps({"principal": exchange.json["api_key"]}).encode())
        self.others.append(exchange)
        return responds(b'{"object":"list","data":[{"id":"m","object":"model"}]}') if call == "models" else _no_route

    def _probe(self, name: str) -> Script:
        status = self.probe_statuses.get(name, 400)

        async def script(answer: Answer) -> None:
            if gate := self.probe_gates.get(name):
                await gate.wait()
            await responds(error_body("invalid_request_error", "model: Field required"), status)(answer)

        return script


def error_body(kind: str, text: str) -> bytes:
    """Return an error body of the Messages API."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_up"}).encode()


ERROR_TYPES = {
    400: ("invalid_request_error",),
    401: ("authentication_error",),
    402: ("billing_error",),
    403: ("permission_error",),
    404: ("not_found_error",),
    409: ("conflict_error",),
    413: ("request_too_large",),
    422: ("invalid_request_error",),
    429: ("rate_limit_error",),
    500: ("api_error",),
    502: ("api_error",),
    503: ("api_error", "overloaded_error"),
    504: ("timeout_error",),
    529: ("overloaded_error",),
}
"""Status -> error types that the Messages API has for it."""
ERROR_TEXT = "Not today: come back later."
"""The message in the error bodies of an upstream."""
ERROR_SHAPES = {
    "openai": lambda status: {"error": {"message": ERROR_TEXT, "type": "SomeError", "param": None, "code": status}},
    "openai_worded": lambda _status: {"error": {"message": ERROR_TEXT, "type": "server_error", "code": "engine_busy"}},
    "vllm_old": lambda status: {
        "object": "error",
        "message": ERROR_TEXT,
        "type": "SomeError",
        "param": None,
        "code": status,
    },
    "llama_cpp": lambda status: {"error": {"code": status, "message": ERROR_TEXT, "type": "some_error"}},
    "fastapi": lambda _status: {"detail": ERROR_TEXT},
    "text": lambda _status: {"error": ERROR_TEXT},
}
"""Name -> function that returns an error body for a status, in a format other than that of the Messages API."""

_unknown_model = responds(error_body("not_found_error", "model: no script of that name"), 404)
_no_route = responds(b'{"detail":"Not Found"}', 404)


async def _chat(answer: Answer) -> None:
    """Respond to a chat completions request, which shows that the translated lane was selected."""
    if not answer.exchange.json.get("stream"):
        await responds(json.dumps(completion({"content": "translated"})).encode())(answer)
        return
    pieces = [chunk({"role": "assistant", "content": "translated"}), chunk({}, "stop"), chunk(usage=USAGE)]
    await streamed(*map(sse, pieces), b"data: [DONE]\n\n")(answer)


@dataclass
class Reply:
    """A response as received.

    Attributes:
        chunks: The HTTP chunks of the body; a body with a content-length is one chunk.
        ended: Whether the body is complete, judged by its framing.
    """

    status: int
    headers: dict[str, str]
    chunks: list[bytes]
    ended: bool

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class OpenRequest:
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
        async with asyncio.timeout(HANG_SECONDS):
            first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return self.status

    async def chunk(self, seconds: float = HANG_SECONDS) -> bytes | None:
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
        async with asyncio.timeout(HANG_SECONDS):
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
        async with asyncio.timeout(RESPONSE_SECONDS):  # ends the test even if pings go on forever
            while (data := await self.chunk()) is not None:
                chunks.append(data)
        return Reply(self.status, self.headers, chunks, self.ended)

    def disconnect(self) -> None:
        """Disconnect."""
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def open_request(
    url: str,
    body: bytes,
    headers: Iterable[tuple[str, str]] = (),
    path: str = "/v1/messages",
    receive: int = LIMIT_BYTES,
) -> AsyncGenerator[OpenRequest]:
    """Send a request and yield it, with its response to be read; ``receive`` limits the read buffer, in bytes."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=receive)
    fixed = [("host", at.netloc), ("content-type", "application/json"), ("content-length", str(len(body)))]
    lines = [f"{name}: {value}" for name, value in [*fixed, *headers]]
    writer.write(f"POST {path} HTTP/1.1\r\n{'\r\n'.join(lines)}\r\n\r\n".encode("latin-1") + body)
    try:
        yield OpenRequest(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def post(url: str, body: bytes, headers: Iterable[tuple[str, str]] = (), path: str = "/v1/messages") -> Reply:
    """Send a request and return the complete response."""
    async with open_request(url, body, headers, path) as request:
        return await request.rest()


def request_body(model: str, stream: bool = False, **more: Any) -> bytes:
    """Return the bytes of a minimal Messages request."""
    fields = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(fields | ({"stream": True} if stream else {}) | more).encode()


def chat_request_body(model: str, stream: bool = False, **more: Any) -> bytes:
    """Return the bytes of a minimal chat completions request."""
    fields = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return json.dumps(fields | ({"stream": True} if stream else {}) | more).encode()


async def wait_until(condition: Callable[[], Any], what: str, seconds: float = HANG_SECONDS) -> None:
    """Wait until a condition is true that another thread or process changes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.005)


def assert_same(seen: bytes, expected: bytes) -> None:
    """Assert that two byte strings are equal; the error shows only the first difference, not megabytes of data."""
    if hashlib.sha256(seen).digest() == hashlib.sha256(expected).digest():
        return
    at = next((i for i, pair in enumerate(zip(seen, expected, strict=False)) if pair[0] != pair[1]), -1)
    at = at if at >= 0 else min(len(seen), len(expected))
    start = max(0, at - 40)
    raise AssertionError(
        f"{len(seen)} bytes in place of {len(expected)}; from byte {at} on\n"
        f"seen     {seen[start : at + 80]!r}\nexpected {expected[start : at + 80]!r}"
    )
