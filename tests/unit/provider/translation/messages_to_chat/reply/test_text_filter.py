"""Stop sequences and the prefill in the text of an answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.messages_to_chat.reply.text_filter import TextFilter


def shown(pieces, stops=(), prefill=""):
    texts = TextFilter(stops, prefill)
    return "".join(map(texts.add, pieces)) + texts.rest(), texts.fired


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one END two", ["END"], ("one ", "END")),
        ("END", ["END"], ("", "END")),
        ("one two", ["END"], ("one two", None)),
        ("one EN", ["END"], ("one EN", None)),
        ("a, b; c", [";", ","], ("a", ",")),
        ("xabcd", ["abcd", "bc"], ("xa", "bc")),
        ("xabc", ["bc", "abc"], ("x", "abc")),
        ("xab", ["abc", "ab"], ("x", "ab")),
        ("aaab", ["aab"], ("a", "aab")),
        ("text", [""], ("text", None)),
        ("U\u0308ber", ["\u0308"], ("U", "\u0308")),
    ],
)
def test_text_ends_before_the_stop_sequence_that_is_complete_first(text, stops, expected):
    """The first that is complete wins, of two that end together the longer one; whole or letter by letter."""
    assert shown([text], stops) == shown(text, stops) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1, 2, 3", " 3"), (" 3", " 3"), ("1, 2,", ""), ("1, 2", "1, 2"), ("1, 3", "1, 3"), ("1, 2,1, 2, 3", "1, 2, 3")],
)
def test_a_repeated_prefill_is_taken_away_once(text, expected):
    """Llama.cpp repeats it; the response is the continuation only (PROTOCOL 1.4)."""
    assert shown([text], prefill="1, 2,")[0] == shown(text, prefill="1, 2,")[0] == expected


def test_a_stop_sequence_in_the_prefill_does_not_fire():
    """It was the client's own text."""
    assert shown("a;b;c", [";"], "a;") == ("b", ";")


def test_a_stop_sequence_in_what_looked_like_the_prefill_fires():
    """Text that only began like the prefill is an answer like any other."""
    assert shown("a;b", [";"], "a;bcd") == shown(["a;b"], [";"], "a;bcd") == ("a", ";")


def test_only_what_may_become_a_stop_sequence_is_held_back():
    """Text without its beginning is out at once."""
    texts = TextFilter(["\n\nHuman:"])
    assert [texts.add(piece) for piece in ("one\n", "two\n", "\nHu", "go", "\n\nHuman", ":", "later")] == [
        "one", "\ntwo", "", "\n\nHugo", "", "", "",
    ]  # fmt: skip


def test_nothing_to_look_for_is_idle():
    """So that streams without stop sequences pay nothing."""
    assert TextFilter().idle
    assert not TextFilter(["x"]).idle
    prefilled = TextFilter(prefill="x")
    assert not prefilled.idle
    prefilled.add("y")
    assert prefilled.idle


PIECES = st.lists(st.text("ab;", max_size=4), max_size=12)


@settings(max_examples=400)
@given(PIECES, st.lists(st.text("ab;", max_size=4), max_size=4), st.text("ab;", max_size=5))
def test_the_cut_of_the_text_does_not_matter(pieces, stops, prefill):
    """Streams and unary answers show the same, and no stop sequence is ever shown."""
    text, fired = shown(pieces, stops, prefill)
    assert (text, fired) == shown(["".join(pieces)], stops, prefill)
    assert not any(stop in text for stop in stops if stop)
    assert fired is None or fired in stops
