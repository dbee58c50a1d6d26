"""Events -> chunks: which chunk is sent when, and invalid upstream streams."""

import json
from types import MappingProxyType

import pytest

from llama_stack_api_messages.errors import BadGatewayError, OverloadedError, RateLimitError
from llama_stack_provider_messages.translation.chat_to_messages import continued, translate_response
from support.chat_answers import (
    CREATED,
    block_events,
    chat,
    events_of,
    fold_chunks,
    message,
    parsed,
    reply_options,
    text,
    thinking,
    tool_deltas,
    tool_use,
    translator,
)

START = {"type": "message_start", "message": {"id": "msg_01", "usage": {"input_tokens": 11, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def end(reason="end_turn", **fields):
    return {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": {"output_tokens": 5}}


def begin(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def over(index):
    return {"type": "content_block_stop", "index": index}


def call(index, *pieces, name="look", tool_id="toolu_1", **block):
    begun = begin(index, type="tool_use", id=tool_id, name=name, **block)
    return [begun, *(delta(index, "input_json_delta", partial_json=piece) for piece in pieces), over(index)]


def deltas(chunks):
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def answer(*events, **fields):
    """Return the message of the completion that the events add up to."""
    return fold_chunks(chat(events, reply_options(**fields)))["choices"][0]["message"]


def arguments(*events, **fields):
    return [each["function"]["arguments"] for each in answer(*events, **fields)["tool_calls"]]


def error_of(chunks):
    *_, last = chunks
    assert not any("error" in chunk for chunk in chunks[:-1])
    return last["error"]


def test_each_chunk_is_sent_with_its_event():
    """No chunk is delayed, and the last one does not wait for the upstream to close the stream."""
    translated = translator(reply_options(include_usage=False))
    assert deltas(translated.feed(START)) == [{"role": "assistant", "content": ""}]
    assert translated.feed({"type": "ping"}) == []
    assert translated.feed(begin(0, type="text", text="")) == []
    assert deltas(translated.feed(delta(0, "text_delta", text="a"))) == [{"content": "a"}]
    assert translated.feed(over(0)) == translated.feed(end()) == []
    assert not translated.complete
    (last,) = translated.feed(STOP)
    assert last["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert (translated.complete, translated.finished, translated.stop_reason) == (True, True, "end_turn")


def test_usage_comes_in_the_last_chunk():
    translated = translator()
    chunks = [chunk for event in [START, end(), STOP] for chunk in translated.feed(event)]
    assert translated.usage == {"input_tokens": 11, "output_tokens": 5}
    assert chunks[-1]["usage"]["total_tokens"] == 16


def test_an_event_may_be_any_mapping():
    assert translator().feed(MappingProxyType(START)) == translator().feed(START)


def test_arguments_are_sent_member_by_member():
    translated = translator()
    for event in [START, *call(0, "")[:2]]:
        translated.feed(event)
    sent = []
    for piece in ['{"a"', ": 1", ', "b"', ": {}}"]:
        chunks = translated.feed(delta(0, "input_json_delta", partial_json=piece))
        sent.append([part["function"]["arguments"] for chunk in chunks for part in tool_deltas(chunk)])
    assert sent == [[], [], ['{"a": 1'], []]
    (last,) = translated.feed(over(0))
    assert tool_deltas(last)[0]["function"]["arguments"] == ', "b": {}}'


@pytest.mark.parametrize("pieces", [[], [""], ["", ""]])
def test_a_call_without_arguments_has_an_empty_object(pieces):
    assert arguments(START, *call(0, *pieces), end("tool_use"), STOP) == ["{}"]
    assert arguments(START, *call(0, *pieces, input={}), end("tool_use"), STOP) == ["{}"]


def test_arguments_may_come_with_the_block():
    assert arguments(START, *call(0, input={"a": 1}), end("tool_use"), STOP) == ['{"a":1}']
    wrapped = call(0, input={"input": {"a": 1}})
    assert arguments(START, *wrapped, end("tool_use"), STOP, wrapped_tools=["look"]) == ['{"a":1}']


def test_deltas_replace_the_input_of_the_block_start():
    assert arguments(START, *call(0, '{"b": 2}', input={"a": 1}), end("tool_use"), STOP) == ['{"b": 2}']


@pytest.mark.parametrize("pieces", [['{"a": 1, "b": "c'], ['{"a": 1', ', "b"'], ['{"a": 1'], ["[1]"], ["nothing"]])
@pytest.mark.parametrize("reason", ["max_tokens", "tool_use"])
def test_truncated_arguments_are_valid_json_that_cannot_pass_as_complete(pieces, reason):
    """A client executes the arguments it gets, and a truncated 1 may have been 1000."""
    (found,) = arguments(START, *call(0, *pieces), end(reason), STOP)
    assert json.loads(found).keys() & {"INVALID_JSON", "value"}


def test_arguments_of_overlapping_calls_do_not_mix():
    """llama.cpp ends all its blocks together."""
    first, second = call(0, '{"a": 1', ', "b": 2}'), call(1, '{"c": 3', ', "d": 4}', tool_id="toolu_2")
    mixed = [first[0], first[1], second[0], second[1], first[2], second[2], over(0), over(1)]
    assert arguments(START, *mixed, end("tool_use"), STOP) == ['{"a": 1, "b": 2}', '{"c": 3, "d": 4}']


def test_an_open_block_ends_with_the_message():
    assert arguments(START, *call(0, '{"a": 1}')[:-1], end("tool_use"), STOP) == ['{"a": 1}']


def test_an_index_used_twice_makes_two_blocks():
    events = [*call(0, '{"a": 1}')[:-1], *call(0, '{"b": 2}', tool_id="toolu_2")]
    assert arguments(START, *events, end("tool_use"), STOP) == ['{"a": 1}', '{"b": 2}']


def test_custom_tools_stream_as_custom():
    chunks = chat(
        [START, *call(0, '{"input": "ls', ' -l"}'), end("tool_use"), STOP], reply_options(custom_tools=["look"])
    )
    assert [part for chunk in chunks for part in tool_deltas(chunk)] == [
        {"index": 0, "id": "toolu_1", "type": "custom", "custom": {"name": "look", "input": ""}},
        {"index": 0, "custom": {"input": "ls -l"}},
    ]


def test_a_custom_tool_may_get_an_empty_text():
    found = answer(START, *call(0, '{"input": ""}'), end("tool_use"), STOP, custom_tools=["look"])
    assert found["tool_calls"][0]["custom"] == {"name": "look", "input": ""}


def test_a_request_with_functions_gets_one_function_call():
    events = [START, *call(0, '{"a": 1}'), *call(1, '{"b": 2}', tool_id="toolu_2"), end("tool_use"), STOP]
    translated = translator(reply_options(legacy_functions=True))
    chunks = [chunk for event in events for chunk in translated.feed(event)]
    folded = fold_chunks(chunks)["choices"][0]
    assert folded["message"]["function_call"] == {"name": "look", "arguments": '{"a": 1}'}
    assert folded["finish_reason"] == "function_call"
    assert [entry.path for entry in translated.dropped] == ["content.1"]


def test_the_signature_of_reasoning_follows_its_text():
    chunks = chat(events_of(message(thinking("abcdefg", "s"), text("x"))))
    found = [each["reasoning_details"][0] for each in deltas(chunks) if "reasoning_details" in each]
    assert found == [
        {"type": "reasoning.text", "index": 0, "text": "abcde"},
        {"type": "reasoning.text", "index": 0, "text": "fg"},
        {"type": "reasoning.text", "index": 0, "text": "", "signature": "s"},
    ]


def test_empty_thinking_blocks_take_no_index():
    empty = [begin(0, type="thinking", thinking="", signature=""), over(0), begin(1, type="redacted_thinking"), over(1)]
    found = answer(START, *empty, *block_events(2, thinking("a", "s")), end(), STOP)
    assert [entry["index"] for entry in found["reasoning_details"]] == [0]


@pytest.mark.parametrize(
    ("stray", "expected"),
    [
        (delta(0, "text_delta", text="a"), {"content": "a"}),
        (delta(0, "thinking_delta", thinking="a"), {"content": "", "reasoning_content": "a"}),
        (delta(0, "input_json_delta", partial_json=""), {"content": ""}),
        (delta(0, "novel_delta", text="a"), {"content": ""}),
        (delta([], "text_delta", text="a"), {"content": "a"}),
        ({"type": "content_block_delta", "index": 0, "delta": "text"}, {"content": ""}),
        (over(7), {"content": ""}),
        ({"type": ["message_stop"]}, {"content": ""}),
    ],
)
def test_a_text_delta_needs_no_block_start(stray, expected):
    found = answer(START, stray, end(), STOP)
    assert {name: found[name] for name in expected} == expected


def test_a_delta_of_another_type_starts_its_own_block():
    found = answer(
        START, begin(0, type="thinking", thinking="a"), delta(0, "text_delta", text="b"), over(0), end(), STOP
    )
    assert (found["reasoning_content"], found["content"]) == ("a", "b")


def test_content_before_message_start_starts_the_completion():
    chunks = chat([delta(0, "text_delta", text="a"), START, end(), STOP])
    assert chunks[0]["id"] == "chatcmpl-new1"
    assert deltas(chunks)[1] == {"content": "a"}


def test_a_block_without_a_type_is_dropped_and_logged():
    translated = translator()
    for event in [START, begin(0), over(0)]:
        translated.feed(event)
    assert [(entry.path, entry.feature) for entry in translated.dropped] == [("content.0", "block")]


def test_citations_may_come_with_the_block():
    cited = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "x"}
    events = [begin(0, type="text", text="ab", citations=[cited]), delta(0, "citations_delta", citation=cited), over(0)]
    found = answer(START, *events, end(), STOP)["annotations"]
    place = {"start_index": 0, "end_index": 2}
    assert [entry["url_citation"] for entry in found] == [
        {"url": "https://a.example", "title": "A", "content": "x", **place}
    ]


def test_deltas_of_dropped_blocks_are_dropped():
    server = [begin(0, type="server_tool_use", id="s", name="web_search", input={})]
    server += [delta(0, "input_json_delta", partial_json='{"q": 1}'), delta(0, "text_delta", text="x"), over(0)]
    assert answer(START, *server, end(), STOP) == {"role": "assistant", "content": "", "refusal": None}


@pytest.mark.parametrize(
    "bad",
    [
        delta(3, "input_json_delta", partial_json='{"a": 1}'),
        begin(0, type="tool_use", id="t", input={}),
        "garbage",
        None,
    ],
    ids=["arguments without a call", "call without name", "text", "null"],
)
def test_an_invalid_event_ends_the_stream_with_an_error(bad):
    translated = translator()
    translated.feed(START)
    assert error_of(translated.feed(bad))["type"] == "api_error"
    assert isinstance(translated.failure, BadGatewayError)
    assert translated.feed(STOP) == translated.finish() == translated.fail(OverloadedError("x")) == []


def test_an_error_event_is_the_last_chunk():
    inner = {"type": "overloaded_error", "message": "Overloaded"}
    chunks = chat([START, {"type": "error", "error": inner}])
    assert error_of(chunks) == {**inner, "param": None, "code": None}


def test_an_error_in_another_format_is_an_error():
    chunks = chat([START, {"code": 500, "message": "context shift is off", "type": "server_error"}])
    assert "context shift" in error_of(chunks)["message"]


@pytest.mark.parametrize("seen", [[], [START], [START, *block_events(0, text("a"))], [START, *call(0, '{"a": 1')]])
def test_an_incomplete_stream_is_an_error(seen):
    """A client must not take an incomplete response for a complete one."""
    translated = translator()
    for event in seen:
        translated.feed(event)
    assert "before its answer was complete" in error_of(translated.finish())["message"]
    assert translated.finished
    assert not translated.complete


def test_a_stream_with_a_stop_reason_needs_no_message_stop():
    translated = translator()
    for event in [START, end()]:
        translated.feed(event)
    chunks = translated.finish()
    assert chunks[0]["choices"][0]["finish_reason"] == "stop"
    assert translated.complete


def test_message_stop_without_a_stop_reason_ends_the_stream():
    assert fold_chunks(chat([STOP]))["choices"][0]["finish_reason"] == "stop"


def test_a_failure_is_the_last_chunk():
    translated = translator()
    translated.feed(START)
    error = RateLimitError("Slow down")
    assert error_of(translated.fail(error))["type"] == "rate_limit_error"
    assert translated.failure is error


def test_invalid_arguments_at_the_end_are_an_error():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    translated = translator()
    for event in [START, begin(0, type="tool_use", id="t", name="n", input={"x": deep}), end("tool_use")]:
        translated.feed(event)
    assert "nested" in error_of(translated.finish())["message"]
    while deep:
        deep = deep.pop()


def paused(**fields):
    """Return a paused message, its continuation, and a translator after the first with its chunks."""
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}
    first = message(thinking("hm", "s"), text("ab"), search, stop_reason="pause_turn")
    second = message(text("cd"), tool_use(), stop_reason="tool_use", id="msg_02")
    translated = translator(reply_options(**fields))
    chunks = [chunk for event in events_of(first) for chunk in translated.feed(event)]
    return first, second, translated, chunks


def test_a_paused_stream_can_be_resumed():
    first, second, translated, chunks = paused()
    assert (translated.complete, translated.finished, translated.stop_reason) == (True, False, "pause_turn")
    assert not any(choice["finish_reason"] for chunk in chunks for choice in chunk["choices"])
    chunks += translated.resume()
    assert not translated.complete
    chunks += [chunk for event in events_of(second) for chunk in translated.feed(event)]
    joined = continued(first, second)
    assert translated.usage == joined["usage"]
    assert parsed(fold_chunks(chunks)) == parsed(translate_response(joined, reply_options(), created=CREATED))


def test_a_paused_stream_without_continuation_ends_with_length():
    first, _, translated, chunks = paused()
    chunks += translated.finish()
    assert parsed(fold_chunks(chunks)) == parsed(translate_response(first, reply_options(), created=CREATED))
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"


def test_events_after_a_pause_are_ignored():
    *_, translated, _ = paused()
    assert translated.feed(delta(0, "text_delta", text="late")) == []


def test_a_continuation_that_fails_is_an_error():
    *_, translated, _ = paused()
    translated.resume()
    assert error_of(translated.fail(OverloadedError("Busy")))["message"] == "Busy"
    assert translated.resume() == []


def test_resume_closes_open_blocks():
    translated = translator()
    for event in [START, *call(0, '{"a": 1')[:-1], end("pause_turn")]:
        translated.feed(event)
    (chunk,) = translated.resume()
    assert json.loads(tool_deltas(chunk)[0]["function"]["arguments"])
