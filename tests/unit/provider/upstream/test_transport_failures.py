"""Every way in which a connection fails becomes one exception of httpx, and one message for users."""

import asyncio
import errno
import socket

import aiohttp
import httpx
import pytest

from llama_stack_provider_messages.errors.exceptions import connection_failure
from llama_stack_provider_messages.stack import Network
from llama_stack_provider_messages.upstream.connections import new_client
from support.certificates import Authority
from support.raw_server import CHUNKED, RawServer, answer, answers, chunk, proxy_script

BROKEN = "The backend 'up' broke the connection before its answer was complete"
LATE = "The backend 'up' did not answer in time"
UNREACHABLE = "The backend 'up' cannot be reached: "
TLS = UNREACHABLE + "TLS failed; check its certificate and the network settings of the provider"
INVALID = UNREACHABLE + "its base URL is not a valid URL"
PROXY = UNREACHABLE + "the proxy refused"


def free_port():
    """Return a port on which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


async def failure_of(url, network=None, connect=30.0, read=30.0, **options):
    """Return the exception of a request, and the message that a user gets."""
    async with new_client(network or Network(), connect, read) as client:
        with pytest.raises((httpx.HTTPError, httpx.InvalidURL)) as raised:
            await client.post(url, **{"content": b"{}", **options})
    message = connection_failure(raised.value, "up").message
    assert "127.0.0.1" not in message
    return raised.value, message


def sends(*parts, reset=False):
    """Return a script that reads a request, writes these bytes and closes the connection, or resets it."""

    async def script(peer):
        await peer.request()
        for part in parts:
            await peer.send(part)
        if reset:
            peer.reset()

    return script


LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
BROKEN_RESPONSES = {
    "no response": (sends(), httpx.RemoteProtocolError),
    "half a status line": (sends(b"HTTP/1.1 20"), httpx.RemoteProtocolError),
    "not http": (sends(b"nonsense\r\n\r\n"), httpx.RemoteProtocolError),
    "bad status line": (sends(b"HTTP/1.1 abc OK\r\n\r\n"), httpx.RemoteProtocolError),
    "half the headers": (sends(b"HTTP/1.1 200 OK\r\ncontent-len"), httpx.RemoteProtocolError),
    "bad header": (sends(b"HTTP/1.1 200 OK\r\n\x00: a\r\n\r\n"), httpx.RemoteProtocolError),
    "bad length": (sends(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), httpx.RemoteProtocolError),
    "huge header": (sends(b"HTTP/1.1 200 OK\r\na: " + b"x" * 200_000 + b"\r\n\r\n"), httpx.RemoteProtocolError),
    "endless header": (sends(b"HTTP/1.1 200 OK\r\na: " + b"x" * 200_000), httpx.RemoteProtocolError),
    "too many headers": (sends(b"HTTP/1.1 200 OK\r\n" + b"a: 1\r\n" * 20_000 + b"\r\n"), httpx.RemoteProtocolError),
    "length too short": (sends(LENGTH + b"abc"), httpx.RemoteProtocolError),
    "no body": (sends(LENGTH), httpx.RemoteProtocolError),
    "chunks without an end": (sends(CHUNKED + chunk(b"abc")), httpx.RemoteProtocolError),
    "half a chunk": (sends(CHUNKED + b"5\r\nab"), httpx.RemoteProtocolError),
    "bad chunk": (sends(CHUNKED + chunk(b"abc") + b"zz\r\n"), httpx.RemoteProtocolError),
    "reset": (sends(reset=True), httpx.ReadError),
    "reset in the head": (sends(b"HTTP/1.1 200 OK\r\n", reset=True), httpx.ReadError),
}


@pytest.mark.parametrize("name", BROKEN_RESPONSES)
async def test_a_broken_response(name):
    """The upstream broke the protocol or the connection; it was asked once."""
    script, expected = BROKEN_RESPONSES[name]
    async with RawServer(script) as server:
        error, message = await failure_of(server.url)
        assert (type(error), message) == (expected, BROKEN)
        assert len(server.requests) == 1


BROKEN_BODIES = {
    "length": (LENGTH, b"abc", b"", httpx.RemoteProtocolError),
    "length, reset": (LENGTH, b"abc", None, httpx.ReadError),
    "chunks": (CHUNKED, chunk(b"abc"), b"", httpx.RemoteProtocolError),
    "chunks, reset": (CHUNKED, chunk(b"abc"), None, httpx.ReadError),
    "half a chunk": (CHUNKED, b"5\r\nabc", b"", httpx.RemoteProtocolError),
    "bad chunk": (CHUNKED, chunk(b"abc"), b"zz\r\n", httpx.RemoteProtocolError),
    "bad chunk, connection stays": (CHUNKED, chunk(b"abc"), b"zz\r\n" * 5, httpx.RemoteProtocolError),
}


async def read_into(parts, body):
    async for part in body:
        parts.append(part)


@pytest.mark.parametrize("reading", ["waits", "slow"])
@pytest.mark.parametrize("name", BROKEN_BODIES)
async def test_a_body_that_breaks_off(name, reading):
    """What arrived before is returned first, also to a reader that was slower than the failure."""
    head, first, then, expected = BROKEN_BODIES[name]
    read = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(head + first)
        await read.wait()
        if then is None:
            peer.reset()
        else:
            await peer.send(then)
            if "stays" in name:
                await peer.until_gone()

    async with RawServer(script) as server, new_client(Network(), None, None) as client:
        request = client.build_request("POST", server.url, content=b"{}")
        response = await client.send(request, stream=True)
        parts, body = [], response.aiter_raw()
        if reading == "waits":
            parts.append(await anext(body))
        read.set()
        if reading == "slow":
            await server.until_open(0)
        with pytest.raises(httpx.TransportError) as raised:
            await read_into(parts, body)
        assert b"".join(parts) == b"abc"
        assert type(raised.value) is expected
        assert connection_failure(raised.value, "up").message == BROKEN
        await response.aclose()
        await server.until_open(0)


async def test_a_refused_connection():
    """Nothing listens on the port."""
    error, message = await failure_of(f"http://127.0.0.1:{free_port()}")
    assert type(error) is httpx.ConnectError
    assert message == UNREACHABLE + "it refused the connection; is it running?"


async def test_a_refused_connection_of_a_name_with_two_addresses():
    """Both refuse."""
    error, message = await failure_of(f"http://localhost:{free_port()}")
    assert type(error) is httpx.ConnectError
    assert message == UNREACHABLE + "it refused the connection; is it running?"


async def test_an_unknown_host():
    """Its name has no address."""
    error, message = await failure_of("http://name.invalid")
    assert type(error) is httpx.ConnectError
    assert message == UNREACHABLE + "its host name is not known"


async def test_an_unreachable_network(monkeypatch):
    """The system has no route."""

    async def unreachable(*_args):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", unreachable)
    error, message = await failure_of("http://192.0.2.1")
    assert type(error) is httpx.ConnectError
    assert message == UNREACHABLE + "no connection"


async def test_a_connection_that_is_not_accepted():
    """The queue of the listening socket is full, so that the handshake does not end."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        first.connect(full.getsockname())
        error, message = await failure_of(f"http://127.0.0.1:{full.getsockname()[1]}", connect=0.2)
        assert (type(error), message) == (httpx.ConnectTimeout, LATE)


