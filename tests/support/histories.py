"""Asserts the rules of the Messages API for the messages of a request."""

import json
import re

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    TranslationContext,
    translate_request,
)

NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
ID = re.compile(r"[a-zA-Z0-9_-]+")
MAX_USER_ID_CHARACTERS = 256


def assert_legal(body):
    """Assert every rule of the API for messages, tool calls, tool results, tools and cache breakpoints.

    The strict translation in the other direction rejects what the API rejects, so it has to accept the body too; only
    URLs of documents are not supported there.
    """
    blocks = walk([message["content"] for message in body["messages"]])
    if not any(block.get("type") == "document" and block["source"]["type"] == "url" for block in blocks):
        read_back(body)
    json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    messages = body["messages"]
    assert messages[0]["role"] == "user"
    assert body["max_tokens"] >= 1
    assert_roles([message["role"] for message in messages])
    for message in messages:
        assert message["content"], "a message is not empty"
    blocks = [block for message in messages for block in message["content"]] + body.get("system", [])
    assert all(block["text"].strip() for block in walk(blocks) if block.get("type") == "text")
    assert_calls(messages)
    assert_ends(messages)
    assert_tools(body)
    assert_breakpoints(body)
    assert len(body.get("metadata", {}).get("user_id", "")) <= MAX_USER_ID_CHARACTERS
    budget = body.get("thinking", {}).get("budget_tokens", 0)
    assert budget < body["max_tokens"]


def read_back(body):
    """Return the chat completions fields to which a second stack, used as upstream, would translate the body."""
    return translate_request(
        CreateMessageRequest.model_validate(body), TranslationContext(Profile(documents="file"), Policy(strict=True))
    ).fields


def assert_roles(roles):
    for before, role, after in zip([None, *roles], roles, [*roles[1:], None], strict=False):
        assert before != role
        if role == "system":
            assert before == "user"
            assert after in ("assistant", None)
        if role == "assistant":
            assert after in ("user", None)


def walk(value):
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner) if isinstance(inner, list) else ()
    if isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def assert_calls(messages):
    seen = set()
    open_calls = []
    for message in messages:
        if message["role"] == "system":
            continue
        kinds = [block["type"] for block in message["content"]]
        results = [block["tool_use_id"] for block in message["content"] if block["type"] == "tool_result"]
        assert results == open_calls, "each call has its result in the next message, and no other result is there"
        assert kinds[: len(results)] == ["tool_result"] * len(results), "results come first"
        calls = [block for block in message["content"] if block["type"] == "tool_use"]
        open_calls = [block["id"] for block in calls]
        assert all(ID.fullmatch(call) for call in open_calls)
        assert not seen & set(open_calls)
        assert len(set(open_calls)) == len(open_calls)
        seen |= set(open_calls)
        assert all(NAME.fullmatch(block["name"]) and isinstance(block["input"], dict) for block in calls)
    assert not open_calls, "each call has a result"
    return seen


def assert_ends(messages):
    for message in messages:
        assert message["content"][-1]["type"] not in ("thinking", "redacted_thinking")
    last = messages[-1]
    if last["role"] == "assistant":
        text = last["content"][-1]["text"]
        assert text == text.rstrip()


def assert_tools(body):
    tools = body.get("tools", [])
    names = [tool["name"] for tool in tools]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(name) for name in names)
    for tool in tools:
        if "input_schema" in tool:
            assert tool["input_schema"]["type"] == "object"
            assert not {"oneOf", "anyOf", "allOf"} & tool["input_schema"].keys()
    choice = body.get("tool_choice", {})
    assert not choice or tools
    assert choice.get("name") in (None, *names)
    called = any(block["type"] == "tool_use" for message in body["messages"] for block in message["content"])
    assert tools or not called


def assert_breakpoints(body):
    order = [*body.get("tools", []), *body.get("system", []), *walk([m["content"] for m in body["messages"]])]
    marks = [block["cache_control"] for block in order if "cache_control" in block]
    assert len(marks) <= 4
    lives = [mark.get("ttl") == "1h" for mark in marks]
    assert lives == sorted(lives, reverse=True)
