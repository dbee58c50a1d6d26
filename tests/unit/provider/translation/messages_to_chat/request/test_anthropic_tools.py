"""Tools that Anthropic defines become functions with a description and a schema; a toolset has one for each member."""

import anthropic.types.beta as sdk
import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.tools import (
    BROWSER_MEMBERS_OFF_BY_DEFAULT,
    BROWSER_TOOLSET_MEMBERS,
    COMPUTER_TOOLSET_MEMBERS,
)
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    TranslationContext,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.request.anthropic_tools import (
    BROWSER_MEMBERS,
    CLIENT_TOOLS,
    COMPUTER_MEMBERS,
)
from support.streams import call, delta_chunk, message_of, request

COMPUTER = {"type": "computer_toolset_20260801"}
BROWSER = {"type": "browser_toolset_20260801"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}


def translated(*tools, policy=None, **fields):
    return translate_request(request(tools=list(tools), **fields), TranslationContext(Profile(), policy or Policy()))


# --- client tools ---


def function(**tool):
    return translated(tool).fields["tools"][0]["function"]


def inputs(**tool):
    return function(**tool)["parameters"]["properties"]


def computer(version, **fields):
    size = {"display_width_px": 800, "display_height_px": 600}
    return {"type": f"computer_{version}", "name": "computer"} | size | fields


EDITORS = {
    "20241022": "str_replace_editor",
    "20250124": "str_replace_editor",
    "20250429": "str_replace_based_edit_tool",
    "20250728": "str_replace_based_edit_tool",
}
EVERY_VERSION = [
    *({"type": f"bash_{date}", "name": "bash"} for date in ("20241022", "20250124")),
    *({"type": f"text_editor_{date}", "name": name} for date, name in EDITORS.items()),
    {"type": "memory_20250818", "name": "memory"},
    *(computer(date) for date in ("20241022", "20250124", "20251124")),
]


@pytest.mark.parametrize("tool", EVERY_VERSION, ids=lambda tool: tool["type"])
def test_every_version_is_a_function_under_its_own_name(tool):
    made = function(**tool)
    assert made["name"] == tool["name"]
    assert len(made["description"]) > 100
    assert all(schema["description"] for schema in made["parameters"]["properties"].values())
    assert set(made["parameters"].get("required", ())) <= made["parameters"]["properties"].keys()
    assert translated(tool).dropped == ()


def test_every_kind_is_tested():
    assert {tool["type"].rpartition("_")[0] for tool in EVERY_VERSION} == CLIENT_TOOLS.keys()


def test_the_shell_takes_a_command_or_a_restart():
    assert inputs(type="bash_20250124", name="bash").keys() == {"command", "restart"}


@pytest.mark.parametrize(("date", "name"), EDITORS.items())
def test_editors_differ_in_undo_and_in_the_text_of_an_insert(date, name):
    fields = inputs(type=f"text_editor_{date}", name=name)
    old = name == "str_replace_editor"
    assert ("undo_edit" in fields["command"]["enum"]) is old
    assert ("insert_text" in fields) is not old
    assert {"command", "path", "file_text", "old_str", "new_str", "insert_line", "view_range"} <= fields.keys()
    text = function(type=f"text_editor_{date}", name=name)["description"]
    assert ("insert_line and new_str" in text) is old
    assert ("insert_line and insert_text" in text) is not old


def test_the_view_limit_is_in_the_description():
    tool = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}
    assert "1234 characters" in function(**tool, max_characters=1234)["description"]
    assert "characters;" not in function(**tool)["description"]


def test_the_memory_tool_has_six_commands():
    fields = inputs(type="memory_20250818", name="memory")
    assert fields["command"]["enum"] == ["view", "create", "str_replace", "insert", "delete", "rename"]
    assert {
        "path",
        "view_range",
        "file_text",
        "old_str",
        "new_str",
        "insert_line",
        "insert_text",
        "old_path",
        "new_path",
    } < {*fields}


LATER = {"triple_click", "left_mouse_down", "left_mouse_up", "scroll", "hold_key", "wait"}


