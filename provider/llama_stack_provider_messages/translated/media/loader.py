"""Loads the media that a request needs, before it is translated: the text of PDFs, and the content of URLs.

A failure is returned as a value (``Failed``), because the translation decides whether it rejects the request or tells
the model. A conversation sends the same media again with every turn, so what was loaded is cached.

Both are slow, so they are limited for each request (URLs, bytes and time), and what runs for all requests together is
limited by a queue that is fair between them.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import PromptRequest
from llama_stack_provider_messages.translation.messages_to_chat import (
    PDF,
    Failed,
    Loaded,
    LoadedFile,
    NeededMedia,
    TranslationContext,
    classify_download,
    needed_media,
)
from llama_stack_provider_messages.upstream.state import PerLoop

from .cache import MediaCache
from .fair_queue import FairQueue
from .fetch import MAX_CONNECTIONS, Budget, Fetcher, FetchError
from .pdf_texts import PdfBudget, PdfTexts

MAX_URLS = 20
"""URLs that are fetched for one request."""
MAX_PDFS = 100
"""PDFs in base64 that are read for one request; there is time for fewer."""
_MAX_FETCHES = 4
"""Concurrent fetches of one request."""
_MAX_WAITING = 256
_WAIT_SECONDS = 20.0
_FETCHED_CACHE_BYTES = 128 * 1024 * 1024
_FETCHED_CACHE_SECONDS = 300.0
"""Lifetime of fetched media in the cache; the content of a URL may change."""
_PDF_SECONDS = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class _Budgets:
    """What one request may still use.

    Attributes:
        fetch: Bytes and time of its URLs.
        slots: Its concurrent fetches.
        pdf: The time of its PDFs.
    """

    fetch: Budget
    slots: asyncio.Semaphore
    pdf: PdfBudget


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
        self._queues: PerLoop[FairQueue] = PerLoop()
        self._pdfs = PdfTexts(_PDF_SECONDS)

    async def load(self, request: PromptRequest, ctx: TranslationContext) -> Mapping[str, Loaded]:
        """Return the loaded media of a request, or the reason of the failure, by the JSON path of the block.

        Raises:
            InvalidRequestError: The request has more than ``MAX_URLS`` URLs to fetch, or ``MAX_PDFS`` PDFs to read.
            OverloadedError: Media of too many other requests are being loaded.
        """
        needed = needed_media(request, ctx)
        if not needed:
            return {}
        distinct = {(media.kind, media.url, media.data): media for media in needed}
        urls = [media for media in distinct.values() if media.url]
        if len(urls) > MAX_URLS:
            raise InvalidRequestError(
                f"{urls[MAX_URLS].path}.source.url: more than {MAX_URLS} URLs are not fetched for one request; send "
                "the bytes of the others in base64"
            )
        pdfs = [media for media in distinct.values() if media.data]
        if len(pdfs) > MAX_PDFS:
            raise InvalidRequestError(
                f"{pdfs[MAX_PDFS].path}: more than {MAX_PDFS} PDFs are not read for one request; send the text of the "
                "others"
            )
        budgets = _Budgets(Budget(self._max_bytes), asyncio.Semaphore(_MAX_FETCHES), self._pdfs.budget())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {key: group.create_task(self._load(media, ctx, budgets)) for key, media in distinct.items()}
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return {media.path: tasks[media.kind, media.url, media.data].result() for media in needed}

    async def _load(self, media: NeededMedia, ctx: TranslationContext, budgets: _Budgets) -> Loaded:
        if media.data:
            return await self._pdfs.read(media.data, budgets.pdf)
        key = f"{media.kind} {media.url}"
        loaded = self._fetched.get(key)
        if loaded is None:
            queue = self._queues.get(lambda: FairQueue("fetching URLs", MAX_CONNECTIONS, _MAX_WAITING, _WAIT_SECONDS))
            try:
                async with budgets.slots, queue.place(budgets):
                    found = await self._fetcher.fetch(media.url, budgets.fetch)
            except FetchError as error:
                return Failed(str(error))
            loaded = classify_download(media.kind, found.media_type, found.charset, found.data)
            self._fetched.put(key, loaded)
        if isinstance(loaded, LoadedFile) and loaded.media_type == PDF and ctx.profile.documents == "text":
            return await self._pdfs.read(loaded.data, budgets.pdf)
        return loaded

    async def close(self) -> None:
        """Release the threads, and the client of the running loop."""
        self._pdfs.close()
        await self._fetcher.close()
