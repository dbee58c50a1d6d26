"""Extracts the text of PDFs in child processes (see pdf_child.py), a few at a time, and caches it."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from llama_stack_provider_messages.translation.messages_to_chat import Failed, Loaded, LoadedText, read_base64

from . import pdf_child
from .cache import MediaCache

type Child = subprocess.Popen[bytes]

_AT_ONCE = 2
_NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
_CACHE_BYTES = 64 * 1024 * 1024

_INSTEAD = "send the text of the document, or its pages as images"
PROBLEMS = {
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


class PdfTexts:
    """Extracts and caches the text of PDFs.

    Args:
        seconds: Timeout of one PDF.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cache = MediaCache(_CACHE_BYTES)
        self._threads: ThreadPoolExecutor | None = None
        self._children: set[Child] = set()

    async def read(self, data: str) -> Loaded:
        """Return the text of a base64-encoded PDF; it is decoded only if its text is not cached."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE, "messages-pdf")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, data)

    def _read(self, data: str) -> Loaded:
        key = sha256(data.encode(errors="replace")).hexdigest()
        if known := self._cache.get(key):
            return known
        decoded = read_base64(data)
        value = read_in_child(decoded[1], self._seconds, self._children) if decoded else Failed(PROBLEMS["base64"])
        self._cache.put(key, value)
        return value

    def close(self) -> None:
        """Kill the running child processes, and end the threads that wait for them."""
        for child in tuple(self._children):
            child.kill()
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def read_in_child(data: bytes, seconds: float, children: set[Child] | None = None) -> LoadedText | Failed:
    """Return the text of a PDF, extracted in a child process; blocks for up to ``seconds``.

    Args:
        data: The PDF.
        seconds: Timeout.
        children: Contains the child process while it runs.
    """
    try:
        answer = json.loads(_ask_child(data, seconds, set() if children is None else children))
    except subprocess.TimeoutExpired:
        return Failed(PROBLEMS["time"])
    except (OSError, ValueError):
        return Failed(PROBLEMS["broken"])
    if problem := answer.get("problem"):
        return Failed(PROBLEMS[problem])
    return LoadedText(tuple(answer["pages"]))


def _ask_child(data: bytes, seconds: float, children: set[Child]) -> bytes:
    # Pass only the variables that Python needs to start: others contain the keys of upstreams.
    env = {name: os.environ[name] for name in _NEEDED if name in os.environ}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    # Run as a file, not as a module: importing this package takes ten times as long as reading a PDF.
    command = [sys.executable, "-P", pdf_child.__file__, str(int(seconds) + 1)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env) as child:  # noqa: S603 - our own interpreter
        children.add(child)
        try:
            return child.communicate(data, seconds)[0]
        finally:
            child.kill()
            children.discard(child)