@pytest.mark.parametrize(
    ("version", "fields", "later", "zoom"),
    [
        ("20241022", {}, False, False),
        ("20250124", {"enable_zoom": True}, True, False),
        ("20251124", {}, True, False),
        ("20251124", {"enable_zoom": False}, True, False),
        ("20251124", {"enable_zoom": True}, True, True),
    ],
)
def test_the_computer_tool_has_the_actions_of_its_version(version, fields, later, zoom):
    known = inputs(**computer(version, **fields))
    actions = set(known["action"]["enum"])
    assert {"key", "type", "mouse_move", "left_click", "left_click_drag", "screenshot", "cursor_position"} <= actions
    assert (actions & LATER) == (LATER if later else set())
    assert ("zoom" in actions, "region" in known) == (zoom, zoom)
    assert ("scroll_amount" in known, "start_coordinate" in known, "duration" in known) == (later,) * 3


def test_the_description_has_the_screen_size():
    assert "800 pixels wide and 600 pixels high." in function(**computer("20250124"))["description"]
    assert "X11 display :0." in function(**computer("20250124", display_number=0))["description"]


def test_the_first_computer_clicks_only_where_the_cursor_is():
    assert "- left_click: click where the cursor is" in function(**computer("20241022"))["description"]
    assert "- left_click: click at coordinate" in function(**computer("20250124"))["description"]


def test_examples_and_strict_apply_to_client_tools():
    tool = {"type": "bash_20250124", "name": "bash", "strict": True, "input_examples": [{"command": "ls"}]}
    done = translated(tool)
    assert done.fields["tools"][0]["function"]["description"].endswith('Examples of input:\n{"command": "ls"}')
    assert [entry.path for entry in done.dropped] == ["tools.0.strict"]


def test_unknown_fields_are_dropped_by_name():
    assert [entry.path for entry in translated({"type": "bash_20250124", "name": "bash", "shell": "zsh"}).dropped] == [
        "tools.0.shell"
    ]


def test_a_schema_without_properties_gets_empty_ones():
    """kubernetes-mcp-server 340: OpenAI refuses ``{"type": "object"}``."""
    for schema in ({}, {"type": "object"}):
        assert function(name="f", input_schema=schema)["parameters"] == {"type": "object", "properties": {}}
    assert function(name="f", input_schema={"type": "object", "$defs": {}})["parameters"]["$defs"] == {}


# --- toolsets ---


def names(*tools, **fields):
    return [tool["function"]["name"] for tool in translated(*tools, **fields).fields.get("tools", ())]


def refusal(*tools, **fields):
    with pytest.raises(InvalidRequestError) as caught:
        translated(*tools, **fields)
    return caught.value.message


def only(*members, **config):
    return {
        name: config if name in members else {"enabled": False}
        for name in (*COMPUTER_TOOLSET_MEMBERS, *BROWSER_TOOLSET_MEMBERS)
    }


def test_members_are_those_of_the_protocol_in_its_order():
    assert tuple(COMPUTER_MEMBERS) == COMPUTER_TOOLSET_MEMBERS
    assert tuple(BROWSER_MEMBERS) == BROWSER_TOOLSET_MEMBERS


MEMBERS = [
    *(("Computer", name, made) for name, made in COMPUTER_MEMBERS.items()),
    *(("Browser", name, made) for name, made in BROWSER_MEMBERS.items()),
]


@pytest.mark.parametrize(
    ("toolset", "name", "made"), MEMBERS, ids=[f"{toolset}-{name}" for toolset, name, _ in MEMBERS]
)
def test_inputs_are_those_of_the_sdk(toolset, name, made):
    """The SDK types the input of every member."""
    model = getattr(sdk, f"Beta{toolset}{name.title().replace('_', '')}Input", None)
    if model is None:
        pytest.skip("this SDK does not know the toolsets")
    fields = {field.alias or name: field.is_required() for name, field in model.model_fields.items()}
    assert set(made["parameters"]["properties"]) == set(fields)
    assert set(made["parameters"].get("required", ())) == {name for name, required in fields.items() if required}
    assert made["description"]


def test_every_member_is_offered_except_those_off_by_default():
    assert names(COMPUTER) == [f"computer__{name}" for name in COMPUTER_TOOLSET_MEMBERS]
    assert names(BROWSER) == [
        f"browser__{name}" for name in BROWSER_TOOLSET_MEMBERS if name not in BROWSER_MEMBERS_OFF_BY_DEFAULT
    ]


