"""Requests to upstreams, over a client with a scripted transport."""

import asyncio
import socket
import ssl

import httpx
import pytest

from llama_stack_api_messages.errors import (
    ApiError,
    AuthenticationError,
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
    UpstreamError,
)
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.upstream import client as module
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import (
    MAX_RESPONSE_BYTES,
    UpstreamClient,
    UpstreamRequest,
    read_body,
)
from llama_stack_provider_messages.upstream.settings import NativeSettings

TARGET = Target("up/m", "up", "remote::vllm", "m")
OWN = b'{"type":"error","error":{"type":"odd_error","message":"key sk-sesame"}}'


class Body(httpx.AsyncByteStream):
    """A response body: parts, one of which may be an exception."""

    def __init__(self, *parts):
        self.parts = parts
        self.read = 0
        self.closed = False

    async def __aiter__(self):
        for part in self.parts:
            self.read += 1
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self):
        self.closed = True


class Scripted(httpx.AsyncBaseTransport):
    def __init__(self, response):
        self.response = response
        self.requests = []
        self.failures = []

    async def handle_async_request(self, request):
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        if isinstance(self.response, Exception):
            raise self.response
        return self.response


@pytest.fixture
async def script(monkeypatch):
    """Sets the response; records the requests, and the timeouts of the clients that were made."""

    class Script:
        made = ()
        transport = Scripted(httpx.Response(200, stream=Body(b"{}")))

        def respond(self, status=200, *parts, **headers):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self.body = Body(*parts)
            self.transport.response = httpx.Response(status, stream=self.body, headers=named)

        def make(self, network, connect_seconds, silence_seconds):
            self.made = (*self.made, (connect_seconds, silence_seconds))
            return httpx.AsyncClient(transport=self.transport, headers={"x-net": "n", "x-api-key": "net"}, timeout=7)

    made = Script()
    monkeypatch.setattr(module, "new_client", made.make)
    made.client = UpstreamClient()
    yield made
    await made.client.close()


def upstream(base_url="http://host/a", headers=None, secret=None, **settings):
    return Upstream("up", base_url, headers or {}, NativeSettings(**settings), secret=secret)


def upstream_request(headers=None, **options):
    return UpstreamRequest("/v1/messages", b'{"a": 1}', headers or {}, **options)


async def test_a_request_is_a_post_of_the_bytes(script):
    """To the path below the base URL, as JSON, with the timeouts of the client."""
    response = await script.client.send(TARGET, upstream(), upstream_request())
    (request,) = script.transport.requests
    assert (request.method, str(request.url), request.content) == ("POST", "http://host/a/v1/messages", b'{"a": 1}')
    assert (request.headers["content-type"], request.headers["content-length"]) == ("application/json", "8")
    assert request.headers["host"] == "host"
    assert request.extensions["timeout"] == httpx.Timeout(7).as_dict()
    await response.aclose()


