"""Differences from a tape: of a request that is not on it, and of the shape of a live response."""

import json

import pytest

from messages_tape.core.differences import explain, shape_diff
from messages_tape.format.model import Body, End, Ignore
from support.tapes import events, exchange, reply, request, response, tape


def chat(text, **extra):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **extra}


LONG = "The quick brown fox jumps over the lazy dog. " * 3


def test_the_closest_exchange_and_the_place_are_named():
    """One character of one message differs: the path, the position, the text around it, and a diff."""
    recorded = tape(exchange({"other": 1}), exchange(chat(LONG)), exchange(chat("x")))
    text = explain(request(chat(LONG.replace("lazy", "lizy", 1))), recorded, [0, 1, 2])
    around = "...'fox jumps over the lazy dog. The quick b'..."
    assert text == "\n".join(
        [
            "Closest is exchange 2 of 3, not played:",
            f"  messages.0.content: at character 36, recorded {around}, now {around.replace('lazy', 'lizy')}",
            "--- exchange 2",
            "+++ this request",
            "@@ -1,7 +1,7 @@",
            " {",
            '  "messages": [',
            "   {",
            f'-   "content": {json.dumps(LONG)},',
            f'+   "content": {json.dumps(LONG.replace("lazy", "lizy", 1))},',
            '    "role": "user"',
            "   }",
            "  ],",
        ]
    )


def test_a_request_made_more_often_than_recorded():
    text = explain(request(chat("hi")), tape(exchange(chat("hi"))), [])
    assert text == (
        "Closest is exchange 1 of 1, already played:\n  the same request; it was recorded fewer times than it was made"
    )


def test_an_empty_tape_has_nothing_close():
    assert explain(request(chat("hi")), tape(), []) == "The tape is empty."


def test_of_two_equal_exchanges_the_unplayed_one_is_closest():
    recorded = tape(exchange(chat("a")), exchange(chat("a")))
    assert "exchange 2 of 2, not played" in explain(request(chat("b")), recorded, [1])


def test_the_exchange_with_the_most_similar_text_is_closest():
    """The exchanges of a scenario are similar: all of these differ from the request in one line."""
    recorded = tape(*(exchange(chat(f"{word} {LONG}")) for word in ("one", "two", "three")))
    assert "exchange 3 of 3" in explain(request(chat(f"three {LONG}!")), recorded, [0, 1, 2])
    assert "exchange 2 of 3" in explain(request(chat(f"twos {LONG}")), recorded, [0, 1, 2])


def test_an_equal_path_counts_more_than_the_body():
    recorded = tape(exchange(chat("a"), path="/v1/other"), exchange(chat("long and different"), path="/v1/messages"))
    text = explain(request(chat("a"), query="beta=true", method="PUT"), recorded, [0, 1])
    assert "exchange 2 of 2" in text
    assert "  method: recorded 'POST', now 'PUT'\n" in text
    assert "  query: recorded '', now 'beta=true'\n" in text


def test_an_equal_method_counts_more_than_the_body():
    recorded = tape(exchange(chat("a"), method="GET"), exchange(chat("long and different"), method="POST"))
    assert "exchange 2 of 2" in explain(request(chat("a")), recorded, [0, 1])


def test_missing_new_and_changed_values():
    recorded = tape(exchange({"gone": 1, "list": [1, 2], "kind": 1, "flag": True}))
    text = explain(request({"new": "x" * 99, "list": [1, 3, 4], "kind": "1", "flag": 1}), recorded, [0])
    assert "  gone: recorded 1, now nothing\n" in text
    assert "  list.1: recorded 2, now 3\n" in text
    assert "  list.2: recorded nothing, now 4\n" in text
    assert '  kind: recorded 1, now "1"\n' in text
    assert "  and 1 more\n" in text


def test_equal_values_are_not_listed_and_true_is_not_one():
    text = explain(request({"same": 1, "flag": 1}), tape(exchange({"same": 1, "flag": True})), [0])
    assert text.split("\n")[1:3] == ["  flag: recorded true, now 1", "--- exchange 1"]


def test_a_longer_text_differs_at_the_end_of_the_shorter():
    assert "a: at character 2, recorded 'ab', now 'abc'" in explain(
        request({"a": "abc"}), tape(exchange({"a": "ab"})), []
    )


def test_the_whole_body_may_differ():
    assert "the whole: recorded [], now {}" in explain(request(Body("json", {})), tape(exchange(Body("json", []))), [])


def test_bodies_of_different_kinds():
    recorded = tape(exchange(Body("text", "a\nb")))
    assert "body: recorded text, now json" in explain(request(chat("a")), recorded, [])
    assert "body: recorded text, now nothing" in explain(request(), recorded, [])
    assert "body: recorded nothing, now base64" in explain(request(Body("base64", b"\xff")), tape(exchange()), [])
    assert "\n+1 bytes: ff" in explain(request(Body("base64", b"\xff")), tape(exchange()), [])
    assert "\n-b\n+c" in explain(request(Body("text", "a\nc")), recorded, [])


