"""Messages -> chat completions: invalid upstream responses, and paused turns."""

import json

import pytest

from llama_stack_api_messages.errors import BadGatewayError, MessagesError, OverloadedError
from llama_stack_provider_messages.translation.chat_to_messages import (
    continued,
    dropped_blocks,
    needs_continuation,
    translate_response,
)
from support.chat_answers import CREATED, USAGE, check_completion, message, reply_options, text, thinking, tool_use


def completion(given, **fields):
    found = translate_response(given, reply_options(**fields), created=CREATED)
    check_completion(found)
    return found


def reply_message(*content, **fields):
    return completion(message(*content), **fields)["choices"][0]["message"]


def test_an_error_body_in_place_of_a_message_raises_that_error():
    with pytest.raises(MessagesError, match="Busy") as caught:
        translate_response(
            {"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}, reply_options(), created=0
        )
    assert caught.value.status_code == OverloadedError.status_code


@pytest.mark.parametrize("body", [{}, {"content": "text"}, {"choices": []}])
def test_an_invalid_message_is_a_bad_gateway(body):
    with pytest.raises(BadGatewayError, match="Messages API"):
        translate_response(body, reply_options(), created=0)


def test_a_message_without_usage_and_id_is_translated():
    found = completion({"content": [text("a")], "usage": None})
    assert (found["id"], found["usage"]["total_tokens"]) == (f"chatcmpl-{CREATED}", 0)


@pytest.mark.parametrize(
    ("given", "expected"), [("msg_a", "chatcmpl-a"), ("chatcmpl-b", "chatcmpl-b"), ("c", "chatcmpl-c")]
)
def test_the_completion_id_is_made_from_the_message_id(given, expected):
    assert completion(message(id=given))["id"] == expected


def test_a_call_without_an_id_gets_one_from_its_position():
    found = reply_message(tool_use(tool_id="x"), tool_use(tool_id=None), tool_use(tool_id=""))["tool_calls"]
    assert [call["id"] for call in found] == ["x", "call_01_1", "call_01_2"]


def test_a_call_without_a_tool_name_is_a_bad_gateway():
    with pytest.raises(BadGatewayError, match="without the name"):
        completion(message(tool_use(name=None)))


@pytest.mark.parametrize(
    ("given", "expected"), [(None, "{}"), ({}, "{}"), ([1], '{"value":[1]}'), ({"n": float("nan")}, '{"n":null}')]
)
def test_arguments_are_always_an_object(given, expected):
    block = tool_use() | {"input": given}
    assert reply_message(block)["tool_calls"][0]["function"]["arguments"] == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("\N{SNOWMAN}", "\N{SNOWMAN}"), ("\ud800", "\ufffd")], ids=["snowman", "lone surrogate"]
)
def test_arguments_may_hold_any_text(value, expected):
    arguments = reply_message(tool_use(tool_input={"w": value}))["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"w": expected}
    assert arguments.encode()


def test_arguments_nested_too_deep_are_a_bad_gateway():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadGatewayError, match="nested"):
        translate_response(message(tool_use(tool_input={"x": deep})), reply_options(), created=0)
    while deep:  # freed step by step
        deep = deep.pop()


@pytest.mark.parametrize(
    ("tool_input", "expected"),
    [
        ({"input": "ls"}, "ls"),
        ({"input": {"a": 1}}, '{"input":{"a":1}}'),
        ({"text": "ls"}, '{"text":"ls"}'),
        ({"input": "ls", "more": 1}, '{"input":"ls","more":1}'),
        ({}, "{}"),
    ],
)
def test_a_custom_tool_gets_its_text_or_the_whole_input(tool_input, expected):
    found = reply_message(tool_use("run", tool_input), custom_tools=["run"])["tool_calls"]
    assert found == [{"id": "toolu_1", "type": "custom", "custom": {"name": "run", "input": expected}}]


@pytest.mark.parametrize(
    ("tool_input", "expected"),
    [
        ({"input": {"a": 1}}, '{"a":1}'),
        ({"a": 1}, '{"a":1}'),
        ({"input": "a"}, '{"input":"a"}'),
        ({"input": {}, "b": 1}, '{"input":{},"b":1}'),
    ],
)
def test_wrapped_arguments_are_unwrapped_only_if_the_model_wrapped_them(tool_input, expected):
    """A model may omit the wrapper, and a tool may have a parameter of that name."""
    found = reply_message(tool_use("run", tool_input), wrapped_tools=["run"])["tool_calls"][0]
    assert found["function"] == {"name": "run", "arguments": expected}


def test_reasoning_is_sent_under_both_names_and_in_reasoning_details():
    found = reply_message(
        thinking("a", "s"), thinking("", ""), {"type": "redacted_thinking", "data": "d"}, thinking("b", "")
    )
    assert (found["reasoning_content"], found["reasoning"]) == ("ab", "ab")
    assert found["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "a", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "d"},
        {"type": "reasoning.text", "index": 2, "text": "b"},
    ]


def test_an_invalid_block_is_dropped_and_logged():
    given = message("garbage", {"type": 7}, {"type": "redacted_thinking", "data": None}, text("a"))
    assert completion(given)["choices"][0]["message"] == {
        "role": "assistant",
        "content": "a",
        "refusal": None,
    }
    assert [entry.path for entry in dropped_blocks(given, reply_options())] == ["content.0", "content.1"]


def test_citations_of_documents_are_dropped_and_logged():
    given = message(text("a", citations=[{"type": "page_location", "cited_text": "b"}, 7]))
    assert [(entry.path, entry.feature) for entry in dropped_blocks(given, reply_options())] == [
        ("content.0.citations", "page_location"),
        ("content.0.citations", "citation"),
    ]


def test_the_same_page_is_annotated_once_per_passage():
    cited = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "x"}
    found = reply_message(text("ab", citations=[cited, dict(cited)]), text("c", citations=[cited]))["annotations"]
    places = [(entry["url_citation"]["start_index"], entry["url_citation"]["end_index"]) for entry in found]
    assert places == [(0, 2), (2, 3)]


def test_a_citation_needs_an_http_url():
    cited = {"type": "web_search_result_location", "url": "javascript:alert(1)", "title": "A", "cited_text": "x"}
    assert "annotations" not in reply_message(text("ab", citations=[cited]))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["  ", '{"a":', " 1}\n"], '{"a": 1}\n'),
        (["Sure: ", '{"a":', " 1} there"], '{"a": 1}'),
        (["```json\n{}\n```"], "{}"),
        (["no {object} here"], "no {object} here"),
        (["none"], "none"),
        (['[{"a": 1}]'], '[{"a": 1}]'),
        ([], ""),
    ],
)
def test_a_json_object_is_extracted_from_the_text_around_it(texts, expected):
    assert reply_message(*map(text, texts), json_object=True)["content"] == expected


def test_only_a_pause_needs_a_continuation():
    assert needs_continuation(message(stop_reason="pause_turn"))
    assert not needs_continuation(message())


def test_a_continued_message_joins_both_messages():
    first = message(text("a"), stop_reason="pause_turn", container={"id": "c"})
    second = message(text("b"), id="msg_02", stop_reason="max_tokens")
    assert continued(first, second) == message(
        text("a"),
        text("b"),
        stop_reason="max_tokens",
        container={"id": "c"},
        usage={name: 2 * count for name, count in USAGE.items()},
    )


def test_an_invalid_continuation_adds_nothing():
    first = {"content": [text("a")], "stop_reason": "pause_turn"}
    assert continued(first, {"content": None, "usage": 7}) == {**first, "usage": {}}