async def test_a_tls_handshake_that_does_not_end():
    """It is part of connecting."""
    async with RawServer(lambda peer: peer.until_gone()) as server:
        error, message = await failure_of(server.url.replace("http", "https"), connect=0.2)
        assert (type(error), message) == (httpx.ConnectTimeout, LATE)
        await server.until_open(0)


async def test_a_name_that_is_not_resolved_in_time(monkeypatch):
    """It is part of connecting, too."""

    async def never(*_args, **_options):
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    error, message = await failure_of("http://slow.invalid", connect=0.2)
    assert (type(error), message) == (httpx.ConnectTimeout, LATE)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", LENGTH, LENGTH + b"abc", CHUNKED + chunk(b"abc")])
async def test_a_silent_upstream(sent):
    """Before its response, and in it; the connection is closed."""

    async def script(peer):
        await peer.request()
        await peer.send(sent)
        await peer.until_gone()

    async with RawServer(script) as server:
        error, message = await failure_of(server.url, read=0.2)
        assert (type(error), message) == (httpx.ReadTimeout, LATE)
        await server.until_open(0)


async def test_an_upstream_that_does_not_read():
    """The request fills the buffers of both sides; the connection is closed without waiting for them."""

    async def script(peer):
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with RawServer(script) as server:
        timeout = httpx.Timeout(30.0, write=0.2)
        error, message = await failure_of(server.url, content=b"x" * 2**25, timeout=timeout)
        assert (type(error), message) == (httpx.WriteTimeout, LATE)


