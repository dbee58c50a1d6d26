"""Repaired responses of llama.cpp's own endpoint.

The replies in ``tests/data/llama_cpp_messages`` are what xllamacpp 2026.10.11549 sent over the bundled model at
temperature 0, whole and streamed, byte for byte; ``cache_full.sse`` is one of four streams at once on a context of 256
tokens. The other events are made after them, shortened.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import (
    ApiError,
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
    OverloadedError,
)
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.native.repair import StreamRepair, repair_message
from llama_stack_provider_messages.translation.events import StreamGrammarError, fold
from llama_stack_provider_messages.upstream.sse import SSEDecoder
from support.grammar import MESSAGE_KEYS, USAGE_KEYS, check_stream
from support.streams import check_bytes, id_maker

RECORDED = Path(__file__).parents[3] / "data" / "llama_cpp_messages"
OF_THE_GRAMMAR = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "error",
}
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
UNFINISHED = "The backend ended the stream before its answer was complete"
NO_FORM = "The backend did not answer in the form of the Messages API"


def start(index, **block):
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index):
    return {"type": "content_block_stop", "index": index}


def ending(reason="end_turn", sequence=None, *, usage=None, **more):
    said = {"stop_reason": reason, "stop_sequence": sequence}
    return {"type": "message_delta", "delta": said, "usage": usage or {"output_tokens": 43}, **more}


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
"""What it sends for thinking and two calls: all blocks end at the end of the stream."""
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


EMPTY_USAGE = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": None,
    "server_tool_use": None,
    "service_tier": "standard",
    "inference_geo": None,
    "speed": None,
}


def recorded(case):
    """Return the unary response and the events that the engine sent in one case."""
    decoder = SSEDecoder()
    frames = decoder.feed((RECORDED / f"{case}.sse").read_bytes()) + decoder.close()
    return json.loads((RECORDED / f"{case}.json").read_bytes()), [json.loads(frame.data) for frame in frames]


def repaired(events, *, sdk=True):
    """Return the repaired events, after all checks of a stream; with ``sdk`` the official SDK reads them, too."""
    repair = StreamRepair("asked", id_maker(), "req_1")
    out = [sent for event in events for sent in repair.feed(event)] + repair.finish()
    check_stream([event for event in out if event["type"] in OF_THE_GRAMMAR])
    assert repair.finished
    assert repair.complete == (out[-1]["type"] == "message_stop")
    assert repair.feed(START) == repair.finish() == repair.fail(OverloadedError("late")) == []
    if sdk:
        check_bytes(out)
    return out


def message_of(*events):
    return fold(repaired([START, *events, STOP]))


def without_varying_fields(message):
    """Return a message without ids and counts of the cache, which differ between two equal responses."""
    usage = dict(message["usage"])
    prompt = usage.pop("input_tokens") + usage.pop("cache_read_input_tokens")
    content = [{name: value for name, value in block.items() if name != "id"} for block in message["content"]]
    return {**message, "id": "", "content": content, "usage": usage, "prompt": prompt}


CASES = {
    "text": (["text"], "end_turn"),
    "thinking_and_text": (["thinking", "text"], "end_turn"),
    "one_call": (["tool_use"], "tool_use"),
    "two_calls": (["thinking", "tool_use", "tool_use"], "tool_use"),
    "thinking_text_and_call": (["thinking", "text", "tool_use"], "tool_use"),
    "stop_sequence": (["text"], "stop_sequence"),
    "max_tokens": (["text"], "max_tokens"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_repaired_stream_folds_into_the_repaired_message(case):
    """The official SDK reads the same message from both."""
    whole, events = recorded(case)
    message = repair_message(whole, "asked", id_maker())
    assert without_varying_fields(fold(repaired(events))) == without_varying_fields(message)
    assert ([block["type"] for block in message["content"]], message["stop_reason"]) == CASES[case]
    assert message["id"] == "msg_01"
    assert message.keys() >= MESSAGE_KEYS
    assert message["usage"].keys() >= USAGE_KEYS


@pytest.mark.parametrize("case", CASES)
def test_ids_of_calls_are_not_changed(case):
    """A client sends them back."""
    _, events = recorded(case)
    begun = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    made = fold(repaired(events, sdk=False))["content"]
    assert [block.get("id") for block in made] == [block.get("id") for block in begun]


@pytest.mark.parametrize("case", [case for case in CASES if len(CASES[case][0]) > 1])
def test_the_recorded_streams_are_invalid_without_repair(case):
    """Otherwise the repair would not be needed."""
    with pytest.raises(StreamGrammarError):
        fold(recorded(case)[1])


@pytest.mark.parametrize("limit", ["max_tokens", "stop_sequence"])
def test_a_truncated_call_does_not_end_with_tool_use(limit):
    """Unary, the engine sends an empty input, and with a stop sequence also ``tool_use``."""
    whole, events = recorded(f"call_cut_by_{limit}")
    message = fold(repaired(events, sdk=False))
    assert message["stop_reason"] == repair_message(whole, "asked", id_maker())["stop_reason"] == limit
    assert message["content"][0]["input"].keys() == {"INVALID_JSON"}


@pytest.mark.parametrize(
    "block", [{"type": "text", "text": ""}, {"type": "tool_use", "id": "t", "name": "f", "input": {}}]
)
def test_an_empty_block_does_not_count_as_content(block):
    """So the error stays an error; clients shorten their history at this message."""
    too_long = "request (9 tokens) exceeds the available context size (8 tokens), try increasing it"
    events = [
        {"type": "message_start", "message": {}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"code": 400, "message": too_long, "type": "exceed_context_size_error"},
    ]
    last = repaired(events, sdk=False)[-1]
    assert last["type"] == "error"
    assert last["error"]["message"].startswith("prompt is too long")


def test_a_response_that_fills_the_context_ends_with_its_stop_reason():
    """The engine sends an error: code, message and type only, named an error by its ``event:`` line."""
    decoder = SSEDecoder()
    frames = decoder.feed((RECORDED / "cache_full.sse").read_bytes())
    assert frames[-1].event == "error"
    last = json.loads(frames[-1].data)
    assert last == {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}
    events = repaired([json.loads(frame.data) for frame in frames], sdk=False)
    check_stream(events)
    message = fold(events)
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert message["content"]


def test_a_prompt_that_fills_the_context_is_an_error():
    """There is no content yet, so the client can shorten the prompt; other errors stay errors at any time."""
    error = {"type": "error", "error": {"code": 500, "message": "Context size has been exceeded."}}
    assert repaired([START, error], sdk=False)[-1]["error"]["message"] == "prompt is too long"
    error["error"]["message"] = "broken"
    assert repaired([START, start(0, type="text", text=""), error], sdk=False)[-1]["type"] == "error"


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        ("no_messages", ApiError, "'messages' is required"),
        ("overflow", InvalidRequestError, "prompt is too long: 6011 tokens > 4096 maximum"),
    ],
)
def test_an_error_body_with_status_200_is_an_error_of_the_api(case, error, message):
    """In place of a message."""
    with pytest.raises(error) as caught:
        repair_message(json.loads((RECORDED / f"{case}.json").read_bytes()), "asked", id_maker())
    assert caught.value.message == message


def test_overlapping_blocks_become_sequential():
    """The signature of the first is before its end; the message is the same as unary."""
    events = repaired(TWO_CALLS)
    folded = fold(events)
    assert folded == repair_message(TWO_CALLS_WHOLE, "asked", id_maker())
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


@pytest.mark.parametrize("kind", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_an_input_in_content_block_start_becomes_a_delta(kind):
    """Clients read the input from deltas only."""
    sent = start(0, type=kind, id="a", name="n", input={"a": [1, "\u2028"]})
    repair = StreamRepair("asked", id_maker())
    _, begun, *rest = [event for one in (START, sent, stop(0)) for event in repair.feed(one)]
    assert begun["content_block"] == {"type": kind, "id": "a", "name": "n", "input": {}}
    assert rest == [delta(0, "input_json_delta", partial_json='{"a":[1,"\\u2028"]}'), stop(0)]


def test_deltas_replace_an_input_in_content_block_start():
    """Otherwise the client would get both."""
    message = message_of(
        start(0, type="tool_use", id="a", name="n", input={"a": 1}), *arguments(0, '{"b": 2}'), ending()
    )
    assert message["content"][0]["input"] == {"b": 2}


def test_blocks_of_server_tools_have_arguments():
    """They are calls, but not for the client."""
    repair = StreamRepair("asked", id_maker())
    sent = [
        START,
        start(0, type="server_tool_use", id="s", name="web_search"),
        *arguments(0, '{"q": 1}'),
        ending(),
        STOP,
    ]
    message = fold([event for one in sent for event in repair.feed(one)])
    assert message["content"] == [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": 1}}]
    assert message["stop_reason"] == "end_turn"


def test_a_call_without_an_id_gets_one():
    """The tool result refers to it."""
    sent = {"type": "tool_use", "id": "", "name": "n"}
    assert message_of(start(0, **sent), ending())["content"][0]["id"] == "toolu_02"
    assert repair_message({"content": [sent]}, "asked", id_maker())["content"][0]["id"] == "toolu_01"


@pytest.mark.parametrize("name", [None, "", 5])
def test_a_call_without_a_tool_name_is_an_error(name):
    """The client could not answer it."""
    call = {"type": "tool_use", "id": "a", "name": name}
    assert repaired([START, start(0, **call), ending(), STOP])[-1]["error"] == {
        "type": "api_error",
        "message": f"{NO_FORM}: a call names no tool",
    }
    with pytest.raises(BadGatewayError, match="names no tool"):
        repair_message({"content": [call]}, "asked", id_maker())


@pytest.mark.parametrize(
    ("sent", "right"),
    [({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1}), (None, {}), ([], {}), ("a", {"INVALID_JSON": "a"})],
)
def test_the_input_of_a_call_is_an_object(sent, right):
    """An input that is a string is parsed."""
    call = {"type": "tool_use", "id": "a", "name": "n", "input": sent}
    assert repair_message({"content": [call]}, "asked", id_maker())["content"][0]["input"] == right


def test_messages_share_no_objects():
    """A change in one does not change the next."""
    call = {"type": "tool_use", "id": "a", "name": "n"}
    repair_message({"content": [call]}, "asked", id_maker())["content"][0]["input"]["x"] = 1
    assert repair_message({"content": [call]}, "asked", id_maker())["content"][0]["input"] == {}


def test_an_input_nested_too_deeply_is_an_error():
    """An error event, not an exception."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    events = repaired([START, start(0, type="tool_use", id="a", name="n", input={"a": deep})], sdk=False)
    assert events[-1]["error"]["message"] == NO_FORM


