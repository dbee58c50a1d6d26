"""An OpenAI-style upstream whose behaviour is selected by the model name of the request.

It uses asyncio streams without an HTTP library, to fail as real upstreams do (stay silent, close in the middle, respond
with HTML) and to detect at once that the client disconnects. It runs in a thread of the tests, or as a process
(``python upstream.py``) for the benchmark.
"""

import asyncio
import contextlib
import functools
import itertools
import json
import operator
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # needed if this file runs as a script

from support.mutation import broken_bytes, mutate

USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 7,
    "total_tokens": 37,
    "prompt_tokens_details": {"cached_tokens": 10},
}
BENCH_CHUNKS = 200
MESSAGES_PATH = "/v1/messages"
"""This path returns 404, so that requests use the translated lane (converted to chat completions)."""
AUTH_PATH = "/auth"
"""Simulates the endpoint of the platform's custom authentication: the token is the user's name."""


@dataclass
class Exchange:
    """One request as the upstream received it.

    Attributes:
        body: The decoded JSON body.
        headers: Names in lower case.
        closed_at: ``time.monotonic()`` when the client disconnected before the response was complete.
        closed: Set together with ``closed_at``.
        completed: Whether the complete response was written.
    """

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    closed_at: float | None = None
    completed: bool = False
    closed: threading.Event = field(default_factory=threading.Event)


class Connection:
    """The connection to which a behaviour writes its response."""

    def __init__(self, writer: asyncio.StreamWriter, exchange: Exchange) -> None:
        self.exchange = exchange
        self._writer = writer

    @property
    def stream(self) -> bool:
        return bool(self.exchange.body.get("stream"))

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int = 200, content_type: str = "application/json", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def part(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def json(self, value: Any, status: int = 200, **headers: str) -> None:
        await self.head(status, **headers)
        await self.part(json.dumps(value).encode())
        await self.end()

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()

    async def chunk(self, delta: dict[str, Any] | None = None, finish: str | None = None, **extra: Any) -> None:
        await self.part(sse(chunk(delta, finish, **extra)))

    async def done(self) -> None:
        await self.part(b"data: [DONE]\n\n")
        await self.end()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **extra: Any) -> dict[str, Any]:
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **extra}


def completion(message: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": USAGE,
    }


def sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


type Behaviour = Callable[[Connection], Awaitable[None]]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    BEHAVIOURS[function.__name__.replace("_", "-")] = function
    return function


async def _gate(name: str) -> None:
    """Wait until the test opens the gate, then close the gate again."""
    gate = _gate_of(name)
    await gate.wait()
    gate.clear()


def _gate_of(name: str) -> asyncio.Event:
    """Return a gate of the current server: a process may run several servers, each in its own event loop."""
    return GATES.setdefault((asyncio.get_running_loop(), name), asyncio.Event())


async def _say(conn: Connection, *words: str) -> None:
    if not conn.stream:
        await conn.json(completion({"content": "".join(words)}))
        return
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "content": ""})
    for word in words:
        await conn.chunk({"content": word})
    await conn.chunk({}, "stop")
    await conn.chunk(usage=USAGE)
    await conn.done()


@behaviour
async def text(conn: Connection) -> None:
    await _say(conn, "Hello", " there")


@behaviour
async def late(conn: Connection) -> None:
    """Responds when the test opens the gate; sends nothing before."""
    await _gate("late")
    await _say(conn, "Finally")


@behaviour
async def late_refusal(conn: Connection) -> None:
    await _gate("late-refusal")
    await conn.json({"error": {"message": "nope", "type": "x"}}, 400)


@behaviour
async def pausing(conn: Connection) -> None:
    """Sends a chunk, pauses until the test opens the gate, and sends another chunk."""
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "content": "one"})
    await _gate("pausing")
    await conn.chunk({"content": "two"})
    await conn.chunk({}, "stop")
    await conn.done()


@behaviour
async def never(conn: Connection) -> None:
    await asyncio.Event().wait()


@behaviour
async def slow(conn: Connection) -> None:
    await conn.head(content_type="text/event-stream")
    while True:
        await conn.chunk({"content": "tick "})
        await asyncio.sleep(0.1)


@behaviour
async def fast(conn: Connection) -> None:
    await conn.head(content_type="text/event-stream")
    piece = sse(chunk({"content": "tick "})) * 20
    while True:
        await conn.part(piece)


