"""Reading of request bodies."""

import gzip
import zlib

import pytest
from fastapi import Request

from llama_stack_api_messages.errors import InvalidRequestError, RequestTooLargeError
from llama_stack_api_messages.request_body import read_body

LIMIT = 1000


def request(*parts, encoding=None):
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    feed = iter(messages)
    taken = []

    async def receive():
        message = next(feed)
        taken.append(message)
        return message

    headers = [(b"content-encoding", encoding.encode())] if encoding is not None else []
    made = Request({"type": "http", "headers": headers, "method": "POST"}, receive)
    made.state.taken = taken
    return made


async def test_parts_are_joined():
    """The body is all of its parts."""
    assert await read_body(request(b"ab", b"c"), LIMIT) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
async def test_gzip_is_decoded(encoding):
    """Compressed bodies are read."""
    assert await read_body(request(gzip.compress(b"abc"), encoding=encoding), LIMIT) == b"abc"


@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_identity_is_no_encoding(encoding):
    """A header that says nothing changes nothing."""
    assert await read_body(request(b"abc", encoding=encoding), LIMIT) == b"abc"


async def test_a_body_at_the_limit_passes_and_one_over_it_does_not():
    """The limit is exact."""
    assert len(await read_body(request(b"x" * LIMIT), LIMIT)) == LIMIT
    with pytest.raises(RequestTooLargeError):
        await read_body(request(b"x" * LIMIT, b"x"), LIMIT)


async def test_a_large_body_is_drained_for_a_while_and_then_left():
    """A client that sends a little too much still reads its 413; one without end is cut off."""
    slightly = request(*[b"x" * LIMIT] * 3)
    with pytest.raises(RequestTooLargeError):
        await read_body(slightly, LIMIT)
    assert len(slightly.state.taken) == 4
    endless = request(*[b"x" * LIMIT] * 100)
    with pytest.raises(RequestTooLargeError):
        await read_body(endless, LIMIT)
    assert len(endless.state.taken) == 5


async def test_gzip_members_in_a_row_are_one_body():
    """As the format allows."""
    assert await read_body(request(gzip.compress(b"ab") + gzip.compress(b"c"), encoding="gzip"), LIMIT) == b"abc"


async def test_a_body_that_grows_beyond_any_text_is_refused():
    """A bomb below the size limit would still keep the parser busy."""
    with pytest.raises(RequestTooLargeError):
        await read_body(request(gzip.compress(b"x" * 2_000_000), encoding="gzip"), 32_000_000)
    half = gzip.compress(b"x" * 600_000)
    with pytest.raises(RequestTooLargeError):
        await read_body(request(half + half, encoding="gzip"), 32_000_000)


async def test_a_gzip_bomb_is_stopped_at_the_limit():
    """The limit holds after decompression too."""
    with pytest.raises(RequestTooLargeError) as caught:
        await read_body(request(gzip.compress(b"x" * 100 * LIMIT), encoding="gzip"), LIMIT)
    assert caught.value.details == {"error_code": "request_body_too_large_after_decoding"}


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(b"abc")[:-9], gzip.compress(b"abc") + b"JUNK", zlib.compress(b"abc")],
    ids=["no gzip", "cut", "more behind", "deflate"],  # the bytes hold the time: no two workers would agree on them
)
async def test_damaged_gzip_is_refused(body):
    """Bytes that are not whole gzip get a 400 with its own code."""
    with pytest.raises(InvalidRequestError) as caught:
        await read_body(request(body, encoding="gzip"), LIMIT)
    assert caught.value.details == {"error_code": "request_body_encoding_invalid"}


async def test_an_unknown_encoding_is_refused_by_name():
    """The message says what would work."""
    with pytest.raises(InvalidRequestError, match="br is not supported; send gzip") as caught:
        await read_body(request(b"x", encoding="br"), LIMIT)
    assert caught.value.details == {"error_code": "request_body_encoding_unsupported"}