@pytest.mark.parametrize(
    ("called", "reason", "sequence", "right"),
    [
        (False, "end_turn", "5", "stop_sequence"),
        (False, "end_turn", None, "end_turn"),
        (False, None, None, "end_turn"),
        (False, "max_tokens", None, "max_tokens"),
        (True, "end_turn", None, "tool_use"),
        (True, "max_tokens", None, "max_tokens"),
        (True, "tool_use", "5", "stop_sequence"),
        (False, "pause_turn", None, "pause_turn"),
        (False, "end_turn", "", "end_turn"),
        (False, "end_turn", [], "end_turn"),
        (False, 5, None, "end_turn"),
    ],
)
def test_the_stop_reason_fits_the_content(called, reason, sequence, right):
    """In a stream and unary."""
    blocks = [tool(0, "a"), *arguments(0, "{}")] if called else [start(0, type="text", text="")]
    message = message_of(*blocks, stop(0), ending(reason, sequence))
    assert (message["stop_reason"], message["stop_sequence"]) == (right, sequence or None)
    assert message["stop_details"] is None
    content = [{"type": "tool_use", "id": "a", "name": "n", "input": {}}] if called else []
    whole = {**START["message"], "content": content, "stop_reason": reason, "stop_sequence": sequence}
    assert repair_message(whole, "asked", id_maker())["stop_reason"] == right


