"""Loads the media that a request needs, before it is translated: the text of PDFs, and the content of URLs.

A failure is returned as a value (``Failed``), because the translation decides whether it rejects the request or tells
the model. A conversation sends the same media again with every turn, so what was loaded is cached.

A PDF is read in a child process (``pdf_child.py``), which can be limited and killed: a small PDF can decompress to
gigabytes, or keep a reader busy for hours. A few children run at a time, each with a thread here that waits for it.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.messages_to_chat import (
    PDF,
    Failed,
    Loaded,
    LoadedFile,
    LoadedText,
    NeededMedia,
    TranslationContext,
    classify_download,
    needed_media,
    read_base64,
)

from . import pdf_child
from .cache import MediaCache
from .fetch import Budget, Fetcher, FetchError

type Child = subprocess.Popen[bytes]

_MAX_FETCHES = 4
"""Concurrent fetches of one request."""
_FETCHED_CACHE_BYTES = 128 * 1024 * 1024
_FETCHED_CACHE_SECONDS = 300.0
"""Lifetime of fetched media in the cache; the content of a URL may change."""
_PDF_SECONDS = 30.0
_MAX_CHILDREN = 2
_PDF_CACHE_BYTES = 64 * 1024 * 1024
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


class MediaLoader:
    """Loads media; only its HTTP client is bound to an event loop.

    Args:
        fetcher: Fetches URLs.
        max_bytes: Limit of fetched bytes per request.
    """

    def __init__(self, fetcher: Fetcher, max_bytes: int) -> None:
        self._fetcher = fetcher
        self._max_bytes = max_bytes
        self._fetched = MediaCache(_FETCHED_CACHE_BYTES, _FETCHED_CACHE_SECONDS)
        self._pdfs = PdfTexts(_PDF_SECONDS)

    async def load(self, request: PromptRequest, ctx: TranslationContext) -> Mapping[str, Loaded]:
        """Return the loaded media of a request, or the reason of the failure, by the JSON path of the block."""
        needed = needed_media(request, ctx)
        if not needed:
            return {}
        distinct = {(media.kind, media.url, media.data): media for media in needed}
        budget, slots = Budget(self._max_bytes), asyncio.Semaphore(_MAX_FETCHES)
        loaded = await asyncio.gather(*(self._load(media, ctx, budget, slots) for media in distinct.values()))
        by_content = dict(zip(distinct, loaded, strict=True))
        return {media.path: by_content[media.kind, media.url, media.data] for media in needed}

    async def _load(
        self, media: NeededMedia, ctx: TranslationContext, budget: Budget, slots: asyncio.Semaphore
    ) -> Loaded:
        if media.data:
            return await self._pdfs.read(media.data)
        key = f"{media.kind} {media.url}"
        loaded = self._fetched.get(key)
        if loaded is None:
            try:
                async with slots:
                    found = await self._fetcher.fetch(media.url, budget)
            except FetchError as error:
                return Failed(str(error))
            loaded = classify_download(media.kind, found.media_type, found.charset, found.data)
            self._fetched.put(key, loaded)
        if isinstance(loaded, LoadedFile) and loaded.media_type == PDF and ctx.profile.documents == "text":
            return await self._pdfs.read(loaded.data)
        return loaded

    async def close(self) -> None:
        """Release the threads, and the client of the running loop."""
        self._pdfs.close()
        await self._fetcher.close()


class PdfTexts:
    """Extracts and caches the text of PDFs.

    Args:
        seconds: Timeout of one PDF.
        children: Contains the child processes while they run.
    """

    def __init__(self, seconds: float, children: set[Child] | None = None) -> None:
        self._seconds = seconds
        self._cache = MediaCache(_PDF_CACHE_BYTES)
        self._threads: ThreadPoolExecutor | None = None
        self._children = set() if children is None else children

    async def read(self, data: str) -> Loaded:
        """Return the text of a base64-encoded PDF; it is decoded only if its text is not cached."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_MAX_CHILDREN, "messages-pdf")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, data)

    def _read(self, data: str) -> Loaded:
        key = sha256(data.encode(errors="replace")).hexdigest()
        if cached := self._cache.get(key):
            return cached
        decoded = read_base64(data)
        if decoded is None:
            loaded: Loaded = Failed(PDF_PROBLEMS["base64"])
        else:
            loaded = read_in_child(decoded[1], self._seconds, self._children)
        self._cache.put(key, loaded)
        return loaded

    def close(self) -> None:
        """Kill the running child processes, and end the threads that wait for them."""
        for child in tuple(self._children):
            child.kill()
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def read_in_child(data: bytes, seconds: float, children: set[Child]) -> LoadedText | Failed:
    """Return the text of a PDF, extracted in a child process; blocks for up to ``seconds``.

    Args:
        data: The PDF.
        seconds: Timeout.
        children: Contains the child process while it runs.
    """
    env = {name: os.environ[name] for name in _CHILD_VARIABLES if name in os.environ}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    # Run as a file, not as a module: importing this package takes ten times as long as reading a PDF.
    command = [sys.executable, "-P", pdf_child.__file__, str(int(seconds) + 1)]
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env) as child:  # noqa: S603 - our own interpreter
            children.add(child)
            try:
                result = json.loads(child.communicate(data, seconds)[0])
            finally:
                child.kill()
                children.discard(child)
    except subprocess.TimeoutExpired:
        return Failed(PDF_PROBLEMS["time"])
    except (OSError, ValueError):
        return Failed(PDF_PROBLEMS["broken"])
    if problem := result.get("problem"):
        return Failed(PDF_PROBLEMS[problem])
    return LoadedText(tuple(result["pages"]))
