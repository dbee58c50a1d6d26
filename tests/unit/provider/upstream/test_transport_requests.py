"""What goes over the wire: requests byte for byte, each once, over connections that are kept, reused and limited."""

import asyncio
import resource

import httpx
import pytest

from llama_stack_provider_messages.stack import Network
from llama_stack_provider_messages.upstream.connections import new_client
from llama_stack_provider_messages.upstream.transport import AiohttpTransport
from support.raw_server import CHUNKED, RawServer, answer, answers, chunk

HEADERS = [
    (b"X-First", b"1"),
    (b"x-empty", b""),
    (b"x-twice", b"a"),
    (b"X-Api-Key", b"key with spaces\tand a tab"),
    (b"x-twice", b"b"),
    (b"x-utf8", "\u00e9\u4f60".encode()),
]


def client_of(**settings):
    return new_client(Network(settings), None, None)


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
async def test_a_request_is_sent_byte_for_byte(size):
    """Headers in the order and spelling of httpx, without any of aiohttp's; HTTP/1.1; path and query as they are."""
    body = b"x" * size
    async with RawServer(answers()) as server, client_of() as client:
        url = httpx.URL(f"{server.url}/v1/a%2Fb//c/messages?beta=true&a=%20+b&c")
        request = httpx.Request("POST", url, headers=HEADERS, content=body)
        await client.send(request)
        assert [header for header in request.headers.raw if header in HEADERS] == HEADERS
        assert request.headers["content-length"] == str(size)
        lines = [b"POST /v1/a%2Fb//c/messages?beta=true&a=%20+b&c HTTP/1.1"]
        lines += [b"%s: %s" % header for header in request.headers.raw]
        assert server.requests == [b"\r\n".join(lines) + b"\r\n\r\n" + body]


async def test_a_get_request_has_no_body():
    """And no length."""
    async with RawServer(answers()) as server, client_of() as client:
        await client.send(httpx.Request("GET", server.url))
        assert server.requests == [b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port]


async def test_default_headers_are_those_of_httpx():
    """No compression is asked for, unless the network settings do."""
    async with RawServer(answers()) as server, client_of() as client:
        await client.get(server.url)
        names = [line.partition(b":")[0] for line in server.requests[0].split(b"\r\n")[1:-2]]
        assert names == [b"Host", b"Accept", b"Connection", b"User-Agent", b"accept-encoding"]
        assert b"accept-encoding: identity\r\n" in server.requests[0]
        assert b"User-Agent: python-httpx/" in server.requests[0]


