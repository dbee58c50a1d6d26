"""Limits on the cost of a chat completions request: call arguments and unknown fields."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import MAX_DROPPED
from support.attacks import MANY, USER, cpu_bound


def assistant(*arguments):
    """Return an assistant message with calls that have these arguments."""
    calls = [{"id": f"c{at}", "function": {"name": "f", "arguments": text}} for at, text in enumerate(arguments)]
    return {"role": "assistant", "tool_calls": calls}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["[" * 9_000_000], "messages.1.tool_calls.0"),
        (['{"a":[' + "[]," * 3_000_000 + "[]]}"], "messages.1.tool_calls.0"),
        (['{"a":[' + "[]," * 200_000 + "[]]}"] * 20, "messages.1.tool_calls.3"),
    ],
    ids=["nested", "long", "many"],
)
def test_arguments_with_too_much_structure_are_rejected(translate, arguments, path):
    """Without the limit, 9 MB of brackets took 44 s and a gigabyte."""
    with cpu_bound(2), pytest.raises(InvalidRequestError) as caught:
        translate(USER, assistant(*arguments))
    assert caught.value.message.startswith(f"{path}.function.arguments: the tool calls up to here have more than")
    assert caught.value.message.endswith("; shorten the conversation")


@pytest.mark.parametrize(
    ("fields", "message"),
    [({}, USER | MANY), ({}, assistant("{}") | MANY), (MANY, USER)],
    ids=["message", "assistant", "request"],
)
def test_too_many_unknown_fields_are_rejected(translate, fields, message):
    """Without the limit, 300 000 of them took 4 s."""
    with cpu_bound(2.5), pytest.raises(InvalidRequestError, match=rf"more than {MAX_DROPPED} fields .*; remove them$"):
        translate(USER, message, **fields)


def test_the_maximum_number_of_unknown_fields_is_logged(translate):
    fields = {f"field_{number}": 1 for number in range(MAX_DROPPED)}
    assert len(translate(**fields).dropped) == MAX_DROPPED
