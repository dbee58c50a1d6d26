"""Reading request bodies, and the members that are read before a body is parsed."""

import asyncio
import contextlib
import gzip
import json
import time
import zlib

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_api_messages.errors import InvalidRequestError, RequestTimeoutError, RequestTooLargeError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.request_body import RequestBody, parse, read_body
from support.attacks import cpu_bound

LIMIT = 1000
SECONDS = 60.0


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
    """The body is the concatenation of its parts."""
    assert await read_body(request(b"ab", b"c"), LIMIT, SECONDS) == b"abc"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
async def test_gzip_is_decoded(encoding):
    """Compressed bodies are read."""
    assert await read_body(request(gzip.compress(b"abc"), encoding=encoding), LIMIT, SECONDS) == b"abc"


@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_identity_leaves_the_body_unchanged(encoding):
    """A body without content-encoding, or with ``identity``, is returned unchanged."""
    assert await read_body(request(b"abc", encoding=encoding), LIMIT, SECONDS) == b"abc"


async def test_a_body_at_the_limit_passes_and_one_over_it_does_not():
    """The limit is exact."""
    assert len(await read_body(request(b"x" * LIMIT), LIMIT, SECONDS)) == LIMIT
    with pytest.raises(RequestTooLargeError):
        await read_body(request(b"x" * LIMIT, b"x"), LIMIT, SECONDS)


async def test_a_large_body_is_drained_up_to_four_times_the_limit():
    """A client that sends slightly too much still reads its 413; an endless body is cut off."""
    slightly = request(*[b"x" * LIMIT] * 3)
    with pytest.raises(RequestTooLargeError):
        await read_body(slightly, LIMIT, SECONDS)
    assert len(slightly.state.taken) == 4
    endless = request(*[b"x" * LIMIT] * 100)
    with pytest.raises(RequestTooLargeError):
        await read_body(endless, LIMIT, SECONDS)
    assert len(endless.state.taken) == 5


async def test_gzip_members_in_a_row_are_one_body():
    """Several gzip members are decompressed to one body, as the gzip format allows."""
    assert (
        await read_body(request(gzip.compress(b"ab") + gzip.compress(b"c"), encoding="gzip"), LIMIT, SECONDS) == b"abc"
    )


async def test_a_compression_ratio_that_no_text_has_is_rejected():
    """A bomb below the size limit would still keep the parser busy."""
    with pytest.raises(RequestTooLargeError):
        await read_body(request(gzip.compress(b"x" * 2_000_000), encoding="gzip"), 32_000_000, SECONDS)
    half = gzip.compress(b"x" * 600_000)
    with pytest.raises(RequestTooLargeError):
        await read_body(request(half + half, encoding="gzip"), 32_000_000, SECONDS)


async def test_a_gzip_bomb_is_stopped_at_the_limit():
    """The limit holds after decompression, too."""
    with pytest.raises(RequestTooLargeError) as caught:
        await read_body(request(gzip.compress(b"x" * 100 * LIMIT), encoding="gzip"), LIMIT, SECONDS)
    assert caught.value.details == {"error_code": "request_body_too_large_after_decoding"}


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(b"abc")[:-9], gzip.compress(b"abc") + b"JUNK", zlib.compress(b"abc")],
    ids=["not gzip", "cut off", "more bytes after", "deflate"],  # the bytes contain the time, which differs by worker
)
async def test_damaged_gzip_is_rejected(body):
    """With 400 and an error code of its own."""
    with pytest.raises(InvalidRequestError) as caught:
        await read_body(request(body, encoding="gzip"), LIMIT, SECONDS)
    assert caught.value.details == {"error_code": "request_body_encoding_invalid"}


async def test_an_unknown_encoding_is_rejected_by_name():
    """The message names the supported one."""
    with pytest.raises(InvalidRequestError, match="br is not supported; send gzip") as caught:
        await read_body(request(b"x", encoding="br"), LIMIT, SECONDS)
    assert caught.value.details == {"error_code": "request_body_encoding_unsupported"}


def body_of(text):
    return RequestBody(text if isinstance(text, bytes) else text.encode(), CreateMessageRequest)


MESSAGES = '"max_tokens":1,"messages":[{"role":"user","content":"hi"}]'


def test_a_body_is_not_parsed_before_it_is_needed():
    """Unknown and invalid members do not matter until then."""
    data = b'{ "messages": "odd", "model": "a\\/b", "unknown": {"model": 1}, "stream": true }'
    body = body_of(data)
    assert (body.data, body.model, body.stream) == (data, "a/b", True)
    assert data[body.model_span.start : body.model_span.end] == b'"a\\/b"'
    assert [name for name, _ in body.members] == ["messages", "model", "unknown", "stream"]
    with pytest.raises(InvalidRequestError, match=r"^messages"):
        _ = body.parsed


def test_a_body_is_parsed_once():
    """The second access returns the same object."""
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
def test_of_duplicate_stream_members_the_last_one_wins(members, stream):
    """As in JSON parsers, and without parsing the body."""
    body = body_of(f'{{"model":"m"{members}}}')
    assert body.stream is stream
    assert "parsed" not in vars(body)


@pytest.mark.parametrize(("value", "stream"), [('"yes"', True), ('"false"', False), ("1", True), ("0.0", False)])
def test_a_stream_member_that_can_be_converted_has_the_parsed_value(value, stream):
    """So both lanes read it alike."""
    for before in ("", '"stream":true,', '"stream":"odd",'):
        body = body_of(f'{{"model":"m",{before}"stream":{value},{MESSAGES}}}')
        assert body.stream is body.parsed.stream is stream


