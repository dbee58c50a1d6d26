"""Usage and the end of a relayed stream."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.json_members import members
from llama_stack_provider_messages.native.observer import MAX_DECODED_BYTES, StreamObserver, usage_of
from support.attacks import cpu_bound

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


def observed(*pieces):
    observer = StreamObserver()
    for piece in pieces:
        observer.feed(piece)
    observer.close()
    return observer


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
def test_usage_and_end_are_found_at_any_partition_of_the_bytes(ends, size):
    """A null does not replace an earlier count."""
    stream = WHOLE.replace(b"\n", ends)
    observer = observed(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert (observer.usage, observer.message_complete, observer.ended) == (USAGE, True, True)


@pytest.mark.parametrize(
    ("stream", "complete", "ended"),
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
def test_when_a_message_is_complete_and_a_stream_ended(stream, complete, ended):
    """A message is complete with its stop reason; a stream has ended with ``message_stop`` or an error."""
    observer = observed(stream)
    assert (observer.message_complete, observer.ended) == (complete, ended)


@pytest.mark.parametrize(
    "data",
    [b"nonsense", b"[1]", b'{"type":"message_start","message":7}', b'{"type":"message_delta","usage":[1]}', b"\xff"],
)
def test_invalid_data_is_ignored(data):
    """Even if it contains the name of an event."""
    observer = observed(b"data: " + data + b' "message_"\n\n', b"data: " + data + b"\n\n", START)
    assert observer.usage == {"input_tokens": 9, "output_tokens": 1}


def test_an_event_of_a_megabyte_is_not_buffered():
    """The event after it is read."""
    observer = StreamObserver()
    observer.feed(b'data: {"type":"message_')
    tracemalloc.start()
    try:
        for _ in range(200):
            observer.feed(bytes(8192))
        assert tracemalloc.get_traced_memory()[0] < 2 * 65_536
    finally:
        tracemalloc.stop()
    observer.feed(b'"}\n\n' + END)
    assert observer.usage == {"output_tokens": 7}


@settings(max_examples=200, derandomize=True)
@given(
    st.lists(st.sampled_from([START, TEXT, END, STOP, ERROR, b": c\n\n", b"\n", b"data: x\n\n"])), st.integers(1, 40)
)
def test_any_partition_gives_the_same_result(events, size):
    """Chunks of any size give the same usage and end as the separate events."""
    stream = b"".join(events)
    one, other = observed(*events), observed(*(stream[start : start + size] for start in range(0, len(stream), size)))
    assert (one.usage, one.message_complete, one.ended) == (other.usage, other.message_complete, other.ended)


@pytest.mark.parametrize(("body", "usage"), [(b'{"usage":{"a":1}}', {"a": 1}), (b'{"usage":null}', {}), (b"{}", {})])
def test_usage_of_a_message(body, usage):
    """The usage is empty if the message has none."""
    assert usage_of(body, members(body)) == usage


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_data_on_several_lines_is_one_event(ends):
    """At any partition, also between CR and LF of one line end."""
    stream = b'event: x\ndata: {"type":"message_delta",\ndata: "usage":{"output_tokens":3}}\n\n'.replace(b"\n", ends)
    for cut in range(len(stream) + 1):
        observer = observed(stream[:cut], stream[cut:])
        assert (observer.usage, observer.message_complete) == ({"output_tokens": 3}, True), stream[:cut]


@pytest.mark.parametrize("event", [START, TEXT, END])
def test_an_error_member_that_is_null_is_not_an_error(event):
    """Servers that write all fields write it, too; ending the stream there would look like success."""
    assert not observed(event.replace(b"}\n\n", b',"error":null}\n\n')).ended


def test_an_event_at_the_limit_is_read():
    """An event of exactly the limit is read; one that is a byte longer is not."""
    empty = b'data: {"type":"message_stop","a":""}\n\n'
    for more, ended in ((0, True), (1, False)):
        filling = b'"' + b"x" * (65_536 - len(empty) + 2 + more) + b'"'
        assert observed(empty.replace(b'""', filling)).ended is ended


@pytest.mark.parametrize("value", [b'"\x01"', b'"\xff"'])
def test_unreadable_usage_does_not_fail_the_request(value):
    """The message is passed on; its counts matter less."""
    body = b'{"content":[],"usage":{"output_tokens":1,"tier":%s}}' % value
    usage_of(body, members(body))


def test_an_event_named_error_is_an_error_whatever_its_data():
    """Clients raise at the name: for llama.cpp's own errors, and for one that is too long to be decoded here."""
    for data in (b'{"code":500,"message":"m"}', b'{"type":"error","x":"' + b"x" * 70_000 + b'"}'):
        for size in (7, 100_000):
            event = b"event: error\ndata: " + data + b"\n\n"
            observer = StreamObserver()
            for start in range(0, len(event), size):
                observer.feed(event[start : start + size])
            assert observer.ended
    assert not observed(b"event: error\n\n", b"event: errors\ndata: {}\n\n", b"data: event: error\n\n").ended


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
def test_close_returns_whether_the_last_event_lacks_its_blank_line(stream, ended):
    """Only complete data counts."""
    observer = StreamObserver()
    observer.feed(stream)
    assert observer.close() is ended


def test_an_error_is_a_failure_and_message_stop_is_not():
    """An event is an error by its name or its type, also if it is too long to be decoded."""
    long = b'data: {"type":"error","x":"' + b"x" * 70_000 + b'"}\n\n'
    for error in (ERROR, b"event: error\ndata: {}\n\n", b'data: {"error":{"code":500}}\n\n', long):
        assert observed(START, error).failed
    assert not observed(START, TEXT, END, STOP).failed


@pytest.mark.parametrize(
    "last", [STOP[:-1], ERROR[:-1], b'event: message_stop\r\ndata: {\r\ndata: "type":"message_stop"}\r\n']
)
def test_a_stream_is_over_with_the_data_of_its_last_event(last):
    """With or without a blank line after it."""
    observer = StreamObserver()
    observer.feed(START + last)
    assert observer.ended


def test_a_byte_order_mark_is_not_part_of_the_first_line():
    """In any other line it is not removed."""
    assert observed(b"\xef\xbb\xbf" + START.partition(b"\n")[2]).usage == {"input_tokens": 9, "output_tokens": 1}
    assert observed(START, b"\xef\xbb\xbf" + STOP.partition(b"\n")[2]).ended is False


def test_an_event_of_many_lines_is_read_in_linear_time():
    """Each of its lines may look like the last one; only the first few are decoded before the blank line."""
    line = b'data: "error","message_stop",\n'
    observer = StreamObserver()
    with cpu_bound(5):
        for _ in range(40):
            observer.feed(b'data: {"type":"later","a":[\n' + line * 2000 + b"data: 1]}\n\n")
    assert not observer.ended


def test_a_long_event_of_several_lines_ends_at_its_blank_line():
    """What follows its first 64 KiB is not kept, and is still a part of it."""
    observer = StreamObserver()
    observer.feed(b"data: " + b"x" * MAX_DECODED_BYTES + b'\ndata: {"type":"message_stop"}\n')
    observer.feed(b'data: {"type":"message_stop"}\n\n')
    assert not observer.ended
    observer.feed(b'data: {"type":"message_stop"}\n\n')
    assert observer.ended
