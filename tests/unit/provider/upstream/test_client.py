"""Exchanges with upstreams, over a client whose transport is a script."""

import socket
import ssl

import httpx
import pytest

from llama_stack_api_messages.errors import (
    AuthenticationError,
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
    UpstreamError,
)
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.upstream import client as module
from llama_stack_provider_messages.upstream.address import NativeSettings, Upstream
from llama_stack_provider_messages.upstream.client import (
    MAX_RESPONSE_BYTES,
    UpstreamClient,
    UpstreamRequest,
    read_body,
)

TARGET = Target("up/m", "up", "remote::vllm", "m")
OWN = b'{"type":"error","error":{"type":"odd_error","message":"key sk-sesame"}}'


class Body(httpx.AsyncByteStream):
    """Parts, one of which may be a failure."""

    def __init__(self, *parts):
        self.parts = parts
        self.given = 0
        self.closed = False

    async def __aiter__(self):
        for part in self.parts:
            self.given += 1
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self):
        self.closed = True


class Scripted(httpx.AsyncBaseTransport):
    def __init__(self, answer):
        self.answer = answer
        self.requests = []

    async def handle_async_request(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def script(monkeypatch):
    """Sets the answer; holds the requests, and what clients were made."""

    class Script:
        made = ()
        transport = Scripted(httpx.Response(200, stream=Body(b"{}")))

        def answer(self, status=200, *parts, **headers):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self.body = Body(*parts)
            self.transport.answer = httpx.Response(status, stream=self.body, headers=named)

        def make(self, network, connect_seconds, silence_seconds):
            self.made = (*self.made, (connect_seconds, silence_seconds))
            return httpx.AsyncClient(transport=self.transport, headers={"x-net": "n", "x-api-key": "net"}, timeout=7)

    made = Script()
    monkeypatch.setattr(module, "new_client", made.make)
    made.exchanges = UpstreamClient()
    yield made
    await made.exchanges.close()


def upstream(base_url="http://host/a", headers=None, secret=None, **settings):
    return Upstream("up", base_url, headers or {}, NativeSettings(**settings), secret=secret)


def question(headers=None, **options):
    return UpstreamRequest("/v1/messages", b'{"a": 1}', headers or {}, **options)


async def test_a_question_is_a_post_of_the_bytes(script):
    """To the path below the base URL, as JSON, with the times of the client."""
    response = await script.exchanges.send(TARGET, upstream(), question())
    (request,) = script.transport.requests
    assert (request.method, str(request.url), request.content) == ("POST", "http://host/a/v1/messages", b'{"a": 1}')
    assert (request.headers["content-type"], request.headers["content-length"]) == ("application/json", "8")
    assert request.headers["host"] == "host"
    assert request.extensions["timeout"] == httpx.Timeout(7).as_dict()
    await response.aclose()


async def test_a_short_question_does_not_wait_long(script):
    """It is not the client's own."""
    await script.exchanges.send(TARGET, upstream(), question(short=True))
    assert script.transport.requests[0].extensions["timeout"] == httpx.Timeout(5).as_dict()


async def test_the_upstreams_headers_win_over_the_clients_and_those_over_the_networks(script):
    """A key of the provider is never replaced."""
    headers = {"x-api-key": "client", "x-org": "client", "x-a": "client", "content-type": "text/plain"}
    await script.exchanges.send(TARGET, upstream(headers={"x-api-key": "ours", "x-org": "ours"}), question(headers))
    sent = script.transport.requests[0].headers
    assert [sent[name] for name in ("x-api-key", "x-org", "x-a", "x-net")] == ["ours", "ours", "client", "n"]
    assert len(sent.get_list("x-api-key")) == 1


@pytest.mark.parametrize(
    ("clients", "providers", "sent"),
    [("b1,b2", "b3", "b1,b2,b3"), ("b1", None, "b1"), (None, "b3", "b3"), ("", "b3", "b3"), (None, None, None)],
)
async def test_betas_of_client_and_provider_add_up(script, clients, providers, sent):
    """The provider's switch something on; they do not take away what the client needs."""
    ours, theirs = ({"anthropic-beta": value} if value is not None else {} for value in (providers, clients))
    await script.exchanges.send(TARGET, upstream(headers=ours), question(theirs))
    assert script.transport.requests[0].headers.get("anthropic-beta") == sent


@pytest.mark.parametrize("query", ["beta=true", "a=1&a=2", "a=%2F%20", "flag", "a=b=c"])
async def test_the_query_goes_along(script, query):
    """As it was sent."""
    await script.exchanges.send(TARGET, upstream(), question(query=query))
    assert script.transport.requests[0].url.query.decode() == query


@pytest.mark.parametrize("query", ["a=\x7f", "a=\x01", "a=" + "x" * 70_000])
async def test_a_query_that_is_none_is_not_the_fault_of_the_base_url(script, query):
    """It is the client's, who is told; the backend may be fine."""
    with pytest.raises(InvalidRequestError):
        await script.exchanges.send(TARGET, upstream(), question(query=query))


@pytest.mark.parametrize("value", ["\xe9", "a\xffb", "\u4f60"])
async def test_a_header_that_is_not_ascii_is_no_failure_of_this_server(script, value):
    """Tracing headers of some clients hold names in UTF-8: passed on, left out, or refused."""
    try:
        await script.exchanges.send(TARGET, upstream(), question({"baggage": value}))
    except MessagesError:
        return
    assert script.transport.requests


async def test_a_key_that_is_not_ascii_is_no_failure_of_this_server(script):
    """A client may bring its own, copied with a dash or a quotation mark too many."""
    try:
        await script.exchanges.send(TARGET, upstream(headers={"authorization": "Bearer \u2013sk"}), question())
    except MessagesError as error:
        assert "sk" not in error.message  # noqa: PT017 - either outcome is fine


async def test_there_is_one_client_per_provider_and_times(script):
    """Others would have other times."""
    for seconds in (None, None, 3.0):
        await script.exchanges.send(TARGET, upstream(connect_seconds=seconds, silence_seconds=9), question())
    other = Target("x/m", "x", "remote::vllm", "m")
    await script.exchanges.send(other, upstream(connect_seconds=3.0, silence_seconds=9), question())
    assert script.made == ((None, 9), (3.0, 9), (3.0, 9))


async def test_closed_connections_are_made_anew(script):
    """The stack may go on."""
    await script.exchanges.send(TARGET, upstream(), question())
    await script.exchanges.close()
    await script.exchanges.send(TARGET, upstream(), question())
    assert len(script.made) == 2


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_what_was_accepted_is_still_to_be_read(script, status):
    """Nothing of it has been asked for."""
    script.answer(status, b"a", b"b")
    response = await script.exchanges.send_ok(TARGET, upstream(), question())
    assert (response.status_code, script.body.given, script.body.closed) == (status, 0, False)
    assert await read_body(response, "up") == b"ab"
    assert script.body.closed


@pytest.mark.parametrize("status", [400, 404, 429, 500, 529])
async def test_what_was_refused_is_an_error_of_the_protocol(script, status):
    """With its hints and without the key; its connection is given back."""
    script.answer(status, OWN[:9], OWN[9:], retry_after="3", server="s", request_id="r")
    with pytest.raises(UpstreamError) as caught:
        await script.exchanges.send_ok(TARGET, upstream(secret="sk-sesame"), question())
    error = caught.value
    assert (error.status_code, error.message) == (status, "key [redacted]")
    assert error.headers == {"retry-after": "3", "request-id": "r"}
    assert error.verbatim
    assert script.body.closed


async def test_the_request_id_of_a_refusal_may_be_ours(script):
    """Where that is configured."""
    script.answer(400, OWN, request_id="r")
    with pytest.raises(UpstreamError) as caught:
        await script.exchanges.send_ok(TARGET, upstream(own_request_id=True), question())
    assert (caught.value.headers, caught.value.verbatim) == ({}, False)


@pytest.mark.parametrize("status", [301, 302, 304, 307])
async def test_a_redirect_is_a_bad_gateway(script, status):
    """It is neither followed nor shown."""
    script.answer(status, b"", location="http://secret")
    with pytest.raises(BadGatewayError) as caught:
        await script.exchanges.send_ok(TARGET, upstream(), question())
    assert "secret" not in caught.value.message
    assert script.body.closed


async def test_of_a_refusal_without_end_only_the_beginning_is_read(script):
    """A megabyte says enough."""
    script.answer(500, *[b"x" * 65_536] * 1000)
    with pytest.raises(UpstreamError):
        await script.exchanges.send_ok(TARGET, upstream(), question())
    assert script.body.given == 17
    assert script.body.closed


@pytest.mark.parametrize("failure", [httpx.ReadError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])
async def test_a_refusal_that_breaks_off_keeps_its_status(script, failure):
    """That is worth more than its explanation."""
    script.answer(429, b'{"error":', failure, retry_after="3")
    with pytest.raises(UpstreamError) as caught:
        await script.exchanges.send_ok(TARGET, upstream(), question())
    assert (caught.value.status_code, caught.value.headers["retry-after"]) == (429, "3")
    assert script.body.closed


async def test_a_body_that_breaks_off_is_an_error_of_the_protocol(script):
    """Half of it is nothing; its connection is given back."""
    script.answer(200, b"half", httpx.ReadError("at http://secret"))
    response = await script.exchanges.send(TARGET, upstream(), question())
    with pytest.raises(BadGatewayError, match="'up'"):
        await read_body(response, "up")
    assert script.body.closed


@pytest.mark.parametrize("size", [65_536, MAX_RESPONSE_BYTES])
async def test_an_answer_without_end_is_given_up(script, size):
    """Behind its limit nothing is read; asking again would not help, and the error says whose it is."""
    script.answer(200, *[bytes(size)] * (MAX_RESPONSE_BYTES // size), b"!", b"never read")
    response = await script.exchanges.send(TARGET, upstream(), question())
    with pytest.raises(BadGatewayError, match="'up' sent a response of more than 64 MiB") as caught:
        await read_body(response, "up")
    assert caught.value.retryable is False
    assert (script.body.given, script.body.closed) == (len(script.body.parts) - 1, True)


async def test_an_answer_that_is_compressed_twice_is_refused(script):
    """A thousand bytes of it can be gigabytes."""
    script.answer(200, b"x", content_encoding="gzip, gzip")
    response = await script.exchanges.send(TARGET, upstream(), question())
    with pytest.raises(BadGatewayError, match="'up' compressed its response twice"):
        await read_body(response, "up")
    assert (script.body.given, script.body.closed) == (0, True)


async def test_an_answer_as_long_as_the_limit_is_whole(script):
    """The limit is what may be, not what is too much."""
    script.answer(200, *[bytes(1 << 20)] * (MAX_RESPONSE_BYTES >> 20))
    response = await script.exchanges.send(TARGET, upstream(), question())
    assert len(await read_body(response, "up")) == MAX_RESPONSE_BYTES


@pytest.mark.parametrize("base_url", ["None", "", "host", "ftp://host", "http://[::1", "//host"])
async def test_a_base_url_that_is_none_is_the_operators_mistake(base_url):
    """Told as such, and not to be tried again."""
    exchanges = UpstreamClient()
    with pytest.raises(BadGatewayError, match="'up' cannot be reached: its base URL is not a valid URL") as caught:
        await exchanges.send(TARGET, upstream(base_url), question())
    assert caught.value.retryable is False
    await exchanges.close()


async def test_what_cannot_be_connected_is_an_error_of_the_protocol(script):
    """With its cause, for the log."""
    script.transport.answer = httpx.ConnectError("at http://secret")
    with pytest.raises(BadGatewayError) as caught:
        await script.exchanges.send(TARGET, upstream(), question())
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


@pytest.mark.parametrize("key", ["sk-a\r\nx: y", "sk-a\n"])
async def test_a_key_with_a_line_end_is_named_as_such(key):
    """Keys are read from files; the connection is not to blame, and nothing else is sent."""
    server = socket.create_server(("127.0.0.1", 0))
    exchanges = UpstreamClient()
    url = f"http://127.0.0.1:{server.getsockname()[1]}"
    try:
        with pytest.raises(AuthenticationError, match="'up' contains characters") as caught:
            await exchanges.send(TARGET, Upstream("up", url, {"x-api-key": key}, NativeSettings()), question())
    finally:
        server.close()
        await exchanges.close()
    assert "sk" not in caught.value.message


@pytest.mark.parametrize("error", [FileNotFoundError("/x.pem"), ssl.SSLError("bad"), ValueError("proxy")])
async def test_network_settings_that_do_not_work_are_a_bad_gateway(monkeypatch, error):
    """A certificate that is not there is found out with the first request."""

    def fail(*_):
        raise error

    monkeypatch.setattr(module, "new_client", fail)
    with pytest.raises(BadGatewayError, match="'up' cannot be reached: its network settings") as caught:
        await UpstreamClient().send(TARGET, upstream(), question())
    assert not caught.value.retryable
    assert "pem" not in caught.value.message
