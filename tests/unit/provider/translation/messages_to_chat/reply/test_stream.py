"""Chunks -> events: one test for each thing that backends do wrong."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import OverloadedError
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import StreamTranslator, translate_response
from llama_stack_provider_messages.translation.messages_to_chat.reply import calls as calls_module
from llama_stack_provider_messages.translation.names import backend_id
from llama_stack_provider_messages.translation.tool_arguments import parse_tool_input
from support.grammar import check_stream
from support.streams import (
    call,
    check_bytes,
    chunk,
    completion,
    delta_chunk,
    id_maker,
    message_of,
    plain_objects,
    reply_options,
    request,
    translate,
    usage_chunk,
)

WEATHER = {"type": "tool_use", "caller": {"type": "direct"}, "name": "weather"}
STOP = delta_chunk("stop")
CALLS = delta_chunk("tool_calls")


def types(events):
    return [event["type"] for event in events]


def texts(message):
    return [block["text"] for block in message["content"] if block["type"] == "text"]


def inputs(message):
    return [(block["id"], block["input"]) for block in message["content"] if block["type"] == "tool_use"]


def deltas(events, kind):
    return [event["delta"] for event in events if event.get("delta", {}).get("type") == kind]


def test_text_streams_delta_by_delta():
    events = translate(
        [delta_chunk(role="assistant", content=""), delta_chunk(content="Hel"), delta_chunk(content="lo"), STOP]
    )
    assert [delta["text"] for delta in deltas(events, "text_delta")] == ["Hel", "lo"]
    assert types(events)[:2] == ["message_start", "content_block_start"]


def test_each_delta_is_sent_with_its_chunk():
    """Events are not held: those of a chunk are returned when it is fed."""
    translator = StreamTranslator(reply_options(), id_maker())
    assert types(translator.feed(delta_chunk(role="assistant", content=""))) == ["message_start"]
    assert types(translator.feed(delta_chunk(content="a"))) == ["content_block_start", "content_block_delta"]
    assert types(translator.feed(delta_chunk(content="b"))) == ["content_block_delta"]
    assert translator.feed(STOP) == []


def test_requested_model_is_echoed_and_ids_are_injected():
    message = message_of([delta_chunk(content="x"), STOP], request(model="claude-x"))
    assert (message["model"], message["id"]) == ("claude-x", "msg_01")


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_becomes_a_thinking_block_closed_before_text(field):
    """Litellm 32357: thinking deltas inside a text block; ollama 14825: two blocks share an index."""
    chunks = [delta_chunk(**{field: "Let"}), delta_chunk(**{field: " me"}), delta_chunk(content="Hi"), STOP]
    message = message_of(chunks, sign=lambda text: f"signed {text}")
    assert message["content"] == [
        {"type": "thinking", "thinking": "Let me", "signature": "signed Let me"},
        {"type": "text", "text": "Hi"},
    ]


def test_reasoning_in_both_fields_is_used_once():
    message = message_of([delta_chunk(reasoning_content="a", reasoning="a"), delta_chunk(content="b"), STOP])
    assert message["content"][0]["thinking"] == "a"


def test_reasoning_details_are_joined():
    details = [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.summary", "summary": "b"}]
    assert message_of([delta_chunk(reasoning_details=details), STOP])["content"][0]["thinking"] == "ab"


def test_content_parts_hold_thinking_and_text():
    """Mistral's form of content."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}]
    message = message_of([delta_chunk(content=parts), STOP])
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert texts(message) == ["yes"]


def test_thinking_directly_before_a_call_is_closed():
    """Ollama 17225: the thinking block stayed open when a tool call followed."""
    message = message_of([delta_chunk(reasoning="hm"), delta_chunk(tool_calls=[call(0, "a", "weather", "{}")]), CALLS])
    assert [block["type"] for block in message["content"]] == ["thinking", "tool_use"]


def test_reasoning_and_text_of_one_chunk_are_both_used():
    message = message_of(
        [delta_chunk(reasoning="hm"), delta_chunk(reasoning="!", content="ok"), delta_chunk(content="."), STOP]
    )
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert texts(message) == ["ok."]


def test_reasoning_beside_text_in_a_later_chunk_is_used():
    """The short path for text must not lose other fields of the chunk."""
    chunks = [delta_chunk(content="a"), delta_chunk(content="b", reasoning="hm"), STOP]
    assert [block["type"] for block in message_of(chunks)["content"]] == ["text", "thinking", "text"]


def test_omitted_thinking_sends_only_the_signature():
    req = request(thinking={"type": "adaptive", "display": "omitted"})
    events = translate([delta_chunk(reasoning="secret"), delta_chunk(content="x"), STOP], req, sign=lambda _: "sig")
    assert deltas(events, "thinking_delta") == []
    assert fold(events)["content"][0] == {"type": "thinking", "thinking": "", "signature": "sig"}


@pytest.mark.parametrize("mode", ["disabled", "between_tools"])
def test_disabled_thinking_is_not_shown(mode):
    message = message_of(
        [delta_chunk(reasoning="hm"), delta_chunk(content="x"), STOP], request(thinking={"type": mode})
    )
    assert [block["type"] for block in message["content"]] == ["text"]


def test_thinking_between_tools_is_shown_if_there_are_tools():
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    req = request(thinking={"type": "between_tools"}, tools=tools)
    assert message_of([delta_chunk(reasoning="hm"), STOP], req)["content"][0]["type"] == "thinking"


