"""Tools and the tool choice: what the golden cases do not show one by one."""

from support.chat_cases import error_message, function


def test_an_empty_choice_of_allowed_tools_is_a_400(translate):
    empty = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    message = error_message(translate, tools=[function()], tool_choice=empty)
    assert message == "tool_choice.allowed_tools.tools: name at least one tool, or send tool_choice none"


def test_allowed_tools_have_two_modes(translate):
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [function()]}}
    message = error_message(translate, tools=[function()], tool_choice=choice)
    assert message.startswith("tool_choice.allowed_tools.mode: 'none' is not a valid mode; send auto, required")


def test_reply_options_have_both_names_of_a_renamed_tool(translate):
    custom = {"type": "custom", "custom": {"name": "run it"}}
    done = translate(tools=[custom, function("or it", parameters={"oneOf": []})])
    run, either = (tool["name"] for tool in done.body["tools"])
    assert done.reply_options.tool_names == {run: "run it", either: "or it"}
    assert done.reply_options.custom_tools == {"run it", run}
    assert done.reply_options.wrapped_tools == {"or it", either}


def test_two_names_that_collide_after_sanitizing_are_a_400(translate):
    (tool,) = translate(tools=[function("a b")]).body["tools"]
    assert error_message(translate, tools=[function("a b"), function(tool["name"])]).startswith(
        "tools: two tool names collide"
    )


def test_the_default_syntax_of_a_grammar_is_lark(translate):
    custom = {"type": "custom", "custom": {"name": "x", "format": {"type": "grammar", "definition": "start: A"}}}
    (tool,) = translate(tools=[custom]).body["tools"]
    assert tool["description"] == "The input has to match this grammar (lark):\nstart: A"
