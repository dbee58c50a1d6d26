"""Messages in any order become turns that satisfy the Messages API's rules."""

import sys

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages import TranslationOptions, translate_request
from support.histories import assert_legal

HI = {"role": "user", "content": "hi"}


def calls(*names, **fields):
    made = [{"id": name, "type": "function", "function": {"name": "get", "arguments": "{}"}} for name in names]
    return {"role": "assistant", "tool_calls": made, **fields}


def result(name, content="r"):
    return {"role": "tool", "tool_call_id": name, "content": content}


def turns(done):
    return [(message["role"], [block["type"] for block in message["content"]]) for message in done.body["messages"]]


def test_tool_results_come_first_in_the_order_of_their_calls(translate):
    done = translate(HI, calls("a", "b"), {"role": "user", "content": "quick"}, result("b", "B"), result("a", "A"))
    blocks = done.body["messages"][-1]["content"]
    assert [block.get("content", block.get("text")) for block in blocks] == ["A", "B", "quick"]
    assert not done.dropped


def test_two_calls_with_the_same_id_get_their_results_in_order(translate):
    done = translate(HI, calls("a", "a"), result("a", "first"), result("a", "second"))
    used = [block["id"] for block in done.body["messages"][1]["content"]]
    assert used == ["a", "a_2"]
    assert [(b["tool_use_id"], b["content"]) for b in done.body["messages"][2]["content"]] == [
        ("a", "first"),
        ("a_2", "second"),
    ]


def test_a_generated_call_id_never_equals_a_client_id(translate):
    done = translate(HI, calls("a", "a_2", "a", "a_2"), *map(result, ["a", "a_2", "a", "a_2"]))
    assert [block["id"] for block in done.body["messages"][1]["content"]] == ["a", "a_2", "a_3", "a_2_2"]


def test_a_result_after_the_next_assistant_message_becomes_text(translate):
    done = translate(
        HI, calls("a"), {"role": "user", "content": "go on"}, {"role": "assistant", "content": "ok"}, result("a")
    )
    assert_legal(done.body)
    assert [(entry.path, entry.feature) for entry in done.dropped] == [
        ("messages.4", "tool result"),
        ("messages.1.tool_calls.0", "tool call"),
    ]


def test_a_conversation_may_start_with_a_tool_result(translate):
    done = translate(result("a", "42"), HI)
    assert turns(done) == [("user", ["text", "text", "text"])]
    assert done.body["messages"][0]["content"][0]["text"] == "Result of the call a:"


def test_a_function_result_belongs_to_the_unanswered_call_of_its_name(translate):
    call = {"role": "assistant", "content": None, "function_call": {"name": "get", "arguments": "{}"}}
    done = translate(HI, call, {"role": "function", "name": "get", "content": "1"}, call, HI)
    first, second = (done.body["messages"][index]["content"][0] for index in (2, 4))
    assert first == {"type": "tool_result", "tool_use_id": "call_messages_1_function_call", "content": "1"}
    assert second["is_error"]


def test_an_assistant_message_of_reasoning_only_is_dropped(translate):
    reasoning = [{"type": "reasoning.text", "text": "hm", "signature": "s"}]
    done = translate(HI, {"role": "assistant", "content": None, "reasoning_details": reasoning}, HI)
    assert turns(done) == [("user", ["text", "text"])]
    assert [entry.path for entry in done.dropped] == ["messages.1"]


def test_thinking_comes_before_the_text_and_calls_of_its_message(translate):
    reasoning = [{"type": "reasoning.text", "text": "hm", "signature": "s"}]
    done = translate(HI, calls("a", content="so", reasoning_details=reasoning), result("a"))
    assert turns(done)[1] == ("assistant", ["thinking", "text", "tool_use"])


def test_reasoning_pieces_are_joined_only_if_they_have_the_same_index(translate):
    pieces = [
        {"type": "reasoning.text", "text": "a"},
        {"type": "reasoning.text", "text": "b", "index": 1},
        {"type": "reasoning.text", "text": "c", "index": 1, "signature": "s"},
        {"type": "reasoning.text", "text": "d", "index": 1, "signature": "t"},
    ]
    done = translate(HI, {"role": "assistant", "content": "x", "reasoning_details": pieces}, HI)
    thinking = [(b["thinking"], b["signature"]) for b in done.body["messages"][1]["content"] if b["type"] == "thinking"]
    assert thinking == [("bc", "s"), ("d", "t")]


def test_a_system_message_after_an_assistant_message_without_calls_becomes_user_text(translate):
    done = translate(HI, {"role": "assistant", "content": "yes"}, {"role": "developer", "content": "Stop."})
    assert done.body["messages"][-1]["content"][0]["text"] == "<system-reminder>\nStop.\n</system-reminder>"


