"""Limits, sampling, thinking, formats and tools: what the golden cases do not show one by one."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages import (
    Traits,
    TranslationOptions,
    traits_of,
    translate_request,
)

HI = {"role": "user", "content": "hi"}


def function(name="get", **fields):
    return {"type": "function", "function": {"name": name, **fields}}


def refusal(translate, **fields):
    with pytest.raises(InvalidRequestError) as caught:
        translate(**fields)
    return caught.value.message


def test_null_is_as_good_as_absent(translate):
    names = ("tools", "tool_choice", "stop", "temperature", "n", "response_format", "stream", "user", "seed", "audio")
    assert translate(**dict.fromkeys(names)) == translate()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": True}, "temperature: a number from 0 to 2 is required"),
        ({"temperature": -0.1}, "temperature: a number"),
        ({"top_p": 1.1}, "top_p: a number from 0 to 1 is required"),
        ({"max_tokens": "5"}, "max_tokens: a whole number from 1 to"),
        ({"max_tokens": True}, "max_tokens: a whole number"),
        ({"stream": 1}, "stream: true or false is required"),
        ({"stream_options": True}, "stream_options: an object is required"),
        ({"thinking": {"type": "adaptive", "display": True}}, "thinking.display: a string is required"),
        ({"user": 5}, "user: a string is required"),
        ({"stop": 5}, "stop: a list is required"),
        ({"tools": {}}, "tools: a list is required"),
        ({"tools": [{"type": 5}]}, "tools.0.type: 'int' is not a valid tool type; send function or custom"),
        ({"tools": [function(parameters=[])]}, "tools.0.function.parameters: an object is required"),
        (
            {"tools": [function()], "tool_choice": {"type": "x"}},
            "tool_choice.type: 'x' is not a valid type; send function, custom or allowed_tools",
        ),
        ({"tools": [function()], "tool_choice": 5}, "tool_choice: an object is required"),
        ({"response_format": "json"}, "response_format: an object is required"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema: an object is required"),
        ({"n": 10**5000}, "n: a whole number"),
        ({"moderation": {"policy": {"output": {"mode": "block"}}}}, "moderation.policy.output.mode: the Messages API"),
        ({"web_search_options": {"user_location": {}}}, "web_search_options.user_location.approximate: an object"),
    ],
)
def test_a_wrong_type_is_a_400_with_its_place(translate, fields, said):
    assert refusal(translate, **fields).startswith(said)


def test_an_empty_choice_of_allowed_tools_is_a_400(translate):
    empty = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    said = refusal(translate, tools=[function()], tool_choice=empty)
    assert said == "tool_choice.allowed_tools.tools: name at least one tool, or send tool_choice none"


def test_a_choice_of_allowed_tools_has_two_modes(translate):
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "none", "tools": [function()]}}
    said = refusal(translate, tools=[function()], tool_choice=choice)
    assert said.startswith("tool_choice.allowed_tools.mode: 'none' is not a valid mode; send auto, required")


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("asked", [1, 1023, 1024, 4096, 4097, 16384, 32000, 64000])
def test_a_budget_is_always_below_the_limit(translate, effort, asked):
    done = translate(reasoning_effort=effort, max_tokens=asked)
    budget = done.body["thinking"]["budget_tokens"]
    assert budget + min(asked, 1024) <= done.body["max_tokens"]
    assert done.body["max_tokens"] >= asked
    raised = [(entry.path, entry.reason) for entry in done.dropped]
    more = f"raised to {done.body['max_tokens']}: thinking tokens count towards the limit"
    assert raised == ([("max_tokens", more)] if done.body["max_tokens"] > asked else [])


@pytest.mark.parametrize(("asked", "sent"), [(1025, 1025), (1024, 2048), (64001, 64000)])
def test_a_limit_above_a_budget_of_the_clients_own_is_left_alone(translate, asked, sent):
    """It fits, and says what the answer may cost."""
    own = {"type": "enabled", "budget_tokens": 1024}
    done = translate(thinking=own, max_tokens=asked, options=TranslationOptions("m", max_output=64000))
    assert (done.body["max_tokens"], done.body["thinking"]) == (sent, own)


def test_an_effort_below_all_levels_of_a_model_is_its_default(translate):
    traits = Traits(thinking="adaptive", efforts=("high",))
    done = translate(reasoning_effort="low", options=TranslationOptions("upstream", traits=traits))
    assert done.body["thinking"] == {"type": "adaptive"}
    assert "output_config" not in done.body
    assert [entry.path for entry in done.dropped] == ["reasoning_effort"]


def test_a_thinking_of_the_client_goes_with_its_effort(translate):
    done = translate(
        thinking={"type": "adaptive"},
        reasoning_effort="max",
        options=TranslationOptions("m", traits=traits_of("claude-opus-5")),
    )
    assert (done.body["thinking"], done.body["output_config"]) == ({"type": "adaptive"}, {"effort": "max"})


@pytest.mark.parametrize("effort", ["none", "low"])
def test_a_thinking_of_the_client_wins_over_an_effort_that_cannot_go_with_it(translate, effort):
    done = translate(thinking={"type": "disabled"}, reasoning_effort=effort)
    assert done.body["thinking"] == {"type": "disabled"}
    assert "output_config" not in done.body
    assert [entry.path for entry in done.dropped] == ["reasoning_effort"]


def test_an_effort_goes_where_thinking_has_to(translate):
    options = TranslationOptions("m", traits=Traits(thinking="adaptive"))
    done = translate(HI, {"role": "assistant", "content": "So"}, reasoning_effort="max", options=options)
    assert done.body["thinking"] == {"type": "disabled"}
    assert "output_config" not in done.body


def test_thinking_ends_where_an_answer_is_continued_even_if_the_model_always_thinks(translate):
    traits = Traits(thinking="adaptive", always_on=True)
    done = translate(
        HI,
        {"role": "assistant", "content": "So"},
        reasoning_effort="high",
        options=TranslationOptions("m", traits=traits),
    )
    assert "thinking" not in done.body
    assert done.body["output_config"] == {"effort": "high"}


def test_calls_with_their_thoughts_keep_the_model_thinking(translate):
    call = {"id": "a", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    thought = [{"type": "reasoning.encrypted", "data": "d"}]
    asked = {"role": "assistant", "tool_calls": [call], "reasoning_details": thought}
    done = translate(HI, asked, {"role": "tool", "tool_call_id": "a", "content": "1"}, reasoning_effort="low")
    assert done.body["thinking"]["type"] == "enabled"
    assert not done.dropped


def test_one_is_no_loss_where_a_model_takes_no_sampling(translate):
    options = TranslationOptions("m", traits=traits_of("claude-opus-4-7"))
    assert not translate(temperature=1, top_p=1.0, options=options).dropped
    assert [entry.path for entry in translate(top_k=1, options=options).dropped] == ["top_k"]


def test_boolean_schemas_and_nulls_are_read(translate):
    schema = {"type": "object", "properties": {"any": True, "not": False}, "title": None, "default": None}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert translate(response_format=form).body["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {"any": {}, "not": {}},
        "default": None,
        "additionalProperties": False,
        "title": "n",
    }


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"anyOf": {}}, "anyOf: a list of JSON schemas is required"),
        ({"properties": []}, "properties: an object is required"),
        ({"items": [1]}, "items: an object is required"),
        ({"maximum": 10**5000}, "maximum: a valid JSON value is required"),
    ],
)
def test_a_schema_that_is_none_is_a_400(translate, schema, said):
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert refusal(translate, response_format=form).startswith(f"response_format.json_schema.schema.{said}")


@pytest.mark.parametrize("kind", ["properties", "items", "anyOf"])
@pytest.mark.parametrize("levels", [45, 100, 50_000])
def test_a_schema_of_any_depth_is_taken_or_a_400(translate, kind, levels):
    schema = {"type": "object"}
    for _ in range(levels):
        held = {"properties": {"a": schema}, "items": schema, "anyOf": [schema]}[kind]
        schema = {kind: held}
    form = {"type": "json_schema", "json_schema": {"schema": schema}}
    fields = {"response_format": form, "tools": [function(parameters={"properties": {"x": schema}})]}
    if levels < 50:
        assert translate(**fields).body["tools"]
    else:
        assert "nested more than 100 levels deep" in refusal(translate, **fields)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**5000], ids=["nan", "inf", "huge"])
def test_a_number_that_json_does_not_have_is_a_400(translate, value):
    said = refusal(translate, tools=[function(parameters={"type": "object", "maximum": value})])
    assert said == "tools, thinking: one of them is not valid JSON; look for NaN and huge numbers"


def test_wrapped_parameters_keep_their_references(translate):
    parameters = {"anyOf": [{"$ref": "#/definitions/A"}, {"$ref": "#/anyOf/0"}, {"$ref": 5}], "definitions": {"A": {}}}
    (tool,) = translate(tools=[function(parameters=parameters)]).body["tools"]
    assert tool["input_schema"]["definitions"] == {"A": {}}
    assert tool["input_schema"]["properties"]["input"]["anyOf"] == [
        {"$ref": "#/definitions/A"},
        {"$ref": "#/properties/input/anyOf/0"},
        {"$ref": 5},
    ]


def test_a_type_that_may_be_null_is_an_object_at_the_top(translate):
    (tool,) = translate(tools=[function(parameters={"type": ["object", "null"]})]).body["tools"]
    assert tool["input_schema"] == {"type": "object", "properties": {}}


def test_a_renamed_tool_is_told_under_both_names(translate):
    custom = {"type": "custom", "custom": {"name": "run it"}}
    done = translate(tools=[custom, function("or it", parameters={"oneOf": []})])
    run, either = (tool["name"] for tool in done.body["tools"])
    assert done.reply_options.tool_names == {run: "run it", either: "or it"}
    assert done.reply_options.custom_tools == {"run it", run}
    assert done.reply_options.wrapped_tools == {"or it", either}


def test_two_names_that_become_one_are_a_400(translate):
    (tool,) = translate(tools=[function("a b")]).body["tools"]
    assert refusal(translate, tools=[function("a b"), function(tool["name"])]).startswith(
        "tools: two tool names collide"
    )


def test_a_grammar_without_a_syntax_is_larks(translate):
    custom = {"type": "custom", "custom": {"name": "x", "format": {"type": "grammar", "definition": "start: A"}}}
    (tool,) = translate(tools=[custom]).body["tools"]
    assert tool["description"] == "The input has to match this grammar (lark):\nstart: A"


def test_an_image_of_thirty_megabytes_is_taken(translate):
    data = "iVBORw0KGgoA" + "A" * 40_000_000
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    source = translate({"role": "user", "content": [part]}).body["messages"][0]["content"][0]["source"]
    assert (source["media_type"], len(source["data"])) == ("image/png", len(data))


def test_what_no_upstream_can_read_is_replaced(translate):
    call = {"id": "\ud800", "type": "function", "function": {"name": "\ud800", "arguments": '{"\\ud800": 1}'}}
    result = {"role": "tool", "tool_call_id": "\ud800", "content": "\udfff"}
    done = translate(HI, {"role": "assistant", "tool_calls": [call]}, result, stop=["\ud800"], user="\ud800" * 300)
    assert done.body["messages"][2]["content"][0]["content"] == "\ufffd"
    assert [entry.path for entry in done.dropped] == ["messages"]


def test_the_request_stays_as_it_was(translate):
    schema = {"oneOf": [{"type": "object", "maximum": 5}], "$defs": {"A": {}}}
    chat = {"messages": [HI], "tools": [function(parameters=schema, strict=True)]}
    before = repr(chat)
    first, second = (translate_request(chat, TranslationOptions("m")) for _ in range(2))
    assert repr(chat) == before
    assert repr(first) == repr(second)


def test_a_whole_request_may_be_wrong():
    with pytest.raises(InvalidRequestError, match="messages: at least one message with content is required"):
        translate_request({}, TranslationOptions("m"))
