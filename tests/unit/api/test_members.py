"""Members of a JSON object in its bytes, with the standard library's parser as the oracle."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llama_stack_api_messages.members import Member, Span, cuts, edited, elements, members, within

SPACES = st.text(" \t\r\n", max_size=2)
ESCAPES = [r"\"", r"\\", r"\/", r"\n", r"\u0041", r"\u00e9", r"\ud83d\ude00", r"\u2028", r"\u0000"]
HALVES = [r"\ud83d", r"\udc00"]
CHARACTERS = st.characters(exclude_characters='"\\', exclude_categories=["Cs", "Cc"])
NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
NAMES = st.sampled_from(['"model"', '"a"', r'"\u0061"', r'"mod\u0065l"', '"Model"', '""', '"\u00e9"'])
PLAIN = st.sampled_from(["true", "false", "null", "{}", "[]", "{ }", "1", "12", "12.0"])


def strings(escapes):
    return st.lists(st.one_of(st.sampled_from(escapes), CHARACTERS), max_size=5).map(
        lambda parts: f'"{"".join(parts)}"'
    )


def spaced(opening, parts, closing):
    """Parts in any layout between two brackets."""
    texts = st.lists(st.builds("{}{}{}".format, SPACES, parts, SPACES), max_size=4)
    return texts.map(lambda parts: opening + ",".join(parts) + closing)


def objects(values, strings):
    return spaced("{", st.builds("{}{}:{}{}".format, st.one_of(NAMES, strings), SPACES, SPACES, values), "}")


def json_texts(strings):
    values = st.recursive(
        st.one_of(PLAIN, NUMBERS, strings),
        lambda inner: st.one_of(spaced("[", inner, "]"), objects(inner, strings)),
        max_leaves=8,
    )
    return st.builds("{}{}{}".format, SPACES, objects(values, strings), SPACES), spaced("[", values, "]")


OBJECTS, _ = json_texts(strings(ESCAPES + HALVES))
_, ARRAYS = json_texts(strings(ESCAPES))
READ = json.JSONDecoder().raw_decode


def skip(text, at):
    while text[at] in " \t\r\n":
        at += 1
    return at


def bytes_before(text, at):
    return len(text[:at].encode())


def read_members(text):
    """Read an object one value at a time, as its grammar is written down."""
    found = []
    at = skip(text, skip(text, 0) + 1)
    while text[at] != "}":
        name, at = READ(text, skip(text, at))
        start = skip(text, skip(text, at) + 1)
        _, end = READ(text, start)
        found.append(Member(name, Span(bytes_before(text, start), bytes_before(text, end))))
        at = skip(text, end)
        at += text[at] == ","
    return found


def values_of(body, spans):
    return [json.loads(body[start:end]) for start, end in spans]


@given(OBJECTS)
@example('{"a":12,"a":1}')
@example('{"a":1,"a":12}')
@example('{"a":"","a":"\\ud83d"}')
@example('{"a":[1],"b":"}","model":"x","a":[1,2]}')
def test_members_stand_where_a_parser_reads_them(text):
    """In any layout, with repeated names, escapes, half surrogates and numbers of any form."""
    body = text.encode()
    found = members(body)
    assert found == read_members(text)
    assert {name: json.loads(body[start:end]) for name, (start, end) in found} == json.loads(text)


@pytest.mark.parametrize("text", ["{}", " { }\n", "\t{\r\n}"])
def test_an_empty_object_has_no_members(text):
    """And is one all the same."""
    assert members(text.encode()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b'"a"',
        b"1",
        b"{",
        b'{"a"',
        b'{"a":',
        b'{"a":}',
        b'{"a":1',
        b'{"a":1,}',
        b'{"a":1,,"b":2}',
        b'{"a":1}{}',
        b'{"a":1} x',
        b'{"a":1}\0',
        b'\xef\xbb\xbf{"a":1}',
        b"\xa0{}",
        b'{"a" 1}',
        b"{a:1}",
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":NaN}',
        b'{"a":[Infinity]}',
        b'{"a":{"b":-Infinity}}',
        b'{"a":tru}',
        b'{"a":[1 2]}',
        b'{"a":[1,]}',
        b'{"a":"\\x"}',
        b'{"a":"b}',
        b'{"\\x":1}',
        b'{"a":"\\ud83d","b":[1,]}',
        b'{"a":"\\ud83d","b":NaN}',
        b"{/**/}",
    ],
)
def test_what_is_no_object_is_refused(body):
    """Also where the value alone would pass for one, and where the strict parser has given up on half a surrogate."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its text
        members(body)


