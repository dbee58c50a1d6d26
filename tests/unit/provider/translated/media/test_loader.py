"""Loading the media that a request needs, with a scripted fetcher; and media in requests to the whole provider."""

import asyncio

import pytest
from pydantic import ValidationError

from llama_stack_api_messages import Call, RequestBody
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.impl import MessagesImpl
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.translated.media.fetch import MAX_CONNECTIONS, Fetched, FetchError
from llama_stack_provider_messages.translated.media.loader import MediaLoader
from llama_stack_provider_messages.translation.messages_to_chat import (
    Failed,
    LoadedFile,
    LoadedText,
    Policy,
    Profile,
    TranslationContext,
)
from support.attacks import cpu_bound
from support.pdfs import PNG, encoded, pdf_with
from support.replies import answer

FETCH = Policy(media_urls="fetch")
PDF = pdf_with("Hello")
PREFIX = "messages.0.content."


class Web:
    """A fetcher with scripted pages; counts concurrent fetches."""

    def __init__(self, pages):
        self.pages = pages
        self.fetched = []
        self.running = self.max_running = 0

    async def fetch(self, url, _budget):
        self.fetched.append(url)
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if url not in self.pages:
            raise FetchError("no such page; send it")
        return Fetched(*self.pages[url])

    async def close(self):
        self.fetched.append("closed")


@pytest.fixture
async def made():
    web = Web(
        {
            "https://a/png": ("image/gif", "utf-8", PNG),
            "https://a/pdf": ("application/octet-stream", "utf-8", PDF),
            "https://a/txt": ("text/plain", "latin-1", b"gr\xfcn"),
        }
    )
    loader = MediaLoader(web, 1000)
    yield loader, web
    await loader.close()
    assert web.fetched[-1] == "closed"


def block(kind, url):
    return {"type": kind, "source": {"type": "url", "url": url}}


def request(*blocks):
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": list(blocks)}]}
    return CreateMessageRequest.model_validate(body)


async def test_a_request_without_media_loads_nothing(made):
    """Nothing is loaded without media, or with a policy that passes URLs to the backend."""
    loader, web = made
    assert await loader.load(request({"type": "text", "text": "x"}), TranslationContext(Profile(), FETCH)) == {}
    assert await loader.load(request(block("image", "https://a/png")), TranslationContext(Profile())) == {}
    assert web.fetched == []


async def test_urls_become_files_texts_or_failures_by_the_path_of_the_block(made):
    """A PDF becomes its text if the profile needs that."""
    loader, _ = made
    body = request(
        block("image", "https://a/png"), block("document", "https://a/txt"), block("document", "https://a/pdf"),
        block("image", "https://a/gone"),
    )  # fmt: skip
    assert await loader.load(body, TranslationContext(Profile(), FETCH)) == {
        f"{PREFIX}0": LoadedFile("image/png", encoded(PNG)),
        f"{PREFIX}1": LoadedText(("gr\xfcn",), paged=False),
        f"{PREFIX}2": LoadedText(("Hello",)),
        f"{PREFIX}3": Failed("no such page; send it"),
    }


async def test_a_pdf_stays_a_file_if_the_backend_reads_files(made):
    loader, _ = made
    loaded = await loader.load(
        request(block("document", "https://a/pdf")), TranslationContext(Profile(documents="file"), FETCH)
    )
    assert loaded == {f"{PREFIX}0": LoadedFile("application/pdf", encoded(PDF))}


async def test_a_pdf_in_the_request_becomes_its_text(made):
    loader, _ = made
    source = {"type": "base64", "media_type": "application/pdf", "data": encoded(PDF)}
    loaded = await loader.load(request({"type": "document", "source": source}), TranslationContext(Profile()))
    assert loaded == {f"{PREFIX}0": LoadedText(("Hello",))}


async def test_a_url_is_fetched_once(made):
    """In one request, and in the turns of a conversation; a failure is retried."""
    loader, web = made
    body = request(*[block("image", "https://a/png")] * 3, block("image", "https://a/gone"))
    for _ in range(2):
        loaded = await loader.load(body, TranslationContext(Profile(), FETCH))
        assert len(loaded) == 4
    assert web.fetched == ["https://a/png", "https://a/gone", "https://a/gone"]


