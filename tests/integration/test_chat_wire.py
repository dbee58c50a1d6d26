"""How the translated lane sends chat completions: from here, or through the SDK in the platform's provider."""

import json
from collections.abc import Iterator

import pytest

from support.chat_upstream import USAGE, chunk, completion, sse
from support.native_upstream import Reply, open_request, post, request_body
from support.scripted_upstream import CUT, HANG, UPSTREAM_KEY, ScriptedUpstream, responds, streamed
from support.stack_process import StackProcess, run_config, vllm

ENV = {
    "LLAMA_STACK_LOG_FORMAT": "json",
    "OPENAI_ORG_ID": "org-1",
    "OPENAI_PROJECT_ID": "proj-1",
    "HTTP_PROXY": "http://127.0.0.1:9",  # refuses connections
    "NO_PROXY": "127.0.0.1",
}
PATH = "/v1/chat/completions"
UNSENDABLE = ("wire-header", "sdk-header", "native-header")
"""Providers that are configured with a header that is not ASCII."""
REFUSAL = {"error": {"message": f"Slow down. Key {UPSTREAM_KEY}", "type": "rate_limit"}}
OK = responds(json.dumps(completion({"content": "Hello"})).encode())
HELLO = [
    sse(chunk({"role": "assistant", "content": ""})),
    sse(chunk({"content": "Hel"})),
    sse(chunk({"content": "lo"})),
]
STOP, DONE = sse(chunk({}, "stop")), b"data: [DONE]\n\n"


class Stack:
    """A stack whose providers post to paths of one upstream: ``up``, ``sdk`` (``wire: off``) and ``openai``."""

    def __init__(self, upstream: ScriptedUpstream, process: StackProcess) -> None:
        self.upstream = upstream
        self.url = process.url

    def play(self, script, to="up"):
        self.upstream.scripts[f"/{to}{PATH}"] = script

    def requests(self, to="up"):
        return [request for request in self.upstream.requests if request.path == f"/{to}{PATH}"]

    async def send(self, script, to="up", **fields) -> tuple[Reply, list]:
        """Send a request; return the reply, and the requests that the upstream got for it."""
        self.play(script, to)
        before = len(self.requests(to))
        reply = await post(self.url, request_body(f"{to}/m", **fields))
        return reply, self.requests(to)[before:]

    def open(self, script, to="up", **fields):
        self.play(script, to)
        return open_request(self.url, request_body(f"{to}/m", **fields))


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    with ScriptedUpstream() as upstream:
        names = ("up", "sdk", "openai")
        providers = [vllm(f"{upstream.address}/{name}/v1", name) for name in names]
        providers[2]["provider_type"] = "remote::openai"
        providers[2]["config"] = {"base_url": f"{upstream.address}/openai/v1", "api_key": "sk-own"}
        unsendable = [vllm(f"{upstream.address}/up/v1", name) for name in UNSENDABLE]
        for entry in unsendable:
            entry["config"]["network"] = {"headers": {"X-Org": "caf\xe9"}}
        here = vllm(f"{upstream.address.replace('127.0.0.1', '0.0.0.0')}/here/v1", "here")
        lanes = {**dict.fromkeys(("here", *names, *UNSENDABLE), "off"), "native-header": "on"}
        messages = {"native": lanes, "wire": {"sdk": "off", "sdk-header": "off"}}
        with StackProcess(
            run_config([*providers, *unsendable, here], messages), tmp_path_factory.mktemp("wire"), ENV
        ) as process:
            yield Stack(upstream, process)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_response_reaches_the_client_at_once(stack, stream):
    """With its status and advice, after one request; the SDK would repeat it, and a stream would begin with 200."""
    script = responds(json.dumps(REFUSAL).encode(), 429, retry_after="7", x_ratelimit_remaining_requests="3")
    reply, requests = await stack.send(script, stream=stream)
    assert reply.status == 429
    assert reply.json["error"] == {"type": "rate_limit_error", "message": "Slow down. Key [redacted]"}
    assert reply.headers["retry-after"] == "7"
    assert reply.headers["anthropic-ratelimit-requests-remaining"] == "3"
    assert len(requests) == 1


async def test_the_request_has_the_address_key_and_model_of_the_provider(stack):
    """No header of an SDK."""
    reply, (request,) = await stack.send(OK)
    assert reply.json["content"][0]["text"] == "Hello"
    assert request.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert request.json["model"] == "m"
    assert not [name for name in request.headers if name.startswith(("x-stainless", "openai-"))]


async def test_a_proxy_of_the_environment_is_not_used_for_this_machine(stack):
    """By whatever address: NO_PROXY has another one."""
    reply, requests = await stack.send(OK, "here")
    assert (reply.status, len(requests)) == (200, 1)


@pytest.mark.parametrize("to", UNSENDABLE)
async def test_a_configured_header_that_cannot_be_sent_is_named(stack, to):
    """On both lanes, and through the SDK; its operator has to correct it."""
    reply, requests = await stack.send(OK, to)
    assert (reply.status, requests) == (500, [])
    assert reply.json["error"]["message"].startswith(f"In the configuration, the header 'X-Org' for the backend '{to}'")


async def test_openai_gets_the_organisation_of_the_environment(stack):
    """As from its SDK; other backends do not."""
    _, (request,) = await stack.send(OK, "openai")
    assert (request.headers["openai-organization"], request.headers["openai-project"]) == ("org-1", "proj-1")


async def test_wire_off_sends_through_the_provider(stack):
    """With the headers of its SDK."""
    reply, (request,) = await stack.send(OK, "sdk")
    assert reply.json["content"][0]["text"] == "Hello"
    assert "x-stainless-lang" in request.headers


