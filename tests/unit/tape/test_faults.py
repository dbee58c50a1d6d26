"""An upstream that dies on demand."""

import httpx
import pytest

from messages_tape.http.transport import FailingTransport


class Pieces(httpx.AsyncByteStream):
    """A body of three chunks that notes when it is closed."""

    closed = False

    async def __aiter__(self):
        for piece in (b"a", b"b", b"c"):
            yield piece

    async def aclose(self):
        self.closed = True


@pytest.fixture
def body():
    return Pieces()


@pytest.fixture
async def mortal(body):
    async with FailingTransport(httpx.MockTransport(lambda _: httpx.Response(200, stream=body))) as transport:
        yield transport


async def read(transport):
    """Return the chunks that come, and how it ends."""
    got = []
    try:
        async with (
            httpx.AsyncClient(transport=transport) as client,
            client.stream("GET", "http://upstream.invalid/") as response,
        ):
            async for piece in response.aiter_raw():
                got.append(piece)  # noqa: PERF401 - those before a failure count
    except httpx.RemoteProtocolError as error:
        return got, str(error)
    return got, ""


@pytest.mark.parametrize(
    ("after", "pieces", "told"),
    [
        (None, [b"a", b"b", b"c"], ""),
        (0, [], "Server disconnected without sending a response."),
        (2, [b"a", b"b"], "peer closed connection without sending complete message body (incomplete chunked read)"),
    ],
)
async def test_an_upstream_dies_where_it_is_told(mortal, after, pieces, told):
    """In the words of httpx, before the status line or behind some chunks; else it lives."""
    mortal.fails_after = after
    assert await read(mortal) == (pieces, told)


async def test_the_connection_of_a_dead_upstream_is_closed(mortal, body):
    """Or the real one would stay open."""
    mortal.fails_after = 1
    await read(mortal)
    assert body.closed
