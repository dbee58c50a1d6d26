"""Compares the native lane (requests are passed through) with a bare relay: uvicorn, FastAPI and httpx, no parsing.

An upstream in its own process responds without delay; its streams have 200 events, each in its own HTTP chunk. Rounds
alternate between the stack and the relay. Only the CPU time of the server process is counted, including its threads.
The time to the first byte is measured with one client at a time.

Finally it measures 28 concurrent token counts, as Claude Code sends them, on the local distribution with its engine.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]

from bench import cpu_seconds, long_request  # noqa: E402 - found through the line above

from support.stack_process import StackProcess, free_port, run_config, vllm  # noqa: E402 - likewise

STREAM_EVENTS = 200
TOKEN_COUNTS = 28
NATIVE, BARE = "native lane", "bare relay"
SMALL = {"model": "up/bench", "max_tokens": 500, "messages": [{"role": "user", "content": "Say a word 200 times."}]}
LONG = {**json.loads(long_request()), "model": "up/bench"}
CASES = {
    "unary": (SMALL, False),
    "unary, 150 kB": (LONG, False),
    "streaming": (SMALL, True),
    "streaming, 150 kB": (LONG, True),
}
WARM_UP_REQUESTS = 20


def event(kind: str, **fields: object) -> bytes:
    """Return the SSE bytes of an event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def responses() -> tuple[bytes, list[bytes]]:
    """Return the JSON of a Message, and the SSE events of a streaming one."""
    usage = {"input_tokens": 12, "output_tokens": STREAM_EVENTS}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "bench", "content": [], "usage": usage}
    message |= {"stop_reason": None, "stop_sequence": None}
    block = {"type": "text", "text": "word " * STREAM_EVENTS}
    unary = json.dumps({**message, "content": [block], "stop_reason": "end_turn"}).encode()
    delta = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word "})
    frames = [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *[delta] * STREAM_EVENTS,
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage),
        event("message_stop"),
    ]
    return unary, frames


async def upstream() -> None:
    """Serve ``/v1/messages`` without an HTTP library, as fast as the socket allows."""
    unary, frames = responses()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n"
    plain = head % b"application/json" + b"content-length: %d\r\n\r\n" % len(unary) + unary
    parts = b"".join(b"%x\r\n%s\r\n" % (len(frame), frame) for frame in frames)
    streamed = head % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"
    models = b'{"object":"list","data":[{"id":"bench","object":"model"}]}'
    model_list = head % b"application/json" + b"content-length: %d\r\n\r\n" % len(models) + models
    bad_request = b"HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
                lengths = [int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")]
                body = await reader.readexactly(lengths[0]) if lengths else b""
                if lines[0].startswith(b"get"):
                    writer.write(model_list)
                elif len(body) < 3:
                    writer.write(bad_request)
                else:
                    writer.write(streamed if b'"stream": true' in body or b'"stream":true' in body else plain)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**24)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def bare_relay(target: str, port: int) -> None:
    """Serve the relay with which the native lane is compared."""
    clients: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        clients.append(httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=1000)))
        yield
        await clients.pop().aclose()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/messages")
    async def relay(request: Request) -> Response:
        body = await request.body()
        headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
        forwarded = clients[0].build_request("POST", f"{target}/v1/messages", content=body, headers=headers)
        reply = await clients[0].send(forwarded, stream=True)
        kind = reply.headers["content-type"]
        if kind.startswith("text/event-stream"):
            return StreamingResponse(reply.aiter_raw(), reply.status_code, media_type=kind)
        return Response(await reply.aread(), reply.status_code, media_type=kind)

    uvicorn.run(app, host="127.0.0.1", port=port)


async def load(url: str, case: str, requests: int, concurrency: int) -> None:
    """Send requests, at most ``concurrency`` at a time, and read the responses to the end."""
    body, stream = CASES[case]
    content = json.dumps({**body, "stream": stream}).encode()
    gate = asyncio.Semaphore(concurrency)

    async def one(client: httpx.AsyncClient) -> None:
        async with gate, client.stream("POST", "/v1/messages", content=content) as reply:
            size = sum([len(part) async for part in reply.aiter_raw()])
            if reply.status_code != 200 or size < 1000:
                raise SystemExit(f"{url} responded with status {reply.status_code} and {size} bytes")

    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        await asyncio.gather(*(one(client) for _ in range(requests)))


async def first_bytes(url: str, requests: int) -> list[float]:
    """Return the milliseconds from each request to the first byte of its stream, one request at a time."""
    content = json.dumps({**SMALL, "stream": True}).encode()
    milliseconds = []
    async with httpx.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
        for _ in range(requests):
            began = time.perf_counter()
            async with client.stream("POST", "/v1/messages", content=content) as reply:
                parts = reply.aiter_raw()
                await anext(parts)
                milliseconds.append((time.perf_counter() - began) * 1000)
                async for _part in parts:
                    pass
    return milliseconds