def test_ignored_paths_are_not_in_the_diff():
    recorded = tape(exchange({"id": "old", "a": 1}), ignore=Ignore(body=("id",)))
    text = explain(request({"id": "new", "a": 2}), recorded, [0])
    assert "a: recorded 1, now 2" in text
    assert "old" not in text
    assert "new" not in text


def test_a_diff_stays_readable():
    """Long lines and long diffs are truncated: a prompt may be as long as a book."""
    old, new = {"a": "x" * 5000, "many": [*range(500)]}, {"a": "y" * 5000, "many": [*range(500, 1000)]}
    lines = explain(request(new), tape(exchange(old)), [0]).split("\n")
    assert len(lines) < 140
    assert max(map(len, lines)) < 250
    assert lines[-1].endswith("more lines")


def delta(finish=None, **fields):
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": fields, "finish_reason": finish}],
    }


def streamed(*values, how="complete", **fields):
    return exchange({}, response(*events(*values), **fields), how=how)


CHAT = streamed(delta(role="assistant"), delta(content="Hello"), delta(content=" there"), delta("stop"), "[DONE]")


def test_texts_ids_and_chunk_counts_are_not_compared():
    live = streamed(
        {**delta(role="assistant"), "id": "d"},
        *(delta(content=word) for word in ["a", "b", "c", "d"]),
        delta("stop"),
        "[DONE]",
    )
    assert shape_diff(CHAT, live) == []


def test_chunk_boundaries_are_not_compared():
    whole = "".join(events(delta(role="assistant"), delta(content="Hi"), delta("stop"), "[DONE]"))
    assert shape_diff(CHAT, exchange({}, response(whole[:30], whole[30:]))) == []


def test_an_added_or_removed_field_is_listed_once():
    """Without the fields inside it."""
    live = streamed(
        delta(role="assistant"), delta(reasoning_content="Hm"), delta(content="Hi"), delta("stop"),
        {"choices": [], "usage": {"total_tokens": 3, "details": {"cached": 0}}}, "[DONE]",
    )  # fmt: skip
    assert shape_diff(CHAT, live) == [
        "choices.*.delta.reasoning_content: text, only live",
        "usage: object, only live",
    ]
    assert shape_diff(live, CHAT) == [
        "choices.*.delta.reasoning_content: text, only on the tape",
        "usage: object, only on the tape",
    ]


def test_values_of_type_fields_are_compared():
    live = streamed(delta(role="assistant"), delta(content="Hi"), delta("length"), "[DONE]")
    assert shape_diff(CHAT, live) == [
        'choices.*.finish_reason: "stop" | null on the tape, "length" | null live',
    ]


def test_a_changed_json_type_is_a_difference():
    assert shape_diff(exchange({}, reply({"n": 1, "b": True})), exchange({}, reply({"n": "1", "b": None}))) == [
        "n: number on the tape, text live",
        "b: true or false on the tape, null live",
    ]
    assert shape_diff(exchange({}, reply([1])), exchange({}, reply({"a": 1}))) == [
        "body: list on the tape, object live",
        "*: number, only on the tape",
        "a: number, only live",
    ]


def test_generated_structures_are_not_compared():
    """The model chooses the fields of a tool's input."""

    def block(given):
        return exchange({}, reply({"content": [{"type": "tool_use", "input": given}]}))

    assert shape_diff(block({"city": "Oslo"}), block({"place": {"name": "Oslo"}})) == []


def test_the_order_of_events_is_compared_without_pings():
    start, piece, stop = (
        ("message_start", {"type": "message_start"}),
        ("delta", {"text": "a"}),
        ("message_stop", {"a": 1}),
    )
    assert shape_diff(streamed(start, piece, stop), streamed(start, ("ping", {}), piece, piece, stop)) == []
    assert shape_diff(streamed(start, piece, stop), streamed(start, stop)) == [
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
def test_status_and_content_type_are_compared(live, difference):
    assert difference in shape_diff(exchange({}, reply({"a": 1})), exchange({}, live))


def test_the_end_is_compared():
    live = CHAT.model_copy(update={"end": End(how="reset", error="ReadError")})
    assert shape_diff(CHAT, live) == ["end: complete on the tape, reset live"]


def test_a_missing_response_is_a_difference():
    refused, silent = exchange({}, how="reset", error="ConnectError"), exchange({}, how="client_closed")
    assert shape_diff(CHAT, refused) == ["response: status 200 on the tape, no response (ConnectError) live"]
    assert shape_diff(silent, refused) == [
        "response: no response (client_closed) on the tape, no response (ConnectError) live"
    ]
    assert shape_diff(refused, refused) == []


def test_after_an_early_disconnect_only_the_common_events_are_compared():
    left = streamed(delta(role="assistant"), delta(content="Hi"), how="client_closed")
    assert shape_diff(left, CHAT) == []
    assert shape_diff(left, streamed(delta(role="assistant"))) == []
    assert shape_diff(left, streamed(delta(role="assistant"), delta(refusal="no"), how="client_closed")) == [
        "choices.*.delta.content: text, only on the tape",
        "choices.*.delta.refusal: text, only live",
    ]
