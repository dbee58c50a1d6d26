"""Chunks -> events: what backends do wrong, one case each."""

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
    form,
    id_maker,
    lean,
    message_of,
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


def test_each_delta_leaves_with_its_chunk():
    """Nothing is held back: an event is out as soon as its chunk is in."""
    translator = StreamTranslator(form(), id_maker())
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


def test_reasoning_under_both_names_counts_once():
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


def test_reasoning_and_text_in_one_chunk_lose_neither():
    message = message_of(
        [delta_chunk(reasoning="hm"), delta_chunk(reasoning="!", content="ok"), delta_chunk(content="."), STOP]
    )
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert texts(message) == ["ok."]


def test_reasoning_after_text_in_one_chunk_is_seen():
    """The fast path for text must not swallow other fields of the chunk."""
    chunks = [delta_chunk(content="a"), delta_chunk(content="b", reasoning="hm"), STOP]
    assert [block["type"] for block in message_of(chunks)["content"]] == ["text", "thinking", "text"]


def test_omitted_thinking_sends_only_the_signature():
    asked = request(thinking={"type": "adaptive", "display": "omitted"})
    events = translate([delta_chunk(reasoning="secret"), delta_chunk(content="x"), STOP], asked, sign=lambda _: "sig")
    assert deltas(events, "thinking_delta") == []
    assert fold(events)["content"][0] == {"type": "thinking", "thinking": "", "signature": "sig"}


@pytest.mark.parametrize("mode", ["disabled", "between_tools"])
def test_switched_off_thinking_is_not_shown(mode):
    message = message_of(
        [delta_chunk(reasoning="hm"), delta_chunk(content="x"), STOP], request(thinking={"type": mode})
    )
    assert [block["type"] for block in message["content"]] == ["text"]


def test_notes_between_tools_are_shown_when_there_are_tools():
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    asked = request(thinking={"type": "between_tools"}, tools=tools)
    assert message_of([delta_chunk(reasoning="hm"), STOP], asked)["content"][0]["type"] == "thinking"


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
    translator = StreamTranslator(form(), id_maker())
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


def test_calls_without_index_are_told_apart_by_id():
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


def test_a_late_name_holds_the_start():
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", arguments='{"city": "Paris"')]),
        delta_chunk(tool_calls=[call(0, name="weather", arguments="}")]),
        CALLS,
    ]
    assert message_of(chunks)["content"] == [WEATHER | {"id": "a", "input": {"city": "Paris"}}]


