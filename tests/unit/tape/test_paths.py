"""Places inside JSON values."""

from messages_tape.format.paths import dotted, leaves, mapped, matches, without

VALUE = {"a": [{"b": 1}, []], "c": {}, "d": "x"}


def test_leaves_are_what_holds_nothing():
    assert [*leaves(VALUE)] == [(("a", 0, "b"), 1), (("a", 1), []), (("c",), {}), (("d",), "x")]


def test_a_path_is_written_with_dots():
    assert dotted(("a", 0, "b")) == "a.0.b"
    assert dotted(()) == "the whole"


def test_a_star_is_any_key_or_position():
    assert matches(("a", 0, "b"), ["a", "*", "b"])
    assert matches(("a", 0, "b"), ["*", "0", "b"])
    assert not matches(("a", 0, "b"), ["a", "*"])
    assert not matches(("a", 0, "b"), ["a", "*", "c"])


def test_leaves_can_be_replaced():
    changed = mapped(VALUE, lambda path, value: f"{dotted(path)}={value}")
    assert changed == {"a": [{"b": "a.0.b=1"}, []], "c": {}, "d": "d=x"}


def test_places_can_be_left_out():
    assert without(VALUE, ["a.*.b", "d"]) == {"a": [{}, []], "c": {}}
    assert without(VALUE, ["a.0"]) == {"a": [[]], "c": {}, "d": "x"}
    assert without(VALUE, []) is VALUE