async def test_a_certificate_that_is_not_trusted(tmp_path):
    """The message of the exception names the problem."""
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with RawServer(answers(), context) as server:
        error, message = await failure_of(server.url)
        assert (type(error), message) == (httpx.ConnectError, TLS)
        assert "unable to get local issuer certificate" in str(error)


async def test_a_certificate_for_another_host(tmp_path):
    """The message of the exception names the problem."""
    authority = Authority(tmp_path)
    async with RawServer(answers(), authority.server_context("other.example")) as server:
        async with new_client(Network({"verify": context_of(authority)}), None, None) as client:
            with pytest.raises(httpx.ConnectError, match="IP address mismatch") as raised:
                await client.get(server.url)
        assert connection_failure(raised.value, "up").message == TLS
        assert server.requests == []


def context_of(authority):
    """Return the TLS settings of a client that trusts an authority."""
    context = httpx.create_ssl_context(verify=True, trust_env=False)
    context.load_verify_locations(authority.file)
    return context


async def test_a_server_that_does_not_speak_tls():
    """Its bytes are no handshake."""

    async def script(peer):
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawServer(script) as server:
        error, message = await failure_of(server.url.replace("http", "https"))
        assert (type(error), message) == (httpx.ConnectError, TLS)


async def test_a_server_that_closes_in_the_tls_handshake():
    """Without an alert."""

    async def script(peer):
        await peer.reader.read(1)

    async with RawServer(script) as server:
        error, message = await failure_of(server.url.replace("http", "https"))
        assert type(error) is httpx.ConnectError
        assert message.startswith(UNREACHABLE)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "//127.0.0.1/v1", "/v1", "http:///v1", "ws://127.0.0.1/"])
async def test_a_url_that_is_not_http(url):
    """Nothing is sent."""
    error, message = await failure_of(url)
    assert (type(error), message) == (httpx.UnsupportedProtocol, INVALID)


async def test_an_address_in_a_form_of_old():
    """Only addresses with four numbers are taken: others are read differently by different systems."""
    error, message = await failure_of(f"http://127.1:{free_port()}")
    assert (type(error), message) == (httpx.UnsupportedProtocol, INVALID)


@pytest.mark.parametrize("value", [b"a\nb", b"a\r\nb: c", b"a\x00", b"\x7f", b" a", b"a ", b"\t", b"\xe9"])
async def test_a_header_that_cannot_be_sent(value):
    """No connection is made; the value, which may be a key, is not in the message."""
    async with RawServer(answers()) as server, new_client(Network(), None, None) as client:
        request = httpx.Request("POST", server.url, headers=[(b"x-api-key", value)])
        with pytest.raises(httpx.LocalProtocolError) as raised:
            await client.send(request)
        assert repr(value) not in str(raised.value)
        assert server.peers == []


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"\xe9", b"a\n"])
async def test_a_header_name_that_cannot_be_sent(name):
    """No connection is made."""
    async with RawServer(answers()) as server, new_client(Network(), None, None) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.send(httpx.Request("POST", server.url, headers=[(name, b"a")]))
        assert server.peers == []