def test_a_late_id_holds_the_start_until_arguments_flow():
    chunks = [
        delta_chunk(tool_calls=[call(0, name="weather", arguments='{"city":')]),
        delta_chunk(tool_calls=[call(0, "a", arguments='"Paris"}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("a", {"city": "Paris"})]


def test_an_id_that_comes_too_late_is_ignored():
    chunks = [
        delta_chunk(tool_calls=[call(0, name="weather", arguments='{"city": "Paris", ')]),
        delta_chunk(tool_calls=[call(0, "a", arguments='"days": 2}')]),
        CALLS,
    ]
    assert inputs(message_of(chunks)) == [("toolu_02", {"city": "Paris", "days": 2})]


@pytest.mark.parametrize("odd", ["call.1:weird", "functions.f:0", "a b"])
def test_ids_the_api_does_not_allow_are_wrapped(odd):
    """Kimi wants its own form back: llxprt-code 713, exo 2281."""
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
    whole = [call(index, call_id, "weather", f'{{"city": "{city}"}}') for city in ("Oslo", "Rome")]
    pieces = []
    for city in ("Oslo", "Rome"):
        pieces.append(call(index, call_id, "weather", ""))
        pieces += [call(index, arguments=piece) for piece in ('{"city"', f': "{city}"', "}")]
    for calls in (whole, pieces):
        message = message_of(deltas_of(*calls))
        assert [found for _, found in inputs(message)] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert len({block["id"] for block in message["content"]}) == 2


@pytest.mark.parametrize("call_id", ["a", None], ids=["same id", "no id"])
def test_a_complete_call_whose_name_is_repeated_is_one_call(call_id):
    again = [call(0, call_id, "weather", ""), call(0, call_id, "weather"), call(0, arguments=" ")]
    message = message_of(deltas_of(call(0, "a", "weather", '{"city": "Oslo"}'), *again))
    assert inputs(message) == [("a", {"city": "Oslo"})]


def test_a_complete_call_that_is_repeated_whole_is_one_call():
    """With its id and its arguments: a client must not run it twice."""
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
def test_a_repeated_call_is_told_from_another_one_by_its_decoded_input(case, cut):
    """The stream adds up to the whole answer that has each call once."""
    texts, expected = REPEATED[case]
    message = message_of(deltas_of(*cut(texts)))
    calls = [call(index, "a", "weather", json.dumps(one)) for index, one in enumerate(expected)]
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"}
    whole = translate_response(completion({"choices": [choice]}), form(), id_maker())
    assert message["content"] == whole["content"]
    assert message["stop_reason"] == whole["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["{}", OSLO], [{}, {}, {"city": "Oslo"}]),
        (['{"a": 1}', '{"a": 1, "b": 2}'], [{"a": 1}, {}]),
        ([OSLO, OSLO], [{"city": "Oslo"}, {}]),
    ],
)
def test_a_call_that_is_closed_keeps_its_input(texts, expected):
    """Its events have been sent; a repetition with more is left out, unless nothing but an empty object was sent."""
    first, *others = one_delta_each(texts)
    message = message_of(deltas_of(first, call(1, "b", "time", "{}"), *others))
    assert [found for _, found in inputs(message)] == expected


def test_what_comes_while_a_repetition_is_undecided_waits():
    """The first call would be closed otherwise."""
    half, rest = OSLO[:5], OSLO[5:]
    parts = [call(0, "a", "weather", "{}"), call(0, "a", "weather", half), call(1, "b", "time", "{}")]
    message = message_of(deltas_of(*parts, call(0, arguments=rest)))
    assert inputs(message) == [("a", {"city": "Oslo"}), ("b", {})]


@pytest.mark.parametrize(("first", "expected"), [("{}", [{"a": 1}]), (OSLO, [{"city": "Oslo"}, {"a": 1}])])
def test_a_repetition_that_is_cut_off_keeps_its_complete_members(first, expected):
    parts = [call(0, "a", "weather", first), call(0, "a", "weather", '{"a": 1, "b": "x')]
    message = message_of([*(delta_chunk(tool_calls=[one]) for one in parts), delta_chunk("length")])
    assert [found for _, found in inputs(message)] == expected
    assert message["stop_reason"] == "max_tokens"


def test_a_repetition_is_an_incomplete_call_if_the_stream_ends_inside_it():
    events = translate([delta_chunk(tool_calls=[one]) for one in one_delta_each([OSLO, '{"city": "Ro'])])
    assert "inside the arguments of a tool call" in events[-1]["error"]["message"]


def test_the_input_that_repetitions_are_compared_with_is_decoded_once(monkeypatch):
    """Else many short repetitions of a long call would take quadratic time."""
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


def test_a_name_that_comes_after_a_new_id_is_that_of_the_new_call():
    """The repeated name of the call before it is not taken for it."""
    calls = [call(0, "a", "weather", "{}"), call(0, "a", "weather"), call(0, "b"), call(0, "b", "time", "{}")]
    assert [block["name"] for block in message_of(deltas_of(*calls))["content"]] == ["weather", "time"]


def test_arguments_as_objects_are_compared_as_well():
    calls = [call(0, "a", "weather", {"city": city}) for city in ("Oslo", "Oslo", "Rome")]
    assert [found for _, found in inputs(message_of(deltas_of(*calls)))] == [{"city": "Oslo"}, {"city": "Rome"}]


def test_a_call_without_a_name_is_an_error_not_a_nameless_block():
    events = translate([delta_chunk(tool_calls=[call(0, "a", arguments="{}")]), CALLS])
    assert events[-1]["error"]["message"] == "The backend sent a tool call without the name of the tool"


def test_padding_calls_are_no_calls():
    chunks = [delta_chunk(content="x"), delta_chunk(tool_calls=[call(0, "", "", "")]), STOP]
    message = message_of(chunks)
    assert (texts(message), inputs(message), message["stop_reason"]) == (["x"], [], "end_turn")


def test_payload_of_the_first_chunk_counts():
    """Litellm 30014: content beside the role was lost."""
    assert texts(message_of([delta_chunk(role="assistant", content="first"), STOP])) == ["first"]


def test_arguments_of_the_first_chunk_count():
    """Litellm 25321, 25561, 29491: arguments beside name and id were lost, every input was {}."""
    assert inputs(message_of([delta_chunk("tool_calls", tool_calls=[call(0, "a", "f", '{"x": 1}')])])) == [
        ("a", {"x": 1})
    ]


def test_one_chunk_may_hold_everything():
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
    """Agentgateway 3002, APISIX 13599: empty and broken arguments cost the conversation or the whole answer."""
    assert inputs(message_of([delta_chunk(tool_calls=[call(0, "a", "f", arguments)]), CALLS])) == [("a", expected)]


def test_text_before_broken_arguments_survives():
    """APISIX 13599: a decoding error lost the whole answer."""
    chunks = [delta_chunk(content="Looking"), delta_chunk(tool_calls=[call(0, "a", "f", "[oops")]), CALLS]
    message = message_of(chunks)
    assert texts(message) == ["Looking"]
    assert inputs(message) == [("a", {"INVALID_JSON": "[oops"})]


def test_members_flow_while_the_model_writes():
    translator = StreamTranslator(form(), id_maker())
    translator.feed(delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1')]))
    events = translator.feed(delta_chunk(tool_calls=[call(0, arguments=', "y"')]))
    assert events[0]["delta"] == {"type": "input_json_delta", "partial_json": '{"x": 1'}


@pytest.mark.parametrize("empty", [{"tool_calls": []}, {"content": ""}, {"content": None}, {"role": "assistant"}, {}])
def test_empty_deltas_are_no_ops(empty):
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


def test_legacy_function_call_is_a_call():
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


def test_length_inside_arguments_keeps_what_is_complete():
    arguments = '{"path": "/tmp", "content": "half a'
    events = translate([delta_chunk(tool_calls=[call(0, "a", "f", arguments)]), delta_chunk("length")])
    assert "".join(delta["partial_json"] for delta in deltas(events, "input_json_delta")) == '{"path": "/tmp"'
    message = fold(events)
    assert (message["stop_reason"], inputs(message)) == ("max_tokens", [("a", {"path": "/tmp"})])


def test_length_behind_a_complete_call_is_tool_use():
    message = message_of([delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1}')]), delta_chunk("length")])
    assert message["stop_reason"] == "tool_use"


def test_a_filter_inside_a_call_is_a_refusal():
    """Half a call the filter stopped is not a call to run."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1, "y": "ha')]), delta_chunk("content_filter")]
    message = message_of(chunks)
    assert (message["stop_reason"], inputs(message)) == ("refusal", [("a", {"x": 1})])


ENDED = [delta_chunk(content="x"), delta_chunk("stop", choice={"stop_reason": "END"})]


def test_the_matched_stop_string_is_named():
    message = message_of(ENDED, request(stop_sequences=["END"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_stop_string_nobody_asked_for_ends_a_turn():
    """SGLang names the end of a turn in the model's template; agents take only ``end_turn`` for one."""
    message = message_of(ENDED, request(stop_sequences=["other"]))
    assert (message["stop_reason"], message["stop_sequence"]) == ("end_turn", None)


@pytest.mark.parametrize("reason", ["null", ""])
def test_a_finish_reason_that_says_nothing_is_none(reason):
    """APISIX tests 14 and 16: the string "null" ended the stream."""
    message = message_of([delta_chunk(reason, content="a"), delta_chunk(content="b"), STOP])
    assert texts(message) == ["ab"]


def test_two_finish_chunks_end_one_message():
    """APISIX test 18: two message_stops."""
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
def test_usage_counts_wherever_it_comes(chunks):
    """any-llm 1180, sglang 20678, envoyproxy 2350: streamed usage stayed 0."""
    usage = message_of(chunks)["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (6, 4, 3)


def test_usage_that_never_comes_is_estimated_not_absent():
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


def test_an_error_before_the_first_word_is_the_only_event():
    assert types(translate([chunk({"error": "boom"})])) == ["error"]


def test_an_error_beside_a_finish_reason_is_an_error():
    """OpenRouter's form."""
    value = {
        "error": {"message": "Gone", "code": 502},
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
    }
    assert translate([delta_chunk(content="a"), chunk(value)])[-1]["error"]["message"] == "Gone"


def test_an_aborted_answer_is_an_error():
    assert "abort" in translate([delta_chunk(content="a"), delta_chunk("abort")])[-1]["error"]["message"]


def test_failure_from_outside_ends_the_stream():
    translator = StreamTranslator(form(), id_maker(), request_id="req_1")
    events = translator.feed(delta_chunk(content="a")) + translator.fail(OverloadedError("busy"))
    check_stream(events)
    assert events[-1] == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "busy"},
        "request_id": "req_1",
    }
    assert translator.fail(OverloadedError("busy")) == translator.finish() == []


FULL = {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}}


def test_an_answer_that_fills_the_context_ends_there():
    """llama.cpp breaks it off with an error; as an overflow of the prompt, clients would compact for nothing."""
    message = message_of([delta_chunk(content="a"), chunk(FULL)])
    assert (message["stop_reason"], texts(message)) == ("model_context_window_exceeded", ["a"])


def test_a_call_that_the_full_context_cuts_is_none():
    """It ends like one that the output limit has cut."""
    cut = [delta_chunk(tool_calls=[call(0, "call_1", "weather", '{"city": "B')])]
    full = message_of([*cut, chunk(FULL)])
    limited = message_of([*cut, delta_chunk("length")])
    assert full["stop_reason"] == "model_context_window_exceeded"
    assert limited["stop_reason"] == "max_tokens"
    assert [block["type"] for block in full["content"]] == [block["type"] for block in limited["content"]]


def test_a_prompt_that_fills_the_context_is_an_error():
    """Nothing has been said yet: shortening the prompt is what helps."""
    assert translate([chunk(FULL)])[-1]["error"]["message"] == "prompt is too long"


def test_a_stream_without_a_word_is_an_error():
    """APISIX 13583, new-api 4697: the client hung, or got a made-up end_turn."""
    for chunks in ([], [delta_chunk(role="assistant")], [usage_chunk(prompt_tokens=1)]):
        assert translate(chunks)[-1]["error"]["type"] == "api_error"


def test_an_empty_answer_with_a_finish_reason_is_an_answer():
    message = message_of([delta_chunk(role="assistant", content=""), STOP])
    assert (message["content"], message["stop_reason"]) == ([], "end_turn")


def test_content_without_a_finish_reason_ends_the_turn():
    assert message_of([delta_chunk(content="a")])["stop_reason"] == "end_turn"


def test_a_complete_call_without_a_finish_reason_is_tool_use():
    assert message_of([delta_chunk(tool_calls=[call(0, "a", "f", "{}")])])["stop_reason"] == "tool_use"


def test_half_a_call_without_a_finish_reason_is_an_error():
    """Nobody knows what the rest would have been; a client must not run half a command."""
    events = translate([delta_chunk(tool_calls=[call(0, "a", "f", '{"cmd": "rm -rf /tmp')])])
    assert "arguments" in events[-1]["error"]["message"]


def test_line_separators_stay_inside_the_text():
    """U+2028 and its kin end lines for some clients."""
    text = "a\u2028b\u2029c\u0085d\r\n"
    assert texts(message_of([delta_chunk(content=text), STOP])) == [text]


def test_other_choices_and_extras_are_ignored():
    value = {
        "choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}, "logprobs": {}}]
    }
    second = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
    assert texts(message_of([chunk(value), chunk(second), STOP])) == ["yes"]


def test_records_of_any_class_are_read_by_name():
    """A leaner client of our own may feed the translator later."""
    chunks = [{"choices": [{"delta": {"reasoning": "hm"}}]}, {"choices": [{"delta": {"content": "a"}}]}]
    chunks += [{"choices": [{"delta": {"content": "b"}}]}, {"choices": [{"finish_reason": "stop"}]}]
    assert message_of(map(lean, chunks)) == message_of(chunks)


def test_extras_appear_only_when_asked_for():
    asked = request(diagnostics={"previous_message_id": None}, context_management={"edits": []})
    events = translate([delta_chunk(content="a"), STOP], asked)
    assert events[0]["message"]["diagnostics"] is None
    assert events[-2]["context_management"] == {"applied_edits": []}
    assert "diagnostics" not in translate([delta_chunk(content="a"), STOP])[0]["message"]


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
@pytest.mark.parametrize("text", ['{"file": "/x", "limit": 1', '{"edits": [{"old": "a"}, {"old": "c"'])
def test_arguments_cut_inside_a_value_are_not_completed_in_a_stream(text, finish):
    """A client would run what was guessed."""
    (_, value), *_ = inputs(message_of([delta_chunk(tool_calls=[call(0, "a", "f", text)]), delta_chunk(finish)]))
    assert "INVALID_JSON" in value
    assert "limit" not in value
    assert "edits" not in value


def test_any_number_of_false_starts_ends_in_an_object():
    """Six hundred empty objects exhausted the stack."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", "")])]
    chunks += [delta_chunk(tool_calls=[call(0, arguments="{}")]) for _ in range(600)]
    assert inputs(message_of([*chunks, CALLS])) == [("a", {})]


STOPS = request(stop_sequences=["END", "\n\nHuman:"])


def test_a_stop_sequence_ends_the_answer():
    """The text stops before it, its name is told, and nothing that comes after is shown."""
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
    """The caller sees that it can let the backend go."""
    translator = StreamTranslator(form(STOPS), id_maker())
    seen = []
    for text in ("a", "b EN", "D"):
        translator.feed(delta_chunk(content=text))
        seen.append(translator.finished)
    assert seen == [False, False, True]
    assert translator.feed(delta_chunk(content="c")) == []
    assert types(translator.finish()) == ["content_block_stop", "message_delta", "message_stop"]


def test_a_stream_that_failed_is_finished():
    translator = StreamTranslator(form(), id_maker())
    translator.feed(chunk({"error": "boom"}))
    assert translator.finished


def test_text_that_only_began_like_a_stop_sequence_is_shown():
    """Before whatever follows it: another block, or the end."""
    chunks = [delta_chunk(content="go EN"), delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), delta_chunk(content="E")]
    message = message_of([*chunks, CALLS], STOPS)
    assert [block["type"] for block in message["content"]] == ["text", "tool_use", "text"]
    assert texts(message) == ["go EN", "E"]
    assert texts(message_of([delta_chunk(content="EN"), delta_chunk(reasoning="hm"), STOP], STOPS)) == ["EN"]


def test_thinking_and_arguments_are_not_searched():
    chunks = [delta_chunk(reasoning="END"), delta_chunk(tool_calls=[call(0, "a", "f", '{"x": "END"}')]), CALLS]
    message = message_of(chunks, STOPS)
    assert (message["stop_reason"], inputs(message)) == ("tool_use", [("a", {"x": "END"})])


def test_calls_before_the_stop_sequence_stay_as_far_as_they_came():
    """Nothing that was sent can be taken back; what has no name was no call yet."""
    chunks = [
        delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1, "y": 2')]),
        delta_chunk(tool_calls=[call(1, "b", arguments='{"x"')]),
        delta_chunk(content="END"),
    ]
    message = message_of(chunks, STOPS)
    assert inputs(message) == [("a", {"x": 1})]
    assert message["stop_reason"] == "stop_sequence"


def test_a_stop_sequence_ends_the_answer_of_a_chunk_without_more_text():
    """What was held as a prefill is searched when a call follows, and the call is behind the stop."""
    chunks = [delta_chunk(content="a END"), delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), CALLS]
    message = message_of(chunks, STOPS, prefill="a END b")
    assert (texts(message), inputs(message), message["stop_sequence"]) == (["a "], [], "END")


def test_output_of_a_stopped_answer_is_counted():
    """Usage comes last, and is lost when the backend is let go: the chunks with words are counted."""
    pieces = [
        delta_chunk(reasoning="hm"),
        delta_chunk(content="a"),
        delta_chunk(content="b"),
        delta_chunk(content="END"),
    ]
    usage = message_of(pieces, STOPS)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (0, 4)


def test_known_usage_of_a_stopped_answer_counts():
    """Some backends report usage with every chunk."""
    usage = message_of([delta_chunk(None, USAGE, content="a END")], STOPS)["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (6, 3)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("ab;", min_size=1, max_size=4), max_size=8),
    st.lists(st.text("ab;", min_size=1, max_size=4), max_size=3),
    st.text("ab;", max_size=4),
    st.booleans(),
)
def test_stop_sequences_and_prefill_cut_streams_and_unary_answers_alike(pieces, stops, prefill, called):
    """Whatever the cut of the text, the stop sequences and the prefill."""
    asked = request(stop_sequences=stops)
    calls = [call(0, "a", "f", "{}")] if called else []
    chunks = [delta_chunk(content=piece) for piece in pieces]
    chunks += [delta_chunk(tool_calls=calls)] if calls else []
    unary = completion(
        {"choices": [{"message": {"content": "".join(pieces), "tool_calls": calls}, "finish_reason": "stop"}]}
    )
    streamed = message_of([*chunks, STOP], asked, prefill=prefill)
    whole = translate_response(unary, form(asked, prefill), id_maker())
    assert streamed | {"usage": {}} == whole | {"usage": {}}


def test_a_prefill_that_the_stream_repeats_is_taken_away():
    """The response is the continuation only (PROTOCOL 1.4)."""
    chunks = [delta_chunk(content=piece) for piece in ("1, ", "2", ", 3", ", 4")]
    assert texts(message_of([*chunks, STOP], prefill="1, 2,")) == [" 3, 4"]
    assert texts(message_of([*chunks[2:], STOP], prefill="1, 2,")) == [", 3, 4"]


@pytest.mark.parametrize("mode", ["disabled", "between_tools"])
def test_hidden_reasoning_that_is_all_there_is_becomes_text(mode):
    """An answer that came only as reasoning was lost."""
    asked = request(thinking={"type": mode})
    chunks = [delta_chunk(reasoning="It is "), delta_chunk(reasoning="4.")]
    assert message_of([*chunks, STOP], asked)["content"] == [{"type": "text", "text": "It is 4."}]
    called = message_of([*chunks, delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), CALLS], asked)
    assert [block["type"] for block in called["content"]] == ["tool_use"]


def test_an_error_beside_a_choice_ends_the_stream_behind_it():
    """What the chunk says is shown, then the error; it was overlooked."""
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
    """Each piece began a call of its own, or was lost."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", names[0])])]
    chunks += [delta_chunk(tool_calls=[call(0, call_id, name)]) for name in names[1:]]
    chunks += [delta_chunk(tool_calls=[call(0, arguments='{"city": "Oslo"}')]), CALLS]
    (block,) = message_of(chunks, TOOLS)["content"]
    assert (block["name"], block["input"]) == ("get_weather", {"city": "Oslo"})