@pytest.mark.parametrize("body", [b'{"a":1 "b":2}', b'{,"a":1}', b'{"a":1"model":"x"}', b'{"a":{}"b":2}'])
def test_a_comma_stands_between_two_members_and_nowhere_else(body):
    """An object without one is none, so it is this server that refuses it."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its text
        members(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("behind", [b"", b',"b":"\\ud83d"'])
def test_an_object_nested_without_end_is_refused(opening, behind):
    """Neither parser runs out of stack."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its text
        members(b'{"model":"m","a":' + opening * 200_000 + behind)


def test_bytes_that_are_no_text_cost_a_name_only_itself():
    """The members behind it stand where they do."""
    body = b'{"\xff": "\xfe", "model": "m"}'
    assert [body[start:end] for _, (start, end) in members(body)] == [b'"\xfe"', b'"m"']
    assert members(body)[1].name == "model"


@given(ARRAYS, SPACES)
def test_elements_stand_where_a_parser_reads_them(text, space):
    """At their place in the bytes around the array."""
    body = f'{{"\u00e9":{space}{text}}}'.encode()
    (array,) = (value for _, value in members(body))
    found = elements(body, array)
    assert values_of(body, found) == json.loads(text)
    assert all(body[start:end].strip() == body[start:end] for start, end in found)


def test_elements_with_half_a_surrogate_are_found():
    """A text that was cut between the halves of an emoji, as tools cut theirs."""
    body = b'[{"text": "cut \\ud83d"}, 1]'
    assert values_of(body, elements(body, Span(0, len(body)))) == [{"text": "cut \ud83d"}, 1]


@pytest.mark.parametrize("body", [b"{}", b"1", b"[1,", b"[1] ]"])
def test_what_is_no_array_has_no_elements(body):
    """It is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - whatever its text
        elements(body, Span(0, len(body)))


@given(OBJECTS, SPACES)
def test_members_within_stand_at_their_place_in_the_whole(text, space):
    """The last of a name, as parsers have it."""
    body = f'["\u00e9",{space}{text}]'.encode()
    start = len(f'["\u00e9",{space}'.encode())
    found = within(body, Span(start, len(body) - 1))
    assert {name: json.loads(body[start:end]) for name, (start, end) in found.items()} == json.loads(text)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"{"])
def test_there_are_no_members_within_something_else(body):
    """It is no error: blocks may be of any kind."""
    assert within(body, Span(0, len(body))) == {}


@given(ARRAYS, st.data())
def test_cut_elements_are_gone_with_their_commas(text, data):
    """And the others are as they were, byte for byte, in an array that is still one."""
    body = f'{{"a":{text},"b":[]}}'.encode()
    array = members(body)[0].value
    parts = elements(body, array)
    dropped = data.draw(st.sets(st.integers(0, len(parts) - 1))) if parts else set()
    left = edited(body, cuts(parts, dropped))
    expected = [value for number, value in enumerate(json.loads(text)) if number not in dropped]
    assert json.loads(left) == {"a": expected, "b": []}
    place = members(left)[0].value
    kept = [body[start:end] for number, (start, end) in enumerate(parts) if number not in dropped]
    assert [left[start:end] for start, end in elements(left, place)] == kept


def test_nothing_is_cut_for_nothing():
    """Neither from an array nor from an empty one."""
    assert cuts([Span(1, 2), Span(3, 4)], []) == []
    assert cuts([], []) == []


@given(st.binary(max_size=30), st.data())
def test_only_what_is_edited_changes(body, data):
    """In any order of the edits; what stands between them stays."""
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8, unique=True)))
    spans = [Span(start, end) for start, end in zip(places[::2], places[1::2], strict=False)]
    values = data.draw(st.lists(st.binary(max_size=4), min_size=len(spans), max_size=len(spans)))
    expected, at = b"", 0
    for (start, end), value in zip(spans, values, strict=True):
        expected += body[at:start] + value
        at = end
    edits = data.draw(st.permutations(list(zip(spans, values, strict=True))))
    assert edited(body, edits) == expected + body[at:]