@behaviour
async def counting(conn: Connection) -> None:
    """Counts; a stream never ends."""
    if not conn.stream:
        await conn.json(completion({"content": ", ".join(map(str, range(1, 101)))}))
        return
    await conn.head(content_type="text/event-stream")
    for number in itertools.count(1):
        await conn.chunk({"content": f"{number}, "})
        await asyncio.sleep(0.01)


@behaviour
async def tool(conn: Connection) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
    if not conn.stream:
        await conn.json(completion({"content": None, "tool_calls": [call]}, "tool_calls"))
        return
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]})
    await conn.chunk({}, "tool_calls")
    await conn.chunk(usage=USAGE)
    await conn.done()


@behaviour
async def reasoning(conn: Connection) -> None:
    if not conn.stream:
        await conn.json(completion({"reasoning_content": "Let me see.", "content": "Yes."}))
        return
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "reasoning_content": "Let me see."})
    await conn.chunk({"content": "Yes."})
    await conn.chunk({}, "stop")
    await conn.chunk(usage=USAGE)
    await conn.done()


@behaviour
async def html(conn: Connection) -> None:
    await conn.head(content_type="text/html")
    await conn.part(b"<html>Welcome to http://10.0.0.7 sk-upstream</html>")
    await conn.end()


@behaviour
async def overflow(conn: Connection) -> None:
    text = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."
    await conn.json({"error": {"message": text, "code": "context_length_exceeded"}}, 400)


@behaviour
async def full_window(conn: Connection) -> None:
    """A context window of 32768 tokens and a prompt of 30000, with vLLM's error message."""
    asked = conn.exchange.body["max_tokens"]
    if asked > 32768 - 30000:
        text = (
            f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length is "
            f"32768 tokens and your request has 30000 input tokens ({asked} > 32768 - 30000). None"
        )
        await conn.json({"error": {"message": text, "type": "BadRequestError", "code": 400}}, 400)
        return
    await conn.json(completion({"content": "As far as"}, "length"))


WINDOW = 4096
"""Context window in tokens of the models ``vllm-0-32`` and ``vllm-0-20``; a word counts as a token."""


@behaviour
async def vllm_0_32(conn: Connection) -> None:
    """Like vLLM 0.32: rejects ``max_tokens`` above the window; lowers it if the prompt leaves less space."""
    asked, prompt = conn.exchange.body["max_tokens"], _words(conn)
    if asked > WINDOW:
        await _bad_request(conn, above_window(asked))
    elif prompt > WINDOW:
        head = f"This model's maximum context length is {WINDOW} tokens."
        await _bad_request(conn, f"{head} However, your prompt contains at least {WINDOW + 1} input tokens.")
    else:
        await _say(conn, "As far as")


@behaviour
async def vllm_0_20(conn: Connection) -> None:
    """Like vLLM 0.20: has other error messages, and rejects a prompt plus ``max_tokens`` above the window."""
    asked, prompt = conn.exchange.body["max_tokens"], _words(conn)
    if asked > WINDOW:
        words = f"max_tokens={asked} cannot be greater than max_model_len=max_total_tokens={WINDOW}."
        await _bad_request(conn, f"{words} Please request fewer output tokens. (parameter=max_tokens, value={asked})")
    elif prompt + asked > WINDOW:
        head = f"This model's maximum context length is {WINDOW} tokens. However, you requested {asked} output tokens"
        counted = f"your prompt contains at least {WINDOW - asked + 1} input tokens"
        await _bad_request(conn, f"{head} and {counted}, for a total of at least {WINDOW + 1} tokens.")
    else:
        await _say(conn, "As far as")


def above_window(asked: int) -> str:
    """Return vLLM 0.32's error message for a ``max_tokens`` above its window (vllm/renderers/params.py)."""
    words = f"max_tokens={asked} cannot be greater than max_model_len={WINDOW}. Please request fewer output tokens."
    return f"{words} (parameter=max_tokens, value={asked})"


def _words(conn: Connection) -> int:
    return sum(len(str(message["content"]).split()) for message in conn.exchange.body["messages"])


async def _bad_request(conn: Connection, text: str) -> None:
    await conn.json({"error": {"message": text, "type": "BadRequestError", "param": None, "code": 400}}, 400)