def test_members_are_switched_on_and_off():
    configs = {"javascript_exec": {"enabled": True}, "navigate": {"enabled": False}, "find": None, "wait": {}}
    offered = names(BROWSER | {"configs": configs})
    assert "browser__javascript_exec" in offered
    assert "browser__navigate" not in offered
    assert {"browser__find", "browser__wait"} <= {*offered}


def test_a_deferred_member_is_offered_after_its_reference():
    toolset = COMPUTER | {"configs": {name: {"defer_loading": True} for name in COMPUTER_TOOLSET_MEMBERS}}
    assert names(toolset, TOOL) == ["f"]
    for reference, count in (("computer.wait", 1), ("computer__wait", 1), ("computer", 17)):
        block = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": reference}}
        messages = [{"role": "user", "content": "x"}, {"role": "system", "content": [block]}]
        assert len(names(toolset, TOOL, messages=messages)) == count + 1


def test_a_toolset_without_members_is_refused():
    assert refusal(COMPUTER | {"configs": only()}).startswith("tools.0.configs: every member is disabled")


def test_an_unknown_member_is_dropped_or_rejected():
    toolset = COMPUTER | {"configs": {"dance": {"enabled": True}}}
    assert [entry.path for entry in translated(toolset).dropped] == ["tools.0.configs.dance"]
    assert refusal(toolset, policy=Policy(strict=True)).startswith("tools.0.configs.dance: ")


def test_unknown_fields_of_a_toolset_are_dropped_by_name():
    toolset = COMPUTER | {"display_number": 1, "strict": True, "input_examples": [{}], "allowed_callers": ["direct"]}
    paths = ["tools.0.display_number", "tools.0.strict", "tools.0.input_examples"]
    assert [entry.path for entry in translated(toolset).dropped] == paths


def test_a_toolset_that_only_code_may_call_is_dropped():
    toolset = COMPUTER | {"allowed_callers": ["code_execution_20260120"]}
    assert names(toolset, TOOL) == ["f"]


def test_changing_a_translated_request_does_not_change_the_next_one():
    """Providers of the platform may modify the request."""
    schema = translated(COMPUTER).fields["tools"][0]["function"]["parameters"]
    schema["properties"]["text"]["type"] = "broken"
    assert translated(COMPUTER).fields["tools"][0]["function"]["parameters"]["properties"]["text"]["type"] == "string"


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "other",
    [
        TOOL | {"name": "computer"},
        TOOL | {"name": "computer__wait"},
        {"type": "computer_20250124", "name": "computer", "display_width_px": 1, "display_height_px": 1},
        COMPUTER,
    ],
)
def test_a_tool_with_the_name_of_a_member_or_toolset_is_rejected(first, other):
    assert refusal(*([COMPUTER, other] if first else [other, COMPUTER])).startswith("tools")


def test_a_tool_may_have_the_name_of_a_toolset_that_is_not_declared():
    assert names(TOOL | {"name": "browser"}, COMPUTER | {"configs": only("wait")}) == ["browser", "computer__wait"]


@pytest.mark.parametrize("name", ["computer", "wait", "computer.wait", "computer__wait"])
def test_a_toolset_cannot_be_forced(name):
    assert refusal(COMPUTER, TOOL, tool_choice={"type": "tool", "name": name}).startswith("tool_choice.name: ")


def test_a_tool_with_the_name_of_a_member_can_be_forced():
    done = translated(COMPUTER, TOOL | {"name": "wait"}, tool_choice={"type": "tool", "name": "wait"})
    assert done.fields["tool_choice"]["function"]["name"] == "wait"


def test_calls_of_members_carry_the_toolset_both_ways():
    block = {"type": "tool_use", "id": "a", "name": "wait", "toolset_name": "computer", "input": {"duration": 1}}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [block]}]
    done = translated(COMPUTER, TOOL | {"name": "wait"}, messages=turns)
    assert done.fields["messages"][1]["tool_calls"][0]["function"]["name"] == "computer__wait"
    calls = [call(0, "b", "computer__wait", '{"duration": 1}'), call(1, "c", "wait", "{}")]
    content = message_of([delta_chunk(tool_calls=calls), delta_chunk("tool_calls")], done.options)["content"]
    assert [(block["name"], block.get("toolset_name")) for block in content] == [("wait", "computer"), ("wait", None)]