def test_parallel_calls_become_blocks_in_sequence():
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "weather", "")]),
        delta_chunk(tool_calls=[call(0, arguments='{"city":')]),
        delta_chunk(tool_calls=[call(0, arguments=' "Paris"}')]),
        delta_chunk(tool_calls=[call(1, "b", "weather", '{"city": "Rome"}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"}), ("b", {"city": "Rome"})]


def test_interleaved_argument_deltas_reach_their_own_call():
    """any-llm 1305, headroom 2890: parallel calls got each other's JSON."""
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "weather", ""), call(1, "b", "weather", "")]),
        delta_chunk(tool_calls=[call(0, arguments='{"city":'), call(1, arguments='{"ci')]),
        delta_chunk(tool_calls=[call(1, arguments='ty": "Rome"}')]),
        delta_chunk(tool_calls=[call(0, arguments='"Paris"}')]),
        CALLS,
    ]
    events = translate(chunks)
    assert inputs(fold(events)) == [("a", {"city": "Paris"}), ("b", {"city": "Rome"})]


def test_a_waiting_call_starts_as_soon_as_the_open_one_is_complete():
    translator = StreamTranslator(reply_options(), id_maker())
    translator.feed(delta_chunk(tool_calls=[call(0, "a", "weather", '{"city":'), call(1, "b", "time", "{}")]))
    events = translator.feed(delta_chunk(tool_calls=[call(0, arguments=' "Paris"}')]))
    assert types(events)[-2:] == ["content_block_start", "content_block_delta"]
    assert events[-2]["content_block"]["name"] == "time"