@behaviour
async def tools_without_thinking(conn: Connection) -> None:
    """OpenAI's GPT-5.6: tools require an explicit ``reasoning_effort`` of ``none`` (litellm 34569)."""
    body = conn.exchange.body
    if body.get("tools") and body.get("reasoning_effort") != "none":
        text = (
            "Function tools with reasoning_effort are not supported for gpt-5.6-terra in /v1/chat/completions. To use "
            "function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        error = {"message": text, "type": "invalid_request_error", "param": "reasoning_effort", "code": None}
        await conn.json({"error": error}, 400)
        return
    await _say(conn, "Good")


@behaviour
async def system_first(conn: Connection) -> None:
    """Qwen's chat template on vLLM: system messages only at the beginning."""
    if any(message["role"] == "system" for message in conn.exchange.body["messages"][1:]):
        error = {"message": "System message must be at the beginning.", "type": "BadRequestError", "code": 400}
        await conn.json({"error": error}, 400)
        return
    await _say(conn, "Good")


@behaviour
async def policy(conn: Connection) -> None:
    """Azure's content filter."""
    text = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    await conn.json({"error": {"message": text, "code": "content_filter", "status": 400}}, 400)


@behaviour
async def error_body(conn: Connection) -> None:
    """OpenRouter's response when its provider fails: status 200, and an error instead of choices."""
    await conn.json({"error": {"message": "Provider returned error", "code": 429}})


@behaviour
async def dies(conn: Connection) -> None:
    """Closes the connection in the middle of a stream."""
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "content": "Half a"})


@behaviour
async def error_chunk(conn: Connection) -> None:
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "content": "Half a"})
    await conn.part(sse({"error": {"message": "overloaded", "type": "server_error", "code": 503}}))
    await conn.end()


@behaviour
async def bench(conn: Connection) -> None:
    """Sends 200 text chunks as fast as the socket allows, each as a separate HTTP chunk."""
    if not conn.stream:
        await conn.json(completion({"content": "word " * BENCH_CHUNKS}))
        return
    await conn.head(content_type="text/event-stream")
    await conn.raw(_BENCH_STREAM)
    await conn.done()


SPOKEN = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "Let me "}),
    chunk({"reasoning_content": "see."}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo."}),
    chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x": '}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": '{"y": [1]}'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    chunk({}, "tool_calls"),
    chunk(usage=USAGE),
]
"""A stream with reasoning, text, parallel tool calls and usage."""
SAID = completion(
    {
        "content": "Hello.",
        "reasoning_content": "Let me see.",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    },
    "tool_calls",
)


@behaviour
async def mutated(conn: Connection) -> None:
    """Sends a malformed response, seeded by the last message; one in four also has broken bytes."""
    random = Random(str(conn.exchange.body["messages"][-1]["content"]))
    times = random.randrange(1, 4)
    if not conn.stream:
        await conn.head()
        raw = json.dumps(mutate(SAID, random, times)).encode()
        await conn.part(raw if random.randrange(4) else broken_bytes(raw, random) or b" ")
        await conn.end()
        return
    await conn.head(content_type="text/event-stream")
    chunks = mutate(SPOKEN, random, times)
    raw = b"".join(map(sse, chunks)) + b"data: [DONE]\n\n"
    raw = raw if random.randrange(4) else broken_bytes(raw, random)
    cut = random.randrange(len(raw) + 1)
    for piece in filter(None, (raw[:cut], raw[cut:])):
        await conn.part(piece)
    if random.randrange(4):
        await conn.end()
    else:
        conn.close()


@behaviour
async def agent(conn: Connection) -> None:
    """Sends reasoning, then acts like the model of an agent.

    Calls every given tool with arguments that fit its schema. If the conversation ends with tool messages, or has no
    tools, responds with JSON that fits the ``response_format``, or with a text that repeats the tool results.
    """
    body = conn.exchange.body
    results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    if body.get("tools") and body["messages"][-1]["role"] != "tool":
        calls = [
            {"index": index, "id": f"call_{index}", "type": "function", "function": _call(tool["function"])}
            for index, tool in enumerate(body["tools"])
        ]
        await _think_and_say(conn, "Let me look. ", calls)
    elif body.get("response_format"):
        await _think_and_say(conn, json.dumps(fitting(body["response_format"]["json_schema"]["schema"])), [])
    else:
        await _think_and_say(conn, f"I heard: {'; '.join(results) or 'a greeting'}", [])