async def test_four_urls_are_fetched_concurrently(made):
    """The others wait."""
    loader, web = made
    await loader.load(
        request(*(block("image", f"https://a/{n}") for n in range(20))), TranslationContext(Profile(), FETCH)
    )
    assert web.max_running == 4


async def test_more_than_twenty_urls_are_refused(made):
    """The message names the first one that is too many; the same URL counts once."""
    loader, web = made
    blocks = [block("image", f"https://a/{number}") for number in range(20)]
    many = request(*blocks, *blocks, block("document", "https://a/more"))
    with pytest.raises(InvalidRequestError) as refusal:
        await loader.load(many, TranslationContext(Profile(), FETCH))
    assert refusal.value.message == (
        "messages.0.content.40.source.url: more than 20 URLs are not fetched for one request; send the bytes of the "
        "others in base64"
    )
    assert web.fetched == []


async def test_more_than_a_hundred_pdfs_are_refused(made):
    """Each would wait for a process of its own."""
    loader, _ = made
    data = [{"type": "base64", "media_type": "application/pdf", "data": f"JVBERi{number:04}"} for number in range(101)]
    many = request(*({"type": "document", "source": source} for source in data))
    with cpu_bound(0.5), pytest.raises(InvalidRequestError) as refusal:
        await loader.load(many, TranslationContext(Profile()))
    assert refusal.value.message == (
        "messages.0.content.100: more than 100 PDFs are not read for one request; send the text of the others"
    )


async def test_requests_take_turns_if_many_urls_do_not_answer():
    """A request with one URL does not wait for the end of others with twenty."""
    fetched, hang = asyncio.Queue(), asyncio.Event()

    class Silent:
        async def fetch(self, url, _budget):
            fetched.put_nowait(url)
            await hang.wait()
            raise FetchError("silent; send it")

        async def close(self):
            pass

    loader, ctx = MediaLoader(Silent(), 1000), TranslationContext(Profile(), FETCH)
    many = [request(*(block("image", f"https://{name}/{n}") for n in range(20))) for name in range(5)]
    slow = [asyncio.ensure_future(loader.load(body, ctx)) for body in many]
    first = [await fetched.get() for _ in range(MAX_CONNECTIONS)]
    assert not any(url.startswith("https://4/") for url in first)
    other = asyncio.ensure_future(loader.load(request(block("image", "https://other/")), ctx))
    await asyncio.sleep(0)
    slow[0].cancel()  # four places are free: the other request and the fifth one have none so far
    begun = [await fetched.get() for _ in range(4)]
    assert "https://other/" in begun
    assert {url[:-1] for url in begun} == {"https://4/", "https://other"}
    hang.set()
    await asyncio.gather(*slow, other, return_exceptions=True)
    await loader.close()


class Platform:
    """Keeps the chat request and rejects it."""

    def is_served(self, _name):
        return True

    async def locate(self, model_id):
        return Target(model_id, "p", "remote::vllm", "m")

    def record(self, target, **figures):
        pass

    async def chat(self, _target, fields):
        self.fields = fields
        raise InvalidRequestError("rejected")


def document_request(source):
    block = {"type": "document", "source": source}
    body = {"model": "p/m", "max_tokens": 1, "messages": [{"role": "user", "content": [block]}]}
    return RequestBody.of(CreateMessageRequest.model_validate(body))


async def test_a_pdf_is_read_before_the_backend_is_called():
    """Its threads are released at the end."""
    platform = Platform()
    impl = MessagesImpl(MessagesConfig(), platform, b"key")
    source = {"type": "base64", "media_type": "application/pdf", "data": encoded(pdf_with("Hello"))}
    with pytest.raises(InvalidRequestError, match="rejected"):
        await answer(impl, document_request(source), Call("req_1"))
    assert platform.fields["messages"][0]["content"] == "<document>\n[page 1]\nHello\n</document>"
    await impl.shutdown()


async def test_the_configuration_can_reject_urls():
    impl = MessagesImpl(MessagesConfig(media_urls="reject"), Platform(), b"key")
    with pytest.raises(InvalidRequestError, match="does not accept URLs"):
        await answer(impl, document_request({"type": "url", "url": "https://a"}), Call("req_1"))
    await impl.shutdown()


@pytest.mark.parametrize("field", [{"media_urls": "x"}, {"media_max_bytes": 0}, {"media_timeout_seconds": 0}])
def test_invalid_configuration_is_rejected(field):
    with pytest.raises(ValidationError):
        MessagesConfig(**field)
