"""Asking again without what switches thinking."""

import pytest

from llama_stack_provider_messages.translation.messages_to_chat.backend.adapt import without_switches

PLAIN = {"messages": [], "max_tokens": 5}


@pytest.mark.parametrize(
    "refusal",
    [
        "Unrecognized request argument supplied: reasoning_effort",
        '"gemma" does not support thinking',
        "chat_template_kwargs: Extra inputs are not permitted",
    ],
)
@pytest.mark.parametrize("switch", [{"reasoning_effort": "high"}, {"chat_template_kwargs": {"thinking": True}}])
def test_a_refusal_of_the_switch_gives_the_request_without_it(refusal, switch):
    """Everything else stays."""
    assert without_switches({**PLAIN, **switch}, refusal) == PLAIN


def test_a_refusal_of_something_else_gives_nothing():
    """There is no second try for it."""
    assert without_switches({**PLAIN, "reasoning_effort": "high"}, "max_tokens is too large") is None


def test_without_a_switch_there_is_nothing_to_leave_out():
    """So the refusal stands, whatever it says."""
    assert without_switches(PLAIN, "reasoning_effort") is None