@pytest.mark.parametrize(
    ("failures", "retries", "sent", "message"),
    [
        ([httpx.ConnectError("a"), httpx.ConnectTimeout("b")], 2, 3, None),
        ([httpx.ConnectError("a")], 0, 1, "cannot be reached"),
        ([httpx.ConnectError("a")] * 2, 1, 2, "cannot be reached"),
        ([httpx.ReadError("a")], 2, 1, "broke the connection"),
        ([httpx.RemoteProtocolError("a")], 2, 1, "broke the connection"),
        ([httpx.ReadTimeout("a")], 2, 1, "in time"),
    ],
)
async def test_only_a_request_without_a_connection_is_repeated(script, failures, retries, sent, message, monkeypatch):
    """As often as configured, by default never. Any other may have been received."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    script.transport.failures = failures
    client = UpstreamClient(retries)
    try:
        if message:
            with pytest.raises(MessagesError, match=message):
                await client.send(TARGET, upstream(), upstream_request())
        else:
            await (await client.send(TARGET, upstream(), upstream_request())).aclose()
    finally:
        await client.close()
    assert len(script.transport.requests) == sent


async def test_a_short_request_has_a_short_timeout(script):
    """No client made it."""
    await script.client.send(TARGET, upstream(), upstream_request(short=True))
    assert script.transport.requests[0].extensions["timeout"] == httpx.Timeout(5).as_dict()


async def test_the_upstreams_headers_win_over_the_clients_and_those_over_the_networks(script):
    """A key of the provider is never replaced."""
    headers = {"x-api-key": "client", "x-org": "client", "x-a": "client", "content-type": "text/plain"}
    await script.client.send(
        TARGET, upstream(headers={"x-api-key": "ours", "x-org": "ours"}), upstream_request(headers)
    )
    sent = script.transport.requests[0].headers
    assert [sent[name] for name in ("x-api-key", "x-org", "x-a", "x-net")] == ["ours", "ours", "client", "n"]
    assert len(sent.get_list("x-api-key")) == 1


@pytest.mark.parametrize(
    ("clients", "providers", "sent"),
    [("b1,b2", "b3", "b1,b2,b3"), ("b1", None, "b1"), (None, "b3", "b3"), ("", "b3", "b3"), (None, None, None)],
)
async def test_betas_of_client_and_provider_add_up(script, clients, providers, sent):
    """Those of the provider do not remove what the client needs."""
    ours, theirs = ({"anthropic-beta": value} if value is not None else {} for value in (providers, clients))
    await script.client.send(TARGET, upstream(headers=ours), upstream_request(theirs))
    assert script.transport.requests[0].headers.get("anthropic-beta") == sent


@pytest.mark.parametrize("query", ["beta=true", "a=1&a=2", "a=%2F%20", "flag", "a=b=c"])
async def test_the_query_is_sent_unchanged(script, query):
    """Undecoded."""
    await script.client.send(TARGET, upstream(), upstream_request(query=query))
    assert script.transport.requests[0].url.query.decode() == query


@pytest.mark.parametrize("query", ["a=\x7f", "a=\x01", "a=" + "x" * 70_000])
async def test_an_invalid_query_is_the_clients_error(script, query):
    """Not one of the base URL, which may be fine."""
    with pytest.raises(InvalidRequestError):
        await script.client.send(TARGET, upstream(), upstream_request(query=query))


@pytest.mark.parametrize("value", ["\xe9", "a\xffb", "\u4f60"])
async def test_a_header_that_is_not_ascii_does_not_fail_this_server(script, value):
    """Some clients send names in UTF-8 in tracing headers: they are passed on, dropped, or rejected."""
    try:
        await script.client.send(TARGET, upstream(), upstream_request({"baggage": value}))
    except MessagesError:
        return
    assert script.transport.requests


async def test_a_key_that_is_not_ascii_does_not_fail_this_server(script):
    """A client may send a key that was copied with a dash or a quotation mark."""
    try:
        await script.client.send(TARGET, upstream(headers={"authorization": "Bearer \u2013sk"}), upstream_request())
    except MessagesError as error:
        assert "sk" not in error.message  # noqa: PT017 - either outcome is fine


async def test_there_is_one_client_per_provider_and_timeouts(script):
    """A client has one set of timeouts."""
    for seconds in (None, None, 3.0):
        await script.client.send(TARGET, upstream(connect_seconds=seconds, silence_seconds=9), upstream_request())
    other = Target("x/m", "x", "remote::vllm", "m")
    await script.client.send(other, upstream(connect_seconds=3.0, silence_seconds=9), upstream_request())
    assert script.made == ((None, 9), (3.0, 9), (3.0, 9))


async def test_after_closing_a_new_client_is_made(script):
    """The stack may go on."""
    await script.client.send(TARGET, upstream(), upstream_request())
    await script.client.close()
    await script.client.send(TARGET, upstream(), upstream_request())
    assert len(script.made) == 2


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_an_accepted_response_is_not_read(script, status):
    """That is left to the caller."""
    script.respond(status, b"a", b"b")
    response = await script.client.send_ok(TARGET, upstream(), upstream_request())
    assert (response.status_code, script.body.read, script.body.closed) == (status, 0, False)
    assert await read_body(response, "up") == b"ab"
    assert script.body.closed


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
async def test_an_error_response_is_a_messages_error(script, status):
    """With its retry headers and without the key; the connection is released."""
    script.respond(status, OWN[:9], OWN[9:], retry_after="3", server="s", request_id="r")
    with pytest.raises(UpstreamError) as caught:
        await script.client.send_ok(TARGET, upstream(secret="sk-sesame"), upstream_request())
    error = caught.value
    assert (error.status_code, error.message) == (status, "key [redacted]")
    assert error.headers == {"retry-after": "3", "request-id": "r"}
    assert error.verbatim
    assert script.body.closed


async def test_an_error_may_have_this_servers_request_id(script):
    """If configured."""
    script.respond(400, OWN, request_id="r")
    with pytest.raises(UpstreamError) as caught:
        await script.client.send_ok(TARGET, upstream(own_request_id=True), upstream_request())
    assert (caught.value.headers, caught.value.verbatim) == ({}, False)


@pytest.mark.parametrize("status", [301, 302, 304, 307])
async def test_a_redirect_is_a_bad_gateway(script, status):
    """It is not followed, and its target is not shown."""
    script.respond(status, b"", location="http://secret")
    with pytest.raises(BadGatewayError) as caught:
        await script.client.send_ok(TARGET, upstream(), upstream_request())
    assert "secret" not in caught.value.message
    assert script.body.closed


async def test_an_endless_error_body_is_cut(script):
    """After about a megabyte."""
    script.respond(500, *[b"x" * 65_536] * 1000)
    with pytest.raises(UpstreamError):
        await script.client.send_ok(TARGET, upstream(), upstream_request())
    assert script.body.read == 17
    assert script.body.closed


@pytest.mark.parametrize("failure", [httpx.ReadError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
async def test_a_truncated_error_body_keeps_its_status(script, failure):
    """The status is more useful than the broken connection."""
    script.respond(429, b'{"error":', failure, retry_after="3")
    with pytest.raises(UpstreamError) as caught:
        await script.client.send_ok(TARGET, upstream(), upstream_request())
    assert (caught.value.status_code, caught.value.headers["retry-after"]) == (429, "3")
    assert script.body.closed


async def test_a_truncated_body_is_a_messages_error(script):
    """The connection is released."""
    script.respond(200, b"half", httpx.ReadError("at http://secret"))
    response = await script.client.send(TARGET, upstream(), upstream_request())
    with pytest.raises(BadGatewayError, match="'up'"):
        await read_body(response, "up")
    assert script.body.closed


@pytest.mark.parametrize("size", [65_536, MAX_RESPONSE_BYTES])
async def test_a_body_above_the_limit_is_an_error(script, size):
    """Nothing after the limit is read; the error names the backend and is not retryable."""
    script.respond(200, *[bytes(size)] * (MAX_RESPONSE_BYTES // size), b"!", b"never read")
    response = await script.client.send(TARGET, upstream(), upstream_request())
    with pytest.raises(BadGatewayError, match="'up' sent a response of more than 64 MiB") as caught:
        await read_body(response, "up")
    assert caught.value.retryable is False
    assert (script.body.read, script.body.closed) == (len(script.body.parts) - 1, True)


ENCODINGS = ["gzip", "GZIP", "deflate", "br", "zstd", "compress", "gzip, gzip", "odd one"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("call", ["send", "send_ok"])
async def test_a_compressed_response_is_refused_unread(script, call, encoding):
    """A thousand bytes of it can be a megabyte; the error names backend, encoding and remedy."""
    script.respond(200, b"x", content_encoding=encoding)
    with pytest.raises(BadGatewayError, match=r"'up' compressed its response .* switch compression off") as caught:
        await getattr(script.client, call)(TARGET, upstream(), upstream_request())
    assert f"content-encoding: {encoding.lower()})" in caught.value.message
    assert (script.body.read, script.body.closed, caught.value.retryable) == (0, True, False)


@pytest.mark.parametrize("encoding", ["gzip", "br", "<b>"])
@pytest.mark.parametrize("call", ["send", "send_ok"])
async def test_a_compressed_error_response_keeps_its_status(script, call, encoding):
    """Its headers are readable, and clients act on them; its body is not read."""
    script.respond(429, b"x", content_encoding=encoding, retry_after="3")
    with pytest.raises(UpstreamError, match="'up' compressed its response") as caught:
        await getattr(script.client, call)(TARGET, upstream(), upstream_request())
    assert (caught.value.status_code, caught.value.headers["retry-after"]) == (429, "3")
    assert "The status of the response is 429" in caught.value.message
    assert (script.body.read, script.body.closed) == (0, True)


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
async def test_the_encoding_identity_is_read(script, encoding):
    """It says that the body is not compressed."""
    script.respond(200, b"a", content_encoding=encoding)
    assert await read_body(await script.client.send_ok(TARGET, upstream(), upstream_request()), "up") == b"a"


async def test_a_dripping_error_body_is_used_as_far_as_it_arrived(script, monkeypatch):
    """The time for all of it is limited, however often a byte arrives."""
    monkeypatch.setattr(module, "ERROR_BODY_SECONDS", 0.05)

    class Dripping(Body):
        async def __aiter__(self):
            yield b'{"error": {"message": "come back later"}}'
            while True:
                await asyncio.sleep(0.01)
                yield b" "

    script.respond(429, retry_after="3")
    script.transport.response.stream = body = Dripping()
    with pytest.raises(UpstreamError, match="come back later") as caught:
        await script.client.send_ok(TARGET, upstream(), upstream_request())
    assert (caught.value.status_code, body.closed) == (429, True)


async def test_a_body_of_the_size_of_the_limit_is_read(script):
    """The limit itself is allowed."""
    script.respond(200, *[bytes(1 << 20)] * (MAX_RESPONSE_BYTES >> 20))
    response = await script.client.send(TARGET, upstream(), upstream_request())
    assert len(await read_body(response, "up")) == MAX_RESPONSE_BYTES


@pytest.mark.parametrize("base_url", ["None", "", "host", "ftp://host", "http://[::1", "//host"])
async def test_an_invalid_base_url_is_named(base_url):
    """The error is not retryable."""
    client = UpstreamClient()
    with pytest.raises(BadGatewayError, match="'up' cannot be reached: its base URL is not a valid URL") as caught:
        await client.send(TARGET, upstream(base_url), upstream_request())
    assert caught.value.retryable is False
    await client.close()


async def test_a_failed_connection_is_a_messages_error(script):
    """With its cause, for the log."""
    script.transport.response = httpx.ConnectError("at http://secret")
    with pytest.raises(BadGatewayError) as caught:
        await script.client.send(TARGET, upstream(), upstream_request())
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize(
    ("clients", "providers", "failure", "text"),
    [
        ({}, {"x-api-key": "sk-a\r\nx: y"}, AuthenticationError, "The key for the backend 'up' contains characters"),
        ({}, {"x-api-key": "sk-a\n"}, AuthenticationError, "The key for the backend 'up' contains characters"),
        ({"x-api-key": "c"}, {"x-api-key": "sk-a\n"}, AuthenticationError, "The key for the backend 'up' contains"),
        ({"x-tenant": "sk\xe9"}, {}, InvalidRequestError, "The request's header 'x-tenant' is not valid UTF-8"),
        ({"baggage": "sk\u4f60"}, {}, InvalidRequestError, "The request's header 'baggage' is not valid UTF-8"),
        ({"x-api-key": "sk\xff"}, {}, InvalidRequestError, "The request's header 'x-api-key' is not valid UTF-8"),
        ({}, {"X-Org": "sk\nb"}, ApiError, "In the configuration, the header 'x-org' for the backend 'up' is not"),
    ],
)
async def test_a_header_that_cannot_be_sent_is_named(clients, providers, failure, text):
    """Not its value, which may be a key; the connection is not at fault, and nothing is sent."""
    server = socket.create_server(("127.0.0.1", 0))
    client = UpstreamClient()
    url = f"http://127.0.0.1:{server.getsockname()[1]}"
    try:
        with pytest.raises(failure) as caught:
            await client.send(TARGET, upstream(url, providers), upstream_request(clients))
    finally:
        server.close()
        await client.close()
    assert caught.value.message.startswith(text)
    assert "sk" not in caught.value.message


@pytest.mark.parametrize("error", [FileNotFoundError("/x.pem"), ssl.SSLError("bad"), ValueError("proxy")])
async def test_invalid_network_settings_are_a_bad_gateway(monkeypatch, error):
    """A missing certificate file is noticed with the first request."""

    def fail(*_):
        raise error

    monkeypatch.setattr(module, "new_client", fail)
    with pytest.raises(BadGatewayError, match="'up' cannot be reached: its network settings") as caught:
        await UpstreamClient().send(TARGET, upstream(), upstream_request())
    assert not caught.value.retryable
    assert "pem" not in caught.value.message
