"""Keys in the error events of a relayed stream."""

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_api_messages.models.base import type_tags
from llama_stack_api_messages.models.events import Event
from llama_stack_provider_messages.native.error_event import EVENT_TYPES, MAX_ERROR_BYTES, ErrorEventRedactor
from support.attacks import cpu_bound
from support.scripted_upstream import UPSTREAM_KEY

KEY = UPSTREAM_KEY
TEXT = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","index":0,"delta":{"text":"an error with ' + KEY.encode() + b'"}}\n\n'
)
SORTED = b'event: content_block_delta\ndata: {"delta":{"text":"an error"},"type":"content_block_delta"}\n\n'
BARE = b'data: {"type": "ping"}\n\n'
NEW = b'event: later\ndata: {"type":"later","n":1}\n\n'
OTHERS = [
    NEW,
    TEXT,
    SORTED,
    BARE,
    b": an error in a comment\n\n",
    b"\xef\xbb\xbf" + TEXT,
    b"id: 1\ndata\n\n",
    b"data: [DONE]\n\n",
]


def error(text: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": "api_error", "message": text}}).encode()


def passed(stream: bytes, size: int = 10**9, secrets=(KEY,)) -> bytes:
    """Return what passes of a stream that comes in chunks of a size."""
    redactor = ErrorEventRedactor(secrets)
    chunks = [redactor.feed(stream[start : start + size]) for start in range(0, len(stream), size)]
    return b"".join([*chunks, redactor.close()])


ERRORS = {
    "named": b"event: error\ndata: %s\n\n" % error(f"no such key {KEY}"),
    "without_a_name": b"data: %s\n\n" % error(f"no such key {KEY}"),
    "under_another_name": b"event: message\ndata: %s\n\n" % error(f"no such key {KEY}"),
    "name_after_the_data": b"data: no such key %s\nevent: error\n\n" % KEY.encode(),
    "of_openai": b'data: {"error": {"message": "no such key %s"}}\n\n' % KEY.encode(),
    "type_at_the_end": b'data: {"error": {"message": "%s"}, "x": 1, "type": "error"}\n\n' % KEY.encode(),
    "other_member_first": b'data: {"request_id": "%s", "type": "error"}\n\n' % KEY.encode(),
    "in_escapes": b"event: error\ndata: %s\n\n" % error(KEY).replace(b"sk-", b"\\u0073\\u006b-"),
    "on_several_lines": b'event: error\ndata: {"type": "error",\ndata: "error": {"message": "%s"}}\n\n' % KEY.encode(),
    "no_json": b"event: error\ndata: no such key %s\n\n" % KEY.encode(),
    "in_a_comment": b'event: error\ndata: {"type":"error"}\n: %s\n\n' % KEY.encode(),
    "given_twice": b'event: error\ndata: {"error": "%s", "error": {"type": "x"}}\n\n' % KEY.encode(),
    "opens_as_an_error_and_is_no_json": b'data: {"type":"error", %s\n\n' % KEY.encode(),
    "of_another_type": b'data: {"type":"server_error","error":{"message":"%s"}}\n\n' % KEY.encode(),
    "typed_before_its_name": b'data: {"type":"authentication_error","message":"%s"}\nevent: error\n\n' % KEY.encode(),
    "in_its_id": b"event: error\nid: %s\ndata: {}\n\n" % KEY.encode(),
    "in_a_comment_before_its_data": b"event: error\n: %s\ndata: {}\n\n" % KEY.encode(),
    "of_no_type": b'data: {"detail": "%s"}\n\n' % KEY.encode(),
    "a_list": b'data: [{"type": "error", "message": "%s"}]\n\n' % KEY.encode(),
}


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 3, 7, 64, 10**9])
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_event_passes_without_the_key(name, size, ends):
    """In any form and at any partition; the events before it are unchanged."""
    stream = (TEXT + ERRORS[name]).replace(b"\n", ends)
    before = TEXT.replace(b"\n", ends)
    seen = passed(stream, size)
    assert seen.startswith(before)
    rest = seen[len(before) :]
    assert KEY.encode() not in rest
    assert b"u006b-upstream" not in rest
    assert b"[redacted]" in rest or name == "in_a_comment"
    assert rest.endswith((b"\n\n", ends * 2))


@pytest.mark.parametrize("size", [1, 10**9])
def test_a_redacted_event_is_still_an_error_for_clients(size):
    """Only the key is replaced."""
    for name in ("named", "on_several_lines", "name_after_the_data"):
        assert passed(ERRORS[name], size) == ERRORS[name].replace(KEY.encode(), b"[redacted]")