@pytest.mark.parametrize("details", [{"type": "refusal", "category": None, "explanation": "no"}, "none", None])
def test_stop_details_are_kept(details):
    """If they are an object."""
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}, "usage": {}}
    right = details if isinstance(details, dict) else None
    assert message_of(end)["stop_details"] == right
    whole = {"content": [], "stop_reason": "refusal", "stop_details": details}
    assert repair_message(whole, "asked", id_maker())["stop_details"] == right


def test_several_message_deltas_become_one():
    """A later one keeps the fields that it lacks; each field of usage is the last one sent."""
    late = {
        "type": "message_delta",
        "delta": {"stop_reason": None},
        "usage": {"output_tokens": 50, "input_tokens": None},
    }
    first = ending("max_tokens", usage={"output_tokens": 43, "cache_creation_input_tokens": 2})
    message = message_of(first, {**late, "context_management": {"applied_edits": []}})
    assert message["stop_reason"] == "max_tokens"
    assert message["context_management"] == {"applied_edits": []}
    counts = {"input_tokens": 5, "output_tokens": 50, "cache_read_input_tokens": 135, "cache_creation_input_tokens": 2}
    assert {name: message["usage"][name] for name in counts} == counts
    assert message["usage"]["cache_creation"] == {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 0}


def test_message_delta_does_not_change_other_fields_of_the_message():
    """Neither in its delta nor beside it; additions of later API versions pass."""
    said = {"stop_reason": "end_turn", "container": {"id": "c"}, "content": 5, "id": "x"}
    message = message_of({"type": "message_delta", "delta": said, "role": "user", "usage": {}, "new": 1})
    assert (message["id"], message["role"], message["content"]) == ("msg_01", "assistant", [])
    assert (message["container"], message["new"]) == ({"id": "c"}, 1)


