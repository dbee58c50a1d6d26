"""A wrong body is described as `<path>: <message>`, in the words of the protocol, without names of ours."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from llama_stack_api_messages.models import CreateMessageRequest, Event, Tool, describe_validation_error

BASE = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
ABSENT: Any = object()


def complaint(**changes) -> str:
    """Return the text for a good request with these changes."""
    fields = {name: value for name, value in {**BASE, **changes}.items() if value is not ABSENT}
    with pytest.raises(ValidationError) as caught:
        CreateMessageRequest.model_validate_json(json.dumps(fields))
    with pytest.raises(ValidationError) as again:
        CreateMessageRequest.model_validate(fields)
    text = describe_validation_error(caught.value)
    assert describe_validation_error(again.value).replace("valid list", "valid array") == text
    return text


def block_complaint(block: Any) -> str:
    """Return the text for a wrong block in the second message, without the path to it."""
    text = complaint(messages=[BASE["messages"][0], {"role": "user", "content": [block]}])
    path = "messages.1.content.0"
    assert text.startswith(path)
    return text.removeprefix(path)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": ABSENT}, "model: Field required"),
        ({"messages": ABSENT}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.tool.name: Field required"),
    ],
)
def test_the_protocols_own_error_messages_are_used(changes, text):
    """Clients look for them."""
    assert complaint(**changes) == text


@pytest.mark.parametrize("head", [{}, {"type": None}, {"type": ""}, {"type": "custom"}])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x" * 129, "String should have at most 128 characters"),
        ("x y", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
        ("", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'"),
    ],
)
def test_the_name_of_a_custom_tool_is_checked(head, name, text):
    """The path has the tag `custom`, whether or not the tool has a type."""
    good = {"name": "x" * 128, "input_schema": {}}
    assert complaint(tools=[good, {**head, "name": name, "input_schema": {}}]) == f"tools.1.custom.name: {text}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 0"),
        ({"max_tokens": []}, "max_tokens: Input should be a valid integer"),
        ({"model": ""}, "model: String should have at least 1 character"),
        ({"temperature": 2.5}, "temperature: Input should be less than or equal to 2"),
        ({"temperature": -0.1}, "temperature: Input should be greater than or equal to 0"),
        ({"top_p": 2}, "top_p: Input should be less than or equal to 1"),
        ({"top_k": -1}, "top_k: Input should be greater than or equal to 0"),
        ({"messages": {}}, "messages: Input should be a valid array"),
        ({"messages": ["x"]}, "messages.0: Input should be a valid dictionary"),
        (
            {"messages": [{"role": "bot", "content": ""}]},
            "messages.0.role: Input should be 'user', 'assistant' or 'system'",
        ),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "system", "output_config": None}]}, "messages.0.content: Field required"),
        (
            {"messages": [{"role": "user", "content": None}]},
            "messages.0.content: Input should be a valid string or a valid array",
        ),
        ({"stop_sequences": ["x", 1]}, "stop_sequences.1: Input should be a valid string"),
        ({"system": 1}, "system: Input should be a valid string or a valid array"),
        ({"system": [{"type": "text"}]}, "system.0.text: Field required"),
        ({"system": [{"type": "image"}]}, "system.0.type: Input should be 'text'"),
        ({"tools": {}}, "tools: Input should be a valid array"),
        ({"tools": ["x"]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"name": "x"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"type": "bash_20250124"}]}, "tools.0.bash_20250124.name: Field required"),
        ({"tool_choice": "auto"}, "tool_choice: Input should be a valid dictionary"),
        ({"thinking": {}}, "thinking.type: Field required"),
        ({"thinking": {"type": 5}}, "thinking.type: Input should be a valid string"),
        ({"container": 1}, "container: Input should be a valid string or a valid dictionary"),
        ({"container": {"skills": [{"type": "custom"}]}}, "container.skills.0.skill_id: Field required"),
        ({"fallbacks": "x"}, "fallbacks: Input should be 'default' or a valid array"),
        ({"fallbacks": [{}]}, "fallbacks.0.model: Field required"),
        ({"fallback_credit_token": {}}, "fallback_credit_token.token: Field required"),
        ({"thread": {"type": "continue"}}, "thread.continue.previous_message_id: Field required"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema: Field required"),
        (
            {"context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "some"}]}},
            "context_management.edits.0.clear_thinking_20251015.keep: Input should be 'all' or a valid dictionary",
        ),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919", "clear_tool_inputs": 5}]}},
            (
                "context_management.edits.0.clear_tool_uses_20250919.clear_tool_inputs: "
                "Input should be a valid boolean or a valid array"
            ),
        ),
    ],
)
def test_a_wrong_parameter_is_named(changes, text):
    """The path leads to the value, without labels of unions."""
    assert complaint(**changes) == text


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ("x", ": Input should be a valid dictionary"),
        ({}, ".type: Field required"),
        ({"type": None}, ".type: Input should be a valid string"),
        ({"type": ""}, ".type: String should have at least 1 character"),
        ({"type": "text"}, ".text.text: Field required"),
        ({"type": "text", "text": 5}, ".text.text: Input should be a valid string"),
        ({"type": "image"}, ".image.source: Field required"),
        ({"type": "image", "source": {}}, ".image.source.type: Field required"),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png"}},
            ".image.source.base64.data: Field required",
        ),
        ({"type": "tool_use", "name": "x", "input": [1]}, ".tool_use.input: Input should be a valid dictionary"),
        ({"type": "tool_use", "name": "x"}, ".tool_use.input: Field required"),
        ({"type": "tool_result"}, ".tool_result.tool_use_id: Field required"),
        (
            {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "x"}, {"type": "text"}]},
            ".tool_result.content.1.text.text: Field required",
        ),
        (
            {"type": "web_search_tool_result", "tool_use_id": "x", "content": 1},
            ".web_search_tool_result.content: Input should be a valid array or a valid dictionary",
        ),
        (
            {"type": "web_search_tool_result", "tool_use_id": "x", "content": {"type": "web_search_tool_result_error"}},
            ".web_search_tool_result.content.web_search_tool_result_error.error_code: Field required",
        ),
        ({"type": "fallback", "to": {"model": "x"}}, ".fallback.from: Field required"),
    ],
)
def test_a_wrong_block_is_named(block, text):
    """The tag of the block follows its index."""
    assert block_complaint(block) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "The request body is not valid JSON: EOF while parsing a value at line 1 column 0"),
        (b'{"model": ', "The request body is not valid JSON: EOF while parsing a value at line 1 column 10"),
        (b"\xff", "The request body is not valid JSON: expected value at line 1 column 1"),
        (b'{"model": "\\ud800"}', "The request body is not valid JSON: unexpected end of hex escape"),
        (b"[]", "The request body must be a JSON object"),
        (b'"text"', "The request body must be a JSON object"),
        (b"null", "The request body must be a JSON object"),
    ],
)
def test_a_body_that_is_not_an_object_has_its_own_message(raw, text):
    """It has no path."""
    with pytest.raises(ValidationError) as caught:
        CreateMessageRequest.model_validate_json(raw)
    assert describe_validation_error(caught.value).startswith(text)


def test_a_python_value_that_is_not_an_object_has_the_same_message():
    """For a body that was parsed before."""
    with pytest.raises(ValidationError) as caught:
        CreateMessageRequest.model_validate([])
    assert describe_validation_error(caught.value) == "The request body must be a JSON object"


def test_the_first_of_many_errors_is_described():
    """In the order of the fields, then of the list; a list stops at its first error."""
    wrong = {"role": "user", "content": [{"type": "text"}] * 1000}
    with pytest.raises(ValidationError) as caught:
        CreateMessageRequest.model_validate({"messages": [wrong] * 1000})
    assert describe_validation_error(caught.value) == "model: Field required"
    assert caught.value.error_count() < 10
    assert complaint(messages=[wrong] * 3) == "messages.0.content.0.text.text: Field required"


def test_too_many_messages_are_rejected():
    """The limit of the protocol."""
    assert complaint(messages=BASE["messages"] * 100_001).startswith("messages: List should have at most 100000 items")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (Tool, {"type": "bash_20250124", "name": "zsh"}, "bash_20250124.name: Input should be 'bash'"),
        (Event, {"type": "content_block_stop"}, "content_block_stop.index: Field required"),
        (Event, 5, "The request body must be a JSON object"),
    ],
)
def test_errors_of_any_model_can_be_described(kind, value, text):
    """Not only those of requests."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert describe_validation_error(caught.value) == text


def test_no_value_of_the_request_is_repeated():
    """It may be a secret."""
    text = complaint(mcp_servers=[{"type": "url", "url": "https://x", "authorization_token": "s3cret"}])
    assert text == "mcp_servers.0.name: Field required"
    assert "s3cret" not in complaint(model=["s3cret"])
