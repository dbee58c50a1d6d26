"""Thinking signatures that hold the reasoning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.messages_to_chat import ThinkingSigner
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import (
    PREFIX,
    SignedReasoning,
    pack,
    unpack,
    unsigned,
)
from support.attacks import cpu_bound

SIGNER = ThinkingSigner(b"key", "a/m")
DETAILS = [{"type": "reasoning.text", "text": "hm", "index": 0, "signature": "x"}]


@given(st.text(st.characters(), max_size=200))
def test_any_text_survives_the_signature(text):
    """Text with lone surrogates, which JSON allows, is restored, too."""
    assert SIGNER.open(SIGNER.sign(text)) == SignedReasoning(text)


def test_details_come_back_as_they_were():
    """With the order of their keys."""
    opened = SIGNER.open(SIGNER.sign("hm", DETAILS))
    assert opened == SignedReasoning("hm", tuple(DETAILS))
    assert list(opened.details[0]) == list(DETAILS[0])


def test_details_are_for_their_model_alone():
    """Another one gets the words."""
    assert ThinkingSigner(b"key", "a/other").open(SIGNER.sign("hm", DETAILS)) == SignedReasoning("hm")


def test_the_same_reasoning_has_the_same_signature():
    """So histories stay byte-stable."""
    assert SIGNER.sign("hm") == ThinkingSigner(b"key", "b/n").sign("hm")
    assert SIGNER.sign("hm").startswith(PREFIX)


@pytest.mark.parametrize("position", range(0, 40, 3))
def test_one_changed_character_is_noticed(position):
    """Wherever it is."""
    signature = SIGNER.sign("some thought")
    changed = list(signature)
    changed[position] = "A" if changed[position] != "A" else "B"
    assert SIGNER.open("".join(changed)) is None


@pytest.mark.parametrize(
    "foreign", ["", "EqQBCkYIBBgCKkA=", PREFIX, f"{PREFIX}a", f"{PREFIX}ab", f"{PREFIX}\xe9", "\ud800", f"{PREFIX}===="]
)
def test_a_foreign_signature_opens_to_none(foreign):
    """Opening a foreign signature returns None and raises nothing."""
    assert SIGNER.open(foreign) is None


def test_another_key_opens_no_signature():
    """A client cannot make up what a model thought."""
    assert unpack(pack(b"x", b"key"), b"other") is None


def test_the_key_is_not_shown():
    """A signer may get into a log."""
    assert "key" not in repr(SIGNER)


def test_long_reasoning_is_compressed():
    """The base64 signature of 30 kB of words is shorter than the words, and costs little CPU time."""
    text = " ".join(f"Let me check step {number} of the plan, then go on." for number in range(650))
    with cpu_bound(0.5):
        signature = SIGNER.sign(text)
    assert len(text) > 30_000
    assert len(signature) < len(text) / 2


def test_without_a_signer_the_signature_is_empty():
    """The empty signature, which is read as: take the visible text."""
    assert unsigned("hm") == ""
