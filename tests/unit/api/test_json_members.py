"""Members of a JSON object, found in its bytes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.json_members import (
    MAX_MEMBERS,
    MembersLimitError,
    Span,
    cuts,
    edited,
    elements,
    members,
    within,
)
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.request_body import RequestBody

SPACE = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
NAMES = st.sampled_from(["model", "Model", "stream", "a", "", 'q"\\', "\u00e9", "mo\u0064el"]) | st.text(max_size=4)


def literal(draw, value):
    """Return JSON for a value, with or without escapes."""
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@st.composite
def objects(draw):
    """An object of any spacing, with names that may come several times; and its members in order."""
    pairs = draw(st.lists(st.tuples(NAMES, VALUES), max_size=5))
    space = lambda: draw(SPACE).encode()  # noqa: E731 - drawn anew each time
    parts = [
        space() + literal(draw, name) + space() + b":" + space() + literal(draw, value) + space()
        for name, value in pairs
    ]
    return space() + b"{" + (b",".join(parts) or space()) + b"}" + space(), pairs


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=500, derandomize=True)
@given(objects())
def test_each_member_is_found_where_a_parser_reads_it(made):
    """With any spacing, escapes and nesting, and with duplicate names."""
    data, pairs = made
    if not is_utf8(data):
        return
    found = members(data)
    assert [name for name, _ in found] == [name for name, _ in pairs]
    assert [json.loads(data[place.start : place.end]) for _, place in found] == [value for _, value in pairs]


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b'"x"', b"7", b"{", b'{"a":1', b'{"a":1}}', b'{"a":}', b'{"a":NaN}', b'{"a" 1}', b"{,}", b"\xff"],
)
def test_other_values_than_objects_are_rejected(data):
    """JSON values that are not objects, and a truncated object, are rejected."""
    with pytest.raises(ValueError):  # noqa: PT011 - two libraries raise it, each with its own message
        members(data)


def test_a_very_deeply_nested_object_is_rejected():
    """It does not overflow the stack."""
    with pytest.raises(ValueError, match=r"nested too deeply|recursion|depth"):
        members(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")


def test_members_are_found_beside_a_lone_surrogate():
    """A truncated text may end with one."""
    data = b'{"text":"\\ud83d","model":"m"}'
    assert [(name, data[place.start : place.end]) for name, place in members(data)][1] == ("model", b'"m"')


@settings(max_examples=200, derandomize=True)
@given(st.lists(VALUES, min_size=1, max_size=6), st.data(), SPACE)
def test_elements_are_cut_out_with_their_commas(values, data, space):
    """The array of the remaining elements is left."""
    body = b'{"x":[' + space.encode() + (space + "," + space).join(map(json.dumps, values)).encode() + b" ]}"
    parts = elements(body, members(body)[0].value)
    assert [json.loads(body[part.start : part.end]) for part in parts] == values
    dropped = data.draw(st.sets(st.integers(0, len(values) - 1)))
    left = json.loads(edited(body, cuts(parts, dropped)))["x"]
    assert left == [value for number, value in enumerate(values) if number not in dropped]


def test_other_values_than_objects_have_no_members():
    """Content may be a string."""
    body = b'{"a":"x","b":{"c":1}}'
    places = dict(members(body))
    assert within(body, places["a"]) == {}
    inner = within(body, places["b"])["c"]
    assert body[inner.start : inner.end] == b"1"
    assert cuts([], set()) == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a","Model":"b"}',
        b'{"MODEL":"a","model":"a"}',
        b'{"model":"a","mod\\u0065l":"b"}',
        b'{"messages":[{"model":"x"}],"model":"a","model":12}',
    ],
)
def test_a_duplicate_model_is_rejected(body):
    """The model that was authorized has to be the one that is used, in whatever language the backend is written."""
    with pytest.raises(InvalidRequestError, match="model: given more than once; send it once"):
        RequestBody(body, CreateMessageRequest)


def test_the_model_is_found_after_a_megabyte():
    """Nested members of this name are ignored."""
    nested = {"model": "no", "stream": True}
    rest = {"messages": [{"role": "user", "content": "x" * 1_000_000}], "tools": [{"input_schema": nested}]}
    data = json.dumps({**rest, "model": "m", "stream": False}).encode()
    body = RequestBody(data, CreateMessageRequest)
    assert (body.model, body.stream) == ("m", False)
    assert data[body.model_span.start : body.model_span.end] == b'"m"'


@pytest.mark.parametrize(
    ("literal", "stream"),
    [("true", True), ("false", False), ("null", False), ('"true"', True), ('false,"stream":true', True), ("1", True)],
)
def test_stream_is_read_as_json_parsers_read_it(literal, stream):
    """Of duplicates the last one wins."""
    data = f'{{"model":"m","messages":[{{"role":"user","content":"x"}}],"stream":{literal}}}'.encode()
    body = RequestBody(data, CreateMessageRequest)
    assert body.stream is stream
    assert bool(body.parsed.stream) is stream


@pytest.mark.parametrize("body", [b'{"messages":[]}', b'{"model":7}', b'{"model":null}', b'{"model":""}', b"{}", b"x"])
def test_a_body_without_a_model_is_rejected_with_its_path(body):
    """With the message of the whole validation."""
    with pytest.raises(InvalidRequestError):
        RequestBody(body, CreateMessageRequest)


@pytest.mark.parametrize(
    "data",
    [
        b'"a":"\\ud800","b":1}',
        b'{"a":"\\ud800" "b":1}',
        b'{,"a":"\\ud800"}',
        b'{"a":"\\ud800",}',
        b'{"a":"\\ud800",,"b":1}',
        b'["a":"\\ud800"}',
        b'{"a":"\\ud800"} {}',
    ],
)
def test_invalid_objects_with_a_lone_surrogate_are_rejected(data):
    """The slow path that reads lone surrogates checks braces and commas, too."""
    with pytest.raises(ValueError, match="not a JSON object"):
        members(data)


@pytest.mark.parametrize("data", [b'["\\ud800" 1]', b'["\\ud800",]', b'[,"\\ud800"]', b'["\\ud800",,1]'])
def test_an_array_with_wrong_commas_is_rejected(data):
    """Arrays with wrong commas are rejected on the slow path, too."""
    with pytest.raises(ValueError):  # noqa: PT011 - two libraries raise it, each with its own message
        elements(data, Span(0, len(data)))


def test_many_members_of_one_name_are_found_in_one_pass():
    """Four hundred kilobytes of them once held the server for seconds: for each, the whole body was decoded."""

    class Counted(bytes):
        decoded = 0

        def decode(self, *args):
            self.decoded += 1
            return super().decode(*args)

    data = Counted(b'{"a":1' + b',"a":2' * 500 + b',"b":"\\ud800"}')
    assert len(members(data)) == 502
    assert data.decoded == 1
    array = Counted(b'["\\ud800"' + b",2" * 500 + b"]")
    assert len(elements(array, Span(0, len(array)))) == 501
    assert array.decoded == 1


def test_a_nested_object_with_too_many_members_is_an_error():
    """A thinking block once hid its type after them."""
    body = b'{"a":{' + b'"x":1,' * MAX_MEMBERS + b'"type":"thinking"}}'
    with pytest.raises(MembersLimitError, match="more than 2000 fields"):
        within(body, members(body)[0].value)


@pytest.mark.parametrize("end", [b'"b":1}', b'"b":"\\ud800"}', b'"a":1,"a":2}'], ids=["plain", "surrogate", "twice"])
@pytest.mark.parametrize("name", [b"x" * 1_000, b"\\n" * 10_000, b"x" * 3_000_000], ids=["short", "escapes", "long"])
def test_a_long_name_is_rejected(name, end):
    """At any position, and also on the slow path."""
    for body in (b'{"' + name + b'":1,' + end, b'{"c":1,"' + name + b'":1,' + end):
        with pytest.raises(MembersLimitError, match="the name of a field has more than 1000 bytes"):
            members(body)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
@pytest.mark.parametrize(
    "body", [b'{"a": [{"b": NUMBER}]}', b'{"a": "\\ud800", "b": NUMBER}', b'{"a": 1, "a": NUMBER}']
)
def test_numbers_that_json_does_not_have_are_not_accepted(body, number):
    """Wherever they are: a request is not searched for them again."""
    with pytest.raises(ValueError, match="is not a"):
        members(body.replace(b"NUMBER", number))