@pytest.mark.parametrize("to", ["up", "sdk"])
async def test_both_ways_give_the_same_stream(stack, to):
    """The events, and the usage."""
    stream = streamed(*HELLO, STOP, sse(chunk(usage=USAGE)), DONE)
    reply, (request,) = await stack.send(stream, to, stream=True)
    events = [json.loads(line[6:]) for line in reply.body.decode().splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [event["delta"]["text"] for event in events[2:4]] == ["Hel", "lo"]
    assert events[5]["usage"]["output_tokens"] == USAGE["completion_tokens"]
    assert request.json["stream"] is True


async def test_a_connection_is_used_again(stack):
    """For whole replies and for streams, one after the other."""
    scripts = [(OK, False), (streamed(*HELLO, STOP, DONE), True)] * 2
    used = [(await stack.send(script, stream=stream))[1][0].connection for script, stream in scripts]
    assert len(set(used)) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_redirect_is_refused(stack, stream):
    """The key would go along."""
    reply, requests = await stack.send(responds(b"", 307, location="http://127.0.0.1:1/"), stream=stream)
    assert reply.status == 502
    assert "redirect (307); set base_url" in reply.json["error"]["message"]
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("chunks", "stop_reason"),
    [
        ([*HELLO, STOP, DONE], "end_turn"),
        ([*HELLO, STOP], "end_turn"),
        ([*HELLO, DONE], "end_turn"),
        ([*HELLO, DONE.rstrip()], "end_turn"),
        (HELLO, None),
        ([], None),
        ([DONE], None),
    ],
)
async def test_a_stream_ends_with_a_finish_reason_or_a_mark(stack, chunks, stop_reason):
    """Without both it is truncated, and without content it is no reply: an error."""
    reply, _ = await stack.send(streamed(*chunks), stream=True)
    last = json.loads(reply.body.decode().rstrip().rpartition("data: ")[2])
    assert last["type"] == ("message_stop" if stop_reason else "error")
    assert not stop_reason or f'"stop_reason":"{stop_reason}"' in reply.body.decode()


@pytest.mark.parametrize("fields", [{"stream": True}, {"stop_sequences": ["never"]}])
@pytest.mark.parametrize(
    "chunks",
    [
        [*HELLO, STOP, DONE + b"data: {}\n\n"],
        [*HELLO, STOP, DONE, b"data: {bad\n\n"],
        [*HELLO, STOP, b"data: [DONE]\n"],
    ],
)
async def test_the_reply_ends_at_the_mark_although_the_backend_keeps_the_stream_open(stack, chunks, fields):
    """Whatever follows it is not read."""
    reply, _ = await stack.send(streamed(*chunks, end=HANG), **fields)
    assert reply.status == 200
    assert '"stop_reason":"end_turn"' in reply.body.decode()
    assert '"error"' not in reply.body.decode()


async def test_a_connection_that_breaks_after_the_finish_reason_does_not_matter(stack):
    """Nothing of the message is missing."""
    reply, _ = await stack.send(streamed(*HELLO, STOP, end=CUT), stream=True)
    assert reply.body.endswith(b'data: {"type":"message_stop"}\n\n')


async def test_a_whole_reply_that_is_read_as_a_stream_has_a_limit(stack):
    """A request with stop sequences; the backend does not end its answer."""
    piece = sse(chunk({"content": "x" * 1_000_000}))

    async def endless(answer):
        await answer.head()
        while True:
            await answer.chunk(piece)

    reply, _ = await stack.send(endless, stop_sequences=["never"])
    assert (reply.status, reply.json["error"]["message"]) == (
        502,
        "The backend 'up' sent a response of more than 64 MiB; request less",
    )


async def test_a_connection_that_breaks_ends_the_stream_with_an_error(stack):
    """After the text that has arrived."""
    reply, _ = await stack.send(streamed(*HELLO, end=CUT), stream=True)
    assert b'"text":"lo"' in reply.body
    last = json.loads(reply.body.decode().rstrip().rpartition("data: ")[2])
    assert last["error"]["message"] == "The backend 'up' broke the connection before its answer was complete"


@pytest.mark.parametrize(
    ("body", "kind", "status", "message"),
    [
        (b'{"error": {"message": "No credit", "code": 429}}', "application/json", 429, "No credit"),
        (b"<html>", "text/html", 502, "The backend 'up' did not answer with a chat completion"),
        (b"{}", "application/json", 502, "The backend 'up' did not answer with a chat completion"),
        (b"[" * 100_000, "application/json", 502, "The backend 'up' did not answer with a chat completion"),
    ],
)
async def test_a_stream_that_is_none_is_an_error_with_a_status(stack, body, kind, status, message):
    """The error in its body, if there is one."""
    reply, _ = await stack.send(responds(body, kind=kind), stream=True)
    assert (reply.status, reply.json["error"]["message"]) == (status, message)


async def test_the_first_event_leaves_before_the_rest_of_what_was_read(stack):
    """Each of the two is one write."""
    stream = streamed(*HELLO, STOP, DONE, at_once=True)
    async with stack.open(stream, stream=True) as request:
        reply = await request.rest()
    assert reply.chunks[0].startswith(b"event: message_start\n")
    assert reply.chunks[0].count(b"event: ") == 1


async def test_a_client_that_leaves_closes_the_connection_to_the_backend(stack):
    """So the backend stops generating."""
    async with stack.open(streamed(*HELLO, end=HANG), stream=True) as request:
        await request.head()
        await request.read_until(b'"lo"')
        request.disconnect()
    assert stack.requests()[-1].closed.wait(60)
