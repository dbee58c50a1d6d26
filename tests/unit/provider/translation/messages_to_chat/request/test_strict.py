"""Strict mode rejects conversations with the API's error messages; lenient mode repairs them."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    TranslationContext,
    translate_request,
)
from support.streams import request

TEXT = {"type": "text", "text": "a"}


def use(call_id="a"):
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {}}


def result(call_id="a"):
    return {"type": "tool_result", "tool_use_id": call_id, "content": "r"}


def translate(turns, *, strict):
    asked = request(messages=[{"role": role, "content": content} for role, content in turns])
    return translate_request(asked, TranslationContext(Profile(), Policy(strict=strict)))


LOST = (
    "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: {}. "
    "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
)
UNEXPECTED = (
    "{}: unexpected `tool_use_id` found in `{kind}` blocks: {}. Each `{kind}` block must have a corresponding {}."
)
EMPTY = "messages.{}: all messages must have non-empty content except for the optional final assistant message"
LEADING_SYSTEM = (
    'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an '
    "input message role."
)
SEARCHED = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([("user", "x"), ("assistant", [use("a"), use("b")]), ("user", [result("b")])], LOST.format("a")),
        ([("user", "x"), ("assistant", [use("a"), use("b")]), ("user", "y")], LOST.format("a, b")),
        ([("user", "x"), ("assistant", [use()])], LOST.format("a")),
        (
            [("user", "x"), ("assistant", [use()]), ("assistant", "b"), ("user", "y")],
            LOST.format("a").replace("1", "2"),
        ),
        (
            [("user", [TEXT, result()])],
            UNEXPECTED.format(
                "messages.0.content.1", "a", "`tool_use` block in the previous message", kind="tool_result"
            ),
        ),
        (
            [("user", "x"), ("assistant", [use(), use()]), ("user", [result()])],
            "messages.1.content.1: `tool_use` ids must be unique",
        ),
        (
            [("user", "x"), ("assistant", [SEARCHED]), ("user", "y")],
            UNEXPECTED.format(
                "messages.1.content.0", "s", "`server_tool_use` block before it", kind="web_search_tool_result"
            ),
        ),
        (
            [("user", "x"), ("assistant", [{"type": "mcp_tool_result", "tool_use_id": "m"}]), ("user", "y")],
            UNEXPECTED.format("messages.1.content.0", "m", "`mcp_tool_use` block before it", kind="mcp_tool_result"),
        ),
        (
            [("system", "s"), ("user", "x")],
            LEADING_SYSTEM,
        ),
        (
            [("user", "x"), ("system", "s"), ("system", "t"), ("user", "y")],
            "messages.1: role 'system' must precede an 'assistant' message or end the array",
        ),
        ([("user", "x"), ("assistant", ""), ("user", "y")], EMPTY.format(1)),
        ([("user", "x"), ("user", [])], EMPTY.format(1)),
        ([("user", "x"), ("user", [{"type": "text", "text": ""}])], "messages: text content blocks must be non-empty"),
    ],
)
def test_strict_mode_refuses_what_lenient_mode_repairs(turns, message):
    with pytest.raises(InvalidRequestError) as caught:
        translate(turns, strict=True)
    assert caught.value.message == message
    assert translate(turns, strict=False).fields["messages"]


SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}


@pytest.mark.parametrize(
    "turns",
    [
        [
            ("user", "x"),
            ("assistant", [TEXT, use("a"), use("b")]),
            ("user", [result("b")]),
            ("user", [result("a"), TEXT]),
        ],
        [("user", "x"), ("system", "s"), ("system", "t"), ("assistant", [SEARCH, SEARCHED, TEXT]), ("user", "y")],
        [("user", "x"), ("assistant", [use()]), ("user", [result()]), ("system", "s")],
        [("user", "x"), ("assistant", "")],
    ],
)
def test_valid_requests_are_translated_the_same_in_both_modes(turns):
    assert translate(turns, strict=True) == translate(turns, strict=False)