@given(
    events=st.lists(st.sampled_from([*OTHERS, b"event: error\ndata: %s\n\n" % error("overloaded")]), max_size=8),
    cuts=st.lists(st.integers(min_value=1, max_value=90), min_size=1, max_size=60),
    ends=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_all_other_events_pass_byte_for_byte(events, cuts, ends):
    """Other events may contain the key, and an error without it is not changed; at any partition."""
    stream = b"".join(events).replace(b"\n", ends)
    redactor, seen, start = ErrorEventRedactor((KEY,)), b"", 0
    while start < len(stream):
        size = cuts[start % len(cuts)]
        seen += redactor.feed(stream[start : start + size])
        start += size
    assert seen + redactor.close() == stream


def test_events_with_a_known_type_are_not_held():
    """Each chunk of a text passes when it arrives, even if it ends in the middle of an event."""
    redactor = ErrorEventRedactor((KEY,))
    parts = [bytes([byte]) for byte in TEXT + NEW] + [TEXT[:70], TEXT[70:], BARE, TEXT]
    assert [redactor.feed(part) for part in parts] == parts


def test_without_keys_the_stream_is_not_read():
    """A backend without a key cannot repeat one."""
    assert passed(ERRORS["named"], 5, ()) == ERRORS["named"]


def test_the_last_event_may_lack_its_blank_line():
    """It counts if its JSON is complete; a truncated error is left out, because it may hold a part of a key."""
    whole = ERRORS["named"].rstrip(b"\n")
    assert KEY.encode() not in passed(whole)
    assert b"[redacted]" in passed(whole)
    assert passed(whole[:-20]) == b"event: error\n"
    with_id = whole.replace(b"event: error\n", b"event: error\nid: 7\n")
    assert passed(with_id) == with_id.replace(KEY.encode(), b"[redacted]")
    assert KEY.encode() not in passed(b"data: %s\nevent: error" % KEY.encode())
    assert passed(b'data: {"request_id": "r", "type": "error", "error": {"message": "%s' % KEY.encode()) == b'data: {"'
    assert passed(ERRORS["without_a_name"][:60]) == b'data: {"type": "error'
    assert passed(SORTED[:60]) == SORTED[:60]


@pytest.mark.parametrize("name", [b"event: error\n", b""])
def test_an_error_that_is_too_long_to_hold_is_replaced(name):
    """It is replaced by a short error: memory stays bounded, and the next event passes."""
    event = name + b"data: " + error("x" * MAX_ERROR_BYTES + KEY) + b"\n\n"
    seen = passed(event + BARE, 50_000)
    assert len(seen) < 400
    assert seen.endswith(b'more than 1 MiB"}}\n\n' + BARE)


def test_a_too_long_error_is_replaced_wherever_its_type_is():
    """Its type may be the last member."""
    event = b'data: {"message": "' + b"x" * MAX_ERROR_BYTES + b'", "error": {}, "type": "error", "key": "%s"}\n\n'
    early = b'data: {"error": {"message": "' + b"x" * MAX_ERROR_BYTES + b'%s"}}\n\n'
    for data in (early % KEY.encode(), b"event: error\n" + event % KEY.encode()):
        assert KEY.encode() not in passed(data, 50_000)


def test_all_event_types_of_the_api_are_known():
    """They are not held, and all but ``error`` are not errors."""
    assert {*EVENT_TYPES, "error"} == {
        tag for model in get_args(get_args(Event.__value__)[0]) for tag in type_tags(model)
    }


@pytest.mark.parametrize(
    "stream",
    [
        b"event: error\ndata: " + b'{"type":"error","error":{"message":"bad: ' + b'\\"' * 400_000 + b"\n\n",
        b"\n" * 1_000_000 + b"x",
        b'data: {"delta":"' + b'\\"' * 400_000 + b'","type":"content_block_delta"}\n\n',
    ],
    ids=["quotes without an end", "empty lines", "quotes in a text"],
)
def test_the_work_is_linear_in_the_length_of_the_stream(stream):
    """A megabyte takes well below a second, during which the server could not serve other requests."""
    with cpu_bound(5):
        passed(stream)


def test_a_long_event_of_another_type_passes():
    """It is held until the limit of an error at most."""
    event = (
        b'data: {"delta": {"partial_json": "' + b"x" * (2 * MAX_ERROR_BYTES) + b'"}, "type": "content_block_delta"}\n\n'
    )
    assert passed(event, 70_000) == event
