"""Documents and images on a running stack that downloads URLs, over backends with and without file parts."""

import asyncio
import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from support.pdfs import PNG, bomb, encoded, pdf_with
from support.stack_process import StackProcess, run_config, vllm

pytestmark = pytest.mark.integration

PAGES = {"/a.png": ("image/jpeg", PNG), "/a.pdf": ("application/pdf", pdf_with("From the web"))}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        media_type, body = PAGES.get(self.path, ("text/plain", b""))
        self.send_response(200 if body else 404)
        self.send_header("content-type", media_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Log nothing."""


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def fetching(upstream, tmp_path_factory):
    """A stack that downloads URLs; the provider ``files`` accepts file parts."""
    messages = {
        "media_urls": "fetch",
        "media_hosts": ["127.0.0.1"],
        "backends": {"files": {"documents": "file"}},
    }
    providers = [vllm(upstream.url), vllm(upstream.url, "files")]
    with StackProcess(run_config(providers, messages), tmp_path_factory.mktemp("media")) as process:
        yield process


def post(stack, content, model="up/text"):
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": content}]}
    return httpx.post(f"{stack.url}/v1/messages", json=body, timeout=60)


def pdf(data):
    return {
        "type": "document",
        "title": "Plan",
        "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(data)},
    }


def link(kind, url):
    return {"type": kind, "source": {"type": "url", "url": url}}


def test_a_backend_without_file_parts_gets_the_text_of_a_pdf(stack, upstream):
    """Page by page, with its title."""
    reply = post(stack, [pdf(pdf_with("Hello", "World")), {"type": "text", "text": "What?"}])
    assert reply.status_code == 200, reply.text
    content = upstream.last("text").json["messages"][0]["content"]
    assert content == '<document title="Plan">\n[page 1]\nHello\n\n[page 2]\nWorld\n</document>\n\nWhat?'


def test_a_backend_with_file_parts_gets_a_pdf_as_a_file(fetching, upstream):
    """The platform's request model has the part."""
    data = pdf_with("Hello")
    assert post(fetching, [pdf(data)], "files/text").status_code == 200
    parts = upstream.last("text").json["messages"][0]["content"]
    assert parts[1]["file"] == {"filename": "Plan.pdf", "file_data": f"data:application/pdf;base64,{encoded(data)}"}


def test_the_content_of_urls_reaches_the_backend(fetching, upstream, site):
    """An image with the media type of its bytes, a PDF as its text."""
    reply = post(fetching, [link("image", f"{site}/a.png"), link("document", f"{site}/a.pdf")])
    assert reply.status_code == 200, reply.text
    image, document = upstream.last("text").json["messages"][0]["content"]
    head, _, data = image["image_url"]["url"].partition(",")
    assert (head, base64.b64decode(data)) == ("data:image/png;base64", PNG)
    assert document["text"] == "<document>\n[page 1]\nFrom the web\n</document>"


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("/gone.png", "the address answers HTTP 404; "),
        ("http://169.254.169.254/latest/meta-data/", "the host of the address is not public; "),
        ("http://127.0.0.2:1/x.png", "the host of the address is not public; "),
    ],
)
def test_a_url_that_cannot_be_downloaded_is_a_400_with_its_path(fetching, site, address, cause):
    """The message reveals nothing of the server's network."""
    reply = post(fetching, [link("image", f"{site}{address}" if address.startswith("/") else address)])
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(f"messages.0.content.0.source.url: {cause}")


def test_by_default_urls_are_sent_to_the_backend(stack, upstream):
    """Those of images; those of documents are a 400 that names the setting."""
    assert post(stack, [link("image", "https://example.com/a.png")]).status_code == 200
    part = upstream.last("text").json["messages"][0]["content"][0]
    assert part["image_url"]["url"] == "https://example.com/a.png"
    reply = post(stack, [link("document", "https://example.com/a.pdf")])
    assert reply.status_code == 400
    assert "media_urls: fetch" in reply.json()["error"]["message"]


@pytest.mark.parametrize("data", [b"%PDF-1.4\ngarbage", bomb(200 << 20, twice=True)], ids=["broken", "bomb"])
async def test_an_unreadable_pdf_is_a_400_and_does_not_block_the_server(stack, data):
    """The server responds to others while a child process reads it."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        body = {"model": "up/text", "max_tokens": 50, "messages": [{"role": "user", "content": [pdf(data)]}]}
        slow = asyncio.create_task(http.post("/v1/messages", json=body))
        plain = await http.post("/v1/messages", json={**body, "messages": [{"role": "user", "content": "Hi"}]})
        assert plain.status_code == 200
        reply = await slow
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("messages.0.content.0.source: the text of the PDF could not ")
