"""Real clients leave things out, send null, and add keys; the models take it."""

import json

import pytest
from pydantic import ValidationError

from llama_stack_api_messages.models import (
    CreateMessageRequest,
    CustomTool,
    ImageBlock,
    InputMessage,
    Message,
    TextBlock,
    ThinkingBlock,
    ThinkingEnabled,
    ToolResultBlock,
    ToolUseBlock,
)

BASE = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}


def read(**changes) -> CreateMessageRequest:
    return CreateMessageRequest.model_validate_json(json.dumps({**BASE, **changes}))


def block(**fields):
    return read(messages=[{"role": "assistant", "content": [fields]}]).messages[0].content[0]


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
@pytest.mark.parametrize("content", ["text", "", [], [{"type": "text", "text": "x"}], [{"type": "text", "text": ""}]])
def test_any_role_is_accepted_anywhere_with_text_or_blocks(role, content):
    """The translation checks positions and empty content."""
    message = {"role": role, "content": content}
    request = read(messages=[message, message])
    assert [turn.role for turn in request.messages] == [role, role]
    assert request.model_dump(exclude_unset=True)["messages"] == [message, message]


@pytest.mark.parametrize(
    "fields",
    [
        {"clear_at": "next_user_message", "content": "x"},
        {"output_config": {"effort": "low"}, "content": "x"},
        {"output_config": {"effort": "low"}},
        {"content": [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}}]},
    ],
)
def test_a_system_message_may_have_settings(fields):
    """With settings it may omit the content."""
    message = read(messages=[BASE["messages"][0], {"role": "system", **fields}]).messages[1]
    assert message.model_dump(exclude_unset=True) == {"role": "system", **fields}


def test_a_thinking_block_needs_no_signature():
    """Claude Code 2.0 and 1.0 replay thinking without the key."""
    found = block(type="thinking", thinking="hm")
    assert isinstance(found, ThinkingBlock)
    assert found.signature == ""
    assert found.model_dump(exclude_unset=True) == {"type": "thinking", "thinking": "hm"}


def test_a_tool_use_needs_no_id():
    """Claude Code replays calls that it received without one."""
    found = block(type="tool_use", name="f", input={})
    assert isinstance(found, ToolUseBlock)
    assert found.id == ""


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_a_null_input_is_an_empty_one(kind):
    """Histories of other servers have null for a call without arguments."""
    assert block(type=kind, id="a", name="f", server_name="s", input=None).input == {}


def test_the_input_keeps_the_order_of_its_keys():
    """The prompt has to stay the same from turn to turn, or the prefix cache is lost."""
    text = '{"z":1,"a":{"y":2,"b":3},"m":[{"q":1,"c":2}]}'
    raw = '{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[%s]}]}'
    request = CreateMessageRequest.model_validate_json(
        raw % f'{{"type":"tool_use","id":"x","name":"f","input":{text}}}'
    )
    assert json.dumps(request.messages[0].content[0].input, separators=(",", ":")) == text


@pytest.mark.parametrize("extra", [{}, {"is_error": None}, {"content": None}, {"content": "x"}, {"content": []}])
def test_a_tool_result_needs_only_the_id_of_the_call(extra):
    """It may have no content."""
    found = block(type="tool_result", tool_use_id="a", **extra)
    assert isinstance(found, ToolResultBlock)
    assert not found.is_error


def test_a_replayed_response_keeps_the_keys_that_the_sdk_adds():
    """`parse()` of the SDK leaves `parsed_output`, and dumps have `caller: null` and `citations: null`."""
    content = [
        {"type": "text", "text": "x", "citations": None, "parsed_output": {"a": 1}},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": None},
    ]
    message = read(messages=[{"role": "assistant", "content": content}]).messages[0]
    assert message.model_dump(exclude_unset=True)["content"] == content
    assert message.content[0].model_extra == {"parsed_output": {"a": 1}}