@pytest.mark.parametrize("odd", ["5", True, 1.5, [], None])
def test_counts_are_numbers(odd):
    """Clients calculate with them; other fields of usage stay."""
    sent = {"input_tokens": odd, "output_tokens": 3, "cache_creation": odd, "speed": 5, "new": [1]}
    usage = repair_message({"content": [], "usage": sent}, "asked", id_maker())["usage"]
    assert usage == {**EMPTY_USAGE, "output_tokens": 3, "new": [1]}
    assert message_of(ending(usage=sent))["usage"] == {**EMPTY_USAGE, **USAGE, "output_tokens": 3, "new": [1]}
    assert repair_message({"content": [], "usage": odd}, "asked", id_maker())["usage"] == EMPTY_USAGE


def test_a_signature_in_time_is_kept_and_a_late_one_dropped():
    """Each thinking block has one, right before its end."""
    signed = [*THOUGHTS, delta(0, "signature_delta", signature="abc"), stop(0), ending()]
    assert message_of(*signed)["content"][0]["signature"] == "abc"
    late = [*THOUGHTS, start(1, type="text", text=""), delta(0, "signature_delta", signature="abc"), ending()]
    assert message_of(*late)["content"][0]["signature"] == ""
    early = [start(0, type="thinking", thinking="", signature="abc"), *THOUGHTS[1:], LATE_SIGNATURE, ending()]
    assert message_of(*early)["content"][0]["signature"] == "abc"
    assert repaired([START, *early])[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}


def test_text_for_a_block_that_has_ended_starts_a_new_one():
    """In the order of arrival."""
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


def test_the_late_end_of_a_block_does_not_end_another():
    """The open block continues, and each block ends once."""
    opened = [start(0, type="text", text=""), start(1, type="text", text="")]
    ends = [stop(0), delta(1, "text_delta", text="b"), stop(1), stop(0), stop(1)]
    message = message_of(*opened, delta(1, "text_delta", text="a"), *ends, ending())
    assert [block["text"] for block in message["content"]] == ["", "ab"]


@pytest.mark.parametrize(
    "sent",
    [
        [tool(0, "a"), tool(1, "b"), *arguments(0, "{}")],
        [tool(0, "a"), stop(0), *arguments(0, "{}")],
        [start(0, type="text", text=""), *arguments(0, "{}")],
        arguments(0, "{}"),
        [tool(0, "a"), *arguments(0, {"a": 1})],
    ],
)
def test_arguments_without_an_open_call_are_an_error(sent):
    """In another block they would make a wrong call."""
    events = repaired([START, *sent, ending(), STOP])
    assert events[-1]["error"] == {
        "type": "api_error",
        "message": f"{NO_FORM}: arguments came for a call that was not open",
    }
    assert events[-1]["request_id"] == "req_1"


