"""Types of values, sampling, and whole requests: what the golden cases do not show one by one."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages import (
    TranslationOptions,
    traits_of,
    translate_request,
)
from support.chat_cases import error_message, function

HI = {"role": "user", "content": "hi"}


def test_null_means_absent(translate):
    names = ("tools", "tool_choice", "stop", "temperature", "n", "response_format", "stream", "user", "seed", "audio")
    assert translate(**dict.fromkeys(names)) == translate()


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_a_value_of_the_wrong_type_is_a_400_with_its_path(translate, fields, message):
    assert error_message(translate, **fields).startswith(message)


def test_dropping_a_sampling_value_of_1_is_not_logged(translate):
    options = TranslationOptions("m", traits=traits_of("claude-opus-4-7"))
    assert not translate(temperature=1, top_p=1.0, options=options).dropped
    assert [entry.path for entry in translate(top_k=1, options=options).dropped] == ["top_k"]


def test_an_image_of_thirty_megabytes_is_accepted(translate):
    data = "iVBORw0KGgoA" + "A" * 40_000_000
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    source = translate({"role": "user", "content": [part]}).body["messages"][0]["content"][0]["source"]
    assert (source["media_type"], len(source["data"])) == ("image/png", len(data))


def test_lone_surrogates_are_replaced_everywhere(translate):
    call = {"id": "\ud800", "type": "function", "function": {"name": "\ud800", "arguments": '{"\\ud800": 1}'}}
    result = {"role": "tool", "tool_call_id": "\ud800", "content": "\udfff"}
    done = translate(HI, {"role": "assistant", "tool_calls": [call]}, result, stop=["\ud800"], user="\ud800" * 300)
    assert done.body["messages"][2]["content"][0]["content"] == "\ufffd"
    assert [entry.path for entry in done.dropped] == ["messages"]


def test_the_clients_request_is_not_changed(translate):
    schema = {"oneOf": [{"type": "object", "maximum": 5}], "$defs": {"A": {}}}
    chat = {"messages": [HI], "tools": [function(parameters=schema, strict=True)]}
    before = repr(chat)
    first, second = (translate_request(chat, TranslationOptions("m")) for _ in range(2))
    assert repr(chat) == before
    assert repr(first) == repr(second)


def test_an_empty_request_is_a_400():
    with pytest.raises(InvalidRequestError, match="messages: at least one message with content is required"):
        translate_request({}, TranslationOptions("m"))