def test_unknown_keys_are_kept_at_every_level():
    """Claude Code adds a `scope` to cache_control, users add keys through the environment."""
    sent = {
        **BASE,
        "my_key": [1, {"a": None}],
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "scope": "global"}}],
        "tools": [{"name": "f", "input_schema": {}, "x": 1}],
        "metadata": {"user_id": None, "trace": "t"},
        "messages": [{"role": "user", "content": [{"type": "text", "text": "t", "y": 2}], "z": 3}],
    }
    request = CreateMessageRequest.model_validate(sent)
    assert request.model_dump(exclude_unset=True) == sent
    assert request.model_extra == {"my_key": [1, {"a": None}]}
    assert request.system[0].cache_control.model_extra == {"scope": "global"}


REQUIRED = {"model", "messages", "max_tokens"}


@pytest.mark.parametrize("name", sorted(set(CreateMessageRequest.model_fields) - REQUIRED))
def test_every_optional_parameter_may_be_null(name):
    """Clients with typed options send null for unset ones."""
    assert getattr(read(**{name: None}), name) is None


@pytest.mark.parametrize("budget", [0, 500, 1_000_000])
def test_a_thinking_budget_has_no_lower_bound(budget):
    """Bifrost 1479: background requests with a budget of 500 failed in a gateway that was stricter than the API."""
    thinking = read(thinking={"type": "enabled", "budget_tokens": budget}).thinking
    assert isinstance(thinking, ThinkingEnabled)
    assert thinking.budget_tokens == budget


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({"output_config": {"effort": "ultra"}}, "ultra"),
        ({"service_tier": "flex"}, "flex"),
        ({"speed": "warp"}, "warp"),
        ({"thinking": {"type": "adaptive", "display": "novel"}}, "novel"),
    ],
)
def test_unknown_levels_are_accepted(changes, value):
    """Which levels exist depends on the model."""
    assert value in json.dumps(read(**changes).model_dump(exclude_unset=True))


@pytest.mark.parametrize("tokens", [0, 1, 10_000_000])
def test_max_tokens_is_any_whole_number_from_zero(tokens):
    """Zero fills the cache, and too large a number is clamped later."""
    assert read(max_tokens=tokens).max_tokens == tokens


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/jpg", "application/octet-stream"])
def test_a_wrong_media_type_is_accepted(media_type):
    """The type is detected in the bytes."""
    found = block(type="image", source={"type": "base64", "media_type": media_type, "data": ""})
    assert isinstance(found, ImageBlock)


@pytest.mark.parametrize("head", [{}, {"type": None}, {"type": ""}, {"type": "custom"}])
def test_a_tool_without_type_is_a_custom_tool(head):
    """envoyproxy/ai-gateway 1843: Claude Code sends no `type`, some clients an empty one."""
    sent = {**head, "name": "f", "input_schema": {"type": "object"}}
    request = read(tools=[sent])
    assert isinstance(request.tools[0], CustomTool)
    assert request.model_dump(exclude_unset=True)["tools"] == [sent]


def test_requests_and_responses_can_be_built_in_code():
    """Instances are accepted as values, and their dump can be parsed again."""
    request = CreateMessageRequest(
        model="m",
        max_tokens=1,
        messages=[InputMessage(role="user", content=[TextBlock(type="text", text="x")])],
        tools=[CustomTool(name="f", input_schema={})],
        thinking=ThinkingEnabled(type="enabled", budget_tokens=1),
    )
    assert CreateMessageRequest.model_validate_json(request.model_dump_json(exclude_unset=True)) == request
    answer = Message.model_validate(
        {"id": "a", "type": "message", "role": "assistant", "model": "m", "content": [TextBlock(type="text", text="x")],
         "usage": {"input_tokens": 1, "output_tokens": 2}}
    )  # fmt: skip
    assert answer.content[0].text == "x"


def test_models_cannot_be_changed():
    """A retry must not see changes that an earlier attempt made to the request."""
    request = read()
    with pytest.raises(ValidationError, match="frozen"):
        request.max_tokens = 2