def test_empty_deltas_start_no_block():
    """A client would send an empty block back, which the API rejects."""
    late = [delta(0, "text_delta", text=""), *arguments(1, ""), delta(0, "text_delta", text=None)]
    message = message_of(start(0, type="text", text=""), tool(1, "a"), start(2, type="text", text=""), *late, ending())
    assert [block["type"] for block in message["content"]] == ["text", "tool_use", "text"]


def test_a_citation_stays_with_its_text():
    """Without its text it is dropped."""
    cited = {"type": "char_location", "cited_text": "a", "document_index": 0, "document_title": None}
    place = {**cited, "start_char_index": 0, "end_char_index": 1, "file_id": None}
    sent = [
        start(0, type="text", text=""),
        delta(0, "text_delta", text="a"),
        delta(0, "citations_delta", citation=place),
        delta(0, "citations_delta", citation="b"),
        start(1, type="text", text=""),
        delta(0, "citations_delta", citation=place),
    ]
    assert [block.get("citations") for block in message_of(*sent, ending())["content"]] == [[place], None]


def test_a_delta_of_another_type_than_its_block_starts_a_block():
    """The type of the delta decides."""
    message = message_of(start(0, type="text", text=""), delta(0, "thinking_delta", thinking="hm"), ending())
    assert [block["type"] for block in message["content"]] == ["text", "thinking"]


def test_a_stream_without_message_start_gets_one():
    """The first block starts the message; usage that arrives later counts."""
    block = [start(0, type="text", text=""), delta(0, "text_delta", text="hi")]
    message = fold(repaired([*block, START, ending(), STOP]))
    assert message["id"] == "msg_01"
    assert message["content"] == [{"type": "text", "text": "hi"}]
    assert message["usage"]["input_tokens"] == 5


def test_a_second_message_start_is_dropped():
    """A stream has one message."""
    again = {"type": "message_start", "message": {"id": "msg_other", "usage": {"input_tokens": 99}}}
    message = message_of(start(0, type="text", text="a"), again, delta(0, "text_delta", text="b"), ending())
    assert (message["id"], message["usage"]["input_tokens"]) == ("msg_01", 5)
    assert message["content"] == [{"type": "text", "text": "ab"}]


def test_text_fields_of_a_block_are_strings():
    """Clients append to them."""
    odd = [{"type": "text", "text": 5}, {"type": "thinking", "thinking": None, "signature": {}}]
    right = [{"type": "text", "text": ""}, {"type": "thinking", "thinking": "", "signature": ""}]
    assert message_of(*(start(index, **block) for index, block in enumerate(odd)), ending())["content"] == right
    assert repair_message({"content": [*odd, 5, {}]}, "asked", id_maker())["content"] == right


def test_a_block_of_unknown_type_passes_unchanged():
    """With all its fields."""
    block = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    message = message_of(start(0, **block), stop(0), ending(context_management={"applied_edits": []}))
    assert message["content"] == [block]
    assert message["context_management"] == {"applied_edits": []}


def test_unknown_events_pass_after_message_start_and_pings_always():
    """Clients may know events of a later API version; a type that is not valid in an ``event:`` line is dropped."""
    new = {"type": "from_2031", "index": 7, "error": None}
    odd = [{"type": "a\ndata: b"}, {"type": "\xe9"}, {"type": ""}, {"type": 5}, {}]
    sent = [
        new,
        {"type": "ping"},
        START,
        new,
        start(0),
        delta(0, "odd"),
        *odd,
        ending(),
        new,
        STOP,
        new,
        {"type": "ping"},
    ]
    events = repaired(sent, sdk=False)
    kinds = ["ping", "message_start", "from_2031", "from_2031", "message_delta", "message_stop"]
    assert [event["type"] for event in events] == kinds
    assert events[2] == new


ONLY_COUNTED = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 3}}