async def test_a_host_header_of_the_request_wins():
    """As with httpx."""
    async with RawServer(answers()) as server, client_of() as client:
        await client.send(httpx.Request("GET", server.url, headers={"Host": "other.example"}))
        assert server.requests == [b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n"]


async def test_credentials_in_a_url_are_sent_as_a_header():
    """By httpx; the URL itself is sent without them."""
    async with RawServer(answers()) as server, client_of() as client:
        await client.get(f"http://user:pass%40word@127.0.0.1:{server.port}/a")
        assert server.requests[0].startswith(b"GET /a HTTP/1.1\r\n")
        assert b"Authorization: Basic dXNlcjpwYXNzQHdvcmQ=\r\n" in server.requests[0]
        assert b"Host: 127.0.0.1:%d\r\n" % server.port in server.requests[0]


async def test_a_response_is_returned_byte_for_byte():
    """Headers in order and spelling, repeated ones too; the body is not decompressed by the transport."""
    sent = [
        (b"X-Odd", b"a"),
        (b"x-twice", b"1"),
        (b"X-Twice", b"2"),
        (b"x-latin", b"\xe9"),
        (b"Content-Encoding", b"gzip"),
    ]
    lines = [b"%s: %s" % header for header in sent]
    async with (
        RawServer(answers(answer(b"not gzip", *lines, status=b"203 Odd Reason"))) as server,
        client_of() as client,
    ):
        response = await client.send(client.build_request("GET", server.url), stream=True)
        assert b"".join([part async for part in response.aiter_raw()]) == b"not gzip"
        assert response.headers.raw == [(b"content-length", b"8"), *sent]
        assert (response.status_code, response.reason_phrase, response.http_version) == (203, "Odd Reason", "HTTP/1.1")


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_response_without_a_body(status):
    """Its connection is used again."""
    async with RawServer(answers(b"HTTP/1.1 %s\r\n\r\n" % status)) as server, client_of() as client:
        for _ in range(3):
            assert (await client.get(server.url)).content == b""
        assert len(server.peers) == 1


async def test_interim_responses_are_skipped():
    """``103 Early Hints`` is not the response."""
    async with (
        RawServer(answers(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + answer())) as server,
        client_of() as client,
    ):
        response = await client.post(server.url, content=b"{}")
        assert (response.status_code, response.content, "link" in response.headers) == (200, b"ok", False)


async def test_a_response_that_ends_with_its_connection():
    """Of HTTP/1.0, without a length."""

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async with RawServer(script) as server, client_of() as client:
        assert (await client.get(server.url)).content == b"all of it"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_request_is_never_repeated(method):
    """Not on a new connection, and not on one that was used before, where the server may have received it."""

    async def script(peer):
        await peer.request()
        if peer.number == 1:
            await peer.send(answer())
            await peer.request()

    async with RawServer(script) as server, client_of() as client:
        await client.get(server.url)
        for number in (2, 3):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.request(method, server.url)
            assert len(server.requests) == number
        assert len(server.peers) == 2


async def test_a_connection_that_the_server_closed_while_idle_is_not_used():
    """Even if the event loop has not noticed: the request is sent, once, on a new connection."""
    close = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(answer())
        if peer.number == 1:
            await close.wait()
        else:
            await peer.until_gone()

    async with RawServer(script) as server, client_of() as client:
        await client.get(server.url)
        server.peers[0].close_unnoticed()
        assert (await client.post(server.url, content=b"{}")).content == b"ok"
        assert [request.split(b" ")[0] for request in server.requests] == [b"GET", b"POST"]
        assert len(server.peers) == 2
        close.set()


async def test_a_connection_with_bytes_nobody_asked_for_is_not_used():
    """They would be taken for the next response."""

    async def script(peer):
        await peer.request()
        await peer.send(answer())
        await peer.until_gone()

    async with RawServer(script) as server, client_of() as client:
        await client.get(server.url)
        server.peers[0].close_unnoticed(answer(b"stray"))
        assert (await client.get(server.url)).content == b"ok"
        assert len(server.peers) == 2


async def test_a_connection_with_more_than_its_response_is_not_used():
    """Two responses to one request."""
    async with RawServer(answers(answer() + answer(b"stray"))) as server, client_of() as client:
        for _ in range(2):
            assert (await client.get(server.url)).content == b"ok"
        assert len(server.peers) == 2


async def test_a_connection_that_the_server_wants_closed_is_not_used():
    """It says so in a header."""
    async with RawServer(answers(answer(b"ok", b"connection: close"))) as server, client_of() as client:
        for _ in range(2):
            await client.get(server.url)
        await server.until_open(0)
        assert len(server.peers) == 2


async def test_an_idle_connection_is_closed():
    """By this side, before the server does, without a further request."""
    context = httpx.create_ssl_context(trust_env=False)
    transport = AiohttpTransport(context, None, max_connections=10, idle_seconds=0.05)
    async with RawServer(answers()) as server, httpx.AsyncClient(transport=transport) as client:
        await client.get(server.url)
        await server.until_open(0)
        await client.get(server.url)
        assert len(server.peers) == 2


async def test_there_is_a_connection_for_each_of_a_thousand_streams():
    """All of them make progress; one more waits until one of them ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    more = asyncio.Event()

    async def script(peer):
        while True:
            await peer.request()
            await peer.send(CHUNKED + chunk(b"%d" % peer.number))
            await more.wait()
            await peer.send(chunk(b"more") + b"0\r\n\r\n")

    async with RawServer(script) as server, client_of() as client:
        request = client.build_request("POST", server.url, content=b"{}")
        responses = [await client.send(request, stream=True) for _ in range(1000)]
        bodies = [response.aiter_raw() for response in responses]
        assert {int(await anext(body)) for body in bodies} == set(range(1, 1001))
        with pytest.raises(httpx.PoolTimeout):
            await client.post(server.url, content=b"{}", timeout=httpx.Timeout(30, pool=0.1))
        last = asyncio.create_task(client.send(request, stream=True))
        more.set()
        for response, body in zip(responses, bodies, strict=True):
            assert await anext(body) == b"more"
            await response.aclose()
        await (await last).aclose()
        assert len(server.requests) == 1001
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Limited:
    """A client with two connections, and a server that responds when it is told to."""

    def __init__(self):
        self.respond = asyncio.Event()
        context = httpx.create_ssl_context(trust_env=False)
        transport = AiohttpTransport(context, None, max_connections=2, idle_seconds=4)
        self.server = RawServer(self.script)
        self.client = httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(30, pool=0.05))

    async def script(self, peer):
        while True:
            await peer.request()
            await self.respond.wait()
            await peer.send(answer())

    async def stream(self):
        return await self.client.send(self.client.build_request("POST", self.server.url, content=b"{}"), stream=True)


@pytest.fixture
async def limited():
    made = Limited()
    async with made.server, made.client:
        yield made


async def test_a_request_above_the_limit_waits_for_its_pool_timeout(limited):
    """It has not been sent then."""
    tasks = [asyncio.create_task(limited.stream()) for _ in range(2)]
    await limited.server.until_requested(2)
    with pytest.raises(httpx.PoolTimeout):
        await limited.stream()
    assert len(limited.server.requests) == 2
    limited.respond.set()
    for task in tasks:
        await (await task).aclose()


async def release_by_closing(limited):
    limited.respond.set()
    for response in [await limited.stream() for _ in range(2)]:
        await response.aclose()
        await response.aclose()


async def release_by_reading(limited):
    limited.respond.set()
    for response in [await limited.stream() for _ in range(2)]:
        await response.aread()


async def release_by_cancelling(limited):
    tasks = [asyncio.create_task(limited.stream()) for _ in range(2)]
    await limited.server.until_requested(2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    limited.respond.set()


async def release_by_failing(limited):
    tasks = [asyncio.create_task(limited.stream()) for _ in range(2)]
    await limited.server.until_requested(2)
    for peer in limited.server.peers:
        peer.reset()
    for task in tasks:
        with pytest.raises(httpx.ReadError):
            await task
    limited.respond.set()


async def release_by_waiting_in_vain(limited):
    tasks = [asyncio.create_task(limited.stream()) for _ in range(2)]
    await limited.server.until_requested(2)
    waiting = [asyncio.create_task(limited.stream()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting[:3]:
        task.cancel()
    assert all(map(bool, await asyncio.gather(*waiting, return_exceptions=True)))
    limited.respond.set()
    for task in tasks:
        await (await task).aclose()


@pytest.mark.parametrize(
    "release",
    [release_by_closing, release_by_reading, release_by_cancelling, release_by_failing, release_by_waiting_in_vain],
)
async def test_every_place_is_released_once(limited, release):
    """After each way in which a request ends there is room for two, and not for three."""
    await release(limited)
    limited.respond.clear()
    tasks = [asyncio.create_task(limited.stream()) for _ in range(2)]
    before = len(limited.server.requests)
    await limited.server.until_requested(before + 2)
    with pytest.raises(httpx.PoolTimeout):
        await limited.stream()
    limited.respond.set()
    for task in tasks:
        await (await task).aclose()