def test_index_zero_for_every_call_with_new_ids():
    """CcNexus 89: a new id on a known index is a new call."""
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "weather", '{"city": "Paris"}')]),
        delta_chunk(tool_calls=[call(0, "b", "weather", '{"city": "Rome"}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"}), ("b", {"city": "Rome"})]


def test_index_zero_for_every_call_without_ids():
    chunks = [
        delta_chunk(tool_calls=[call(0, name="weather", arguments='{"city": "Paris"}')]),
        delta_chunk(tool_calls=[call(0, name="weather", arguments='{"city": "Rome"}')]),
        delta_chunk(tool_calls=[call(0, name="time", arguments="{}")]),
        CALLS,
    ]
    message = message_of(chunks)
    assert inputs(message) == [("toolu_02", {"city": "Paris"}), ("toolu_03", {"city": "Rome"}), ("toolu_04", {})]


def test_an_id_per_delta_is_one_call():
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "weather", '{"city":')]),
        delta_chunk(tool_calls=[call(0, "b", arguments='"Paris"}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"})]


def test_a_name_repeated_in_every_delta_is_one_call():
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "weather", '{"city":')]),
        delta_chunk(tool_calls=[call(0, "a", "weather", '"Paris"}')]),
        delta_chunk(tool_calls=[call(0, name="weather", arguments="")]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"})]


def test_calls_without_index_are_distinguished_by_id():
    chunks = [
        delta_chunk(tool_calls=[call(None, "a", "weather", '{"city":')]),
        delta_chunk(tool_calls=[call(None, "b", "weather", '{"city":')]),
        delta_chunk(tool_calls=[call(None, "a", arguments='"Paris"}')]),
        delta_chunk(tool_calls=[call(None, arguments='"Rome"}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"}), ("b", {"city": "Rome"})]


def test_a_call_without_index_id_or_predecessor_is_a_call():
    assert inputs(message_of([delta_chunk(tool_calls=[call(None, None, "weather", "{}")]), CALLS])) == [
        ("toolu_02", {})
    ]


def test_a_call_starts_when_its_name_has_arrived():
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", arguments='{"city": "Paris"')]),
        delta_chunk(tool_calls=[call(0, name="weather", arguments="}")]),
        CALLS,
    ]
    assert message_of(chunks)["content"] == [WEATHER | {"id": "a", "input": {"city": "Paris"}}]


def test_a_call_waits_for_its_id_until_there_are_arguments_to_send():
    chunks = [
        delta_chunk(tool_calls=[call(0, name="weather", arguments='{"city":')]),
        delta_chunk(tool_calls=[call(0, "a", arguments='"Paris"}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"})]


def test_an_id_after_the_first_sent_arguments_is_ignored():
    chunks = [
        delta_chunk(tool_calls=[call(0, name="weather", arguments='{"city": "Paris", ')]),
        delta_chunk(tool_calls=[call(0, "a", arguments='"days": 2}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("toolu_02", {"city": "Paris", "days": 2})]


@pytest.mark.parametrize("odd", ["call.1:weird", "functions.f:0", "a b"])
def test_ids_that_the_api_does_not_allow_are_wrapped(odd):
    """Kimi requires its own form back: llxprt-code 713, exo 2281."""
    ((call_id, _),) = inputs(message_of([delta_chunk(tool_calls=[call(0, odd, "weather", "{}")]), CALLS]))
    assert call_id.startswith("toolu_up_")
    assert backend_id(call_id) == odd


def test_a_repeated_id_is_replaced():
    calls = [call(0, "a", "weather", "{}"), call(1, "a", "weather", "{}")]
    assert inputs(message_of([delta_chunk(tool_calls=calls), CALLS])) == [("a", {}), ("toolu_02", {})]


def deltas_of(*calls):
    return [*(delta_chunk(tool_calls=[one]) for one in calls), CALLS]


@pytest.mark.parametrize("index", [0, None], ids=["index 0", "no index"])
@pytest.mark.parametrize("call_id", ["a", None], ids=["same id", "no id"])
def test_a_reused_id_and_index_begin_a_new_call_once_the_first_is_complete(index, call_id):
    """The arguments come with the name, or in pieces after it (LiteLLM's test_parallel_tool_calls)."""
    complete = [call(index, call_id, "weather", f'{{"city": "{city}"}}') for city in ("Oslo", "Rome")]
    pieces = []
    for city in ("Oslo", "Rome"):
        pieces.append(call(index, call_id, "weather", ""))
        pieces += [call(index, arguments=piece) for piece in ('{"city"', f': "{city}"', "}")]
    for calls in (complete, pieces):
        message = message_of(deltas_of(*calls))
        assert [found for _, found in inputs(message)] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert len({block["id"] for block in message["content"]}) == 2


@pytest.mark.parametrize("call_id", ["a", None], ids=["same id", "no id"])
def test_a_complete_call_whose_name_is_repeated_is_one_call(call_id):
    again = [call(0, call_id, "weather", ""), call(0, call_id, "weather"), call(0, arguments=" ")]
    message = message_of(deltas_of(call(0, "a", "weather", '{"city": "Oslo"}'), *again))
    assert inputs(message) == [("a", {"city": "Oslo"})]


def test_a_complete_call_that_is_repeated_completely_is_one_call():
    """With its id and its arguments: a client must not execute it twice."""
    pieces = [call(0, "a", "weather", '{"city"'), call(0, arguments=': "Oslo"}')]
    message = message_of(deltas_of(*pieces, call(0, "a", "weather", '{"city": "Oslo"}')))
    assert inputs(message) == [("a", {"city": "Oslo"})]


OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome"}'
REPEATED = {
    "the same text": ([OSLO, OSLO], [{"city": "Oslo"}]),
    "other white space": ([OSLO, '{"city":"Oslo"}'], [{"city": "Oslo"}]),
    "an empty object before the arguments": (["{}", OSLO], [{"city": "Oslo"}]),
    "an empty object after the arguments": ([OSLO, "{}"], [{"city": "Oslo"}]),
    "only empty objects": (["{}", "{}"], [{}]),
    "all arguments so far": (['{"a": 1}', '{"a":1,"b":2}', '{"a":1,"b":2,"c":[3]}'], [{"a": 1, "b": 2, "c": [3]}]),
    "more members after released ones": (
        ['{"a": 1, "b": 2}', '{"b":2,"c":{"z": 1, "d": 3},"a":1}'],
        [{"a": 1, "b": 2, "c": {"z": 1, "d": 3}}],
    ),
    "an empty object, then a call and another one": (["{}", OSLO, ROME], [{"city": "Oslo"}, {"city": "Rome"}]),
    "other arguments": ([OSLO, ROME], [{"city": "Oslo"}, {"city": "Rome"}]),
    "fewer members": (['{"a": 1, "b": 2}', '{"a": 1}'], [{"a": 1, "b": 2}, {"a": 1}]),
    "a number is not a boolean": (['{"a": 1}', '{"a": true}'], [{"a": 1}, {"a": True}]),
    "null for nothing": ([OSLO, "null"], [{"city": "Oslo"}]),
}


def one_delta_each(texts):
    return [call(0, "a", "weather", text) for text in texts]


def name_in_each_piece(texts):
    return [call(0, "a", "weather", text[start : start + 3]) for text in texts for start in range(0, len(text), 3)]


def name_before_pieces(texts):
    pieces = []
    for text in texts:
        pieces.append(call(0, "a", "weather", ""))
        pieces += [call(0, arguments=character) for character in text]
    return pieces


@pytest.mark.parametrize("cut", [one_delta_each, name_in_each_piece, name_before_pieces])
@pytest.mark.parametrize("case", REPEATED)
def test_a_repeated_call_is_recognized_by_its_decoded_input(case, cut):
    """The stream adds up to the unary response that has each call once."""
    texts, expected = REPEATED[case]
    message = message_of(deltas_of(*cut(texts)))
    calls = [call(index, "a", "weather", json.dumps(one)) for index, one in enumerate(expected)]
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"}
    unary = translate_response(completion({"choices": [choice]}), reply_options(), id_maker())
    assert message["content"] == unary["content"]
    assert message["stop_reason"] == unary["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["{}", OSLO], [{}, {}, {"city": "Oslo"}]),
        (['{"a": 1}', '{"a": 1, "b": 2}'], [{"a": 1}, {}]),
        ([OSLO, OSLO], [{"city": "Oslo"}, {}]),
    ],
)
def test_a_closed_call_keeps_its_input(texts, expected):
    """Its events have been sent; a repetition with more members is dropped, unless only an empty object was sent."""
    first, *others = one_delta_each(texts)
    message = message_of(deltas_of(first, call(1, "b", "time", "{}"), *others))
    assert [found for _, found in inputs(message)] == expected


def test_later_calls_wait_while_a_repetition_is_incomplete():
    """Otherwise the first call would be closed."""
    half, rest = OSLO[:5], OSLO[5:]
    parts = [call(0, "a", "weather", "{}"), call(0, "a", "weather", half), call(1, "b", "time", "{}")]
    message = message_of(deltas_of(*parts, call(0, arguments=rest)))
    assert inputs(message) == [("a", {"city": "Oslo"}), ("b", {})]


@pytest.mark.parametrize(("first", "expected"), [("{}", [{"a": 1}]), (OSLO, [{"city": "Oslo"}, {"a": 1}])])
def test_a_truncated_repetition_keeps_its_complete_members(first, expected):
    parts = [call(0, "a", "weather", first), call(0, "a", "weather", '{"a": 1, "b": "x')]
    message = message_of([*(delta_chunk(tool_calls=[one]) for one in parts), delta_chunk("length")])
    assert [found for _, found in inputs(message)] == expected
    assert message["stop_reason"] == "max_tokens"


def test_a_stream_that_ends_inside_a_repetition_is_an_error():
    events = translate([delta_chunk(tool_calls=[one]) for one in one_delta_each([OSLO, '{"city": "Ro'])])
    assert "inside the arguments of a tool call" in events[-1]["error"]["message"]


def test_the_first_input_of_repeated_calls_is_decoded_once(monkeypatch):
    """Otherwise many short repetitions of a long call would take quadratic time."""
    decoded = []

    def parse(text):
        decoded.append(text)
        return parse_tool_input(text)

    monkeypatch.setattr(calls_module, "parse_tool_input", parse)
    long = json.dumps({"text": "x" * 1000})
    assert len(inputs(message_of(deltas_of(*one_delta_each([long, *["{}"] * 50]))))) == 1
    assert decoded.count(long) == 1


def test_another_function_under_a_reused_id_is_a_new_call():
    calls = [call(0, "a", "weather", "{}"), call(0, "a", "time", ""), call(0, arguments='{"zone": "UTC"}')]
    message = message_of(deltas_of(*calls))
    assert [(block["name"], block["input"]) for block in message["content"]] == [
        ("weather", {}),
        ("time", {"zone": "UTC"}),
    ]


def test_a_name_after_a_new_id_belongs_to_the_new_call():
    """It is not the repeated name of the previous call."""
    calls = [call(0, "a", "weather", "{}"), call(0, "a", "weather"), call(0, "b"), call(0, "b", "time", "{}")]
    assert [block["name"] for block in message_of(deltas_of(*calls))["content"]] == ["weather", "time"]


def test_repeated_calls_with_object_arguments_are_compared():
    calls = [call(0, "a", "weather", {"city": city}) for city in ("Oslo", "Oslo", "Rome")]
    assert [found for _, found in inputs(message_of(deltas_of(*calls)))] == [{"city": "Oslo"}, {"city": "Rome"}]


def test_a_call_without_a_name_is_an_error():
    events = translate([delta_chunk(tool_calls=[call(0, "a", arguments="{}")]), CALLS])
    assert events[-1]["error"]["message"] == "The backend sent a tool call without the name of the tool"


def test_a_call_without_name_and_arguments_is_ignored():
    chunks = [delta_chunk(content="x"), delta_chunk(tool_calls=[call(0, "", "", "")]), STOP]
    message = message_of(chunks)
    assert (texts(message), inputs(message), message["stop_reason"]) == (["x"], [], "end_turn")


def test_text_of_the_first_chunk_is_used():
    """Litellm 30014: content beside the role was lost."""
    assert texts(message_of([delta_chunk(role="assistant", content="first"), STOP])) == ["first"]


def test_arguments_of_the_first_chunk_are_used():
    """Litellm 25321, 25561, 29491: arguments beside name and id were lost, and every input was {}."""
    assert inputs(message_of([delta_chunk("tool_calls", tool_calls=[call(0, "a", "f", '{"x": 1}')])])) == [
        ("a", {"x": 1})
    ]


def test_one_chunk_may_hold_the_complete_response():
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    tools = [call(0, "a", "weather", "{}")]
    message = message_of([delta_chunk("tool_calls", usage, role="assistant", content="Hi", tool_calls=tools)])
    assert (texts(message), inputs(message)) == (["Hi"], [("a", {})])
    assert (message["stop_reason"], message["usage"]["input_tokens"]) == ("tool_use", 5)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"city": "Paris"}, {"city": "Paris"}),
        ("", {}),
        (None, {}),
        ("null", {}),
        ("  ", {}),
        ("[1, 2]", {"value": [1, 2]}),
        ('"{\\"city\\": \\"Paris\\"}"', {"city": "Paris"}),
        ('{}{"city": "Paris"}', {"city": "Paris"}),
        ("{'city'}", {"INVALID_JSON": "{'city'}"}),
    ],
)
def test_arguments_of_any_shape_are_an_object(arguments, expected):
    """Agentgateway 3002, APISIX 13599: empty and broken arguments cost the conversation or the response."""
    assert inputs(message_of([delta_chunk(tool_calls=[call(0, "a", "f", arguments)]), CALLS])) == [("a", expected)]


def test_text_before_broken_arguments_survives():
    """APISIX 13599: a decoding error lost the complete response."""
    chunks = [delta_chunk(content="Looking"), delta_chunk(tool_calls=[call(0, "a", "f", "[oops")]), CALLS]
    message = message_of(chunks)
    assert texts(message) == ["Looking"]
    assert inputs(message) == [("a", {"INVALID_JSON": "[oops"})]


def test_each_member_of_the_arguments_is_sent_when_it_is_complete():
    translator = StreamTranslator(reply_options(), id_maker())
    translator.feed(delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1')]))
    events = translator.feed(delta_chunk(tool_calls=[call(0, arguments=', "y"')]))
    assert events[0]["delta"] == {"type": "input_json_delta", "partial_json": '{"x": 1'}


@pytest.mark.parametrize("empty", [{"tool_calls": []}, {"content": ""}, {"content": None}, {"role": "assistant"}, {}])
def test_empty_deltas_change_nothing(empty):
    """Litellm 29286, agentgateway 2148: empty deltas opened blocks and split calls."""
    tools = [delta_chunk(tool_calls=[call(0, "a", "f", '{"x":')]), delta_chunk(tool_calls=[call(0, arguments=" 1}")])]
    chunks = [
        delta_chunk(content="a"),
        delta_chunk(**empty),
        delta_chunk(content="b"),
        tools[0],
        delta_chunk(**empty),
        tools[1],
    ]
    message = message_of([*chunks, CALLS])
    assert (texts(message), inputs(message)) == (["ab"], [("a", {"x": 1})])


def test_content_after_a_call_is_a_new_block():
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), delta_chunk(content="Done"), CALLS]
    message = message_of(chunks)
    assert [block["type"] for block in message["content"]] == ["tool_use", "text"]
    assert message["stop_reason"] == "tool_use"


def test_text_inside_an_open_call_waits_for_its_end():
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "f", '{"x":')]),
        delta_chunk(content="by the way"),
        delta_chunk(tool_calls=[call(0, arguments=" 1}")]),
        CALLS,
    ]
    message = message_of(chunks)
    assert (inputs(message), texts(message)) == ([("a", {"x": 1})], ["by the way"])


def test_a_legacy_function_call_is_a_tool_call():
    chunks = [
        delta_chunk(function_call={"name": "f", "arguments": '{"x":'}),
        delta_chunk(function_call={"arguments": " 1}"}),
        delta_chunk("function_call"),
    ]
    assert inputs(message_of(chunks)) == [("toolu_02", {"x": 1})]


def test_refusal_is_text_and_a_stop_reason():
    message = message_of([delta_chunk(refusal="I can"), delta_chunk(refusal="not"), STOP])
    assert (texts(message), message["stop_reason"]) == (["I cannot"], "refusal")
    assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": "I cannot"}


def test_stop_with_calls_is_tool_use():
    """Bifrost 6123: agents ended their turn with a call pending."""
    assert message_of([delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), STOP])["stop_reason"] == "tool_use"


def test_length_inside_arguments_keeps_the_complete_members():
    arguments = '{"path": "/tmp", "content": "half a'
    events = translate([delta_chunk(tool_calls=[call(0, "a", "f", arguments)]), delta_chunk("length")])
    assert "".join(delta["partial_json"] for delta in deltas(events, "input_json_delta")) == '{"path": "/tmp"'
    message = fold(events)
    assert (message["stop_reason"], inputs(message)) == ("max_tokens", [("a", {"path": "/tmp"})])


def test_length_after_a_complete_call_is_tool_use():
    message = message_of([delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1}')]), delta_chunk("length")])
    assert message["stop_reason"] == "tool_use"


def test_a_content_filter_inside_a_call_is_a_refusal():
    """A client must not execute half a call."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1, "y": "ha')]), delta_chunk("content_filter")]
    message = message_of(chunks)
    assert (message["stop_reason"], inputs(message)) == ("refusal", [("a", {"x": 1})])


ENDED = [delta_chunk(content="x"), delta_chunk("stop", choice={"stop_reason": "END"})]


def test_the_stop_sequence_reported_by_the_backend_is_named():
    message = message_of(ENDED, request(stop_sequences=["END"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_reported_stop_string_that_was_not_requested_ends_the_turn():
    """SGLang reports the template's end-of-turn string; agents expect ``end_turn`` then."""
    message = message_of(ENDED, request(stop_sequences=["other"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


@pytest.mark.parametrize("reason", ["null", ""])
def test_an_empty_finish_reason_is_ignored(reason):
    """APISIX tests 14 and 16: the string "null" ended the stream."""
    message = message_of([delta_chunk(reason, content="a"), delta_chunk(content="b"), STOP])
    assert texts(message) == ["ab"]


def test_two_finish_chunks_end_one_message():
    """APISIX test 18: there were two message_stop events."""
    assert types(translate([delta_chunk(content="a"), STOP, STOP])).count("message_stop") == 1


USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}


@pytest.mark.parametrize(
    "chunks",
    [
        [delta_chunk(content="a"), STOP, usage_chunk(**USAGE)],
        [delta_chunk(content="a"), delta_chunk("stop", USAGE)],
        [usage_chunk(**USAGE), delta_chunk(content="a"), STOP],
        [delta_chunk(None, USAGE | {"completion_tokens": 1}, content="a"), delta_chunk("stop", USAGE)],
    ],
    ids=["last, without choices", "beside the finish reason", "first", "in every chunk"],
)
def test_usage_is_used_wherever_it_comes(chunks):
    """any-llm 1180, sglang 20678, envoyproxy 2350: streamed usage stayed 0."""
    usage = message_of(chunks)["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (6, 4, 3)


def test_missing_usage_is_estimated():
    events = translate([delta_chunk(content="a"), STOP])
    assert (events[-2]["usage"]["input_tokens"], events[-2]["usage"]["output_tokens"]) == (0, 1)


def test_the_service_tier_is_reported():
    message = message_of(
        [chunk({"choices": [{"index": 0, "delta": {"content": "a"}}], "service_tier": "priority"}), STOP]
    )
    assert message["usage"]["service_tier"] == "priority"


def test_an_error_in_the_stream_is_an_error_event():
    """Litellm 24004: an overload in the middle of a stream was shown as success."""
    broken = chunk({"error": {"message": "No capacity", "code": 503}})
    events = translate([delta_chunk(content="a"), broken])
    assert (events[-1]["error"]["type"], events[-1]["error"]["message"]) == ("overloaded_error", "No capacity")


def test_an_error_before_the_first_content_is_the_only_event():
    assert types(translate([chunk({"error": "boom"})])) == ["error"]


def test_an_error_beside_a_finish_reason_is_an_error():
    """The form of OpenRouter."""
    value = {
        "error": {"message": "Gone", "code": 502},
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
    }
    assert translate([delta_chunk(content="a"), chunk(value)])[-1]["error"]["message"] == "Gone"


def test_an_aborted_stream_is_an_error():
    assert "abort" in translate([delta_chunk(content="a"), delta_chunk("abort")])[-1]["error"]["message"]


def test_a_failure_reported_by_the_caller_ends_the_stream():
    translator = StreamTranslator(reply_options(), id_maker(), request_id="req_1")
    events = translator.feed(delta_chunk(content="a")) + translator.fail(OverloadedError("busy"))
    check_stream(events)
    assert events[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
        "request_id": "req_1",
    }
    assert translator.fail(OverloadedError("busy")) == translator.finish() == []


FULL = {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}


def test_a_response_that_fills_the_context_window_ends_with_that_stop_reason():
    """llama.cpp ends it with an error; reported as a prompt overflow, clients would compact without need."""
    message = message_of([delta_chunk(content="a"), chunk(FULL)])
    assert (message["stop_reason"], texts(message)) == ("model_context_window_exceeded", ["a"])


def test_a_call_truncated_by_the_context_window_is_incomplete():
    """It ends like a call that the output limit has truncated."""
    cut = [delta_chunk(tool_calls=[call(0, "call_1", "weather", '{"city": "B')])]
    full = message_of([*cut, chunk(FULL)])
    limited = message_of([*cut, delta_chunk("length")])
    assert full["stop_reason"] == "model_context_window_exceeded"
    assert limited["stop_reason"] == "max_tokens"
    assert [block["type"] for block in full["content"]] == [block["type"] for block in limited["content"]]


def test_a_prompt_that_fills_the_context_window_is_an_error():
    """There is no output yet: the client has to shorten the prompt."""
    assert translate([chunk(FULL)])[-1]["error"]["message"] == "prompt is too long"


def test_a_stream_without_content_is_an_error():
    """APISIX 13583, new-api 4697: the client hung, or got a made-up end_turn."""
    for chunks in ([], [delta_chunk(role="assistant")], [usage_chunk(prompt_tokens=1)]):
        assert translate(chunks)[-1]["error"]["type"] == "api_error"


def test_an_empty_response_with_a_finish_reason_is_valid():
    message = message_of([delta_chunk(role="assistant", content=""), STOP])
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")


def test_content_without_a_finish_reason_ends_the_turn():
    assert message_of([delta_chunk(content="a")])["stop_reason"] == "end_turn"


def test_a_complete_call_without_a_finish_reason_is_tool_use():
    assert message_of([delta_chunk(tool_calls=[call(0, "a", "f", "{}")])])["stop_reason"] == "tool_use"


def test_an_incomplete_call_without_a_finish_reason_is_an_error():
    """The rest is unknown; a client must not execute half a command."""
    events = translate([delta_chunk(tool_calls=[call(0, "a", "f", '{"cmd": "rm -rf /tmp')])])
    assert "arguments" in events[-1]["error"]["message"]


def test_line_separators_stay_inside_the_text():
    """U+2028 and similar characters end lines for some clients."""
    text = "a\u2028b\u2029c\u0085d\r\n"
    assert texts(message_of([delta_chunk(content=text), STOP])) == [text]


def test_other_choices_and_unknown_fields_are_ignored():
    value = {
        "choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}, "logprobs": {}}]
    }
    second = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
    assert texts(message_of([chunk(value), chunk(second), STOP])) == ["yes"]


def test_records_of_any_class_are_read_by_field_name():
    """The translator does not depend on the SDK's classes."""
    chunks = [{"choices": [{"delta": {"reasoning": "hm"}}]}, {"choices": [{"delta": {"content": "a"}}]}]
    chunks += [{"choices": [{"delta": {"content": "b"}}]}, {"choices": [{"finish_reason": "stop"}]}]
    assert message_of(map(plain_objects, chunks)) == message_of(chunks)


def test_optional_message_fields_are_present_only_if_requested():
    req = request(diagnostics={"previous_message_id": None}, context_management={"edits": []})
    events = translate([delta_chunk(content="a"), STOP], req)
    assert events[0]["message"]["diagnostics"] is None
    assert events[-2]["context_management"] == {"applied_edits": []}
    assert "diagnostics" not in translate([delta_chunk(content="a"), STOP])[0]["message"]


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
@pytest.mark.parametrize("text", ['{"file": "/x", "limit": 1', '{"edits": [{"old": "a"}, {"old": "c"'])
def test_arguments_truncated_inside_a_value_are_not_completed_in_a_stream(text, finish):
    """A client would execute a guess."""
    (_, value), *_ = inputs(message_of([delta_chunk(tool_calls=[call(0, "a", "f", text)]), delta_chunk(finish)]))
    assert "INVALID_JSON" in value
    assert "limit" not in value
    assert "edits" not in value


def test_any_number_of_empty_objects_gives_an_object():
    """Six hundred empty objects exceeded the recursion limit."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", "")])]
    chunks += [delta_chunk(tool_calls=[call(0, arguments="{}")]) for _ in range(600)]
    assert inputs(message_of([*chunks, CALLS])) == [("a", {})]


STOPS = request(stop_sequences=["END", "\n\nHuman:"])


def test_a_stop_sequence_ends_the_response():
    """The text ends before it, it is named, and everything after it is dropped."""
    chunks = [
        delta_chunk(role="assistant", content=""),
        delta_chunk(content="one E"),
        delta_chunk(content="N"),
        delta_chunk(content="D two", tool_calls=[call(0, "a", "f", "{}")]),
        delta_chunk(content="three"),
        delta_chunk(tool_calls=[call(0, "b", "f", "{}")]),
        CALLS,
    ]
    message = message_of(chunks, STOPS)
    assert message["content"] == [{"type": "text", "text": "one "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_stop_sequence_finishes_the_stream():
    """So that the caller can close the request to the backend."""
    translator = StreamTranslator(reply_options(STOPS), id_maker())
    seen = []
    for text in ("a", "b EN", "D"):
        translator.feed(delta_chunk(content=text))
        seen.append(translator.stop_reading)
    assert seen == [False, False, True]
    assert translator.feed(delta_chunk(content="c")) == []
    assert types(translator.finish()) == ["content_block_stop", "message_delta", "message_stop"]


def test_a_stream_that_failed_is_finished():
    translator = StreamTranslator(reply_options(), id_maker())
    translator.feed(chunk({"error": "boom"}))
    assert translator.stop_reading


def test_an_incomplete_stop_sequence_is_text():
    """It is sent before the next block or the end."""
    chunks = [delta_chunk(content="go EN"), delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), delta_chunk(content="E")]
    message = message_of([*chunks, CALLS], STOPS)
    assert [block["type"] for block in message["content"]] == ["text", "tool_use", "text"]
    assert texts(message) == ["go EN", "E"]
    assert texts(message_of([delta_chunk(content="EN"), delta_chunk(reasoning="hm"), STOP], STOPS)) == ["EN"]


def test_stop_sequences_do_not_match_in_thinking_and_arguments():
    chunks = [delta_chunk(reasoning="END"), delta_chunk(tool_calls=[call(0, "a", "f", '{"x": "END"}')]), CALLS]
    message = message_of(chunks, STOPS)
    assert (message["stop_reason"], inputs(message)) == ("tool_use", [("a", {"x": "END"})])


def test_calls_before_the_stop_sequence_keep_their_complete_members():
    """Sent events cannot be withdrawn; a call without a name has not been sent."""
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1, "y": 2')]),
        delta_chunk(tool_calls=[call(1, "b", arguments='{"x"')]),
        delta_chunk(content="END"),
    ]
    message = message_of(chunks, STOPS)
    assert inputs(message) == [("a", {"x": 1})]
    assert message["stop_reason"] == "stop_sequence"


def test_a_stop_sequence_in_a_held_prefill_drops_the_following_call():
    """Text held as a possible prefill is searched when a call follows."""
    chunks = [delta_chunk(content="a END"), delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), CALLS]
    message = message_of(chunks, STOPS, prefill="a END b")
    assert (texts(message), inputs(message), message["stop_sequence"]) == (["a "], [], "END")


def test_output_of_a_stopped_stream_is_counted_in_chunks():
    """Usage comes last, and is lost when the request is closed: the chunks with content are counted."""
    pieces = [
        delta_chunk(reasoning="hm"),
        delta_chunk(content="a"),
        delta_chunk(content="b"),
        delta_chunk(content="END"),
    ]
    usage = message_of(pieces, STOPS)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (0, 4)


def test_known_usage_of_a_stopped_stream_is_used():
    """Some backends send usage with every chunk."""
    usage = message_of([delta_chunk(None, USAGE, content="a END")], STOPS)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (6, 3)


@settings(max_examples=200)
@given(
    st.lists(st.text("ab;", min_size=1, max_size=4), max_size=8),
    st.lists(st.text("ab;", min_size=1, max_size=4), max_size=3),
    st.text("ab;", max_size=4),
    st.booleans(),
)
def test_stop_sequences_and_prefill_have_the_same_effect_in_streams_and_unary_responses(pieces, stops, prefill, called):
    """For any pieces of the text, stop sequences and prefill."""
    req = request(stop_sequences=stops)
    calls = [call(0, "a", "f", "{}")] if called else []
    chunks = [delta_chunk(content=piece) for piece in pieces]
    chunks += [delta_chunk(tool_calls=calls)] if calls else []
    unary = completion(
        {"choices": [{"message": {"content": "".join(pieces), "tool_calls": calls}, "finish_reason": "stop"}]}
    )
    streamed = message_of([*chunks, STOP], req, prefill=prefill)
    expected = translate_response(unary, reply_options(req, prefill), id_maker())
    assert streamed | {"usage": {}} == expected | {"usage": {}}


def test_a_prefill_that_the_stream_repeats_is_removed():
    """The response is the continuation only (PROTOCOL 1.4)."""
    chunks = [delta_chunk(content=piece) for piece in ("1, ", "2", ", 3", ", 4")]
    assert texts(message_of([*chunks, STOP], prefill="1, 2,")) == [" 3, 4"]
    assert texts(message_of([*chunks[2:], STOP], prefill="1, 2,")) == [", 3, 4"]


@pytest.mark.parametrize("mode", ["disabled", "between_tools"])
def test_hidden_reasoning_becomes_text_if_the_stream_has_nothing_else(mode):
    """A response with only reasoning was lost."""
    req = request(thinking={"type": mode})
    chunks = [delta_chunk(reasoning="It is "), delta_chunk(reasoning="4.")]
    assert message_of([*chunks, STOP], req)["content"] == [{"type": "text", "text": "It is 4."}]
    called = message_of([*chunks, delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), CALLS], req)
    assert [block["type"] for block in called["content"]] == ["tool_use"]


def test_an_error_beside_a_choice_ends_the_stream_after_its_content():
    """The content of the chunk is sent, then the error, which was overlooked."""
    value = {"choices": [{"index": 0, "delta": {"content": "last"}}], "error": {"message": "Gone", "code": 503}}
    events = translate([chunk(value), delta_chunk(content="never")])
    assert [delta["text"] for delta in deltas(events, "text_delta")] == ["last"]
    assert (types(events)[-1], events[-1]["error"]["message"]) == ("error", "Gone")


def test_an_error_beside_an_empty_choice_is_the_only_event():
    assert types(translate([chunk({"choices": [{"index": 0, "delta": {}}], "error": "boom"})])) == ["error"]


TOOLS = request(
    tools=[{"name": name, "input_schema": {"type": "object"}} for name in ("get_weather", "get", "time", "date")]
)


@pytest.mark.parametrize("call_id", ["a", None], ids=["same id", "no id"])
@pytest.mark.parametrize("names", [("get_", "weather"), ("g", "et_", "weather"), ("get", "_weather")])
def test_a_name_in_pieces_is_one_call(names, call_id):
    """Each piece started a call of its own, or was lost."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", names[0])])]
    chunks += [delta_chunk(tool_calls=[call(0, call_id, name)]) for name in names[1:]]
    chunks += [delta_chunk(tool_calls=[call(0, arguments='{"city": "Oslo"}')]), CALLS]
    (block,) = message_of(chunks, TOOLS)["content"]
    assert (block["name"], block["input"]) == ("get_weather", {"city": "Oslo"})


def test_complete_tool_names_in_sequence_are_separate_calls():
    """Calls without arguments, from a server that sends index 0 and no ids, are distinguished by the tools."""
    chunks = [delta_chunk(tool_calls=[call(0, name=name)]) for name in ("time", "date", "get", "get")]
    assert [block["name"] for block in message_of([*chunks, CALLS], TOOLS)["content"]] == ["time", "date", "get"]


def test_a_name_does_not_continue_after_arguments():
    chunks = [
        delta_chunk(tool_calls=[call(0, name="get_", arguments="{}")]),
        delta_chunk(tool_calls=[call(0, name="weather")]),
    ]
    assert [block["name"] for block in message_of([*chunks, CALLS], TOOLS)["content"]] == ["get_", "weather"]


@pytest.mark.parametrize(
    "counts",
    [
        [{"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}, {"completion_tokens": 7}],
        [USAGE | {"completion_tokens": 7}, {"prompt_tokens": 0, "completion_tokens": 0}],
        [USAGE | {"completion_tokens": 3}, {"completion_tokens": 7.0}],
    ],
    ids=["in parts", "zeros at the end", "growing, as a float"],
)
def test_usage_in_several_chunks_is_merged(counts):
    """No chunk erases the counts of another."""
    usage = message_of([delta_chunk(content="a"), STOP, *(usage_chunk(**part) for part in counts)])["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (6, 4, 7)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["stop", "length", "null"])
JUNK = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FUNCTIONS = st.fixed_dictionaries(
    {}, optional={"name": JUNK | st.just("f"), "arguments": JUNK | st.text('{}",:a1 \\', max_size=8)}
)
TOOL_CALLS = st.fixed_dictionaries(
    {}, optional={"index": JUNK | st.integers(0, 2), "id": JUNK, "function": FUNCTIONS | JUNK}
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": JUNK,
        "reasoning": JUNK,
        "reasoning_details": JUNK,
        "refusal": JUNK,
        "tool_calls": st.lists(TOOL_CALLS | JUNK, max_size=3) | JUNK,
        "function_call": FUNCTIONS | JUNK,
    },
)
CHOICE = st.fixed_dictionaries({}, optional={"index": JUNK, "delta": DELTA | JUNK, "finish_reason": JUNK})
CHUNK = st.fixed_dictionaries(
    {}, optional={"choices": st.lists(CHOICE | JUNK, max_size=2) | JUNK, "usage": JUNK, "error": JUNK}
)


@settings(max_examples=300)
@given(st.lists(CHUNK | JUNK, max_size=8), st.booleans(), st.booleans())
def test_any_chunks_give_a_valid_stream(values, constructed, stops):
    """Events that obey the grammar, or an error event; never an exception."""
    translator = StreamTranslator(reply_options(request(stop_sequences=["a"]) if stops else None), id_maker())
    chunks = [chunk(value) if constructed else value for value in values]
    events = list(itertools.chain.from_iterable(map(translator.feed, chunks))) + translator.finish()
    check_stream(events)
    if events[-1]["type"] != "error":
        assert json.dumps(fold(events))


def cut(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


@settings(max_examples=100)
@given(st.text('{}[]",:a1 \\\n', max_size=30), st.integers(1, 5), st.sampled_from(["tool_calls", "length"]))
def test_arguments_in_any_pieces_give_the_input_of_the_unary_response(text, size, finish):
    """And the official SDK accepts the events."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", "")])]
    chunks += [delta_chunk(tool_calls=[call(0, arguments=piece)]) for piece in cut(text, size)]
    unary = {"choices": [{"message": {"tool_calls": [call(0, "a", "f", text)]}, "finish_reason": finish}]}
    assert message_of([*chunks, delta_chunk(finish)]) == translate_response(
        completion(unary), reply_options(), id_maker()
    )


WORDS = st.text(min_size=1, max_size=12)
OBJECTS = st.dictionaries(WORDS, st.integers() | WORDS | st.lists(WORDS, max_size=2), max_size=3)


@settings(max_examples=100)
@given(WORDS | st.none(), WORDS | st.none(), st.lists(OBJECTS, max_size=3), st.integers(1, 6), st.booleans())
def test_a_stream_in_any_pieces_adds_up_to_the_unary_response(reasoning, text, objects, size, interleaved):
    calls = [call(index, f"id{index}", "f", json.dumps(value)) for index, value in enumerate(objects)]
    starts = [call(entry["index"], entry["id"], "f", "") for entry in calls]
    rests = [
        [call(entry["index"], arguments=piece) for piece in cut(entry["function"]["arguments"], size)]
        for entry in calls
    ]
    if interleaved:
        entries = [*starts, *filter(None, itertools.chain.from_iterable(itertools.zip_longest(*rests)))]
    else:
        entries = [entry for start, rest in zip(starts, rests, strict=True) for entry in (start, *rest)]
    chunks = [delta_chunk(reasoning=piece) for piece in cut(reasoning or "", size)]
    chunks += [delta_chunk(content=piece) for piece in cut(text or "", size)]
    chunks += [delta_chunk(tool_calls=[entry]) for entry in entries]
    message = {"content": text, "reasoning": reasoning, "tool_calls": calls}
    unary = completion({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert message_of([*chunks, STOP]) == translate_response(unary, reply_options(), id_maker())


def test_the_bytes_of_an_error_stream_decode_to_its_events():
    check_bytes(translate([chunk({"error": "boom\u2028"})]))
