"""What is said of a request that is not on the tape."""

import json

from messages_tape.core.differ import explain
from messages_tape.format.model import Body, Ignore
from support.tapes import exchange, request, tape


def chat(text, **extra):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **extra}


LONG = "The quick brown fox jumps over the lazy dog. " * 3


def test_the_closest_exchange_and_the_place_are_named():
    """One character of one message: the path, the position, the words around it, and a diff."""
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


def test_a_request_that_was_made_too_often_says_so():
    text = explain(request(chat("hi")), tape(exchange(chat("hi"))), [])
    assert text == (
        "Closest is exchange 1 of 1, already played:\n  the same request; it was recorded fewer times than it was made"
    )


def test_an_empty_tape_has_nothing_close():
    assert explain(request(chat("hi")), tape(), []) == "The tape is empty."


def test_of_two_alike_the_one_that_is_left_is_closest():
    recorded = tape(exchange(chat("a")), exchange(chat("a")))
    assert "exchange 2 of 2, not played" in explain(request(chat("b")), recorded, [1])


def test_the_text_that_was_changed_a_little_is_closest():
    """Scenarios ask similar things: all of these differ from the request in one line."""
    recorded = tape(*(exchange(chat(f"{word} {LONG}")) for word in ("one", "two", "three")))
    assert "exchange 3 of 3" in explain(request(chat(f"three {LONG}!")), recorded, [0, 1, 2])
    assert "exchange 2 of 3" in explain(request(chat(f"twos {LONG}")), recorded, [0, 1, 2])


def test_the_path_says_more_than_the_body():
    recorded = tape(exchange(chat("a"), path="/v1/other"), exchange(chat("long and different"), path="/v1/messages"))
    text = explain(request(chat("a"), query="beta=true", method="PUT"), recorded, [0, 1])
    assert "exchange 2 of 2" in text
    assert "  method: recorded 'POST', now 'PUT'\n" in text
    assert "  query: recorded '', now 'beta=true'\n" in text


def test_the_method_says_more_than_the_body():
    recorded = tape(exchange(chat("a"), method="GET"), exchange(chat("long and different"), method="POST"))
    assert "exchange 2 of 2" in explain(request(chat("a")), recorded, [0, 1])


def test_missing_new_and_changed_values_are_told_apart():
    recorded = tape(exchange({"gone": 1, "list": [1, 2], "kind": 1, "flag": True}))
    text = explain(request({"new": "x" * 99, "list": [1, 3, 4], "kind": "1", "flag": 1}), recorded, [0])
    assert "  gone: recorded 1, now nothing\n" in text
    assert "  list.1: recorded 2, now 3\n" in text
    assert "  list.2: recorded nothing, now 4\n" in text
    assert '  kind: recorded 1, now "1"\n' in text
    assert "  and 1 more\n" in text


def test_what_is_the_same_is_not_named_and_true_is_not_one():
    text = explain(request({"same": 1, "flag": 1}), tape(exchange({"same": 1, "flag": True})), [0])
    assert text.split("\n")[1:3] == ["  flag: recorded true, now 1", "--- exchange 1"]


def test_a_text_that_only_goes_on_differs_at_its_end():
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


def test_what_is_ignored_is_not_in_the_diff():
    recorded = tape(exchange({"id": "old", "a": 1}), ignore=Ignore(body=("id",)))
    text = explain(request({"id": "new", "a": 2}), recorded, [0])
    assert "a: recorded 1, now 2" in text
    assert "old" not in text
    assert "new" not in text


def test_a_diff_stays_readable():
    """Lines and numbers of lines have an end: a prompt may be as long as a book."""
    old, new = {"a": "x" * 5000, "many": [*range(500)]}, {"a": "y" * 5000, "many": [*range(500, 1000)]}
    lines = explain(request(new), tape(exchange(old)), [0]).split("\n")
    assert len(lines) < 140
    assert max(map(len, lines)) < 250
    assert lines[-1].endswith("more lines")
