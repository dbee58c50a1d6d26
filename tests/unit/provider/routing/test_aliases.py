"""Which model answers a name."""

import pytest

from llama_stack_provider_messages.routing.aliases import Aliases

TABLE = {"local/x": "up/exact", "claude-haiku-*": "local/tiny", "claude-*": "up/big", "*": "up/any"}


def served(name):
    return name.startswith("local/")


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("local/x", "up/exact"),
        ("local/y", "local/y"),
        ("claude-haiku-4-5", "local/tiny"),
        ("claude-opus-5", "up/big"),
        ("gpt", "up/any"),
    ],
)
def test_exact_then_served_then_pattern(name, model):
    """An exact alias wins over a served model, which wins over the first pattern that matches."""
    assert Aliases(TABLE).resolve(name, served) == model


def test_brackets_in_a_pattern_are_brackets():
    """Names such as ``claude-opus-5[1m]`` are meant as they are."""
    aliases = Aliases({"claude-*[1m]": "up/big"})
    assert aliases.resolve("claude-opus-5[1m]", served) == "up/big"
    assert aliases.resolve("claude-opus-m", served) is None


def test_the_default_answers_what_nothing_else_does():
    """An unknown name goes to the default model."""
    assert Aliases({}, "local/tiny").resolve("x", served) == "local/tiny"


def test_without_a_default_an_unknown_name_is_nobody():
    """There is no answer then."""
    assert Aliases({}).resolve("x", served) is None