async def _think_and_say(conn: Connection, text: str, calls: list[dict[str, Any]]) -> None:
    finish = "tool_calls" if calls else "stop"
    if not conn.stream:
        message = {"reasoning_content": "Let me see.", "content": text}
        await conn.json(completion(message | ({"tool_calls": calls} if calls else {}), finish))
        return
    await conn.head(content_type="text/event-stream")
    await conn.chunk({"role": "assistant", "reasoning_content": "Let me "})
    await conn.chunk({"reasoning_content": "see."})
    for piece in _pieces(text):
        await conn.chunk({"content": piece})
    for call in calls:
        arguments = call["function"]["arguments"]
        await conn.chunk({"tool_calls": [call | {"function": call["function"] | {"arguments": ""}}]})
        for piece in _pieces(arguments):
            await conn.chunk({"tool_calls": [{"index": call["index"], "function": {"arguments": piece}}]})
    await conn.chunk({}, finish)
    await conn.chunk(usage=USAGE)
    await conn.done()


def _call(function: dict[str, Any]) -> dict[str, str]:
    return {"name": function["name"], "arguments": json.dumps(fitting(function["parameters"]))}


def _pieces(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def fitting(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:
    """Return a value that fits a JSON schema; supports the keywords that client libraries generate."""
    root = root or schema
    if "$ref" in schema:
        target = functools.reduce(operator.getitem, schema["$ref"].removeprefix("#/").split("/"), root)
        return fitting(target, root)
    if "anyOf" in schema:
        return fitting(schema["anyOf"][0], root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case [kind, *_]:
            return fitting(schema | {"type": kind}, root)
        case "object":
            return {name: fitting(member, root) for name, member in schema.get("properties", {}).items()}
        case "array":
            return [fitting(schema["items"], root)]
        case kind:
            return {"string": "Oslo", "integer": 3, "number": 1.5, "boolean": True}.get(str(kind))


_PIECE = sse(chunk({"content": "word "}))
_BENCH_STREAM = (
    b"%x\r\n%s\r\n" % (len(_PIECE), _PIECE) * BENCH_CHUNKS
    + b"%x\r\n%s\r\n" % (len(sse(chunk({}, "stop"))), sse(chunk({}, "stop")))
    + b"%x\r\n%s\r\n" % (len(sse(chunk(usage=USAGE))), sse(chunk(usage=USAGE)))
)
GATES: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Event] = {}


async def _status(conn: Connection, code: int) -> None:
    """An HTTP error with the usual headers of an upstream, and with secrets that must not reach the client."""
    message = "Go away: key sk-upstream-secret-0123456789 at http://10.0.0.7:8000/v1"
    await conn.json(
        {"error": {"message": message, "type": "whatever", "code": code}},
        code,
        retry_after="7",
        x_should_retry="false",  # keeps the openai SDK inside the platform from retrying
        x_ratelimit_remaining_requests="3",
    )


async def _unknown(conn: Connection) -> None:
    await conn.json({"error": {"message": "The model does not exist", "code": "model_not_found"}}, 404)


class FakeUpstream:
    """The server, in its own thread.

    Attributes:
        url: Base URL, ending in ``/v1``.
        exchanges: Chat completion requests so far.
    """

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    def open_gate(self, name: str) -> None:
        """Open a gate, so that behaviours waiting for it continue."""
        self._loop.call_soon_threadsafe(lambda: _gate_of(name).set())

    def last(self, model: str) -> Exchange:
        """Return the newest exchange for a model; wait up to 10 s for one."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for exchange in reversed(self.exchanges):
                if exchange.body.get("model") == model:
                    return exchange
            time.sleep(0.01)
        raise AssertionError(f"no request for {model} within 10 s")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=2**24)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
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
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        exchange = Exchange(path, headers, json.loads(raw) if raw else {})
        conn = Connection(writer, exchange)
        if method == "GET":
            await conn.json({"object": "list", "data": [{"id": name, "object": "model"} for name in BEHAVIOURS]})
            return True
        if path.startswith(MESSAGES_PATH):
            await conn.json({"detail": "Not Found"}, 404)
            return True
        if path == AUTH_PATH:
            await conn.json({"principal": exchange.body["api_key"]})
            return True
        self.exchanges.append(exchange)
        return await self._behave(conn, reader)

    async def _behave(self, conn: Connection, reader: asyncio.StreamReader) -> bool:
        model = str(conn.exchange.body.get("model"))
        status = model.removeprefix("status-")
        work = asyncio.ensure_future(
            _status(conn, int(status)) if status != model else BEHAVIOURS.get(model, _unknown)(conn)
        )
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not work.exception():
                conn.exchange.completed = True
                return model != "dies" and not gone.done()
            conn.exchange.closed_at = time.monotonic()
            conn.exchange.closed.set()
            return False
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)


if __name__ == "__main__":
    with FakeUpstream() as upstream:
        print(upstream.url, flush=True)
        threading.Event().wait()
