"""The load of the benchmark: request bodies, clients, and what a server spends while it answers them.

Clients run in the process that imports this, on aiohttp, because a slow client would hold the servers up. Only the CPU
time and the memory of the server's process are counted, so what the clients spend does not matter.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import psutil
from bench_servers import CHAT, COUNT, HEADERS, MARK, MESSAGES, WORDS, Server

HANG_SECONDS = 300.0
"""Timeout for anything that is expected; only a hang takes that long."""
CLOSE_SECONDS = 5.0
OPENING = 16
"""Streams that are opened at a time; with hundreds at once clients of the servers run into their timeouts."""
TURNS, TOOLS = 50, 22
SMALL, LONG = "small", "150 kB"


class MeasurementError(RuntimeError):
    """A server did not do what the benchmark measures, so there is nothing to report."""


def _small() -> dict[str, Any]:
    return {"max_tokens": 500, "messages": [{"role": "user", "content": "Hello"}]}


def _text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


_SYSTEM = "You are an agent. " * 500
_SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}}}
_QUESTION, _LOOK, _DONE = "a question " * 20, "Let me look. " * 8, "That is done. " * 10
_RESULT, _DESCRIPTION = "a line of code\n" * 80, "What it does. " * 95


def _long_messages() -> dict[str, Any]:
    """Return a body like that of Claude Code in a long conversation, 200 messages and 22 tools."""
    messages: list[dict[str, Any]] = []
    for n in range(TURNS):
        use = {"type": "tool_use", "id": f"toolu_{n}", "name": "tool_1", "input": {"path": f"/a/{n}", "limit": 9}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": [_text(_RESULT)]}
        messages += [
            {"role": "user", "content": [_text(_QUESTION)]},
            {"role": "assistant", "content": [_text(_LOOK), use]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": [_text(_DONE)]},
        ]
    messages[-1] = {"role": "user", "content": "Go on."}
    tools = [{"name": f"tool_{n}", "description": _DESCRIPTION, "input_schema": _SCHEMA} for n in range(TOOLS)]
    return {"max_tokens": 32000, "system": [_text(_SYSTEM)], "tools": tools, "messages": messages}


def _long_chat() -> dict[str, Any]:
    """Return the same conversation as chat completions have it."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": _SYSTEM}]
    for n in range(TURNS):
        arguments = json.dumps({"path": f"/a/{n}", "limit": 9})
        call = {"id": f"toolu_{n}", "type": "function", "function": {"name": "tool_1", "arguments": arguments}}
        messages += [
            {"role": "user", "content": _QUESTION},
            {"role": "assistant", "content": _LOOK, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"toolu_{n}", "content": _RESULT},
            {"role": "assistant", "content": _DONE},
        ]
    messages[-1] = {"role": "user", "content": "Go on."}
    tools = [
        {"type": "function", "function": {"name": f"tool_{n}", "description": _DESCRIPTION, "parameters": _SCHEMA}}
        for n in range(TOOLS)
    ]
    return {"max_tokens": 32000, "tools": tools, "messages": messages}


_BODIES = {
    (MESSAGES, SMALL): _small(),
    (CHAT, SMALL): _small(),
    (MESSAGES, LONG): _long_messages(),
    (CHAT, LONG): _long_chat(),
}


def body_for(route: str, size: str = SMALL, *, stream: bool, model: str = "bench") -> bytes:
    """Return a request body; ``model`` selects what the upstream sends."""
    return json.dumps({"model": f"up/{model}", "stream": stream, **_BODIES[route, size]}).encode()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds, threads that have ended included."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3) of Linux, in nanoseconds
    except (AttributeError, OSError):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)


