"""Tools that this server cannot run, and forced tool calls."""

from contextlib import suppress

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    TranslationContext,
    translate_request,
)
from support.streams import request

TOOL = {"name": "f", "input_schema": {"type": "object"}}
REJECT, STRICT = Policy(server_tools="reject"), Policy(strict=True)
SERVER_TOOLS = [
    {"type": "web_search_20260318", "name": "web_search"},
    {"type": "web_fetch_20260318", "name": "web_fetch"},
    {"type": "code_execution_20250825", "name": "code_execution"},
    {"type": "tool_search_tool_regex", "name": "tool_search_tool_regex"},
    {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    {"type": "advisor_20260301", "name": "advisor", "model": "m"},
    {"type": "mcp_toolset", "mcp_server_name": "s"},
]
UNKNOWN = [{"type": "brand_new_20300101", "name": "x"}, {"type": "bash_20300101", "name": "bash"}]
MCP = [{"type": "url", "url": "https://x.example", "name": "s"}]


def translated(policy=None, **fields):
    return translate_request(request(**fields), TranslationContext(Profile(), policy or Policy()))


def refusal(policy=None, **fields):
    with pytest.raises(InvalidRequestError) as caught:
        translated(policy, **fields)
    return caught.value.message


def kind(tool):
    return tool["type"]


@pytest.mark.parametrize("tool", SERVER_TOOLS + UNKNOWN, ids=kind)
def test_a_server_tool_is_dropped_by_name(tool):
    done = translated(tools=[TOOL, tool])
    assert [entry["function"]["name"] for entry in done.fields["tools"]] == ["f"]
    assert [entry.path for entry in done.dropped] == ["tools.1"]


@pytest.mark.parametrize("tool", SERVER_TOOLS + UNKNOWN, ids=kind)
@pytest.mark.parametrize("choice", [None, {"type": "auto"}, {"type": "none"}])
def test_a_request_with_only_server_tools_is_sent_without_tools(tool, choice):
    assert translated(tools=[tool], tool_choice=choice).fields.keys() == {"messages", "max_tokens"}


@pytest.mark.parametrize("tool", SERVER_TOOLS[:3] + UNKNOWN, ids=kind)
def test_a_forced_server_tool_is_rejected(tool):
    assert refusal(tools=[tool], tool_choice={"type": "any"}).startswith("tool_choice: ")
    choice = {"type": "tool", "name": tool["name"]}
    assert refusal(tools=[TOOL, tool], tool_choice=choice).startswith("tool_choice.name: ")


@pytest.mark.parametrize("tool", SERVER_TOOLS, ids=kind)
def test_the_policy_may_refuse_server_tools(tool):
    assert refusal(REJECT, tools=[TOOL, tool]).startswith("tools.1: ")
    assert translated(STRICT, tools=[TOOL, tool]).fields["tools"]


@pytest.mark.parametrize("policy", [REJECT, STRICT], ids=["reject", "strict"])
@pytest.mark.parametrize("tool", UNKNOWN, ids=kind)
def test_an_unknown_type_is_rejected_with_the_apis_message(tool, policy):
    begin = (
        f"tools.1: Input tag '{tool['type']}' found using 'type' does not match any of the expected tags: 'custom', "
    )
    assert refusal(policy, tools=[TOOL, tool]).startswith(begin)


def test_mcp_servers_are_dropped_or_rejected_like_their_tools():
    assert [entry.path for entry in translated(mcp_servers=MCP).dropped] == ["mcp_servers"]
    assert refusal(REJECT, mcp_servers=MCP).startswith("mcp_servers: ")
    assert translated(REJECT, mcp_servers=[]).dropped == ()


def test_a_tool_that_only_code_may_call_is_dropped():
    """This server does not run code, and the model must not call the tool directly."""
    hidden = TOOL | {"name": "g", "allowed_callers": ["code_execution_20260120"]}
    both = TOOL | {"name": "h", "allowed_callers": ["direct", "code_execution_20260120"]}
    done = translated(tools=[TOOL, hidden, both])
    assert [entry["function"]["name"] for entry in done.fields["tools"]] == ["f", "h"]
    assert [entry.path for entry in done.dropped] == ["tools.1.allowed_callers"]
    assert refusal(tools=[TOOL, hidden], tool_choice={"type": "tool", "name": "g"}).startswith("tool_choice.name: ")


def test_a_deferred_tool_cannot_be_forced_before_it_is_loaded():
    later = TOOL | {"name": "g", "defer_loading": True}
    assert refusal(tools=[TOOL, later], tool_choice={"type": "tool", "name": "g"}).startswith("tool_choice.name: ")


def test_no_request_with_tools_raises_an_unexpected_error():
    """Every request that passes the models is translated or answered with 400."""
    odd = [
        {"tools": [TOOL | {"input_schema": {"properties": None}, "strict": True}]},
        {"tools": [{"type": "computer_toolset_20260801", "configs": {"key": {"enabled": None}}}]},
        {"tools": [TOOL], "tool_choice": {"type": "tool", "name": ""}},
        {"tools": [TOOL | {"input_schema": {"type": "object", "properties": ["x"]}, "strict": True}]},
        {"tools": [TOOL | {"input_schema": {"type": "object", "required": 3}, "strict": True}]},
        {"tools": [TOOL | {"input_schema": {"type": "object", "required": [["x"]]}, "strict": True}]},
        {"tools": [{"type": "brand_new", "name": ["x"]}]},
        {"tools": [{"type": "brand_new", "configs": 3, "defer_loading": "x"}], "tool_choice": {"type": "any"}},
    ]
    for fields in odd:
        asked = CreateMessageRequest.model_validate(
            {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]} | fields
        )
        with suppress(InvalidRequestError):
            translate_request(asked, TranslationContext(Profile()))
