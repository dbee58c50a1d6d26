"""What is read of a stream as it passes by."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.json_members import members
from llama_stack_provider_messages.native.observer import StreamObserver, usage_of

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}\n\n'
)
TEXT = (
    b"event: content_block_delta\n"
    b'data: {"type":"content_block_delta","delta":{"text":"a \\"message_delta\\" error"}}\n\n'
)
END = b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":7,"input_tokens":null}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
ERROR = b'event: error\ndata: {"type":"error","error":{"type":"api_error"}}\n\n'
WHOLE = START + TEXT * 3 + END + STOP
USAGE = {"input_tokens": 9, "output_tokens": 7}


def watched(*pieces):
    watch = StreamObserver()
    for piece in pieces:
        watch.feed(piece)
    watch.close()
    return watch


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
def test_usage_and_end_are_seen_however_the_bytes_are_cut(ends, size):
    """Of a field that is null the earlier count stays."""
    stream = WHOLE.replace(b"\n", ends)
    watch = watched(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert (watch.usage, watch.complete, watch.over) == (USAGE, True, True)


@pytest.mark.parametrize(
    ("stream", "complete", "over"),
    [
        (b"", False, False),
        (START + TEXT, False, False),
        (START + TEXT + END, True, False),
        (START + ERROR, True, True),
        (b'data: {"error":{"code":500}}\n\n', True, True),
        (b'event: later\ndata: {"type":"later","error":{"code":500}}\n\n', False, False),
        (b'event: later\ndata: {"type":"sooner","error":{"code":500}}\n\n', True, True),
        (START + END + STOP.rstrip(), True, True),
        (START + TEXT + STOP[:-20], False, False),
        (b'data: {"type":\ndata: "message_stop"}\n\n', True, True),
    ],
)
def test_what_has_ended_and_what_has_not(stream, complete, over):
    """An answer is complete with its stop reason; a stream is over when it says so."""
    watch = watched(stream)
    assert (watch.complete, watch.over) == (complete, over)


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b"[1]", b'{"type":"message_start","message":7}', b'{"type":"message_delta","usage":[1]}', b"\xff"],
)
def test_what_is_no_event_is_passed_over(data):
    """Though it has the name of one in it."""
    watch = watched(b"data: " + data + b' "message_"\n\n', b"data: " + data + b"\n\n", START)
    assert watch.usage == {"input_tokens": 9, "output_tokens": 1}


def test_an_event_of_a_megabyte_is_not_kept():
    """Nor does it hide the one behind it."""
    watch = StreamObserver()
    watch.feed(b'data: {"type":"message_')
    tracemalloc.start()
    try:
        for _ in range(200):
            watch.feed(bytes(8192))
        assert tracemalloc.get_traced_memory()[0] < 2 * 65_536
    finally:
        tracemalloc.stop()
    watch.feed(b'"}\n\n' + END)
    assert watch.usage == {"output_tokens": 7}


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from([START, TEXT, END, STOP, ERROR, b": c\n\n", b"\n", b"data: x\n\n"])), st.integers(1, 40)
)
def test_any_cut_reads_the_same(events, size):
    """As the events one by one."""
    stream = b"".join(events)
    one, other = watched(*events), watched(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert (one.usage, one.complete, one.over) == (other.usage, other.complete, other.over)


@pytest.mark.parametrize(("body", "usage"), [(b'{"usage":{"a":1}}', {"a": 1}), (b'{"usage":null}', {}), (b"{}", {})])
def test_usage_of_a_whole_message(body, usage):
    """If it has any."""
    assert usage_of(body, members(body)) == usage


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_data_on_several_lines_is_one_event(ends):
    """At any cut, the one between the halves of a line end included."""
    stream = b'event: x\ndata: {"type":"message_delta",\ndata: "usage":{"output_tokens":3}}\n\n'.replace(b"\n", ends)
    for cut in range(len(stream) + 1):
        watch = watched(stream[:cut], stream[cut:])
        assert (watch.usage, watch.complete) == ({"output_tokens": 3}, True), stream[:cut]


@pytest.mark.parametrize("event", [START, TEXT, END])
def test_an_error_that_is_null_is_none(event):
    """Servers that write every field they know write this one too; a cut behind it would look like success."""
    assert not watched(event.replace(b"}\n\n", b',"error":null}\n\n')).over


def test_an_event_at_the_limit_is_read():
    """Its last byte is the last that is kept."""
    empty = b'data: {"type":"message_stop","a":""}\n\n'
    for more, over in ((0, True), (1, False)):
        filling = b'"' + b"x" * (65_536 - len(empty) + 2 + more) + b'"'
        assert watched(empty.replace(b'""', filling)).over is over


@pytest.mark.parametrize("value", [b'"\x01"', b'"\xff"'])
def test_usage_with_bytes_that_are_no_text_is_no_failure(value):
    """The answer is there and passes; its counts do not matter as much."""
    body = b'{"content":[],"usage":{"output_tokens":1,"tier":%s}}' % value
    usage_of(body, members(body))


def test_an_event_that_is_named_an_error_is_one_whatever_its_data():
    """Clients raise at the name: of llama.cpp's own errors, and of one that is too long to be read here."""
    for data in (b'{"code":500,"message":"m"}', b'{"type":"error","x":"' + b"x" * 70_000 + b'"}'):
        for size in (7, 100_000):
            event = b"event: error\ndata: " + data + b"\n\n"
            watch = StreamObserver()
            for start in range(0, len(event), size):
                watch.feed(event[start : start + size])
            assert watch.over
    assert not watched(b"event: error\n\n", b"event: errors\ndata: {}\n\n", b"data: event: error\n\n").over


@pytest.mark.parametrize(
    ("stream", "ended"),
    [
        (START + ERROR.rstrip(), True),
        (START + STOP.rstrip(), True),
        (START + STOP, False),
        (START + END.rstrip(), True),
        (START + END.rstrip() + b"\n", True),
        (START + STOP.rstrip() + b"\n", True),
        (START + b'event: error\ndata: {"code":500,"message":"m"}\n', True),
        (START + b"event: error\n", False),
        (START + END + b"event: error\n", False),
        (START + END + b"event: x\ndata: {", False),
        (START + TEXT[:-1], False),
        (START + ERROR[:-5], False),
        (START + b'event: error\ndata: {"code":5', False),
    ],
)
def test_closing_tells_whether_the_last_event_came_without_its_end(stream, ended):
    """Only what could be read whole counts."""
    watch = StreamObserver()
    watch.feed(stream)
    assert watch.close() is ended


def test_an_error_is_a_failure_and_the_end_is_none():
    """Named, typed, or too long to be read, with or without its name."""
    long = b'data: {"type":"error","x":"' + b"x" * 70_000 + b'"}\n\n'
    for error in (ERROR, b"event: error\ndata: {}\n\n", b'data: {"error":{"code":500}}\n\n', long):
        assert watched(START, error).failed
    assert not watched(START, TEXT, END, STOP).failed


@pytest.mark.parametrize(
    "last", [STOP[:-1], ERROR[:-1], b'event: message_stop\r\ndata: {\r\ndata: "type":"message_stop"}\r\n']
)
def test_a_stream_is_over_with_the_data_of_its_last_event(last):
    """Whether or not a blank line comes behind it."""
    watch = StreamObserver()
    watch.feed(START + last)
    assert watch.over


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    """Nor is one inside of an event left out."""
    assert watched(b"\xef\xbb\xbf" + START.partition(b"\n")[2]).usage == {"input_tokens": 9, "output_tokens": 1}
    assert watched(START, b"\xef\xbb\xbf" + STOP.partition(b"\n")[2]).over is False