def memory_kib(pid: int) -> float:
    """Return the resident memory of a process in KiB."""
    return float(psutil.Process(pid).memory_info().rss) / 1024


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client without limits and with new connections."""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=HANG_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield session


async def exchange(session: aiohttp.ClientSession, server: Server, body: bytes) -> float:
    """Send a request and read the response to its end; return the seconds to the first byte of its body.

    Raises:
        MeasurementError: The response is not complete.
    """
    began = time.perf_counter()
    async with session.post(server.url + server.route, data=body, headers=HEADERS) as reply:
        first = await reply.content.readany()
        took = time.perf_counter() - began
        words = first.count(MARK) + (await reply.read()).count(MARK)
        if reply.status != 200 or words != WORDS:
            raise MeasurementError(f"{server.name}: status {reply.status} and {words} words of {WORDS}")
    return took


async def cpu_per_request(server: Server, body: bytes, requests: int, concurrency: int) -> float:
    """Return the CPU milliseconds of the server for each of ``requests``, sent ``concurrency`` at a time."""
    left = iter(range(requests))
    async with client() as session:
        before = cpu_seconds(server.pid)

        async def worker() -> None:
            for _ in left:
                await exchange(session, server, body)

        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return (cpu_seconds(server.pid) - before) / requests * 1000


async def first_bytes(servers: Iterable[Server], *, stream: bool, requests: int) -> dict[str, list[float]]:
    """Return the milliseconds to the first byte, one request at a time, the servers in turn."""
    took: dict[str, list[float]] = {server.name: [] for server in servers}
    async with client() as session:
        for number in range(requests + 1):
            for server in servers:
                seconds = await exchange(session, server, body_for(server.route, stream=stream))
                if number:  # the first one also opens the connection
                    took[server.name].append(seconds * 1000)
    return took


class OpenStreams:
    """Streams of a server that are open at the same time.

    Args:
        server: The server.
        count: How many.
        model: ``every-N`` or ``silent``.

    Attributes:
        words: Number of chunks received so far, of all streams.
        pings: Number of pings received so far.
    """

    def __init__(self, server: Server, count: int, model: str) -> None:
        self.words = self.pings = 0
        self._server, self._count, self._model = server, count, model

    @asynccontextmanager
    async def opened(self, upstream: str) -> AsyncIterator[None]:
        """Open the streams and wait for the first chunk of each; close them at the end, and let the server do so.

        Raises:
            MeasurementError: A stream did not begin, or ended by itself.
        """
        async with client() as session:
            began = [asyncio.get_running_loop().create_future() for _ in range(self._count)]
            gate = asyncio.Semaphore(OPENING)
            readers = [asyncio.ensure_future(self._read(session, gate, first)) for first in began]
            try:
                all_began = asyncio.gather(*began)
                await asyncio.wait({all_began, *readers}, timeout=HANG_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                self._check(readers)
                if not all_began.done():
                    raise MeasurementError(f"{self._server.name}: streams did not begin in {HANG_SECONDS:.0f} s")
                yield
                self._check(readers)
            finally:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)
        await streams_left(upstream)

    async def _read(
        self, session: aiohttp.ClientSession, gate: asyncio.Semaphore, first: "asyncio.Future[None]"
    ) -> str:
        """Read a stream to its end, which should not come, and return how it ended."""
        body = body_for(self._server.route, stream=True, model=self._model)
        piece = b""
        try:
            await gate.acquire()
            first.add_done_callback(lambda _: gate.release())
            async with session.post(self._server.url + self._server.route, data=body, headers=HEADERS) as reply:
                async for piece in reply.content.iter_any():
                    words = piece.count(MARK)
                    self.words += words
                    self.pings += piece.count(b"event: ping")
                    if words and not first.done():
                        first.set_result(None)
                return f"status {reply.status}, {piece[-300:]!r}"
        except aiohttp.ClientError as error:
            return repr(error)

    def _check(self, readers: "list[asyncio.Task[str]]") -> None:
        if ended := [reader.result() for reader in readers if reader.done()]:
            raise MeasurementError(f"{self._server.name}: {len(ended)} streams ended by themselves: {ended[0]}")


async def open_streams(
    server: Server, upstream: str, count: int, interval_ms: int, seconds: float
) -> tuple[float, float]:
    """Return the CPU microseconds for each chunk, and the KiB of memory for each stream, of ``count`` paced streams.

    Only the time when all of them are open is measured, neither their start nor their end.
    """
    streams = OpenStreams(server, count, f"every-{interval_ms}")
    memory_before = memory_kib(server.pid)
    async with streams.opened(upstream):
        words, cpu = streams.words, cpu_seconds(server.pid)
        await asyncio.sleep(seconds)
        cost = (cpu_seconds(server.pid) - cpu) / max(1, streams.words - words) * 1e6
        return cost, (memory_kib(server.pid) - memory_before) / count


async def streams_left(upstream: str) -> int:
    """Wait until the upstream has no open stream; return how many it still has after ``CLOSE_SECONDS``.

    The platform's chat route leaves the request of a client that disconnected to the garbage collector now and then.
    """
    deadline = time.monotonic() + CLOSE_SECONDS
    async with client() as session:
        while True:
            async with session.get(f"{upstream}/open") as reply:
                left = int(await reply.read())
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.05)


async def held(server: Server, upstream: str, count: int, seconds: float) -> dict[str, float]:
    """Return what ``count`` silent streams cost: KiB and pings for each stream, and the share of a core, in percent."""
    streams = OpenStreams(server, count, "silent")
    process = psutil.Process(server.pid)
    memory_before, files_before = memory_kib(server.pid), process.num_fds()
    async with streams.opened(upstream):
        pings, cpu, began = streams.pings, cpu_seconds(server.pid), time.perf_counter()
        await asyncio.sleep(seconds)
        share = (cpu_seconds(server.pid) - cpu) / (time.perf_counter() - began) * 100
        return {
            "KiB for each stream": (memory_kib(server.pid) - memory_before) / count,
            "CPU, % of a core": share,
            "pings for each stream": (streams.pings - pings) / count,
            "descriptors for each stream": (process.num_fds() - files_before) / count,
        }


SOAK_MIX = ("whole", "whole", "stream", "stream", "whole 150 kB", "stream 150 kB", "left", "invalid", "busy", "counted")
"""The requests of a soak, in turn. left: the client disconnects after the first chunk; invalid: half a JSON, a 400
of our own; busy: the upstream's 429; counted: a token count."""


