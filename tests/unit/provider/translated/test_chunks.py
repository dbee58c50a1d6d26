"""Decoding the bytes of a chat completions stream into chunks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translated.chunks import DONE, ChunkReader, decode
from llama_stack_provider_messages.upstream.sse import MAX_EVENT_BYTES, EventTooLongError
from support.attacks import cpu_bound


def read(*pieces):
    reader = ChunkReader()
    chunks = [chunk for piece in pieces for chunk in reader.feed(piece)] + reader.close()
    if reader.error:
        raise reader.error
    return chunks


def chunk(delta, **extra):
    return {"id": "c", "created": 1, "choices": [{"index": 0, "delta": delta, "finish_reason": None, **extra}]}


def event(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "word"},
        {"role": "assistant", "content": "word"},
        {"content": "word", "tool_calls": None, "refusal": None, "reasoning_content": None, "function_call": None},
    ],
)
def test_a_chunk_of_text_is_its_text(delta):
    """Also if it has fields that are null."""
    assert read(event(chunk(delta))) == ["word"]
    assert read(event({**chunk(delta), "usage": None, "service_tier": "default", "obfuscation": "x"})) == ["word"]


@pytest.mark.parametrize(
    "value",
    [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": None, "tool_calls": [{"index": 0}]}),
        chunk({"content": "a", "reasoning": "b"}),
        chunk({"content": "a", "annotations": []}),
        chunk({"content": "a"}, finish_reason="stop"),
        chunk({"content": "a"}, index=1),
        {"choices": [], "usage": {"completion_tokens": 1}},
        {**chunk({"content": "a"}), "usage": {"completion_tokens": 1}},
        {**chunk({"content": "a"}), "error": {"message": "no"}},
        {"error": {"message": "no"}},
        {},
    ],
)
def test_any_other_chunk_is_a_dict_with_all_its_fields(value):
    """Nothing that the translation reads is lost."""
    assert read(event(value)) == [value]


@pytest.mark.parametrize("data", [b"1", b'"text"', b"null", b"[]"])
def test_json_that_is_not_an_object_is_an_empty_chunk(data):
    """A string is not taken for text."""
    assert read(b"data: %s\n\n" % data) == [{}]


TEXT = event(chunk({"content": "a"}))
DICT = chunk({"content": ""})


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (TEXT + b"data: [DONE]\n\n", ["a", DONE]),
        (b": ping\n\n" + TEXT + b": ping\n\n" + TEXT, ["a", "a"]),
        (TEXT + b"event: x\n" + event(DICT), ["a", DICT]),
        (TEXT.replace(b"\n", b"\r\n") + event(DICT), [chunk({"content": "a"}), DICT]),
        (b"\xef\xbb\xbf" + event(DICT), [DICT]),
        (b'data: {"a":\ndata: 1}\n\n', [{"a": 1}]),
        (b"\n\n" + TEXT + b"\n" + event(DICT), ["a", DICT]),
        (b"data:" + TEXT[6:], ["a"]),
        (TEXT.rstrip(), [chunk({"content": "a"})]),
        (b"data: [DONE]", [DONE]),
        (b"", []),
    ],
)
def test_every_form_of_server_sent_events_is_read(stream, expected):
    """With comments, event names, several lines, CRLF, a byte order mark, and without the last blank line."""
    assert read(stream) == expected
    as_dicts = [chunk({"content": item}) if isinstance(item, str) else item for item in expected]
    single = read(*(stream[place : place + 1] for place in range(len(stream))))
    assert [chunk({"content": item}) if isinstance(item, str) else item for item in single] == as_dicts


EVENTS = st.lists(
    st.sampled_from(
        [
            TEXT,
            event(DICT),
            b": ping\n\n",
            b"event: x\n" + TEXT,
            TEXT.replace(b"\n", b"\r\n"),
            b"\n",
            b"data: [DONE]\n\n",
        ]
    )
)


@given(EVENTS, st.data())
def test_any_partition_of_the_bytes_gives_the_same_chunks(events, data):
    """A chunk of text may be a dict, which has the same meaning."""
    stream = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, parts = read(stream), read(*pieces)
    for found in (whole, parts):
        found[:] = [chunk({"content": item}) if isinstance(item, str) else item for item in found]
    assert parts == whole


@pytest.mark.parametrize("data", [b"{", b"<html>", b"[" * 100_000])
def test_an_event_that_is_not_json_is_a_value_error(data):
    """Also one that is nested deeper than any parser reads."""
    with pytest.raises(json.JSONDecodeError):
        read(b"data: %s\n\n" % data)


def test_the_chunks_before_an_error_are_returned():
    """They arrived in the same read; nothing is read after it."""
    reader = ChunkReader()
    assert reader.feed(TEXT + TEXT + b"data: {bad\n\n" + TEXT) == ["a", "a"]
    assert isinstance(reader.error, json.JSONDecodeError)
    assert reader.feed(TEXT) == reader.close() == []


@pytest.mark.parametrize("after", [TEXT, b"data: {bad\n\n", b"event: x\n\n"])
def test_what_follows_the_end_is_ignored(after):
    """In the same read, and in a later one."""
    reader = ChunkReader()
    assert reader.feed(TEXT + b"data: [DONE]\n\n" + after) == ["a", DONE]
    assert reader.done
    assert reader.feed(after) == reader.close() == []
    assert reader.error is None


def test_the_end_needs_no_blank_line():
    """A server may keep the connection open after it."""
    reader = ChunkReader()
    assert reader.feed(TEXT + b"data: [DO") == ["a"]
    assert reader.feed(b"NE]\n") == [DONE]
    assert ChunkReader().feed(TEXT + b"data: [DONE]\n") == ["a", DONE]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_in_another_encoding_is_read(encoding):
    """With a byte order mark, or in two bytes for each character."""
    assert decode('{"a": "\xe4"}'.encode(encoding)) == {"a": "\xe4"}


def test_what_strict_parsers_reject_is_read():
    """Lone surrogates, NaN and invalid UTF-8."""
    assert read(b'data: {"a":"\\ud83d","b":NaN,"c":"\xff"}\n\n')[0] | {"b": 0} == {"a": "\ud83d", "b": 0, "c": "\ufffd"}
    assert decode(b'"\\ud83d"') == "\ud83d"


def test_a_long_event_in_many_pieces_costs_linear_time():
    """Joining the pieces each time would be quadratic."""
    with cpu_bound(5):
        assert read(b'data: {"a":"', *([b"x" * 16] * 65_536), b'"}\n\n') == [{"a": "x" * 1_048_576}]


def test_an_endless_event_is_an_error():
    """It would fill the memory."""
    piece = b"x" * 1_048_576
    with pytest.raises(EventTooLongError):
        read(*([piece] * (MAX_EVENT_BYTES // len(piece) + 1)))
