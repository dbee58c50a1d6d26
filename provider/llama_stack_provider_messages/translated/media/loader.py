"""Loads the media that a request needs (``needed_media``); a failure is returned as a value, not raised."""

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
"""Lifetime of fetched media in the cache, so that a conversation does not fetch an image again with every turn."""


class MediaLoader:
    """Loads media; only its HTTP client is bound to an event loop.

    Args:
        hosts: Names and addresses that may be fetched from although they are not public.
        max_bytes: Limit of fetched bytes per request.
        seconds: Timeout of one URL.
    """

    def __init__(self, hosts: Collection[str], max_bytes: int, seconds: float) -> None:
        self._max_bytes = max_bytes
        self._fetcher = Fetcher(hosts, seconds)
        self._fetched = MediaCache(_FETCHED_BYTES, _FETCHED_SECONDS)
        self._pdfs = PdfTexts(_PDF_SECONDS)

    async def load(self, request: PromptRequest, ctx: TranslationContext) -> Mapping[str, Loaded]:
        """Return the loaded media of a request, or the reason of the failure, by the JSON path of the block."""
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
