"""Loads what a request wants (``needed_media``); what cannot be loaded is a value too, as its place decides."""

import asyncio
from collections.abc import Collection, Mapping

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

from .cache import MediaCache
from .fetch import Budget, Fetcher, FetchError
from .pdf import PdfTexts

_PDF_SECONDS = 30.0
_FETCHES_AT_ONCE = 4
_FETCHED_BYTES = 128 * 1024 * 1024
_FETCHED_SECONDS = 300.0
"""A conversation fetches an image once, not with every turn; a new one sees what changed."""


class MediaLoader:
    """Loads media, and keeps nothing that belongs to an event loop but its HTTP client.

    Args:
        hosts: Names and addresses that may be fetched from although they are not public.
        max_bytes: How much the addresses of one request may hold.
        seconds: How long one address may take.
    """

    def __init__(self, hosts: Collection[str], max_bytes: int, seconds: float) -> None:
        self._max_bytes = max_bytes
        self._fetcher = Fetcher(hosts, seconds)
        self._fetched = MediaCache(_FETCHED_BYTES, _FETCHED_SECONDS)
        self._pdfs = PdfTexts(_PDF_SECONDS)

    async def load(self, request: PromptRequest, ctx: TranslationContext) -> Mapping[str, Loaded]:
        """Return what could be loaded for a request, or why not, by the JSON path of the block."""
        wanted = needed_media(request, ctx)
        if not wanted:
            return {}
        same = {(one.kind, one.url, one.data): one for one in wanted}
        budget, turnstile = Budget(self._max_bytes), asyncio.Semaphore(_FETCHES_AT_ONCE)
        loaded = await asyncio.gather(*(self._load(one, ctx, budget, turnstile) for one in same.values()))
        by_content = dict(zip(same, loaded, strict=True))
        return {one.path: by_content[one.kind, one.url, one.data] for one in wanted}

    async def _load(
        self, wanted: NeededMedia, ctx: TranslationContext, budget: Budget, turnstile: asyncio.Semaphore
    ) -> Loaded:
        if wanted.data:
            return await self._pdfs.read(wanted.data)
        async with turnstile:
            loaded = await self._fetch(wanted, budget)
        if isinstance(loaded, LoadedFile) and loaded.media_type == PDF and ctx.profile.documents == "text":
            return await self._pdfs.read(loaded.data)
        return loaded

    async def _fetch(self, wanted: NeededMedia, budget: Budget) -> Loaded:
        key = f"{wanted.kind} {wanted.url}"
        if known := self._fetched.get(key):
            return known
        try:
            found = await self._fetcher.fetch(wanted.url, budget)
        except FetchError as error:
            return Failed(str(error))
        loaded = classify_download(wanted.kind, found.media_type, found.charset, found.data)
        self._fetched.put(key, loaded)
        return loaded

    async def close(self) -> None:
        """Release the threads, and the client of the running loop."""
        self._pdfs.close()
        await self._fetcher.close()
