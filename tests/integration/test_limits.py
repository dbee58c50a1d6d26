"""Attacks on a running stack: each is a 400 in the envelope that names the path, and costs little CPU time."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from llama_stack_provider_messages.translation.messages_to_chat import ThinkingSigner
from support.attacks import ATTACKS, USER, body_of, cpu_bound, cpu_seconds, peak_megabytes, thinking
from support.stack_process import StackProcess, run_config, vllm

pytestmark = pytest.mark.integration

SECRET = "a-secret-of-this-test"
LANES = {"translated": "up/text", "native": "relayed/text"}
PATHS = {"message": "/v1/messages", "count": "/v1/messages/count_tokens"}
TEXT = b"x-" + b"a" * 400_000
"""Takes punycode the square of its length, and is not valid in the others."""


@pytest.fixture(scope="module")
def site():
    """A server that says that a text has the charset its path names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", f"text/plain; charset{self.path.removeprefix('/')}")
            self.send_header("content-length", str(len(TEXT)))
            self.end_headers()
            self.wfile.write(TEXT)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def attacked(upstream, tmp_path_factory):
    messages = {
        "signing_secret": SECRET,
        "media_urls": "fetch",
        "media_hosts": ["127.0.0.1"],
        "native": {"up": "off", "relayed": "on"},
        "backends": {"up": {"reasoning_field": "reasoning_content"}},
    }
    providers = [vllm(upstream.url), vllm(upstream.url, "relayed")]
    with StackProcess(run_config(providers, messages), tmp_path_factory.mktemp("limits")) as process:
        post(process, "message", body_of("up/text", {"messages": [USER]}))  # what is loaded with the first request
        yield process


def post(stack, path, body):
    return httpx.post(f"{stack.url}{PATHS[path]}", content=body, timeout=120)


def assert_refused(reply, message):
    assert reply.status_code == 400
    error = reply.json()
    assert error["type"] == "error"
    assert error["request_id"] == reply.headers["request-id"]
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["message"].startswith(message)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_on_both_lanes(attacked, name, lane, path):
    """With and without a stream, and before the upstream hears of it."""
    attack, message = ATTACKS[name]
    for stream in (True, False):
        body = body_of(LANES[lane], attack | {"stream": stream})
        with cpu_bound(2, attacked.pid):
            reply = post(attacked, path, body)
        assert_refused(reply, message)


@pytest.mark.parametrize("path", PATHS)
def test_echoed_signatures_inflate_no_further_than_their_budget(attacked, path):
    """They took 1.4 GB."""
    messages = thinking(7, 60, ThinkingSigner(SECRET.encode()))
    before = peak_megabytes(attacked.pid)
    with cpu_bound(2, attacked.pid):
        reply = post(attacked, path, body_of("up/text", {"messages": messages}))
    assert_refused(reply, "messages.5.content.0.signature: the signatures up to here carry more than 16 MB")
    assert peak_megabytes(attacked.pid) < before + 200


@pytest.mark.parametrize("charset", ["=punycode", "=idna", "=undefined"])
def test_a_document_in_an_odd_charset_is_read(attacked, site, charset):
    """400 kB of punycode took 5 s, and idna was a 500."""
    document = {"type": "document", "source": {"type": "url", "url": f"{site}/{charset}"}}
    body = body_of("up/text", {"messages": [{"role": "user", "content": [document, {"type": "text", "text": "?"}]}]})
    with cpu_bound(2, attacked.pid):
        assert post(attacked, "message", body).status_code == 200


def test_the_stack_answers_afterwards(attacked):
    """And its CPU time is that of this process: other tests do not measure zero."""
    assert cpu_seconds(attacked.pid) > 0.5
    assert post(attacked, "message", body_of("up/text", {})).status_code == 200