@pytest.mark.parametrize("target", ["http://upstream.invalid", "https://upstream.invalid"])
async def test_a_proxy_that_refuses_the_connection(target):
    """Its port is closed."""
    network = Network({}, {"all://": f"http://127.0.0.1:{free_port()}"})
    error, message = await failure_of(target, network)
    assert (type(error), message) == (httpx.ProxyError, PROXY)


@pytest.mark.parametrize("target", ["http://upstream.invalid", "https://upstream.invalid"])
async def test_a_proxy_with_an_unknown_host_name(target):
    """The name of the upstream is resolved by the proxy only."""
    error, message = await failure_of(target, Network({}, {"all://": "http://proxy.invalid:1"}))
    assert (type(error), message) == (httpx.ProxyError, PROXY)


@pytest.mark.parametrize("status", [b"407 Proxy Authentication Required", b"403 Forbidden", b"502 Bad Gateway"])
async def test_a_proxy_that_refuses_the_tunnel(status):
    """The message of the exception has its status."""
    async with RawServer(answers(answer(b"no", status=status))) as proxy:
        error, message = await failure_of("https://upstream.invalid", Network({}, {"all://": proxy.url}))
        assert (type(error), message) == (httpx.ProxyError, PROXY)
        assert str(error) == status.decode()
        await proxy.until_open(0)


async def test_a_proxy_that_wants_credentials_for_a_request_without_tls():
    """Its status is that of the response."""
    async with (
        RawServer(proxy_script(authorization=b"Basic eA==")) as proxy,
        new_client(Network({}, {"all://": proxy.url}), None, None) as client,
    ):
        assert (await client.get("http://upstream.invalid")).status_code == 407


async def test_a_proxy_that_closes_the_connection():
    """Instead of a response to CONNECT."""
    async with RawServer(sends()) as proxy:
        error, message = await failure_of("https://upstream.invalid", Network({}, {"all://": proxy.url}))
        assert (type(error), message) == (httpx.RemoteProtocolError, BROKEN)


async def test_a_silent_proxy():
    """A tunnel is part of connecting."""
    async with RawServer(lambda peer: peer.until_gone()) as proxy:
        network = Network({}, {"all://": proxy.url})
        error, message = await failure_of("https://upstream.invalid", network, connect=0.2)
        assert (type(error), message) == (httpx.ConnectTimeout, LATE)
        await proxy.until_open(0)


async def test_an_upstream_that_cannot_be_reached_by_the_proxy(tmp_path):
    """TLS inside of the tunnel fails as it does without."""
    context = Authority(tmp_path).server_context("127.0.0.1")
    async with RawServer(answers(), context) as server, RawServer(proxy_script()) as proxy:
        error, message = await failure_of(server.url, Network({}, {"all://": proxy.url}))
        assert (type(error), message) == (httpx.ConnectError, TLS)


def test_every_exception_of_aiohttp_has_one_of_httpx():
    """Also those of later versions."""
    from llama_stack_provider_messages.upstream.transport import _FAILURES

    kinds = {name: getattr(aiohttp.client_exceptions, name) for name in aiohttp.client_exceptions.__all__}
    for name, kind in kinds.items():
        if name == "WSMessageTypeError":  # of web sockets
            continue
        assert any(issubclass(kind, cause) for cause, _ in _FAILURES), name
    for number, (cause, _) in enumerate(_FAILURES):
        assert not any(issubclass(cause, earlier) for earlier, _ in _FAILURES[:number]), cause
