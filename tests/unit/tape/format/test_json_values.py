"""JSON values: which request bodies a tape stores as structures, and places inside them."""

import json

import pytest

from messages_tape.format.json_values import check_json, dotted, leaves, mapped, matches, parse_json, without
from messages_tape.format.model import Body


def test_a_json_body_is_a_structure():
    assert Body.of(b'{"a": [1, 2.5, true, null, "\\u00e4"]}') == ("json", {"a": [1, 2.5, True, None, "\u00e4"]})


def test_empty_bytes_have_no_body():
    assert Body.of(b"") is None


def test_a_body_that_is_not_utf8_is_bytes():
    assert Body.of(b"\xff\x00") == ("base64", b"\xff\x00")


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        '{"a": 1, "a": 2}',
        "[NaN]",
        "[1e999]",
        '["\\ud800"]',
        '{"\\ud800": 1}',
        "[" * 66 + "]" * 66,
        '{"a":' * 65 + "1" + "}" * 65,
        "[" * 100_000,
        '{"%s": 1}' % ("k" * 129),
        "9" * 5000,
    ],
)
def test_json_that_yaml_would_change_is_text(text):
    """Duplicate keys, numbers beyond a double, lone surrogates, depths and lengths that YAML readers reject."""
    assert Body.of(text.encode()) == ("text", text)


@pytest.mark.parametrize("text", ["[" * 65 + "]" * 65, '{"a": ' * 64 + "1" + "}" * 64])
def test_the_deepest_json_that_is_a_structure(text):
    assert json.dumps(parse_json(text)) == text


@pytest.mark.parametrize("value", [{1: "a"}, [b"x"], float("inf"), {"a": {2}}])
def test_values_that_are_not_json_are_rejected(value):
    """A tape that was edited by hand may contain them."""
    with pytest.raises(ValueError, match=r"is not text|is not a JSON value"):
        check_json(value)


VALUE = {"a": [{"b": 1}, []], "c": {}, "d": "x"}


def test_leaves_are_values_without_children():
    assert [*leaves(VALUE)] == [(("a", 0, "b"), 1), (("a", 1), []), (("c",), {}), (("d",), "x")]


def test_a_path_is_written_with_dots():
    assert dotted(("a", 0, "b")) == "a.0.b"
    assert dotted(()) == "the whole"


def test_a_star_is_any_key_or_position():
    assert matches(("a", 0, "b"), ["a", "*", "b"])
    assert matches(("a", 0, "b"), ["*", "0", "b"])
    assert not matches(("a", 0, "b"), ["a", "*"])
    assert not matches(("a", 0, "b"), ["a", "*", "c"])


def test_mapped_replaces_leaves():
    changed = mapped(VALUE, lambda path, value: f"{dotted(path)}={value}")
    assert changed == {"a": [{"b": "a.0.b=1"}, []], "c": {}, "d": "d=x"}


def test_without_removes_matching_paths():
    assert without(VALUE, ["a.*.b", "d"]) == {"a": [{}, []], "c": {}}
    assert without(VALUE, ["a.0"]) == {"a": [[]], "c": {}, "d": "x"}
    assert without(VALUE, []) is VALUE
