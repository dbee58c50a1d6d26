"""Which tools are sent, when the conversation loads, adds and removes tools."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    TranslationContext,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.request.tools import ToolSet
from support.streams import request

STRICT = Policy(strict=True)
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def tool(name, **fields):
    return {"name": name, "input_schema": {"type": "object", "properties": {}}} | fields


def later(name):
    return tool(name, defer_loading=True)


def reference(name):
    return {"type": "tool_reference", "name": name}


def add(name):
    return {"type": "tool_addition", "tool": reference(name)}


def remove(name):
    return {"type": "tool_removal", "tool": reference(name)}


def define(definition):
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": definition}}


def system(*blocks, **fields):
    return {"role": "system", "content": [*blocks], **fields}


def found(*names):
    """Return a call and a result that refers to tools."""
    parts = [{"type": "tool_reference", "tool_name": name} for name in names]
    return [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "s", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": parts}]},
    ]


def translated(tools, *turns, policy=None):
    asked = request(tools=tools, messages=[{"role": "user", "content": "x"}, *turns])
    return translate_request(asked, TranslationContext(Profile(), policy or Policy()))


def names(tools, *turns):
    return [entry["function"]["name"] for entry in translated(tools, *turns).fields.get("tools", ())]


def dropped(tools, *turns):
    return [entry.path for entry in translated(tools, *turns).dropped]


def refusal(tools, *turns, policy=None):
    with pytest.raises(InvalidRequestError) as caught:
        translated(tools, *turns, policy=policy)
    return caught.value


def test_loaded_tools_come_last_in_the_order_of_loading():
    tools = [later("a"), tool("b"), later("c"), tool("d"), later("e")]
    turns = [*found("c"), system(add("a"))]
    assert names(tools) == ["b", "d"]
    assert names(tools, *turns[:2]) == ["b", "d", "c"]
    assert names(tools, *turns) == ["b", "d", "c", "a"]
    assert names(tools, *turns, *found("c")) == ["b", "d", "c", "a"]


def test_a_search_of_another_server_loads_tools_too():
    results = {
        "type": "tool_search_tool_search_result",
        "tool_references": [{"type": "tool_reference", "tool_name": "a"}],
    }
    block = {"type": "tool_search_tool_result", "tool_use_id": "s", "content": results}
    turn = {"role": "assistant", "content": [block, {"type": "text", "text": "ok"}]}
    assert names([later("a")], turn, {"role": "user", "content": "y"}) == ["a"]


def test_a_removed_tool_that_is_added_again_gets_its_old_position():
    tools = [tool("a"), tool("b"), later("c")]
    assert names(tools, system(remove("a"))) == ["b"]
    assert names(tools, system(remove("a")), system(add("a"))) == ["a", "b"]
    assert names(tools, system(add("c"), remove("c"))) == ["a", "b"]
    assert names(tools, system(remove("c"), remove("c"))) == ["a", "b"]


def test_a_loaded_tool_that_is_removed_and_loaded_again_comes_last():
    assert names([later("a"), later("b")], system(add("a"), add("b"), remove("a"), add("a"))) == ["b", "a"]


def test_changes_leave_no_text():
    chat = translated([later("a")], system(add("a")), {"role": "user", "content": "y"}).fields["messages"]
    assert [message["role"] for message in chat] == ["user"]
    assert chat[0]["content"] == "x\n\ny"


def test_a_cleared_system_message_still_changes_the_tools():
    """Only its text is left out."""
    message = system(add("a"), {"type": "text", "text": "hush"}, clear_at="next_user_message")
    done = translated([later("a")], message, {"role": "user", "content": "y"})
    assert [entry["function"]["name"] for entry in done.fields["tools"]] == ["a"]
    assert "hush" not in str(done.fields["messages"])


def test_a_tool_may_be_defined_in_place_and_again_by_the_replayed_history():
    new = tool("new", description="New.")
    assert names([tool("a")], system(define(new))) == ["a", "new"]
    assert names(
        [tool("a")], system(define(new), remove("new"), define(new | {"cache_control": {"type": "ephemeral"}}))
    ) == [
        "a",
        "new",
    ]
    assert names([tool("a")], system(define(new), remove("new"))) == ["a"]


@pytest.mark.parametrize("tools", [[tool("new", description="Old.")], [later("new")]])
def test_a_definition_whose_name_is_taken_is_refused(tools):
    error = refusal(tools, system(define(tool("new"))))
    assert error.message.startswith("messages.1.content.0.tool.definition: ")
    assert error.details == {"error_code": "tool_name_conflict"}


def test_a_server_tool_defined_in_place_is_left_out():
    assert dropped([tool("a")], system(define(SEARCH), add("web_search"))) == ["messages.1.content.0.tool.definition"]


@pytest.mark.parametrize("change", [add, remove])
def test_a_change_of_an_undeclared_tool_is_rejected(change):
    error = refusal([tool("a")], system(change("b")))
    assert error.message.startswith("messages.1.content.0.tool.name: ")
    assert error.details == {"error_code": "tool_reference_unresolved"}


def test_a_change_of_a_dropped_tool_changes_nothing():
    assert dropped([tool("a"), SEARCH], system(remove("web_search"), add("web_search"))) == ["tools.1"]


def test_a_removal_cannot_define():
    block = {"type": "tool_removal", "tool": {"type": "tool_definition", "definition": tool("a")}}
    assert refusal([tool("a")], system(block)).message.startswith("messages.1.content.0.tool: ")


@pytest.mark.parametrize("kind", ["tool_addition", "tool_removal"])
@pytest.mark.parametrize(
    "target",
    [
        {"type": "mcp_tool_reference", "server_name": "s", "name": "t"},
        {"type": "mcp_toolset_reference", "server_name": "s"},
        {"type": "brand_new"},
    ],
)
def test_references_to_mcp_tools_are_dropped_by_name(kind, target):
    assert dropped([tool("a")], system({"type": kind, "tool": target})) == ["messages.1.content.0.tool"]


def test_a_reference_to_an_undeclared_tool_is_dropped_and_noted_for_the_model():
    done = translated([tool("a")], *found("gone", "a"))
    assert [entry.path for entry in done.dropped] == ["messages.2.content.0.content.0"]
    assert done.fields["messages"][2]["content"] == "Tool gone is not available\nLoaded tool a"


def test_strict_mode_rejects_a_reference_to_an_undeclared_tool():
    error = refusal([tool("a")], *found("gone"), policy=STRICT)
    assert error.message.startswith("messages.2.content.0.content.0: ")
    assert error.details == {"error_code": "tool_reference_unresolved"}


def after(block, *tools):
    """Return the names of the tools after a compaction, and the dropped paths."""
    asked = request(
        tools=[*tools], messages=[{"role": "assistant", "content": [block]}, {"role": "user", "content": "x"}]
    )
    ctx = TranslationContext(Profile())
    box = ToolSet(asked.tools, ctx)
    box.follow(asked.messages)
    return [offer.backend_name for offer in box.offered()], [entry.path for entry in ctx.log.entries()]


def test_a_compaction_repeats_the_changes_of_its_part():
    block = {"type": "compaction", "content": "s", "tool_changes": [add("c"), remove("a"), {"type": "brand_new"}]}
    assert after(block, tool("a"), tool("b"), later("c")) == (["b", "c"], ["messages.0.content.0.tool_changes.2"])


@pytest.mark.parametrize("fields", [{"content": None, "tool_changes": [remove("a")]}, {"content": "s"}])
def test_a_compaction_without_summary_or_changes_changes_nothing(fields):
    assert after({"type": "compaction"} | fields, tool("a")) == (["a"], [])