def test_breakpoints_follow_the_order_of_the_prompt(translate):
    long, short = ({"type": "text", "text": "x", "prompt_cache_breakpoint": {"ttl": ttl}} for ttl in ("12h", "30m"))
    done = translate(HI, calls("a"), {"role": "user", "content": [long]}, {**result("a"), "content": [short]})
    marks = [block["cache_control"] for block in done.body["messages"][2]["content"]]
    assert marks == [{"type": "ephemeral"}, {"type": "ephemeral"}]
    assert [entry.path for entry in done.dropped] == ["messages.2.content.0.prompt_cache_breakpoint.ttl"]


def test_a_user_message_with_a_name_only_is_empty(translate):
    assert translate(HI, {"role": "user", "content": "", "name": "Ann"}) == translate(HI)


def test_an_empty_message_makes_no_turn(translate):
    done = translate(HI, {"role": "system", "content": ""}, {"role": "user", "content": []})
    assert turns(done) == [("user", ["text"])]
    assert not done.dropped


def test_the_name_of_an_assistant_message_is_dropped_and_logged(translate):
    done = translate(HI, {"role": "assistant", "content": "x", "name": "bot"}, HI)
    assert [entry.path for entry in done.dropped] == ["messages.1.name"]


def test_an_unknown_role_is_a_400(translate):
    with pytest.raises(
        InvalidRequestError, match=r"messages\.1\.role: 'robot' is not a valid role; send system, developer, user"
    ):
        translate(HI, {"role": "robot", "content": "x"})


@pytest.mark.parametrize(
    ("message", "error_start"),
    [
        ({"role": "tool", "content": "x"}, "messages.1.tool_call_id: a non-empty string is required"),
        ({"role": "function", "content": "x"}, "messages.1.name: a non-empty string is required"),
        ({"role": "assistant", "tool_calls": {}}, "messages.1.tool_calls: a list is required"),
        ({"role": "assistant", "tool_calls": [{"id": "a", "type": "mcp"}]}, "messages.1.tool_calls.0.type: 'mcp'"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "messages.1.tool_calls.0.function.name: a non-empty"),
        ({"role": "assistant", "content": [{"type": "image_url"}]}, "messages.1.content.0.type: 'image_url' is not"),
        ({"role": "user", "content": [{"type": ["text"]}]}, "messages.1.content.0.type: 'list' is not allowed here"),
        ({"role": "user", "content": [7]}, "messages.1.content.0: an object is required"),
        ("hi", "messages.1: an object is required"),
    ],
)
def test_an_invalid_message_is_a_400_with_its_path(translate, message, error_start):
    with pytest.raises(InvalidRequestError) as caught:
        translate(HI, message)
    assert caught.value.message.startswith(error_start)


def test_strict_translation_does_not_repair_the_history(translate):
    strict = TranslationOptions("upstream", strict=True)
    with pytest.raises(InvalidRequestError, match=r"messages\.1\.tool_calls\.0: no result follows it"):
        translate(HI, calls("a"), options=strict)
    with pytest.raises(InvalidRequestError, match="messages: the Messages API requires a user message first"):
        translate({"role": "assistant", "content": "Hello"}, HI, options=strict)


def test_strict_translation_drops_fields_without_effect(translate):
    done = translate(HI, prompt_cache_key="k", metadata={"a": "b"}, options=TranslationOptions("upstream", strict=True))
    assert [entry.path for entry in done.dropped] == ["metadata", "prompt_cache_key"]


def conversation(rounds):
    turn = [HI, calls("call_0", content="x"), result("call_0"), {"role": "system", "content": "s"}]
    return [message for _ in range(rounds) for message in turn]


def lines_run(chat):
    """Return the number of lines that run while a request is translated."""
    count = 0

    def trace(_frame, event, _arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        translate_request({"messages": chat}, TranslationOptions("upstream"))
    finally:
        sys.settrace(before)
    return count


LARGE = {
    "rounds": lambda count: conversation(count // 4),
    "calls": lambda count: [HI, calls(*["a"] * count), *[result("a")] * count],
    "answers": lambda count: [HI, *[{"role": "assistant", "content": "x"}] * count, HI],
    "instructions": lambda count: [HI, *[{"role": "system", "content": "x"}] * count, HI],
    "orphans": lambda count: [HI, *[result("a")] * count],
    "breakpoints": lambda count: [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}] * count}
    ],
}


@pytest.mark.parametrize("kind", LARGE)
def test_a_request_ten_times_as_large_costs_about_ten_times_as_much(kind):
    """The cost of a message does not depend on the number of messages."""
    assert lines_run(LARGE[kind](5_000)) < 12 * lines_run(LARGE[kind](500))


def test_a_long_conversation_has_a_legal_history(translate):
    assert_legal(translate(*conversation(1250)).body)
