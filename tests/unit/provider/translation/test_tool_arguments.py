"""Tool call arguments -> input, at once and in pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.tool_arguments import (
    ToolInput,
    dump_json,
    load_tool_input,
    parse_tool_input,
)
from support.attacks import cpu_bound


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1}', {"a": 1}),
        (' {"a": [1, {"b": "},{"}], "c": "\\""} ', {"a": [1, {"b": "},{"}], "c": '"'}),
        ("", {}),
        (None, {}),
        ("null", {}),
        ({"a": 1}, {"a": 1}),
        ([1], {"value": [1]}),
        ("3", {"value": 3}),
        ('"text"', {"value": "text"}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": 1} trailing', {"a": 1}),
        ('{}{"a": 1}', {"a": 1}),
        ("{}" * 600, {}),
        ("{} " * 600 + '{"a": 1}', {"a": 1}),
        ("{} {", {"INVALID_JSON": "{} {"}),
        ('{"a": 1}{"b": 2}', {"a": 1}),
        ('{"a": "line\nbreak"}', {"a": "line\nbreak"}),
        ('{"a": {"b": [1', {"INVALID_JSON": '{"a": {"b": [1'}),
        ('{"a": 1, "b": {"c": 2}', {"a": 1, "b": {"c": 2}}),
        ('{"a": 1,}', {"a": 1}),
        ('{"a": 1,', {"a": 1, "INVALID_JSON": ","}),
        ('{"a": 1, "b": "unfini', {"a": 1, "INVALID_JSON": '"b": "unfini'}),
        ('{"a": 1, oops}', {"a": 1, "INVALID_JSON": "oops}"}),
        ("{oops, 'x': 1}", {"INVALID_JSON": "{oops, 'x': 1}"}),
        ("{,}", {"INVALID_JSON": "{,}"}),
        ("{]", {"INVALID_JSON": "{]"}),
        ("[}", {"INVALID_JSON": "[}"}),
        ("{", {"INVALID_JSON": "{"}),
        ('{"a": 1e400}', {"INVALID_JSON": '{"a": 1e400}'}),
        ('{"a": -1.5}', {"a": -1.5}),
        ({"a": float("inf")}, {"INVALID_JSON": '{"a": Infinity}'}),
        ({"a": {1}}, {"INVALID_JSON": "<dict>"}),
        ('{"a": NaN}', {"INVALID_JSON": '{"a": NaN}'}),
        ("[" * 100_000, {"INVALID_JSON": "[" * 100_000}),
    ],
)
def test_arguments_become_an_object(arguments, expected):
    """Every text gives an object, and no value is guessed."""
    assert parse_tool_input(arguments) == expected


@pytest.mark.parametrize("end", ['"x"', "true", "false", "null", "{}", "[1]", '{"c": 2}'])
def test_missing_brackets_are_added_after_a_complete_value(end):
    """Some servers lose the last bracket."""
    assert parse_tool_input(f'{{"a": {{"b": {end}') == {"a": {"b": json.loads(end)}}


@pytest.mark.parametrize(
    "text",
    [
        '{"limit": 1',
        '{"limit": 1.5',
        '{"edits": [{"old": "a", "new": "b"}, {"old": "c"',
        '{"edits": [{"old": "a"}',
        '{"edits": ["a"',
        '{"a": tru',
        '{"a"',
        '{"a":',
        '{"a": "x',
        '{"a": {',
    ],
)
def test_arguments_truncated_inside_a_value_are_not_completed(text):
    """A client would execute them: 1 may be the start of 1000, and edits may be missing from a list."""
    assert parse_tool_input(text) == {"INVALID_JSON": text}
    assert parse_tool_input(f'{{"file": "x", {text[1:]}') == {"file": "x", "INVALID_JSON": text[1:]}


@pytest.mark.parametrize("depth", [199, 201, 900, 990, 1000, 5000])
@pytest.mark.parametrize("pair", ["[]", ('{"a":', "}")], ids=["arrays", "objects"])
def test_deeply_nested_arguments_give_an_object_that_can_be_encoded(depth, pair):
    """At any depth of the input."""
    start, end = pair
    value = parse_tool_input('{"a": ' + start * depth + ("" if start == "[" else "1") + end * depth + "}")
    assert ("INVALID_JSON" in value) == (depth > 199)
    json.dumps([[[[[value]]]]])


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("[" * 2_000_000, True),
        ('{"a":' * 400_000, True),
        ('{"b":1,' * 280_000, True),
        ("{" + '"b":1,' * 330_000, True),
        ('{"' + "\\n" * 1_000_000 + '":1', True),
        ("{" + '"b":1,' * 330_000 + '"c":1}', False),
        ('{"a":[' + "[]," * 660_000 + "[]]}", False),
        ('"' + "[" * 2_000_000 + '"', False),
    ],
    ids=lambda value: value[:8] if isinstance(value, str) else "",
)
def test_megabytes_of_arguments_are_parsed_quickly(text, broken):
    """Two megabytes took 4 s and more; large broken arguments are not repaired."""
    with cpu_bound(1.5):
        value = parse_tool_input(text)
    assert (value == {"INVALID_JSON": text}) == broken


def test_brackets_in_strings_are_not_nesting():
    """Code is full of brackets."""
    code = "{[" * 1000
    assert parse_tool_input(json.dumps({"a": code})) == {"a": code}
    assert parse_tool_input(json.dumps(code)) == {"value": code}
    assert parse_tool_input(json.dumps(json.dumps({"a": code}))) == {"a": code}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"a": 1, "b": "unfini', {"a": 1}),
        ('{"a": "unfini', {}),
        ("", {}),
        ('{"a": 1}', {"a": 1}),
        ('{"a": "x", "n": 12', {"a": "x"}),
    ],
)
def test_a_truncated_object_keeps_its_complete_members(arguments, expected):
    assert parse_tool_input(arguments, cut=True) == expected


def test_members_are_released_when_they_are_complete():
    collected = ToolInput()
    released = []
    for piece in ['{"a": "x', '\\"y"', ', "b"', ': 2, "c": 3', "}"]:
        collected.add(piece)
        released.append(collected.take())
    assert released == ["", "", '{"a": "x\\"y"', ', "b": 2', ""]
    assert collected.complete
    assert collected.rest(cut=False) == ', "c": 3}'


def test_the_text_of_the_model_is_not_changed():
    """Key order and white space reach the client as written (ollama ac83ac20c)."""
    text = '{"b":1,\n "a" : 2}'
    collected = ToolInput()
    collected.add(text)
    assert collected.rest(cut=False) == text


def test_accumulated_text_that_is_not_json_is_kept():
    assert load_tool_input("{oops") == {"INVALID_JSON": "{oops"}


def test_json_for_prompts_keeps_order_and_characters():
    assert dump_json({"b": "\u00e4", "a": [1, 2]}) == '{"b": "\u00e4", "a": [1, 2]}'


def test_numbers_that_json_lacks_are_null_in_prompts():
    """No backend accepts a request with Infinity in it."""
    assert dump_json({"a": [float("inf"), float("nan"), 1.0]}) == '{"a": [null, null, 1.0]}'


def test_a_lone_surrogate_can_be_encoded():
    assert dump_json({"a": "\ud83d"}) == '{"a": "\\ud83d"}'
    dump_json({"a": "\ud83d"}).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON), st.integers(1, 9))
def test_valid_objects_pass_unchanged_in_any_pieces(value, size):
    text = json.dumps(value)
    collected = ToolInput()
    out = ""
    for start in range(0, len(text), size):
        collected.add(text[start : start + size])
        out += collected.take()
    assert out + collected.rest(cut=False) == text


@given(st.text('{}[]",:a1 \\\n\u00e4', max_size=40), st.booleans())
def test_any_text_becomes_an_object(text, cut):
    assert isinstance(parse_tool_input(text, cut=cut), dict)
