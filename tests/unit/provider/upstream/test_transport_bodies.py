"""Bodies arrive as they are read, pause the upstream if nobody reads, and leave nothing open when they are given up."""

import asyncio
import gc
import tracemalloc
from pathlib import Path

import httpx
import pytest

from llama_stack_provider_messages.stack import Network
from llama_stack_provider_messages.upstream.connections import new_client
from support.certificates import Authority
from support.raw_server import CHUNKED, RawServer, answer, chunk


@pytest.fixture
async def client():
    async with new_client(Network(), None, None) as made:
        yield made


async def opened(client, server, body=b"{}"):
    return await client.send(client.build_request("POST", server.url, content=body), stream=True)


async def test_each_chunk_arrives_when_it_is_sent(client):
    """The next one is sent only after it was read."""
    read = asyncio.Semaphore(0)

    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED)
        for number in range(20):
            await read.acquire()
            await peer.send(chunk(b"event %d" % number))
        await peer.send(b"0\r\n\r\n")
        await peer.until_gone()

    async with RawServer(script) as server:
        response = await opened(client, server)
        body = response.aiter_raw()
        for number in range(20):
            read.release()
            assert await anext(body) == b"event %d" % number
        assert [part async for part in body] == []


async def test_chunks_of_one_read_arrive_together(client):
    """In order, and completely."""
    sent = b"".join(b"data: %d\n\n" % number for number in range(200))

    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED + b"".join(chunk(part + b"\n\n") for part in sent.split(b"\n\n")[:-1]) + b"0\r\n\r\n")
        await peer.until_gone()

    async with RawServer(script) as server:
        parts = [part async for part in (await opened(client, server)).aiter_raw()]
        assert b"".join(parts) == sent
        assert len(parts) < 20


@pytest.mark.parametrize("framing", ["chunks", "length"])
async def test_a_slow_reader_pauses_the_upstream(client, framing):
    """What it has not read takes less than 1 MiB of memory, and the rest stays with the upstream."""
    piece, total = b"x" * 65_536, 1024
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        head = CHUNKED if framing == "chunks" else b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (65_536 * total)
        await peer.send(head)
        data = chunk(piece) if framing == "chunks" else piece
        for _ in range(total):
            await peer.send(data)
            sent += 1
        if framing == "chunks":
            await peer.send(b"0\r\n\r\n")
        await peer.until_gone()

    async with RawServer(script) as server:
        response = await opened(client, server)
        body = response.aiter_raw()
        size = len(await anext(body))
        tracemalloc.start()
        before = -1
        while before != sent:  # until the buffers of the system are full
            before = sent
            await asyncio.sleep(0.2)
        assert sent < total // 2
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
        async for part in body:
            size += len(part)
        assert size == 65_536 * total
        await response.aclose()


async def test_a_response_read_to_its_end_keeps_its_connection(client):
    """Also if it was closed only then, and if its parts were left in the buffer."""

    async def script(peer):
        while True:
            await peer.request()
            await peer.send(CHUNKED + chunk(b"a") + chunk(b"b") + b"0\r\n\r\n")

    async with RawServer(script) as server:
        for _ in range(3):
            response = await opened(client, server)
            async for _part in response.aiter_raw():
                pass
            await response.aclose()
        response = await opened(client, server)
        await response.aclose()
        await opened(client, server)
        assert len(server.peers) == 1


def endless(tls=None):
    """Return a server whose responses do not end."""

    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED + chunk(b"first"))
        await peer.until_gone()

    return RawServer(script, tls)


async def test_closing_a_response_closes_its_connection(client):
    """At once; the upstream notices, and stops generating."""
    async with endless() as server:
        response = await opened(client, server)
        body = response.aiter_raw()
        await anext(body)
        assert server.open == 1
        await response.aclose()
        await server.peers[0].gone.wait()
        await server.until_open(0)
        await body.aclose()