@pytest.mark.parametrize("value", ['"perhaps"', "7", "[]", "{}"])
def test_a_stream_member_that_cannot_be_converted_is_rejected_by_name(value):
    """With the message of the whole validation."""
    with pytest.raises(InvalidRequestError, match=r"^stream"):
        body_of(f'{{"model":"m","stream":{value},{MESSAGES}}}')


MODELS = ['"model"', r'"mod\u0065l"', r'"\u006d\u006f\u0064\u0065\u006c"', '"Model"', '"MODEL"', r'"\u004dodel"']


@given(st.lists(st.sampled_from([*MODELS, '"messages"', '"x"', '" model"', '"model "', '"models"', '"m"']), max_size=5))
def test_a_body_with_two_models_is_rejected(names):
    """However they are spelled: parsers differ about which one wins, and one of them may not be authorized.

    A single one has to be spelled as in the API, or an upstream would not find it.
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
def test_a_second_model_is_rejected_whatever_its_value(second):
    """A duplicate ``model`` is rejected, also if both values are the same."""
    with pytest.raises(InvalidRequestError, match="more than once"):
        body_of(f'{{"model":"m","model":{second}}}')


@pytest.mark.parametrize("value", ["null", "1", "true", '["m"]', '{"model":"m"}', '""'])
def test_a_model_that_is_not_a_string_is_rejected(value):
    """With the path of the member."""
    with pytest.raises(InvalidRequestError, match=r"^model: "):
        body_of(f'{{"model":{value},{MESSAGES}}}')


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"no json", b"\xef\xbb\xbf{}", b'{"a":' * 100_000, b'{"model":"m","x":NaN}']
)
def test_other_values_than_objects_are_rejected(data):
    """As an invalid request, whatever is wrong."""
    with pytest.raises(InvalidRequestError):
        body_of(data)


@pytest.mark.parametrize("name", [b"a\nb", b"\0", b"a\0b\0c", b"\x1f", b"\xff"])
def test_a_model_that_is_not_valid_text_is_an_invalid_request(name):
    """Control characters and bytes that are not UTF-8 are an error of the client, not of this server."""
    with pytest.raises(InvalidRequestError):
        body_of(b'{"model":"%s",%s}' % (name, MESSAGES.encode()))


def test_a_parsed_request_is_serialized_as_it_was_given():
    """In library-client mode: unset fields are left out."""
    request = CreateMessageRequest.model_validate_json(f'{{"model":"m",{MESSAGES},"x":[1]}}')
    body = RequestBody.of(request)
    assert json.loads(body.data) == json.loads(f'{{"model":"m",{MESSAGES},"x":[1]}}')
    assert (body.model, body.stream) == ("m", False)
    assert isinstance(body.parsed, CreateMessageRequest)
    assert RequestBody.of(body) is body


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_rejected_by_name(number):
    """Inside a string they are text."""
    with pytest.raises(InvalidRequestError, match=f"{number} is not a number; send null"):
        parse(CreateMessageRequest, f'{{"model":"m",{MESSAGES},"temperature":{number}}}'.encode())
    text = f'{{"model":"m",{MESSAGES.replace("hi", number)}}}'
    assert parse(CreateMessageRequest, text.encode()).messages[0].content == number


async def test_gzip_with_very_many_members_takes_time_in_proportion_to_its_size():
    """A member of twenty bytes may be empty: half a million of them would stop the server for minutes."""
    member = gzip.compress(b"", mtime=0)
    counts = {}
    for number in (8_000, 64_000):
        began = time.process_time()
        with contextlib.suppress(InvalidRequestError):
            await read_body(request(member * number, encoding="gzip"), 32_000_000, SECONDS)
        counts[number] = time.process_time() - began
    assert counts[64_000] < 8 * 3 * counts[8_000]


async def test_a_body_that_stops_arriving_is_a_request_timeout():
    """The connection is closed, because the rest of the body would be read as the next request."""

    async def receive():
        if sent:
            await asyncio.Event().wait()
        sent.append(True)
        return {"type": "http.request", "body": b'{"model"', "more_body": True}

    sent = []
    silent = Request({"type": "http", "headers": [], "method": "POST"}, receive)
    with pytest.raises(RequestTimeoutError, match=r"no bytes for 0\.01 seconds; send the request again") as caught:
        await read_body(silent, LIMIT, 0.01)
    assert (caught.value.status_code, caught.value.error_type) == (408, "timeout_error")
    assert caught.value.headers == {"connection": "close"}


@pytest.mark.parametrize("text", ["x NaN", "NaN" * 400_000, "xInfinity" * 100_000, ":NaN"], ids=len)
def test_text_and_base64_with_the_letters_of_such_numbers_are_accepted(text):
    """Five megabytes of base64 contain `NaN` twenty times."""
    with cpu_bound(0.5):
        parsed = parse(CreateMessageRequest, f'{{"model":"m",{MESSAGES.replace("hi", text)}}}'.encode())
    assert parsed.messages[0].content == text


@pytest.mark.parametrize("before", ["", "xNaN" * 2_000])
def test_such_a_number_is_found_after_words_with_its_letters(before):
    body = f'{{"model":"m",{MESSAGES.replace("hi", before)},"metadata":{{"a": [1,-Infinity]}}}}'
    with pytest.raises(InvalidRequestError, match="-Infinity is not a number"):
        parse(CreateMessageRequest, body.encode())
