"""Answers of llama.cpp's own endpoint, put right; the events are those it sends, shortened."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import BadGatewayError, InvalidRequestError, MessagesError, OverloadedError
from llama_stack_provider_messages.fold import fold
from llama_stack_provider_messages.repair import StreamRepair, repair_message
from support.grammar import MESSAGE_KEYS, USAGE_KEYS, check_stream

USAGE = {"cache_read_input_tokens": 135, "input_tokens": 5, "output_tokens": 0}
START = {
    "type": "message_start",
    "message": {
        "id": "chatcmpl-MBZ5",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "/models/tiny.gguf",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE,
    },
}
STOP = {"type": "message_stop"}


def start(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index):
    return {"type": "content_block_stop", "index": index}


def ending(reason="end_turn", sequence=None, **more):
    said = {"stop_reason": reason, "stop_sequence": sequence}
    return {"type": "message_delta", "delta": said, "usage": {"output_tokens": 43}, **more}


def tool(index, call_id, name="get_weather"):
    return start(index, type="tool_use", id=call_id, name=name)


def arguments(index, *pieces):
    return [delta(index, "input_json_delta", partial_json=piece) for piece in pieces]


THOUGHTS = [start(0, type="thinking", thinking=""), delta(0, "thinking_delta", thinking="Two calls.")]
LATE_SIGNATURE = delta(0, "signature_delta", signature="")
TWO_CALLS = [
    START,
    *THOUGHTS,
    tool(1, "Paris1"),
    *arguments(1, '{"city":', ' "Paris"}'),
    tool(2, "Rome2"),
    *arguments(2, '{"city": "Rome"}'),
    LATE_SIGNATURE,
    *map(stop, range(3)),
    ending("tool_use"),
    STOP,
]
"""What it sends for two calls after a thought: every block ends at the end."""
TWO_CALLS_WHOLE = {
    **START["message"],
    "id": "chatcmpl-RHgk",
    "content": [
        {"type": "thinking", "thinking": "Two calls.", "signature": ""},
        {"type": "tool_use", "id": "Paris1", "name": "get_weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "Rome2", "name": "get_weather", "input": {"city": "Rome"}},
    ],
    "stop_reason": "tool_use",
    "usage": {**USAGE, "output_tokens": 43},
}


def new_ids():
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}{next(numbers):02d}"


def repaired(events, *, checked=True):
    repair = StreamRepair("asked", new_ids(), "req_1")
    out = [mended for event in events for mended in repair.feed(event)] + repair.finish()
    if checked:
        check_stream([event for event in out if event["type"] != "ping"])
    assert repair.finished
    assert repair.feed(START) == repair.finish() == repair.fail(OverloadedError("late")) == []
    return out


def message_of(*events):
    return fold(repaired([START, *events, STOP]))


def test_blocks_that_end_together_come_one_after_the_other():
    """With the signature of the first in its place; the whole answer is the same message."""
    events = repaired(TWO_CALLS)
    folded = fold(events)
    assert folded == repair_message(TWO_CALLS_WHOLE, "asked", new_ids())
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2]
    assert folded["id"] == "msg_01"
    assert folded["model"] == "asked"
    assert folded["usage"].keys() >= USAGE_KEYS
    assert folded.keys() >= MESSAGE_KEYS
    assert (folded["usage"]["input_tokens"], folded["usage"]["output_tokens"]) == (5, 43)


def test_a_call_begins_with_an_input():
    """Clients add to it."""
    begun = next(event for event in repaired(TWO_CALLS) if event.get("content_block", {}).get("type") == "tool_use")
    assert begun["content_block"] == {"type": "tool_use", "input": {}, "id": "Paris1", "name": "get_weather"}


@pytest.mark.parametrize(
    ("called", "reason", "sequence", "right"),
    [
        (False, "end_turn", "5", "stop_sequence"),
        (False, "end_turn", None, "end_turn"),
        (False, None, None, "end_turn"),
        (False, "max_tokens", None, "max_tokens"),
        (True, "end_turn", None, "tool_use"),
        (True, "max_tokens", None, "max_tokens"),
    ],
)
def test_the_stop_reason_fits_the_answer(called, reason, sequence, right):
    """Streamed and whole."""
    blocks = [tool(0, "a"), *arguments(0, "{}")] if called else [start(0, type="text", text="")]
    message = message_of(*blocks, stop(0), ending(reason, sequence))
    assert (message["stop_reason"], message["stop_sequence"]) == (right, sequence)
    content = [{"type": "tool_use", "id": "a", "name": "n", "input": {}}] if called else []
    whole = {**START["message"], "content": content, "stop_reason": reason, "stop_sequence": sequence}
    assert repair_message(whole, "asked", new_ids())["stop_reason"] == right


def test_a_signature_in_time_is_kept_and_a_late_one_is_not_needed():
    """Each thought has one, right before its end."""
    signed = [*THOUGHTS, delta(0, "signature_delta", signature="abc"), stop(0), ending()]
    assert message_of(*signed)["content"][0]["signature"] == "abc"
    late = [*THOUGHTS, start(1, type="text", text=""), delta(0, "signature_delta", signature="abc"), ending()]
    assert message_of(*late)["content"][0]["signature"] == ""


def test_text_for_a_block_that_has_ended_goes_on_in_a_new_one():
    """In the order in which it came."""
    message = message_of(
        *THOUGHTS,
        start(1, type="text", text=""),
        delta(1, "text_delta", text="a"),
        delta(0, "thinking_delta", thinking="more"),
        delta(1, "text_delta", text="b"),
        ending(),
    )
    assert [block.get("text") or block.get("thinking") for block in message["content"]] == [
        "Two calls.",
        "a",
        "more",
        "b",
    ]


def test_arguments_for_a_call_that_has_ended_are_an_error():
    """Anything else would be a wrong call."""
    events = repaired([START, tool(0, "a"), tool(1, "b"), *arguments(0, "{}"), ending(), STOP])
    assert events[-1]["error"]["type"] == "api_error"
    assert events[-1]["request_id"] == "req_1"


def test_a_delta_of_another_kind_than_its_block_begins_a_block():
    """Its type says what it is."""
    message = message_of(start(0, type="text", text=""), delta(0, "thinking_delta", thinking="hm"), ending())
    assert [block["type"] for block in message["content"]] == ["text", "thinking"]


def test_a_stream_without_beginning_gets_one():
    """The first block tells that there is an answer."""
    message = fold(repaired([start(0, type="text", text=""), delta(0, "text_delta", text="hi"), ending()]))
    assert message["id"] == "msg_01"
    assert message["content"] == [{"type": "text", "text": "hi"}]


def test_a_block_of_another_kind_passes_whole():
    """With all it holds."""
    block = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    message = message_of(start(0, **block), stop(0), ending(context_management={"applied_edits": []}))
    assert message["content"] == [block]
    assert message["context_management"] == {"applied_edits": []}


def test_pings_pass_and_unknown_events_do_not():
    """What has no place in the grammar gets none."""
    events = repaired(
        [START, {"type": "ping"}, {"type": "from_2031"}, start(0), delta(0, "odd"), {"type": 5}, ending()]
    )
    assert [event["type"] for event in events] == ["message_start", "ping", "message_delta", "message_stop"]


@pytest.mark.parametrize("sent", [[], [START], [START, *THOUGHTS], [START, *THOUGHTS, stop(0)]])
def test_a_stream_that_does_not_say_how_it_ended_is_an_error(sent):
    """It broke off."""
    assert repaired(sent)[-1]["error"] == {
        "type": "api_error",
        "message": "The backend ended the stream before its answer was complete",
    }


@pytest.mark.parametrize("form", [{}, {"type": "error"}])
def test_an_error_of_the_upstream_is_one_event_in_the_envelope(form):
    """llama.cpp leaves the outer type out; its code decides which error it is."""
    error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
    events = repaired([START, {**form, "error": error}, ending(), STOP])
    assert [event["type"] for event in events] == ["message_start", "error"]
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "Loading model"}


def test_a_failure_on_the_way_is_the_last_event():
    """Whatever was open."""
    repair = StreamRepair("asked", new_ids(), "req_1")
    events = [*repair.feed(START), *repair.feed(THOUGHTS[0]), *repair.fail(BadGatewayError("gone"))]
    check_stream(events)
    assert events[-1] == BadGatewayError("gone").body("req_1")
    assert not repair.complete


@pytest.mark.parametrize("whole", [None, [], "text", {}, {"content": "text"}, {"content": {}}])
def test_what_is_no_message_is_a_bad_gateway(whole):
    """Not an empty answer."""
    with pytest.raises(BadGatewayError):
        repair_message(whole, "asked", new_ids())


def test_an_error_in_place_of_a_message_is_that_error():
    """With its status."""
    with pytest.raises(InvalidRequestError, match="no such thing"):
        repair_message({"error": {"code": 400, "message": "no such thing"}}, "asked", new_ids())


def test_a_message_that_was_right_stays_as_it_is():
    """Its id, and what llama.cpp does not know."""
    right = repair_message(TWO_CALLS_WHOLE, "asked", new_ids()) | {"id": "msg_right", "container": {"id": "c"}}
    right["content"].append({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})
    assert repair_message(right, "asked", new_ids()) == right


KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
DELTAS = ["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta", "x"]
SCALARS = st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "a", "text", "tool_use", "end_turn"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
BLOCKS = st.fixed_dictionaries({"type": st.sampled_from(["text", "thinking", "tool_use", "odd"]) | JSON})
FIELDS = {
    "index": st.integers(0, 2) | JSON,
    "content_block": BLOCKS | JSON,
    "delta": JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(DELTAS)},
        optional={
            "text": st.text(max_size=3),
            "thinking": st.text(max_size=3),
            "partial_json": st.sampled_from(["{", "}", '"a":', "1"]),
            "signature": st.text(max_size=3) | JSON,
            "citation": st.just({"type": "x"}),
            "stop_reason": st.sampled_from(["end_turn", "tool_use"]),
            "stop_sequence": st.text(max_size=2),
        },
    ),
    "message": JSON,
    "usage": JSON | st.fixed_dictionaries({"output_tokens": st.integers(0, 9)}),
}
EVENTS = JSON | st.fixed_dictionaries({"type": st.sampled_from([*KINDS, "message_stop", "ping", "x"])}, optional=FIELDS)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(EVENTS, max_size=12))
def test_whatever_comes_in_the_grammar_comes_out(events):
    """Or one error, and nothing behind it."""
    repaired([START, *events])


@settings(max_examples=300, derandomize=True, deadline=None)
@given(JSON | st.fixed_dictionaries({"content": st.lists(BLOCKS | JSON, max_size=4)}, optional={"usage": JSON}))
def test_whatever_is_answered_a_message_comes_out_or_an_error(whole):
    """Never another exception."""
    try:
        message = repair_message(whole, "asked", new_ids())
    except MessagesError:
        return
    assert message.keys() >= MESSAGE_KEYS
