"""Measures the server's CPU time per request of our route, as a ratio to the platform's route in the same run.

A fake upstream in its own process responds without delay; its streams have 200 text chunks. The stack is a real
``llama stack run`` with JSON logs. Rounds alternate between the routes. Only the CPU time of the server process is
counted, including its threads.

First it measures the translation alone: parsing and translating a 150 kB body with 200 messages and 22 tools,
compared with parsing and serializing the same JSON.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from llama_stack_api_messages.models import CreateMessageRequest  # noqa: E402 - as below
from llama_stack_provider_messages.translation.messages_to_chat import (  # noqa: E402
    TranslationContext,
    profile_for,
    translate_request,
)
from support.stack_process import StackProcess, run_config, vllm  # noqa: E402 - found through the line above

CONVERSATION = [{"role": "user", "content": "Say a word two hundred times."}]
ROUTES = {
    "/v1/messages": {"model": "up/bench", "max_tokens": 500, "messages": CONVERSATION},
    "/v1/chat/completions": {"model": "up/bench", "max_tokens": 500, "messages": CONVERSATION},
}
OURS, PLATFORM = ROUTES
WARM_UP_REQUESTS = 20


async def load(url: str, route: str, *, stream: bool, requests: int, concurrency: int) -> None:
    """Send requests, at most ``concurrency`` at a time, and read the responses to the end."""
    body = {**ROUTES[route], "stream": stream}
    gate = asyncio.Semaphore(concurrency)

    async def one(client: httpx.AsyncClient) -> None:
        async with gate, client.stream("POST", route, json=body) as reply:
            size = sum([len(part) async for part in reply.aiter_raw()])
            if reply.status_code != 200 or size < 1000:
                raise SystemExit(f"{route} responded with status {reply.status_code} and {size} bytes")

    async with httpx.AsyncClient(base_url=url, timeout=120) as client:
        await asyncio.gather(*(one(client) for _ in range(requests)))


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds; with nanosecond resolution if available, otherwise ticks."""
    try:
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    except OSError:
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system


def measure(stack: StackProcess, arguments: argparse.Namespace) -> dict[tuple[str, bool], list[float]]:
    """Return the CPU milliseconds per request for each round of each route, non-streaming and streaming."""
    cases = [(route, stream) for stream in (False, True) for route in ROUTES]
    milliseconds: dict[tuple[str, bool], list[float]] = {case: [] for case in cases}
    for number in range(arguments.rounds + 1):
        for route, stream in cases:
            requests = arguments.requests if number else WARM_UP_REQUESTS
            before = cpu_seconds(stack.pid)
            asyncio.run(load(stack.url, route, stream=stream, requests=requests, concurrency=arguments.concurrency))
            if number:
                milliseconds[route, stream].append((cpu_seconds(stack.pid) - before) / requests * 1000)
    return milliseconds


def report(milliseconds: dict[tuple[str, bool], list[float]]) -> None:
    """Print medians, spreads and ratios."""
    print(f"{'':<12}{'route':<24}{'ms CPU/request: median':>24}{'min':>8}{'max':>8}{'ratio':>8}")
    for stream in (False, True):
        base = statistics.median(milliseconds[PLATFORM, stream])
        for route in ROUTES:
            values = milliseconds[route, stream]
            middle = statistics.median(values)
            kind = "streaming" if stream else "unary"
            print(f"{kind:<12}{route:<24}{middle:>24.2f}{min(values):>8.2f}{max(values):>8.2f}{middle / base:>8.2f}")


def long_request() -> bytes:
    """Return a request body like that of an agent with a long conversation."""
    paths = {"type": "object", "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}}}
    tools = [{"name": f"tool_{n}", "description": "What it does. " * 95, "input_schema": paths} for n in range(22)]
    messages: list[dict[str, Any]] = []
    for n in range(50):
        use = {"type": "tool_use", "id": f"toolu_{n}", "name": "tool_1", "input": {"path": f"/a/{n}", "limit": 9}}
        done = {"type": "tool_result", "tool_use_id": f"toolu_{n}", "content": [text("a line of code\n" * 80)]}
        messages += [
            {"role": "user", "content": [text("a question " * 20)]},
            {"role": "assistant", "content": [text("Let me look. " * 8), use]},
            {"role": "user", "content": [done]},
            {"role": "assistant", "content": [text("That is done. " * 10)]},
        ]
    messages[-1] = {"role": "user", "content": "Go on."}
    system = [text("You are an agent. " * 500)]
    body = {"model": "m", "max_tokens": 32000, "stream": True, "system": system, "tools": tools, "messages": messages}
    return json.dumps(body).encode()


def text(content: str) -> dict[str, Any]:
    """Return a text content block."""
    return {"type": "text", "text": content}


def measure_translation() -> None:
    """Print the CPU time of parsing and translating a long request."""
    raw, profile = long_request(), profile_for("remote::vllm")
    ours = cpu_milliseconds(
        lambda: translate_request(CreateMessageRequest.model_validate_json(raw), TranslationContext(profile))
    )
    plain = cpu_milliseconds(lambda: json.dumps(json.loads(raw)))
    print(f"a body of {len(raw) // 1000} kB, 200 messages, 22 tools: parsed and translated in {ours:.2f} ms CPU,")
    print(f"{ours / plain:.1f} times the time to parse and serialize the JSON ({plain:.2f} ms)\n")


def cpu_milliseconds(work: Callable[[], object]) -> float:
    """Return the median CPU milliseconds of a call."""
    measured = []
    for _ in range(50):
        before = time.process_time()
        work()
        measured.append((time.process_time() - before) * 1000)
    return statistics.median(measured)


def main() -> None:
    """Start upstream and stack, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=4)
    arguments = parser.parse_args()
    measure_translation()
    command = [sys.executable, str(ROOT / "tests" / "support" / "chat_upstream.py")]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fake:
        assert fake.stdout
        try:
            config = run_config([vllm(fake.stdout.readline().strip())], {})
            with StackProcess(config, Path(folder), {"LLAMA_STACK_LOG_FORMAT": "json"}) as stack:
                report(measure(stack, arguments))
        finally:
            fake.terminate()


if __name__ == "__main__":
    main()
