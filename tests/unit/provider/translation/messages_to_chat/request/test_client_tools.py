"""Client tools of a fixed shape become functions that say what a model has to know."""

import pytest

from llama_stack_provider_messages.translation.messages_to_chat import Profile, TranslationContext, translate_request
from llama_stack_provider_messages.translation.messages_to_chat.request.anthropic_tools import CLIENT_TOOLS
from support.streams import request


def translated(*tools):
    return translate_request(request(tools=list(tools)), TranslationContext(Profile()))


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


def test_the_longest_view_is_said():
    tool = {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"}
    assert "1234 characters" in function(**tool, max_characters=1234)["description"]
    assert "characters;" not in function(**tool)["description"]


def test_notes_have_their_six_commands():
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
def test_a_computer_can_do_what_its_version_can(version, fields, later, zoom):
    known = inputs(**computer(version, **fields))
    actions = set(known["action"]["enum"])
    assert {"key", "type", "mouse_move", "left_click", "left_click_drag", "screenshot", "cursor_position"} <= actions
    assert (actions & LATER) == (LATER if later else set())
    assert ("zoom" in actions, "region" in known) == (zoom, zoom)
    assert ("scroll_amount" in known, "start_coordinate" in known, "duration" in known) == (later,) * 3


def test_the_model_learns_the_size_of_the_screen():
    assert "800 pixels wide and 600 pixels high." in function(**computer("20250124"))["description"]
    assert "X11 display :0." in function(**computer("20250124", display_number=0))["description"]


def test_the_first_computer_clicks_only_where_the_cursor_is():
    assert "- left_click: click where the cursor is" in function(**computer("20241022"))["description"]
    assert "- left_click: click at coordinate" in function(**computer("20250124"))["description"]


def test_examples_and_strict_are_those_of_any_tool():
    tool = {"type": "bash_20250124", "name": "bash", "strict": True, "input_examples": [{"command": "ls"}]}
    done = translated(tool)
    assert done.fields["tools"][0]["function"]["description"].endswith('Examples of input:\n{"command": "ls"}')
    assert [entry.path for entry in done.dropped] == ["tools.0.strict"]


def test_fields_nobody_knows_are_named():
    assert [entry.path for entry in translated({"type": "bash_20250124", "name": "bash", "shell": "zsh"}).dropped] == [
        "tools.0.shell"
    ]


def test_a_schema_without_properties_gets_some():
    """kubernetes-mcp-server 340: OpenAI refuses ``{"type": "object"}``."""
    for schema in ({}, {"type": "object"}):
        assert function(name="f", input_schema=schema)["parameters"] == {"type": "object", "properties": {}}
    assert function(name="f", input_schema={"type": "object", "$defs": {}})["parameters"]["$defs"] == {}
