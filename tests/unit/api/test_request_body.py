"""Reading of request bodies, and what is known of one before it is parsed."""

import contextlib
import gzip
import json
import time
import zlib

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_api_messages.errors import InvalidRequestError, RequestTooLargeError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.request_body import RequestBody, parse, read_body

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


def body_of(text):
    return RequestBody(text if isinstance(text, bytes) else text.encode(), CreateMessageRequest)


MESSAGES = '"max_tokens":1,"messages":[{"role":"user","content":"hi"}]'


def test_a_body_is_its_bytes_until_somebody_asks():
    """What is not understood is neither refused nor looked at."""
    data = b'{ "messages": "odd", "model": "a\\/b", "unknown": {"model": 1}, "stream": true }'
    body = body_of(data)
    assert (body.data, body.model, body.stream) == (data, "a/b", True)
    assert data[body.model_span.start : body.model_span.end] == b'"a\\/b"'
    assert [name for name, _ in body.members] == ["messages", "model", "unknown", "stream"]
    with pytest.raises(InvalidRequestError, match=r"^messages"):
        _ = body.parsed


def test_a_body_is_parsed_once():
    """Who asks again gets the same object."""
    body = body_of(f'{{"model":"m",{MESSAGES}}}')
    assert body.parsed is body.parsed
    assert body.parsed.max_tokens == 1


@pytest.mark.parametrize(
    ("members", "stream"),
    [
        ("", False),
        (',"stream":true', True),
        (',"stream": false', False),
        (',"stream":null', False),
        (',"stream":false,"stream":true', True),
        (',"stream":true,"stream":false', False),
        (',"str\\u0065am":true', True),
        (',"Stream":true', False),
        (',"metadata":{"stream":true}', False),
    ],
)
def test_a_stream_is_what_the_last_of_the_flags_asks_for(members, stream):
    """As parsers read it, and without parsing anything."""
    body = body_of(f'{{"model":"m"{members}}}')
    assert body.stream is stream
    assert "parsed" not in vars(body)


@pytest.mark.parametrize(("value", "stream"), [('"yes"', True), ('"false"', False), ("1", True), ("0.0", False)])
def test_a_flag_that_may_pass_for_one_means_what_the_parser_makes_of_it(value, stream):
    """So that both lanes answer it alike."""
    for before in ("", '"stream":true,', '"stream":"odd",'):
        body = body_of(f'{{"model":"m",{before}"stream":{value},{MESSAGES}}}')
        assert body.stream is body.parsed.stream is stream


@pytest.mark.parametrize("value", ['"perhaps"', "7", "[]", "{}"])
def test_a_flag_that_is_none_is_refused_by_name(value):
    """The message is that of the whole request."""
    with pytest.raises(InvalidRequestError, match=r"^stream"):
        body_of(f'{{"model":"m","stream":{value},{MESSAGES}}}')


MODELS = ['"model"', r'"mod\u0065l"', r'"\u006d\u006f\u0064\u0065\u006c"', '"Model"', '"MODEL"', r'"\u004dodel"']


@given(st.lists(st.sampled_from([*MODELS, '"messages"', '"x"', '" model"', '"model "', '"models"', '"m"']), max_size=5))
def test_a_body_with_two_models_is_refused(names):
    """However they are written: readers differ about which counts, and one of them may not be allowed.

    One alone has to be written as the API writes it, or an upstream would say that there is none.
    """
    text = "{" + ", ".join(f'{name}: "m{number}"' for number, name in enumerate(names)) + "}"
    places = [number for number, name in enumerate(names) if json.loads(name).lower() == "model"]
    if len(places) == 1 and json.loads(names[places[0]]) == "model":
        assert body_of(text).model == f"m{places[0]}"
        return
    several = len(places) > 1
    with pytest.raises(InvalidRequestError, match="^model: given more than once" if several else "^model: Field"):
        body_of(text)


@pytest.mark.parametrize("second", ['"m"', "null", "1", '{"model":"m"}'])
def test_a_second_model_is_refused_whatever_it_is(second):
    """Also the same one again."""
    with pytest.raises(InvalidRequestError, match="more than once"):
        body_of(f'{{"model":"m","model":{second}}}')


@pytest.mark.parametrize("value", ["null", "1", "true", '["m"]', '{"model":"m"}', '""'])
def test_a_model_that_is_no_name_is_refused(value):
    """With the path of the member."""
    with pytest.raises(InvalidRequestError, match=r"^model: "):
        body_of(f'{{"model":{value},{MESSAGES}}}')


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"no json", b"\xef\xbb\xbf{}", b'{"a":' * 100_000, b'{"model":"m","x":NaN}']
)
def test_what_is_no_object_is_refused(data):
    """As an invalid request, whatever is wrong with it."""
    with pytest.raises(InvalidRequestError):
        body_of(data)


@pytest.mark.parametrize("name", [b"a\nb", b"\0", b"a\0b\0c", b"\x1f", b"\xff"])
def test_a_name_that_is_no_text_is_an_invalid_request(name):
    """Control characters and bytes that are no UTF-8 are the client's mistake and not this server's."""
    with pytest.raises(InvalidRequestError):
        body_of(b'{"model":"%s",%s}' % (name, MESSAGES.encode()))


def test_a_request_without_bytes_is_written_as_it_was_given():
    """In library-client mode: what was not set is not invented."""
    request = CreateMessageRequest.model_validate_json(f'{{"model":"m",{MESSAGES},"x":[1]}}')
    body = RequestBody.of(request)
    assert json.loads(body.data) == json.loads(f'{{"model":"m",{MESSAGES},"x":[1]}}')
    assert (body.model, body.stream) == ("m", False)
    assert isinstance(body.parsed, CreateMessageRequest)
    assert RequestBody.of(body) is body


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused_by_name(number):
    """The same words inside of a text are text."""
    with pytest.raises(InvalidRequestError, match=f"{number} is not a number; send null"):
        parse(CreateMessageRequest, f'{{"model":"m",{MESSAGES},"temperature":{number}}}'.encode())
    text = f'{{"model":"m",{MESSAGES.replace("hi", number)}}}'
    assert parse(CreateMessageRequest, text.encode()).messages[0].content == number


async def test_gzip_in_very_many_members_takes_no_longer_than_its_size():
    """A member of twenty bytes holds nothing: half a million of them would stop the server for minutes."""
    member = gzip.compress(b"", mtime=0)
    counts = {}
    for number in (8_000, 64_000):
        began = time.process_time()
        with contextlib.suppress(InvalidRequestError):
            await read_body(request(member * number, encoding="gzip"), 32_000_000)
        counts[number] = time.process_time() - began
    assert counts[64_000] < 8 * 3 * counts[8_000]
