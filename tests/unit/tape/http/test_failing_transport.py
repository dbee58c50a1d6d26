"""An upstream that fails on demand."""

import httpx
import pytest

from messages_tape.http.transport import FailingTransport


class Pieces(httpx.AsyncByteStream):
    """A body of three chunks that records when it is closed."""

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
    """Return the chunks that arrive, and the exception at the end."""
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
    ("after", "pieces", "error_text"),
    [
        (None, [b"a", b"b", b"c"], ""),
        (0, [], "Server disconnected without sending a response."),
        (2, [b"a", b"b"], "peer closed connection without sending complete message body (incomplete chunked read)"),
    ],
)
async def test_an_upstream_fails_after_the_given_number_of_chunks(mortal, after, pieces, error_text):
    """With the exceptions of httpx, before the status line or after some chunks; otherwise it works."""
    mortal.fails_after = after
    assert await read(mortal) == (pieces, error_text)


async def test_the_real_connection_is_closed_after_a_simulated_failure(mortal, body):
    """A simulated failure must not leave the real connection open."""
    mortal.fails_after = 1
    await read(mortal)
    assert body.closed