@pytest.mark.parametrize(
    "sent",
    [[], [START], [START, *THOUGHTS], [START, *THOUGHTS, stop(0)], [START, ONLY_COUNTED], [START, *THOUGHTS, STOP]],
)
def test_a_stream_without_a_stop_reason_is_an_error(sent):
    """It is incomplete."""
    assert repaired(sent)[-1]["error"] == {"type": "api_error", "message": UNFINISHED}


@pytest.mark.parametrize("end", [[ending()], [ONLY_COUNTED, STOP]])
def test_a_stream_with_a_stop_reason_or_message_stop_is_complete(end):
    """Whatever else is missing."""
    assert fold(repaired([START, *THOUGHTS, *end]))["stop_reason"] == "end_turn"


def test_usage_is_set_when_the_message_is_complete():
    """The metrics read it then."""
    repair = StreamRepair("asked", id_maker())
    for event in TWO_CALLS[:-1]:
        repair.feed(event)
        assert (repair.usage, repair.complete) == ({}, False)
    repair.feed(STOP)
    assert (repair.usage["output_tokens"], repair.complete) == (43, True)


@pytest.mark.parametrize("event", [None, [], "text", 5])
def test_an_event_that_is_not_an_object_is_an_error(event):
    """Data that cannot be decoded is None."""
    assert repaired([START, event, ending(), STOP])[-1]["error"] == {"type": "api_error", "message": NO_FORM}


LOADING = {"code": 503, "message": "Loading model", "type": "unavailable_error"}


@pytest.mark.parametrize(
    "sent", [{"error": LOADING}, {"type": "error", "error": LOADING}, LOADING, {"type": "error", **LOADING}]
)
def test_an_error_of_the_upstream_is_one_error_event(sent):
    """llama.cpp leaves out the outer type, or the whole envelope; its code decides which error it is."""
    events = repaired([START, sent, ending(), STOP])
    assert [event["type"] for event in events] == ["message_start", "error"]
    assert events[-1]["error"] == {"type": "overloaded_error", "message": "Loading model"}


def test_an_error_without_a_message_gets_ours():
    """With a status, because the upstream has sent no text."""
    assert repaired([{"type": "error"}])[-1]["error"] == {"type": "api_error", "message": "The backend answered 500"}


def test_a_connection_failure_is_the_last_event():
    """Whatever block is open."""
    repair = StreamRepair("asked", id_maker(), "req_1")
    events = [*repair.feed(START), *repair.feed(THOUGHTS[0]), *repair.fail(BadGatewayError("gone"))]
    check_stream(events)
    assert events[-1] == BadGatewayError("gone").body("req_1")
    assert not repair.complete


@pytest.mark.parametrize("whole", [None, [], "text", {}, {"content": "text"}, {"content": {}}])
def test_a_body_that_is_not_a_message_is_a_bad_gateway(whole):
    """It does not become an empty message."""
    with pytest.raises(BadGatewayError):
        repair_message(whole, "asked", id_maker())


def test_an_error_in_place_of_a_message_is_that_error():
    """With its status."""
    with pytest.raises(InvalidRequestError, match="no such thing"):
        repair_message({"error": {"code": 400, "message": "no such thing"}}, "asked", id_maker())
    with pytest.raises(OverloadedError, match="Loading model"):
        repair_message(LOADING, "asked", id_maker())


def test_a_valid_message_is_not_changed():
    """With its id, and fields that llama.cpp does not know."""
    right = repair_message(TWO_CALLS_WHOLE, "asked", id_maker()) | {"id": "msg_right", "container": {"id": "c"}}
    right["content"][:0] = [
        {"type": "text", "text": "a", "citations": None},
        {"type": "redacted_thinking", "data": "x"},
    ]
    right["content"].append({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})
    assert repair_message(right, "asked", id_maker()) == right


