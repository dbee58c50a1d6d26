"""How a live answer differs from a tape in shape, and in nothing else."""

import pytest

from messages_tape.core.shape import differences
from messages_tape.format.model import End
from support.tapes import events, exchange, reply, response


def delta(finish=None, **fields):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish}],
    }


def streamed(*values, how="complete", **fields):
    return exchange({}, response(*events(*values), **fields), how=how)


CHAT = streamed(delta(role="assistant"), delta(content="Hello"), delta(content=" there"), delta("stop"), "[DONE]")


def test_other_words_ids_and_numbers_of_chunks_are_no_difference():
    live = streamed(
        {**delta(role="assistant"), "id": "d"},
        *(delta(content=word) for word in ["a", "b", "c", "d"]),
        delta("stop"),
        "[DONE]",
    )
    assert differences(CHAT, live) == []


def test_cuts_of_the_connection_are_no_difference():
    whole = "".join(events(delta(role="assistant"), delta(content="Hi"), delta("stop"), "[DONE]"))
    assert differences(CHAT, exchange({}, response(whole[:30], whole[30:]))) == []


def test_a_field_that_came_or_went_is_named_once():
    """Not with everything inside it."""
    live = streamed(
        delta(role="assistant"), delta(reasoning_content="Hm"), delta(content="Hi"), delta("stop"),
        {"choices": [], "usage": {"total_tokens": 3, "details": {"cached": 0}}}, "[DONE]",
    )  # fmt: skip
    assert differences(CHAT, live) == [
        "choices.*.delta.reasoning_content: text, only live",
        "usage: object, only live",
    ]
    assert differences(live, CHAT) == [
        "choices.*.delta.reasoning_content: text, only on the tape",
        "usage: object, only on the tape",
    ]


def test_values_that_say_what_something_is_count():
    live = streamed(delta(role="assistant"), delta(content="Hi"), delta("length"), "[DONE]")
    assert differences(CHAT, live) == [
        'choices.*.finish_reason: "stop" | null on the tape, "length" | null live',
    ]


def test_a_changed_kind_counts():
    assert differences(exchange({}, reply({"n": 1, "b": True})), exchange({}, reply({"n": "1", "b": None}))) == [
        "n: number on the tape, text live",
        "b: true or false on the tape, null live",
    ]
    assert differences(exchange({}, reply([1])), exchange({}, reply({"a": 1}))) == [
        "body: list on the tape, object live",
        "*: number, only on the tape",
        "a: number, only live",
    ]


def test_what_a_model_makes_up_does_not_count():
    """The fields of a tool's input are the model's choice."""

    def block(given):
        return exchange({}, reply({"content": [{"type": "tool_use", "input": given}]}))

    assert differences(block({"city": "Oslo"}), block({"place": {"name": "Oslo"}})) == []


def test_the_order_of_events_counts_and_pings_do_not():
    start, piece, stop = (
        ("message_start", {"type": "message_start"}),
        ("delta", {"text": "a"}),
        ("message_stop", {"a": 1}),
    )
    assert differences(streamed(start, piece, stop), streamed(start, ("ping", {}), piece, piece, stop)) == []
    assert differences(streamed(start, piece, stop), streamed(start, stop)) == [
        "events: message_start, delta, message_stop on the tape, message_start, message_stop live",
        "delta: object, only on the tape",
    ]


@pytest.mark.parametrize(
    ("live", "difference"),
    [
        (reply({"a": 1}, status=400), "status: 200 on the tape, 400 live"),
        (
            response('{"a": 1}', headers={"content-type": "text/html; x=y"}),
            "content-type: application/json on the tape, text/html live",
        ),
        (response('{"a": 1}', headers={}), "content-type: application/json on the tape, none live"),
        (reply("a long text that is no event"), "body: object on the tape, text live"),
    ],
)  # fmt: skip
def test_the_head_counts(live, difference):
    assert difference in differences(exchange({}, reply({"a": 1})), exchange({}, live))


def test_the_end_counts():
    live = CHAT.model_copy(update={"end": End(how="reset", error="ReadError")})
    assert differences(CHAT, live) == ["end: complete on the tape, reset live"]


def test_no_answer_counts():
    refused, silent = exchange({}, how="reset", error="ConnectError"), exchange({}, how="client_closed")
    assert differences(CHAT, refused) == ["answer: status 200 on the tape, no answer (ConnectError) live"]
    assert differences(silent, refused) == [
        "answer: no answer (client_closed) on the tape, no answer (ConnectError) live"
    ]
    assert differences(refused, refused) == []


def test_where_the_client_left_as_much_is_compared_as_both_have():
    left = streamed(delta(role="assistant"), delta(content="Hi"), how="client_closed")
    assert differences(left, CHAT) == []
    assert differences(left, streamed(delta(role="assistant"))) == []
    assert differences(left, streamed(delta(role="assistant"), delta(refusal="no"), how="client_closed")) == [
        "choices.*.delta.content: text, only on the tape",
        "choices.*.delta.refusal: text, only live",
    ]
