"""Loading what a request wants."""

import asyncio

import pytest

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translated.media import loader as module
from llama_stack_provider_messages.translated.media.fetch import Fetched, FetchError
from llama_stack_provider_messages.translation.messages_to_chat import (
    Failed,
    LoadedFile,
    LoadedText,
    Policy,
    Profile,
    TranslationContext,
)
from support.pdfs import PNG, encoded, pdf_with

FETCH = Policy(media_urls="fetch")
PDF = pdf_with("Hello")
PLACE = "messages.0.content."


class Web:
    """Stands in for the fetcher."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []
        self.running = self.most = 0

    async def fetch(self, url, _budget):
        self.asked.append(url)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if url not in self.pages:
            raise FetchError("no such page; send it")
        return Fetched(*self.pages[url])

    async def close(self):
        self.asked.append("closed")


@pytest.fixture
async def made():
    loader = module.MediaLoader([], 1000, 1)
    web = Web(
        {
            "https://a/png": ("image/gif", "utf-8", PNG),
            "https://a/pdf": ("application/octet-stream", "utf-8", PDF),
            "https://a/txt": ("text/plain", "latin-1", b"gr\xfcn"),
        }
    )
    loader._fetcher = web
    yield loader, web
    await loader.close()
    assert web.asked[-1] == "closed"


def block(kind, url):
    return {"type": kind, "source": {"type": "url", "url": url}}


def request(*blocks):
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": list(blocks)}]}
    return CreateMessageRequest.model_validate(body)


async def test_a_request_without_media_loads_nothing(made):
    """Nor does a policy that hands addresses on."""
    loader, web = made
    assert await loader.load(request({"type": "text", "text": "x"}), TranslationContext(Profile(), FETCH)) == {}
    assert await loader.load(request(block("image", "https://a/png")), TranslationContext(Profile())) == {}
    assert web.asked == []


async def test_addresses_become_files_texts_or_failures_by_their_path(made):
    """A PDF gives its text where the profile wants that."""
    loader, _ = made
    asked = request(
        block("image", "https://a/png"), block("document", "https://a/txt"), block("document", "https://a/pdf"),
        block("image", "https://a/gone"),
    )  # fmt: skip
    assert await loader.load(asked, TranslationContext(Profile(), FETCH)) == {
        f"{PLACE}0": LoadedFile("image/png", encoded(PNG)),
        f"{PLACE}1": LoadedText(("gr\xfcn",), paged=False),
        f"{PLACE}2": LoadedText(("Hello",)),
        f"{PLACE}3": Failed("no such page; send it"),
    }


async def test_a_pdf_stays_a_file_where_the_backend_reads_it(made):
    loader, _ = made
    loaded = await loader.load(
        request(block("document", "https://a/pdf")), TranslationContext(Profile(documents="file"), FETCH)
    )
    assert loaded == {f"{PLACE}0": LoadedFile("application/pdf", encoded(PDF))}


async def test_a_pdf_inside_the_request_gives_its_text(made):
    loader, _ = made
    source = {"type": "base64", "media_type": "application/pdf", "data": encoded(PDF)}
    loaded = await loader.load(request({"type": "document", "source": source}), TranslationContext(Profile()))
    assert loaded == {f"{PLACE}0": LoadedText(("Hello",))}


async def test_one_address_is_fetched_once(made):
    """In one request, and in the turns of a conversation; a failure is tried again."""
    loader, web = made
    asked = request(*[block("image", "https://a/png")] * 3, block("image", "https://a/gone"))
    for _ in range(2):
        loaded = await loader.load(asked, TranslationContext(Profile(), FETCH))
        assert len(loaded) == 4
    assert web.asked == ["https://a/png", "https://a/gone", "https://a/gone"]


async def test_a_few_addresses_are_fetched_at_once(made):
    """Neither one after the other nor all together."""
    loader, web = made
    await loader.load(
        request(*(block("image", f"https://a/{n}") for n in range(20))), TranslationContext(Profile(), FETCH)
    )
    assert web.most == module._FETCHES_AT_ONCE