async def test_closing_a_response_over_tls_closes_its_connection(tmp_path):
    """Without waiting for a farewell of the upstream, which does not read."""
    authority = Authority(tmp_path)
    context = httpx.create_ssl_context(verify=True, trust_env=False)
    context.load_verify_locations(authority.file)

    async def script(peer):
        await peer.request()
        await peer.send(CHUNKED + chunk(b"first"))
        peer.writer.transport.pause_reading()
        await asyncio.Event().wait()

    before = descriptors()
    async with (
        RawServer(script, authority.server_context("127.0.0.1")) as server,
        new_client(Network({"verify": context}), None, None) as client,
    ):
        opened_before = descriptors()
        response = await opened(client, server)
        assert descriptors() == opened_before + 2
        await response.aclose()
        await asyncio.sleep(0)
        assert descriptors() == opened_before + 1
    assert descriptors() == before


def descriptors():
    """Return the number of open file descriptors."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def connecting(peer):
    await peer.until_gone()


async def in_the_request(peer):
    peer.writer.transport.pause_reading()
    await asyncio.Event().wait()


async def before_the_response(peer):
    await peer.request()
    await peer.until_gone()


async def in_the_head(peer):
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n")
    await peer.until_gone()


async def in_the_body(peer):
    await peer.request()
    await peer.send(CHUNKED + chunk(b"first"))
    await peer.until_gone()


@pytest.mark.parametrize("phase", [connecting, in_the_request, before_the_response, in_the_head, in_the_body])
async def test_a_cancelled_request_leaves_nothing_open(client, phase):
    """In each phase: no descriptor, and no task."""
    body = b"x" * 2**24 if phase is in_the_request else b"{}"
    async with RawServer(phase) as server:
        url = server.url.replace("http:", "https:") if phase is connecting else server.url
        before, tasks = descriptors(), asyncio.all_tasks()
        sending = [asyncio.create_task(client.post(url, content=body)) for _ in range(5)]
        await server.until_open(5)
        await server.until_requested(0 if phase in (connecting, in_the_request) else 5)
        await asyncio.sleep(0.05)  # gives responses the time to arrive; passes without
        for task in sending:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError) for end in await asyncio.gather(*sending, return_exceptions=True)
        )
        serving = len(asyncio.all_tasks() - tasks)
        if phase is in_the_request:  # the server does not read, and so does not notice
            await asyncio.sleep(0)
            assert descriptors() == before + 5
            assert serving == 5
            return
        await server.until_open(0)
        await asyncio.sleep(0)
        assert descriptors() == before
        assert asyncio.all_tasks() == tasks


async def test_a_request_that_is_cancelled_while_its_host_name_is_resolved(client, monkeypatch):
    """The request ends at once; the system's call cannot be interrupted, and its task ends with it, or the client."""
    asked = asyncio.Event()

    async def never(*_args, **_options):
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    tasks = asyncio.all_tasks()
    sending = asyncio.create_task(client.get("http://slow.invalid"))
    await asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await client.aclose()
    assert asyncio.all_tasks() == tasks


async def test_closing_the_client_ends_what_is_open():
    """A body that is being read and a request without a response end with an exception; no warning, no descriptor."""
    before, tasks = descriptors(), asyncio.all_tasks()

    async def script(peer):
        await peer.request()
        if peer.number == 1:
            await peer.send(CHUNKED + chunk(b"first"))
        await peer.until_gone()

    async with RawServer(script) as server:
        client = new_client(Network(), None, None)
        response = await opened(client, server)
        body = response.aiter_raw()
        await anext(body)
        reading = asyncio.ensure_future(anext(body))
        waiting = asyncio.create_task(opened(client, server))
        await server.until_open(2)
        await server.until_requested(2)
        await client.aclose()
        for ended in (reading, waiting):
            with pytest.raises(httpx.TransportError):
                await ended
        await server.until_open(0)
        await response.aclose()
    del response, body, reading, waiting, client
    gc.collect()
    await asyncio.sleep(0)
    assert (descriptors(), asyncio.all_tasks()) == (before, tasks)


async def test_a_response_that_comes_before_the_request_is_read(client):
    """It is returned although the upstream does not take the request; its connection is not used again."""

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await peer.send(answer(b"too large", status=b"413 Content Too Large"))
        await asyncio.Event().wait()

    async with RawServer(script) as server:
        before = descriptors()
        response = await opened(client, server, b"x" * 2**25)
        assert response.status_code == 413
        assert await response.aread() == b"too large"
        await asyncio.sleep(0.01)
        assert descriptors() == before + 1
