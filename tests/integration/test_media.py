"""Documents and images through a running stack that fetches, over backends that take files and that do not."""

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
        """Say nothing."""


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
    """A stack that fetches; the provider ``files`` takes file parts."""
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


def test_a_pdf_reaches_a_backend_that_takes_none_as_its_text(stack, upstream):
    """Page by page, under its title; the reply says what was lost."""
    reply = post(stack, [pdf(pdf_with("Hello", "World")), {"type": "text", "text": "What?"}])
    assert reply.status_code == 200, reply.text
    said = upstream.last("text").json["messages"][0]["content"]
    assert said == '<document title="Plan">\n[page 1]\nHello\n\n[page 2]\nWorld\n</document>\n\nWhat?'


def test_a_pdf_reaches_a_backend_that_takes_files_as_a_file(fetching, upstream):
    """Through the platform's request model, which knows the part."""
    data = pdf_with("Hello")
    assert post(fetching, [pdf(data)], "files/text").status_code == 200
    parts = upstream.last("text").json["messages"][0]["content"]
    assert parts[1]["file"] == {"filename": "Plan.pdf", "file_data": f"data:application/pdf;base64,{encoded(data)}"}


def test_what_stands_at_addresses_reaches_the_backend(fetching, upstream, site):
    """An image under the type of its bytes, a PDF as its text."""
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
def test_an_address_that_cannot_be_fetched_is_a_400_with_its_path(fetching, site, address, cause):
    """Nothing of the network behind the server is told."""
    reply = post(fetching, [link("image", f"{site}{address}" if address.startswith("/") else address)])
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith(f"messages.0.content.0.source.url: {cause}")


def test_addresses_go_to_the_backend_unless_the_configuration_fetches(stack, upstream):
    """Those of images; those of documents need the setting."""
    assert post(stack, [link("image", "https://example.com/a.png")]).status_code == 200
    part = upstream.last("text").json["messages"][0]["content"][0]
    assert part["image_url"]["url"] == "https://example.com/a.png"
    reply = post(stack, [link("document", "https://example.com/a.pdf")])
    assert reply.status_code == 400
    assert "media_urls: fetch" in reply.json()["error"]["message"]


@pytest.mark.parametrize("data", [b"%PDF-1.4\ngarbage", bomb(200 << 20, twice=True)], ids=["broken", "bomb"])
async def test_a_pdf_that_cannot_be_read_is_a_400_and_the_server_goes_on(stack, data):
    """It answers others while a child process struggles."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=60) as http:
        body = {"model": "up/text", "max_tokens": 50, "messages": [{"role": "user", "content": [pdf(data)]}]}
        slow = asyncio.create_task(http.post("/v1/messages", json=body))
        plain = await http.post("/v1/messages", json={**body, "messages": [{"role": "user", "content": "Hi"}]})
        assert plain.status_code == 200
        reply = await slow
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("messages.0.content.0.source: the text of the PDF could not ")
