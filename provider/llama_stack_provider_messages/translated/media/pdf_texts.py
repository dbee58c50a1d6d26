"""Extracts the text of PDFs, each in a child process (``pdf_child.py``), which can be limited and killed.

A small PDF can decompress to gigabytes, or keep a reader busy for hours. So few children run at a time, one of them for
each request, and for a limited time for all PDFs of the request. A child is killed if its client leaves.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256

from llama_stack_provider_messages.translation.messages_to_chat import Failed, Loaded, LoadedText, read_base64
from llama_stack_provider_messages.upstream.state import PerLoop

from . import pdf_child
from .cache import MediaCache
from .fair_queue import FairQueue

MAX_CHILDREN = 2
_MAX_WAITING = 64
_WAIT_SECONDS = 30.0
_HASHING_THREADS = 2
_CACHE_BYTES = 64 * 1024 * 1024
_CHILD_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
"""The environment variables that Python needs to start; others contain the keys of upstreams."""

_INSTEAD = "send the text of the document, or its pages as images"
PDF_PROBLEMS = {
    "kind": "this is not a PDF; send the bytes of a PDF, or the text of the document",
    "base64": "this is not valid base64; send the bytes of the document in base64",
    "encrypted": "the PDF is encrypted; send one that is not",
    "pages": f"the PDF has more than {pdf_child.MAX_PAGES} pages; send the pages that matter",
    "length": "the PDF has more text than any model can read; send the pages that matter",
    "empty": f"there is no text in the PDF, it may be scanned; {_INSTEAD}",
    "time": f"reading the text of the PDF took too long; {_INSTEAD}",
    "broken": f"the text of the PDF could not be read, it may be damaged; {_INSTEAD}",
}
"""Error message for each problem that the child reports."""


class Reading:
    """The child process that reads one PDF, in a thread that waits for it; another thread may end it."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def begin(self, child: subprocess.Popen[bytes]) -> None:
        """Note the child; kill it if the reading has been ended before it began."""
        with self._lock:
            self._child = child
            if self._ended:
                child.kill()

    def end(self) -> None:
        """Kill the child."""
        with self._lock:
            self._ended = True
            if self._child:
                self._child.kill()


@dataclass(slots=True, eq=False)
class PdfBudget:
    """The time that the PDFs of one request may still take, and the order in which they are read: one by one.

    Args:
        seconds_left: The time.
    """

    seconds_left: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class PdfTexts:
    """Extracts and caches the text of PDFs.

    Args:
        seconds: Timeout of all PDFs of one request; waiting for other requests does not count.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cache = MediaCache(_CACHE_BYTES)
        self._threads: ThreadPoolExecutor | None = None
        self._readings: set[Reading] = set()
        self._queues: PerLoop[FairQueue] = PerLoop()

    def budget(self) -> PdfBudget:
        """Return the budget of a request."""
        return PdfBudget(self._seconds)

    async def read(self, data: str, budget: PdfBudget) -> Loaded:
        """Return the text of a base64-encoded PDF; it is decoded only if its text is not cached.

        Raises:
            OverloadedError: Too many PDFs of other requests are being read.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_CHILDREN + _HASHING_THREADS, "messages-pdf")
        run = asyncio.get_running_loop().run_in_executor
        key = await run(self._threads, _key_of, data)
        if cached := self._cache.get(key):
            return cached
        queue = self._queues.get(lambda: FairQueue("reading PDFs", MAX_CHILDREN, _MAX_WAITING, _WAIT_SECONDS))
        async with budget.turn, queue.place(budget):
            reading, began, alone = Reading(), time.monotonic(), budget.seconds_left == self._seconds
            self._readings.add(reading)
            try:
                loaded = await run(self._threads, _read, data, budget.seconds_left, reading)
            finally:
                reading.end()
                self._readings.discard(reading)
                budget.seconds_left -= time.monotonic() - began
        if alone or loaded != Failed(PDF_PROBLEMS["time"]):  # else it might be read in time without the others
            self._cache.put(key, loaded)
        return loaded

    def close(self) -> None:
        """Kill the running child processes, and end the threads that wait for them."""
        for reading in tuple(self._readings):
            reading.end()
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _key_of(data: str) -> str:
    return sha256(data.encode(errors="replace")).hexdigest()


def _read(data: str, seconds: float, reading: Reading) -> Loaded:
    """Return the text of a base64-encoded PDF."""
    decoded = read_base64(data)
    return Failed(PDF_PROBLEMS["base64"]) if decoded is None else read_in_child(decoded[1], seconds, reading)


def read_in_child(data: bytes, seconds: float, reading: Reading) -> LoadedText | Failed:
    """Return the text of a PDF, extracted in a child process; blocks for up to ``seconds``.

    Args:
        data: The PDF.
        seconds: Timeout.
        reading: Gets the child process.
    """
    if seconds <= 0:
        return Failed(PDF_PROBLEMS["time"])
    env = {name: os.environ[name] for name in _CHILD_VARIABLES if name in os.environ}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    # Run as a file, not as a module: importing this package takes ten times as long as reading a PDF.
    command = [sys.executable, "-P", pdf_child.__file__, str(int(seconds) + 1)]
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env) as child:  # noqa: S603 - our own interpreter
            reading.begin(child)
            try:
                result = json.loads(child.communicate(data, seconds)[0])
            finally:
                child.kill()
    except subprocess.TimeoutExpired:
        return Failed(PDF_PROBLEMS["time"])
    except (OSError, ValueError):
        return Failed(PDF_PROBLEMS["broken"])
    if problem := result.get("problem"):
        return Failed(PDF_PROBLEMS[problem])
    return LoadedText(tuple(result["pages"]))
