"""Decoding events at any partition of the bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.upstream.sse import (
    LINE_ENDS,
    MAX_EVENT_BYTES,
    EventTooLongError,
    LineSplitter,
    ServerSentEvent,
    SSEDecoder,
    field_of,
)
from support.attacks import cpu_bound


def decode(*pieces):
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_at_lf_crlf_and_cr(end):
    assert decode(end.join([b"event: ping", b"data: {}", b"", b""])) == [ServerSentEvent("{}", "ping")]


def test_a_crlf_in_two_chunks_is_one_line_end():
    """A decoder that takes CR and LF for two line ends returns the event too early."""
    assert decode(b"data: a\r", b"\ndata: b\r", b"", b"\n\r\n") == [ServerSentEvent("a\nb")]


def test_a_cr_at_the_end_of_a_chunk_ends_the_line():
    assert SSEDecoder().feed(b"data: a\r\r") == [ServerSentEvent("a")]


def test_comments_and_unknown_fields_are_ignored():
    assert decode(b": ping\nretry: 5\nfoo: bar\n\ndata: a\n\n") == [ServerSentEvent("a")]


def test_data_lines_are_joined():
    assert decode(b"data: a\ndata\ndata:  b\n\n") == [ServerSentEvent("a\n\n b")]


def test_an_event_without_data_is_not_returned_and_its_name_is_forgotten():
    assert decode(b"event: x\n\ndata: a\n\n") == [ServerSentEvent("a")]


def test_the_id_is_kept_until_it_changes():
    events = decode(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\n")
    assert [event.id for event in events] == ["1", "1", "1"]


def test_a_byte_order_mark_at_the_start_is_removed():
    assert decode(b"\xef\xbb\xbfdata: a\n\n") == [ServerSentEvent("a")]


def test_unicode_line_separators_are_text():
    """Line splitters of httpx and Python split at them."""
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    assert decode(f"data: {text}\n\n".encode()) == [ServerSentEvent(text)]


def test_broken_utf8_is_replaced():
    assert decode(b"data: \xff\n\n") == [ServerSentEvent("\ufffd")]


@pytest.mark.parametrize("rest", [b"", b"\n"])
def test_the_last_event_needs_no_empty_line(rest):
    assert decode(b"data: [DONE]" + rest) == [ServerSentEvent("[DONE]")]


def test_a_long_line_in_many_chunks_costs_linear_time():
    """Joining the buffer for each chunk would be quadratic: minutes instead of milliseconds."""
    pieces = [b"data: ", *([b"x" * 16] * 65_536), b"\n\n"]
    with cpu_bound(5):
        (event,) = decode(*pieces)
    assert len(event.data) == 1_048_576


LINES = st.lists(
    st.sampled_from([b"data: \xc3\xa4", b"data:", b"event: e", b": c", b"", b"id: 7", b"data: \xe2\x80\xa8", b"x"])
)


@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200)))
def test_any_partition_gives_the_same_events(lines, end, cuts):
    raw = end.join(lines)
    bounds = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[start:stop] for start, stop in itertools.pairwise(bounds)]
    assert decode(*pieces) == decode(raw)


@given(st.lists(st.binary(max_size=20)))
def test_garbage_raises_nothing(pieces):
    assert decode(*pieces) == decode(b"".join(pieces))


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"\xc2\x85", b"data: x\n"]).map(bytes), max_size=12))
def test_a_splitter_returns_every_byte_and_each_line_once(chunks):
    """Joined, the parts are the stream; a CRLF in two chunks is one line end."""
    splitter, stream, lines = LineSplitter(), b"", 1
    for chunk in chunks:
        half, parts = splitter.split(chunk)
        stream += half + b"".join(parts)
        assert all(part.endswith(LINE_ENDS) for part in parts[:-1])
        lines += sum(part.endswith(LINE_ENDS) for part in parts)
    assert stream == b"".join(chunks)
    assert lines == len(stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [(b"data: a\r\n", b"data", b"a"), (b"data:  a", b"data", b" a"), (b"id\n", b"id", b""), (b": c", b"", b"c")],
)
def test_the_field_of_a_line_has_a_name_and_a_value(line, name, value):
    """One space after the colon is not part of the value; a comment has no name."""
    assert field_of(line) == (name, value)


TOO_LONG = {
    "a line": [b"data: " + b"x" * 995] + [b"x" * 1000] * 20_000,
    "a line in small chunks": [b"data: "] + [b"x" * 9] * 120_000,
    "an event of many lines": [(b"data: " + b"x" * 100 + b"\n") * 100] * 2000,
    "an event of short lines": [b"data:xy\n" * 1000] * 500,
    "a comment": [b": "] + [b"x" * 1000] * 20_000,
}


@pytest.mark.parametrize("limit", [1_000_000, MAX_EVENT_BYTES])
@pytest.mark.parametrize("name", TOO_LONG)
def test_a_line_and_an_event_have_a_limit(name, limit):
    """Nothing beyond it is kept, and the work up to it is linear, whatever the size of the chunks."""
    decoder, taken = SSEDecoder(limit), 0
    pieces = TOO_LONG[name]
    if sum(map(len, pieces)) <= limit:
        pytest.skip("the stream is shorter than the limit")
    with cpu_bound(5), pytest.raises(EventTooLongError):  # noqa: PT012 - the bytes up to the limit count
        for piece in pieces:
            assert decoder.feed(piece) == []
            taken += len(piece)
    assert taken <= 3 * limit  # the names of fields are not kept


def test_an_event_of_the_size_of_the_limit_is_decoded():
    """The limit is that of an event, not of a stream or of a chunk."""
    event = b"data: " + b"x" * (MAX_EVENT_BYTES - 8) + b"\n"
    assert [len(found.data) for found in decode((event + b"\n") * 2)] == [MAX_EVENT_BYTES - 8] * 2
    assert len(decode(*[b": ping\n"] * 100, b"data: a\n\n")) == 1