async def soak(server: Server, upstream: str, requests: int, concurrency: int) -> dict[str, float]:
    """Return memory in MiB and open descriptors of a server while it answers ``requests`` mixed requests."""
    process = psutil.Process(server.pid)
    measured, statuses = {}, Counter[tuple[str, int]]()
    for part, share in {"a tenth": 0.1, "half": 0.5, "all": 1.0}.items():
        done = statuses.total()
        async with client() as session:
            numbers = iter(range(done, int(requests * share)))

            async def worker(session: aiohttp.ClientSession, numbers: Iterable[int]) -> None:
                for number in numbers:
                    kind = SOAK_MIX[number % len(SOAK_MIX)]
                    statuses[kind, await _mixed(session, server, kind)] += 1

            await asyncio.gather(*(worker(session, numbers) for _ in range(concurrency)))
        left = await streams_left(upstream)
        measured[f"MiB after {part}"] = memory_kib(server.pid) / 1024
        measured[f"descriptors after {part}"] = process.num_fds()
    expected = {"invalid": 400, "busy": 429}
    wrong = {f"{kind} {status}": n for (kind, status), n in statuses.items() if status != expected.get(kind, 200)}
    if wrong:
        raise MeasurementError(f"{server.name}: unexpected responses in the soak: {wrong}")
    return {**measured, "streams left open": left}


async def _mixed(session: aiohttp.ClientSession, server: Server, kind: str) -> int:
    """Send a request of the mix and return its status."""
    stream, size = kind.startswith(("stream", "left")), LONG if "150 kB" in kind else SMALL
    model = {"left": "every-20", "busy": "busy"}.get(kind, "bench")
    body = body_for(server.route, size, stream=stream, model=model)
    if kind == "invalid":
        body = body[:-1]
    route = COUNT if kind == "counted" else server.route
    async with session.post(server.url + route, data=body, headers=HEADERS) as reply:
        if kind == "left":
            await reply.content.readany()
            reply.close()
        else:
            await reply.read()
        return reply.status


async def burst_of_counts(url: str, number: int) -> float:
    """Return the milliseconds until ``number`` token counts, sent at once as Claude Code does, are all answered."""
    tools = [
        {"name": f"tool_{n}", "description": _DESCRIPTION, "input_schema": {"type": "object"}} for n in range(number)
    ]
    bodies = [{"model": "m", "messages": _small()["messages"], "tools": [tool]} for tool in tools]

    async def one(session: aiohttp.ClientSession, body: dict[str, Any]) -> str:
        async with session.post(url + COUNT, json=body) as reply:
            await reply.read()
            return reply.headers.get("x-messages-token-count", f"status {reply.status}")

    async with client() as session:
        began = time.perf_counter()
        kinds = set(await asyncio.gather(*(one(session, body) for body in bodies)))
        took = (time.perf_counter() - began) * 1000
    if kinds != {"exact"}:
        raise MeasurementError(f"not all token counts were exact: {', '.join(sorted(kinds))}")
    return took