def measure(servers: dict[str, tuple[str, int]], arguments: argparse.Namespace) -> None:
    """Print the CPU time per request and the time to the first byte of each server, and their ratios."""
    cpu: dict[tuple[str, str], list[float]] = {(case, name): [] for case in CASES for name in servers}
    first: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(arguments.rounds + 1):
        requests = arguments.requests if number else WARM_UP_REQUESTS
        for case in CASES:
            for name, (url, pid) in servers.items():
                before = cpu_seconds(pid)
                asyncio.run(load(url, case, requests, arguments.concurrency))
                if number:
                    cpu[case, name].append((cpu_seconds(pid) - before) / requests * 1000)
        for name, (url, _) in servers.items():
            first[name] += asyncio.run(first_bytes(url, requests))
    print(f"{'':<22}{NATIVE + ', ms':>18}{BARE + ', ms':>18}{'ratio':>8}{'spread of rounds':>20}")
    for case in CASES:
        print_row(f"CPU, {case}", cpu[case, NATIVE], cpu[case, BARE])
    print_row("first byte", first[NATIVE], first[BARE])


def measure_counts(rounds: int) -> None:
    """Print the duration of a burst of token counts on the local distribution."""
    env = {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json"}
    tool = {"description": "What it does. " * 95, "input_schema": {"type": "object"}}
    bodies = [
        {"model": "m", "messages": [{"role": "user", "content": "foo"}], "tools": [{"name": f"tool_{n}", **tool}]}
        for n in range(TOKEN_COUNTS)
    ]

    async def burst(url: str) -> float:
        limits = httpx.Limits(max_connections=TOKEN_COUNTS)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
            began = time.perf_counter()
            replies = await asyncio.gather(*(client.post("/v1/messages/count_tokens", json=body) for body in bodies))
            took = (time.perf_counter() - began) * 1000
        if {reply.headers.get("x-messages-token-count") for reply in replies} != {"exact"}:
            raise SystemExit("a count was not exact")
        return took

    local = ROOT / "distributions" / "local" / "run.yaml"
    with tempfile.TemporaryDirectory() as folder, StackProcess(local, Path(folder), env) as stack:
        took = [asyncio.run(burst(stack.url)) for _ in range(rounds + 1)]
    middle = statistics.median(took[1:])
    print(
        f"\n{TOKEN_COUNTS} concurrent token counts: {middle:.0f} ms, the first burst {took[0]:.0f} ms "
        "(wall-clock time, exact counts, local engine)"
    )


def print_row(name: str, native: list[float], bare: list[float]) -> None:
    """Print one row of the comparison."""
    ours, theirs = statistics.median(native), statistics.median(bare)
    pairs = sorted(one / other for one, other in zip(native, bare, strict=True))
    tenth = len(pairs) // 10
    print(
        f"{name:<24}{ours:>14.2f}{theirs:>18.2f}{ours / theirs:>10.2f}{pairs[tenth]:>12.2f} - {pairs[-1 - tenth]:.2f}"
    )


def start_role(*role: str) -> subprocess.Popen[str]:
    """Start this file in another role, ``upstream`` or ``relay``, in a new process."""
    quiet = subprocess.DEVNULL  # an unread pipe would fill up and block the server
    out = subprocess.PIPE if role == ("upstream",) else quiet
    return subprocess.Popen([sys.executable, __file__, *role], stdout=out, stderr=quiet, text=True)


def wait_for(url: str) -> None:
    """Wait until a server responds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{url} does not respond")


def main() -> None:
    """Start upstream, relay and stack, measure, and report; or run as upstream or relay."""
    if sys.argv[1:2] == ["upstream"]:
        asyncio.run(upstream())
    if sys.argv[1:2] == ["relay"]:
        bare_relay(sys.argv[2], int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=4)
    arguments = parser.parse_args()
    up, port = start_role("upstream"), free_port()
    assert up.stdout
    target = up.stdout.readline().strip()
    relay = start_role("relay", target, str(port))
    try:
        bare = f"http://127.0.0.1:{port}"
        wait_for(f"{bare}/docs")
        config = run_config([vllm(f"{target}/v1")], {"native": {"up": "on"}})
        env = {"LLAMA_STACK_LOG_FORMAT": "json"}
        with tempfile.TemporaryDirectory() as folder, StackProcess(config, Path(folder), env) as stack:
            measure({NATIVE: (stack.url, stack.pid), BARE: (bare, relay.pid)}, arguments)
    finally:
        for process in (relay, up):
            process.terminate()
            process.wait()
    measure_counts(arguments.rounds)


if __name__ == "__main__":
    main()
