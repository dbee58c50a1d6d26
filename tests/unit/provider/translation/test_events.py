"""Folding the events of a stream into a message."""

import pytest

from llama_stack_provider_messages.translation.events import StreamFailedError, StreamGrammarError, fold

START = {
    "type": "message_start",
    "message": {"id": "m", "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}},
}
END = [
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 7, "input_tokens": None},
    },
    {"type": "message_stop"},
]


def block(index, content_block, *deltas):
    return [
        {"type": "content_block_start", "index": index, "content_block": content_block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def content(*deltas, **content_block):
    return fold([START, *block(0, content_block, *deltas), *END])["content"][0]


def test_text_and_citations_accumulate():
    deltas = [{"type": "text_delta", "text": "a"}, {"type": "citations_delta", "citation": {"n": 1}}]
    assert content(*deltas, *deltas, type="text", text="") == {
        "type": "text",
        "text": "aa",
        "citations": [{"n": 1}] * 2,
    }


def test_thinking_keeps_the_last_signature():
    deltas = [{"type": "thinking_delta", "thinking": "a"}, {"type": "signature_delta", "signature": "s"}]
    assert content(*deltas, type="thinking", thinking="", signature="") == {
        "type": "thinking",
        "thinking": "a",
        "signature": "s",
    }


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [(["", '{"a"', ": 1}"], {"a": 1}), ([""], {}), ([], {}), (['{"a": 1'], {"a": 1}), (["[1]"], {"value": [1]})],
)
def test_tool_input_accumulates(pieces, expected):
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    assert content(*deltas, type="tool_use", input={})["input"] == expected


def test_usage_is_merged_and_null_replaces_nothing():
    """Envoyproxy 2292, agentgateway 2977: counts come in either event; a null must not erase one."""
    assert fold([START, *END])["usage"] == {"input_tokens": 3, "output_tokens": 7}


def test_fields_beside_the_delta_reach_the_message():
    delta = END[0] | {"context_management": {"applied_edits": []}}
    assert fold([START, delta, END[1]])["context_management"] == {"applied_edits": []}


def test_additions_of_later_api_versions_are_accepted():
    new = [{"type": "brand_new"}, {"type": "ping"}, *block(0, {"type": "novel"}, {"type": "novel_delta"})]
    assert fold([START, *new, *END])["content"] == [{"type": "novel"}]


def test_folding_does_not_change_the_events():
    events = [START, *block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "a"}), *END]
    assert fold(events) == fold(events)


def test_an_error_event_raises_an_exception_with_the_event():
    event = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    with pytest.raises(StreamFailedError, match="busy") as caught:
        fold([START, event])
    assert caught.value.event == event


OPEN = block(0, {"type": "text", "text": ""})[:1]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [START],
        [START, START, *END],
        END,
        [START, *END, *END],
        [START, *OPEN, *OPEN, *END],
        [START, *OPEN, *END],
        [START, *block(1, {"type": "text"}), *END],
        [START, {"type": "content_block_stop", "index": 0}, *END],
        [START, *OPEN, {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta"}}, *END],
    ],
    ids=[
        "empty",
        "no end",
        "two starts",
        "no start",
        "after the end",
        "two open",
        "never closed",
        "gap",
        "not open",
        "other",
    ],
)
def test_events_out_of_order_are_an_error(events):
    with pytest.raises(StreamGrammarError):
        fold(events)
