"""Requests that are cheap to send and were once expensive to parse, and helpers that measure CPU time and memory."""

import gc
import hmac
import json
import os
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from llama_stack_provider_messages.translation.messages_to_chat import ThinkingSigner

USER = {"role": "user", "content": "Hi"}
MANY = {f"field_{number:05}": 1 for number in range(300_000)}
"""5.9 MB of unknown fields."""
EMPTY: list[list[Any]] = [[]] * 3_000_000
"""12 MB of JSON without a single colon."""
TOOLSET = {"type": "mcp_toolset", "mcp_server_name": "a"}


def thinking(megabytes: int, times: int, seal: ThinkingSigner) -> list[dict[str, Any]]:
    """Return a history in which every assistant turn repeats one signed block of much thinking."""
    phrases = [f"{number:064}" for number in range(256)]
    text = "".join(Random(1).choices(phrases, k=megabytes * 16_384))
    return repeated({"type": "thinking", "thinking": "hm", "signature": seal.sign(text)}, times)


def inflating(megabytes: int, key: bytes) -> str:
    """Return a signature with a thousand times its size of thinking, which this server does not make."""
    deflate = zlib.compressobj(wbits=-15)
    packed = deflate.compress(b"t" + b"hm " * (megabytes * 350_000)) + deflate.flush()
    return "mts1." + urlsafe_b64encode(hmac.digest(key, packed, "sha256")[:16] + packed).rstrip(b"=").decode()


def repeated(block: dict[str, Any], times: int) -> list[dict[str, Any]]:
    """Return a history in which every assistant turn has the same block."""
    return [USER, *([{"role": "assistant", "content": [block, {"type": "text", "text": "x"}]}, USER] * times)]


ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "edits": (
        {
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}] * 6_000},
            "messages": [USER, {"role": "assistant", "content": "x"}] * 50 + [USER],
        },
        "context_management.edits: more than 8 edits",
    ),
    "nine edits": (
        {"context_management": {"edits": [{"type": "clear_thinking_20251015"}] * 9}},
        "context_management.edits: more than 8 edits",
    ),
    "fields of the request": (MANY, "request: more than 1000 fields"),
    "fields of metadata": ({"metadata": MANY}, "metadata: more than 1000 fields"),
    "fields of a block": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", **MANY}]}]},
        "messages.0.content.0: more than 1000 fields",
    ),
    "fields of an unknown edit": (
        {"context_management": {"edits": [{"type": "later", **MANY}]}},
        "context_management.edits.0: more than 1000 fields",
    ),
    "a few fields in many blocks": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "a": 1, "b": 2}] * 80_000}]},
        "messages.0.content.5000: the request has more than 10000 fields",
    ),
    "half a million fields after a long text": (
        {"system": "x" * 300_000, **{f"f{number}": 1 for number in range(500_000)}},
        "request: more than 500000 values",
    ),
    "a million blocks": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * 1_000_000}]},
        "messages: more than 500000 values",
    ),
    "blocks": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 25_001}] * 2},
        "messages.1.content: the request has more than 50000 content blocks",
    ),
    "blocks in results": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}] * 60_000}
                    ],
                }
            ]
        },
        "messages.0.content.0.content: the request has more than 50000 content blocks",
    ),
    "blocks of the system prompt": (
        {"system": [{"type": "text", "text": "x"}] * 60_000},
        "system: the request has more than 50000 content blocks",
    ),
    "messages": ({"messages": [USER] * 100_001}, "messages: more than 100000 messages"),
    "tools": ({"tools": [{"name": "f", "input_schema": {}}] * 10_001}, "tools: more than 10000 tools"),
    "fields given twice": ({"COPIES": 400_000}, "request: the object has more than 2000 fields"),
    "objects of one field": ({"system": [{"type": "later"}] * 1_000_000}, "system: more than 500000 values"),
    "empty lists for the system prompt": ({"system": EMPTY}, "system: more than 500000 values"),
    "empty lists in a schema": (
        {"tools": [{"name": "f", "input_schema": {"type": "object", "a": EMPTY}}]},
        "tools: more than 500000 values",
    ),
    "empty lists in an unknown field": ({"x": EMPTY}, "request: more than 500000 values"),
    "empty lists in a field given twice": ({"COPIES": 1, "copy": EMPTY}, "request: more than 500000 values"),
    "empty lists beside a lone surrogate": ({"y": "\ud800", "x": EMPTY}, "request: more than 500000 values"),
    "empty strings": ({"x": [""] * 3_000_000}, "request: more than 500000 values"),
    "names of tools": (
        {"tools": [TOOLSET | {"configs": {str(number): 1 for number in range(600_000)}}]},
        "tools.0.configs: more than 1000 fields",
    ),
    "objects of tools": (
        {"tools": [TOOLSET | {"configs": {str(number): {"enabled": 3} for number in range(100_000)}}]},
        "tools.0.configs: more than 1000 fields",
    ),
    "a long name": ({"a" * 10_000_000: 1}, "request: the name of a field has more than 1000 bytes; shorten it"),
    "a long name in escapes": ({"\n" * 5_000_000: 1}, "request: the name of a field has more than 1000 bytes"),
}
"""Name -> fields of the request, and the beginning of the error message of the 400."""

REFERENCE_SECONDS = 0.016
"""CPU time of the work that ``slowdown`` measures, where the bounds were written."""


def body_of(model: str, fields: dict[str, Any]) -> bytes:
    """Return the JSON bytes of a request with these fields."""
    fields = dict(fields)
    copies = b'"copy": 1, ' * fields.pop("COPIES", 0)
    request = {"model": model, "max_tokens": 9, "messages": [USER], **fields}
    return b"{" + copies + json.dumps(request).encode()[1:]


def tools(count: int) -> list[dict[str, Any]]:
    """Return ``count`` minimal tool definitions."""
    return [{"name": f"t{number}", "input_schema": {"type": "object"}} for number in range(count)]


@contextmanager
def cpu_bound(seconds: float, pid: int | None = None) -> Iterator[None]:
    """Fail if a process, by default this one, uses ``seconds`` or more of CPU time during the block.

    The bounds were written for one machine; on a slower or busier one they are longer by as much as it is slower.
    """
    seconds *= slowdown()
    gc.freeze()  # the garbage collector skips the objects of other tests
    before = cpu_seconds(pid)
    try:
        yield
    finally:
        spent = cpu_seconds(pid) - before
        gc.unfreeze()
    assert spent < seconds, f"{spent:.2f} s of CPU time"


def cpu_of[T](work: Callable[[], T]) -> tuple[float, T]:
    """Return the CPU time of some work in seconds, without the garbage collector, and its result.

    For tests that compare a large input with a small one: the collector's time depends on all objects of the process.
    """
    gc.disable()
    began = time.process_time()
    try:
        result = work()
    finally:
        spent = time.process_time() - began
        gc.enable()
    return spent, result


def slowdown() -> float:
    """Return how many times longer a fixed piece of work takes here than where the bounds were written; at least 1."""
    start = time.process_time()
    for _ in range(40):
        json.loads(json.dumps([{"role": "user", "content": str(number)} for number in range(500)]))
    return max(1.0, (time.process_time() - start) / REFERENCE_SECONDS)


def cpu_seconds(pid: int | None = None) -> float:
    """Return the CPU time of a process in seconds, without its ended children."""
    if pid is None:
        return time.process_time()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int) -> float:
    """Return the peak resident memory of a process in megabytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