def test_names_of_tools_in_sequence_are_calls_of_their_own():
    """Two calls without arguments, from a server that sends index 0 and no ids, are told apart by the tools."""
    chunks = [delta_chunk(tool_calls=[call(0, name=name)]) for name in ("time", "date", "get", "get")]
    assert [block["name"] for block in message_of([*chunks, CALLS], TOOLS)["content"]] == ["time", "date", "get"]


def test_a_name_does_not_go_on_behind_arguments():
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
    """Each chunk tells what it knows; none wipes what another told."""
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


@settings(max_examples=300, deadline=None)
@given(st.lists(CHUNK | JUNK, max_size=8), st.booleans(), st.booleans())
def test_garbage_makes_a_legal_stream(values, constructed, stops):
    """Whatever comes: events that obey the grammar, or an error event; never another exception."""
    translator = StreamTranslator(form(request(stop_sequences=["a"]) if stops else None), id_maker())
    chunks = [chunk(value) if constructed else value for value in values]
    events = list(itertools.chain.from_iterable(map(translator.feed, chunks))) + translator.finish()
    check_stream(events)
    if events[-1]["type"] != "error":
        assert json.dumps(fold(events))


def cut(text, size):
    return [text[start : start + size] for start in range(0, len(text), size)]


@settings(max_examples=100, deadline=None)
@given(st.text('{}[]",:a1 \\\n', max_size=30), st.integers(1, 5), st.sampled_from(["tool_calls", "length"]))
def test_arguments_in_any_pieces_are_those_of_the_unary_answer(text, size, finish):
    """The cut does not matter, the official SDK reads what comes out, and a unary answer has the same input."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", "")])]
    chunks += [delta_chunk(tool_calls=[call(0, arguments=piece)]) for piece in cut(text, size)]
    unary = {"choices": [{"message": {"tool_calls": [call(0, "a", "f", text)]}, "finish_reason": finish}]}
    assert message_of([*chunks, delta_chunk(finish)]) == translate_response(completion(unary), form(), id_maker())


WORDS = st.text(min_size=1, max_size=12)
OBJECTS = st.dictionaries(WORDS, st.integers() | WORDS | st.lists(WORDS, max_size=2), max_size=3)


@settings(max_examples=100, deadline=None)
@given(WORDS | st.none(), WORDS | st.none(), st.lists(OBJECTS, max_size=3), st.integers(1, 6), st.booleans())
def test_a_stream_in_any_pieces_adds_up_to_the_unary_answer(reasoning, text, objects, size, interleaved):
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
    assert message_of([*chunks, STOP]) == translate_response(unary, form(), id_maker())


def test_bytes_of_an_error_stream_come_back():
    check_bytes(translate([chunk({"error": "boom\u2028"})]))
