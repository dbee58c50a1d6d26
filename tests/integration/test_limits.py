"""Expensive requests to a running stack: each is a 400 with the JSON path, and takes little CPU time."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product

import httpx
import pytest

from llama_stack_provider_messages.translation.messages_to_chat import ThinkingSigner
from support.attacks import ATTACKS, USER, body_of, cpu_bound, cpu_seconds, peak_megabytes, thinking, tools
from support.stack_process import StackProcess, remote_messages, run_config, vllm

pytestmark = pytest.mark.integration

SECRET = "a-secret-of-this-test"
LANES = {"translated": "up/text", "native": "relayed/text"}
PATHS = {"message": "/v1/messages", "count": "/v1/messages/count_tokens"}
TEXT = b"x-" + b"a" * 400_000
"""Punycode takes quadratic time for it; in the other charsets it is not valid."""


@pytest.fixture(scope="module")
def site():
    """A web server that declares the charset in the path for its text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", f"text/plain; charset{self.path.removeprefix('/')}")
            self.send_header("content-length", str(len(TEXT)))
            self.end_headers()
            self.wfile.write(TEXT)

        def log_message(self, *_):
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def stack(upstream, tmp_path_factory):
    messages = {
        "signing_secret": SECRET,
        "media_urls": "fetch",
        "media_hosts": ["127.0.0.1"],
        "native": {"up": "off", "relayed": "on"},
        "backends": {"up": {"reasoning_field": "reasoning_content"}},
    }
    providers = [vllm(upstream.url), vllm(upstream.url, "relayed"), remote_messages(upstream.url, "messages")]
    with StackProcess(run_config(providers, messages), tmp_path_factory.mktemp("limits")) as process:
        post(
            process, "message", body_of("up/text", {"messages": [USER]})
        )  # loads modules, so that they are not measured
        yield process


def post(stack, path, body):
    return httpx.post(f"{stack.url}{PATHS[path]}", content=body, timeout=120)


def assert_rejected(reply, message):
    assert reply.status_code == 400
    error = reply.json()
    assert error["type"] == "error"
    assert error["request_id"] == reply.headers["request-id"]
    assert error["error"]["type"] == "invalid_request_error"
    assert error["error"]["message"].startswith(message)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_expensive_request_is_rejected_on_both_lanes(stack, name):
    """Streaming or not, and without much more memory than the body needs."""
    attack, message = ATTACKS[name]
    before = peak_megabytes(stack.pid)
    for lane, path in product(LANES, PATHS):
        body = body_of(LANES[lane], attack | {"stream": lane == "native"})
        with cpu_bound(4, stack.pid):
            reply = post(stack, path, body)
        assert_rejected(reply, message)
    assert peak_megabytes(stack.pid) < before + 150


MESSAGES = [USER, {"role": "assistant", "content": "x"}] * 7_000 + [USER]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": tools(7_000)}, "tools: more than 2000 tools"),
        ({"messages": MESSAGES}, "messages.10000: the conversation has more than 10000 messages"),
    ],
    ids=["tools", "messages"],
)
def test_too_many_tools_or_messages_are_rejected_on_the_translated_lane(stack, fields, message, path):
    """Each takes the platform's client up to a millisecond; a native upstream gets them (here it has no route)."""
    with cpu_bound(4, stack.pid):
        reply = post(stack, path, body_of(LANES["translated"], fields))
    assert_rejected(reply, message)
    with cpu_bound(4, stack.pid):
        assert post(stack, "message", body_of(LANES["native"], fields)).status_code == 404


def test_the_tool_arguments_of_a_chat_completion_are_limited(stack):
    """9 MB of brackets once took 44 s and a gigabyte."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "[" * 9_000_000}}
    messages = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
    ]
    before = peak_megabytes(stack.pid)
    with cpu_bound(4, stack.pid):
        body = {"model": "messages/text", "messages": messages}
        reply = httpx.post(f"{stack.url}/v1/chat/completions", json=body, timeout=120)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("messages.1.tool_calls.0.function.arguments: ")
    assert peak_megabytes(stack.pid) < before + 200


@pytest.mark.parametrize("path", PATHS)
def test_the_decompressed_size_of_signatures_is_limited(stack, path):
    """They once took 1.4 GB."""
    messages = thinking(7, 60, ThinkingSigner(SECRET.encode()))
    before = peak_megabytes(stack.pid)
    with cpu_bound(4, stack.pid):
        reply = post(stack, path, body_of("up/text", {"messages": messages}))
    assert_rejected(reply, "messages.5.content.0.signature: the signatures up to this block hold more than 16 MB")
    assert peak_megabytes(stack.pid) < before + 200


@pytest.mark.parametrize("charset", ["=punycode", "=idna", "=undefined"])
def test_a_document_with_an_unusual_charset_is_accepted(stack, site, charset):
    """400 kB of punycode once took 5 s, and idna was a 500."""
    document = {"type": "document", "source": {"type": "url", "url": f"{site}/{charset}"}}
    body = body_of("up/text", {"messages": [{"role": "user", "content": [document, {"type": "text", "text": "?"}]}]})
    with cpu_bound(4, stack.pid):
        assert post(stack, "message", body).status_code == 200


def test_the_stack_responds_after_all_expensive_requests(stack):
    """Its measured CPU time is not zero, so the bounds above measure this process."""
    assert cpu_seconds(stack.pid) > 0.5
    assert post(stack, "message", body_of("up/text", {})).status_code == 200