KINDS = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
DELTAS = ["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta", "x"]
SCALARS = st.sampled_from([None, True, -1, 0, 1, 2.5, "", "a", "text", "tool_use", "end_turn", "\ud800"])
NAMES = st.sampled_from(["", "a", "type", "text", "code", "message", "error", "input", "stop_reason", "output_tokens"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=4
)
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "tool_use", "tool_use", "odd"]) | JSON},
    optional={
        "id": JSON,
        "name": st.just("n") | JSON,
        "input": JSON,
        "text": JSON,
        "thinking": JSON,
        "signature": JSON,
    },
)
FIELDS = {
    "index": st.integers(0, 2) | JSON,
    "content_block": BLOCKS | JSON,
    "delta": JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(DELTAS)},
        optional={
            "text": st.just("t") | JSON,
            "thinking": st.just("t") | JSON,
            "partial_json": st.sampled_from(["{", "}", '"a":', "1"]) | JSON,
            "signature": st.just("s") | JSON,
            "citation": st.just({"type": "x"}) | JSON,
            "stop_reason": st.sampled_from(["end_turn", "tool_use"]) | JSON,
            "stop_sequence": st.just("5") | JSON,
            "content": JSON,
        },
    ),
    "message": JSON,
    "usage": JSON | st.fixed_dictionaries({"output_tokens": st.integers(0, 9) | JSON}),
    "error": JSON,
}
EVENTS = JSON | st.fixed_dictionaries({"type": st.sampled_from([*KINDS, "message_stop", "ping", "x"])}, optional=FIELDS)
ORDERLY = st.fixed_dictionaries({"type": st.sampled_from(KINDS)}, optional=FIELDS | {"error": st.none()})
"""Events that do not end a stream, so that more than its first events are read."""


@settings(max_examples=400, derandomize=True)
@given(st.lists(EVENTS, max_size=6) | st.lists(ORDERLY, max_size=12).map(lambda events: [*events, ending(), STOP]))
def test_any_events_become_a_valid_stream(events):
    """The result is a valid stream or ends with one error; it can be encoded, and a complete message folds."""
    out = repaired([START, *events], sdk=False)
    assert all(encode_event(event) for event in out)
    if out[-1]["type"] != "error":
        message = fold(out)
        calls = [block for block in message["content"] if block["type"].endswith("tool_use")]
        assert all(isinstance(call["input"], dict) for call in calls)
        assert type(message["usage"]["output_tokens"]) is int


PARTS = st.lists(st.tuples(st.sampled_from(["text", "thinking", "tool_use"]), st.text("ab", max_size=3)), max_size=5)


@settings(max_examples=300, derandomize=True)
@given(st.data(), PARTS)
def test_nothing_is_lost_or_moved_when_blocks_overlap(data, parts):
    """Text and thinking in the order of arrival, each call with its own arguments only."""
    sent, said, calls = [START], [], []
    for index, (kind, letters) in enumerate(parts):
        if kind == "tool_use":
            sent += [tool(index, f"call{index}"), *arguments(index, '{"a": ', json.dumps(letters), "}")]
            calls.append({"type": kind, "id": f"call{index}", "name": "get_weather", "input": {"a": letters}})
        else:
            sent.append(start(index, type=kind, **{kind: ""}))
        open_texts = [number for number, (other, _) in enumerate(parts[: index + 1]) if other != "tool_use"]
        for letter in letters if open_texts else "":
            at = data.draw(st.sampled_from(open_texts))
            sent.append(delta(at, f"{parts[at][0]}_delta", **{parts[at][0]: letter}))
            said.append((parts[at][0], letter))
    sent += [stop(index) for index in data.draw(st.permutations(range(len(parts))))]
    content = fold(repaired([*sent, ending(), STOP], sdk=False))["content"]
    texts = [(block["type"], letter) for block in content for letter in block.get("text", block.get("thinking", ""))]
    assert texts == said
    assert [block for block in content if block["type"] == "tool_use"] == calls


@settings(max_examples=300, derandomize=True)
@given(JSON | st.fixed_dictionaries({"content": st.lists(BLOCKS | JSON, max_size=4)}, optional={"usage": JSON}))
def test_any_body_becomes_a_message_or_an_error(whole):
    """No other exception is raised."""
    try:
        message = repair_message(whole, "asked", id_maker())
    except MessagesError:
        return
    assert message.keys() >= MESSAGE_KEYS
    assert message["usage"].keys() >= USAGE_KEYS
