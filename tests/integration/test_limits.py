"""Expensive requests to a running stack: each is a 400 with the JSON path, and takes little CPU time."""

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, product
from pathlib import Path

import httpx
import pytest

from llama_stack_provider_messages.translation.messages_to_chat import ThinkingSigner
from support.attacks import (
    ATTACKS,
    USER,
    body_of,
    cpu_bound,
    cpu_seconds,
    inflating,
    peak_megabytes,
    repeated,
    thinking,
)
from support.pdfs import bomb, encoded, pdf_with, shown
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
        "request_silence_seconds": 3,
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


def test_a_long_conversation_is_no_attack(stack):
    """20 000 turns pass the checks of both lanes; the native upstream of this test has no such route."""
    turn = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
    ]
    body = {"messages": [USER, *turn * 10_000]}
    with cpu_bound(4, stack.pid):
        assert post(stack, "message", body_of(LANES["native"], body)).status_code == 404
    with cpu_bound(8, stack.pid):
        counted = post(stack, "count", body_of(LANES["translated"], body))
    assert counted.json()["input_tokens"] > 100_000


def test_the_models_are_listed_while_expensive_requests_arrive(stack):
    """No attack holds the server: it answers others in between, and all attacks at the end."""
    bodies = [body_of(model, attack) for model, (attack, _) in zip(cycle(LANES.values()), ATTACKS.values())]
    with ThreadPoolExecutor(4) as pool, cpu_bound(20, stack.pid):
        attacks = [pool.submit(post, stack, "message", body) for body in bodies]
        answered = 0
        while not all(attack.done() for attack in attacks):
            assert list_models(stack).status_code == 200
            answered += 1
        assert {attack.result().status_code for attack in attacks} == {400}
    assert answered > 1


def list_models(stack):
    return httpx.get(f"{stack.url}/v1/models", headers={"anthropic-version": "2023-06-01"}, timeout=120)


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


@pytest.mark.parametrize("path", PATHS)
def test_a_signature_that_inflates_a_thousandfold_is_rejected_alone(stack, path):
    """This server makes none."""
    block = {"type": "thinking", "thinking": "hm", "signature": inflating(7, SECRET.encode())}
    before = peak_megabytes(stack.pid)
    with cpu_bound(2, stack.pid):
        reply = post(stack, path, body_of("up/text", {"messages": repeated(block, 60)}))
    assert_rejected(
        reply, "messages.1.content.0.signature: this signature holds more thinking than this server signs; "
    )
    assert peak_megabytes(stack.pid) < before + 50


def test_a_number_that_json_does_not_have_is_rejected_with_its_path(stack):
    """A native upstream gets it as it is."""
    tool = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"maximum": "NUMBER"}}}}
    bodies = {lane: body_of(LANES[lane], {"tools": [tool]}).replace(b'"NUMBER"', b"1e999") for lane in LANES}
    for path in PATHS:
        reply = post(stack, path, bodies["translated"])
        assert_rejected(reply, "tools.0.input_schema.properties.a.maximum: the number is too large for JSON; ")
    assert post(stack, "message", bodies["native"]).status_code == 404


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("path", PATHS)
def test_a_key_with_a_line_end_is_rejected_on_both_lanes(stack, lane, path):
    """Such a key cannot be sent in a header, and is an error of the client."""
    headers = {"x-llamastack-provider-data": json.dumps({"vllm_api_token": "sk-a\nx-evil: 1"})}
    reply = httpx.post(f"{stack.url}{PATHS[path]}", content=body_of(LANES[lane], {}), headers=headers, timeout=120)
    assert_rejected(reply, "x-llamastack-provider-data: the key for the backend ")
    assert "sk-a" not in reply.text


def test_a_body_that_stops_arriving_is_a_408(stack):
    """The connection is closed after it, and others are answered meanwhile."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=120) as client:
        client.sendall(b'POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model":')
        assert list_models(stack).status_code == 200
        reply = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head.lower()
    error = json.loads(body)["error"]
    assert error["type"] == "timeout_error"
    assert error["message"] == "The request body stopped arriving: no bytes for 3 seconds; send the request again"


def test_more_than_twenty_urls_are_rejected(stack, site):
    """The message names the first one that is too many."""
    images = [{"type": "image", "source": {"type": "url", "url": f"{site}/{number}"}} for number in range(21)]
    reply = post(stack, "message", body_of("up/text", {"messages": [{"role": "user", "content": images}]}))
    assert_rejected(reply, "messages.0.content.20.source.url: more than 20 URLs ")


def pdf(data):
    return {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}


def children(pid):
    """Return the child processes of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}


async def test_slow_pdfs_do_not_stop_the_pdfs_of_others_and_end_with_their_client(stack):
    """Four files of 100 kB held everybody up for a minute."""
    slow = encoded(bomb(48 << 20, shown("x") + b"\n"))
    assert len(slow) < 200_000
    async with httpx.AsyncClient(base_url=stack.url, timeout=120) as http:

        def send(*documents):
            body = body_of("up/text", {"messages": [{"role": "user", "content": list(documents)}]})
            return asyncio.ensure_future(http.post("/v1/messages", content=body))

        attack = send(*(pdf(slow + "\n" * number) for number in range(4)))
        while not children(stack.pid):
            await http.get("/v1/health")
        began = children(stack.pid)
        reply = await send(pdf(encoded(pdf_with("Hello"))))
        assert reply.status_code == 200
        assert not attack.done()
        attack.cancel()
        await asyncio.gather(attack, return_exceptions=True)
        while children(stack.pid) & began:
            await http.get("/v1/health")


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
