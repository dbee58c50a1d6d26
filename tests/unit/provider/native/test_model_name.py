"""The model name in relayed responses."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.json_members import members
from llama_stack_provider_messages.native import model_name as module
from llama_stack_provider_messages.native.model_name import ModelNameRewriter, with_client_model

NAME = 'asked/"x"'
HEAD = b'data: {"type":"message_start","message":{"id":"m",'
REST = b',"content":[],"usage":{"model":"no"}}}\n\nevent: content_block_start\ndata: {"model":"no"}\n\n'
STREAMS = {
    "plain": (b"event: message_start\n" + HEAD + b'"model":', b'"up-\\"s\\u0031"', REST),
    "spaced": (b'data: { "type" : "message_start" , "message" : { "model" : ', b'"up"', b" , " + REST[1:]),
    "after nesting": (HEAD + b'"content":[{"model":"no","x":[[1,{"a":"}"}]]}],"model":', b'"up"', b',"z":1}}\n\n'),
    "named": (b'event: message_start\ndata: {"message":{"model":', b'"up"', b'},"type":"message_start"}\n\n'),
    "CRLF": (b'event: message_start\r\ndata: {"message":{"model":', b'"up"', b"}}\r\n\r\n"),
    "after a ping": (b'event: ping\ndata: {"type":"ping"}\n\n' + HEAD + b'"model":', b'"up"', REST),
    "on lines": (b'event: message_start\ndata: {"message":\ndata: {"model":\ndata: ', b'"up"', b"}}\n\n"),
    "after another event": (
        b'event: odd\ndata: {"type":"odd","message":{"model":"no"}}\n\n' + HEAD + b'"model":',
        b'"up"',
        REST,
    ),
}


def relayed(pieces):
    rewriter = ModelNameRewriter(NAME)
    out = [piece if rewriter.done else rewriter.feed(piece) for piece in pieces]
    return out, rewriter.close()


@pytest.mark.parametrize("case", STREAMS)
def test_the_name_is_replaced_at_any_partition_of_the_bytes(case):
    """Two chunks, cut at every position, and chunks of one byte."""
    before, name, after = STREAMS[case]
    stream, right = before + name + after, before + json.dumps(NAME).encode() + after
    for cut in range(len(stream) + 1):
        out, rest = relayed([stream[:cut], stream[cut:]])
        assert b"".join(out) + rest == right
    out, rest = relayed([bytes([byte]) for byte in stream])
    assert b"".join(out) + rest == right


@pytest.mark.parametrize("case", STREAMS)
def test_only_the_data_of_the_first_events_is_held_until_the_blank_line(case):
    """All other bytes pass as they arrive: comments, event names, and everything after the replaced name."""
    before, name, after = STREAMS[case]
    rewriter, stream, event = ModelNameRewriter(NAME), before + name + after, b""
    for byte in (bytes([number]) for number in stream):
        sent, done = rewriter.feed(byte), rewriter.done
        event += byte
        if event.endswith((b"\n\n", b"\r\n\r")):
            held = event[event.index(b"data:") + len(b"data:") :]
            assert sent == (held.replace(name, json.dumps(NAME).encode()) if name in held else held)
            assert done is (name in held)
            event = b""
        else:
            assert sent == (b"" if b"data:" in event[:-1] else byte)
        if done:
            break
    assert rewriter.feed(b"da") == b"da"


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"<html>",
        b'event: message_start\ndata: {"type":"message_start","message":{"model":null}}\n\n' + REST,
        b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n' + REST,
        HEAD + b'"model":"half',
        b"\x00" * 20_000 + HEAD + b'"model":"too late"' + REST,
    ],
)
def test_a_stream_without_a_model_name_passes_unchanged(stream):
    """No byte is lost, even if the stream ends in the middle of the name."""
    for size in (1, 7, 20_000):
        out, rest = relayed([stream[start : start + size] for start in range(0, len(stream), size)])
        assert b"".join(out) + rest == stream


@settings(max_examples=200, derandomize=True)
@given(st.binary(max_size=200), st.integers(1, 9))
def test_garbage_passes_unchanged(data, size):
    """Any bytes, in chunks of any size."""
    out, rest = relayed([data[start : start + size] for start in range(0, len(data), size)])
    assert b"".join(out) + rest == data


def test_the_search_ends_with_the_first_block_or_after_16_kib():
    """All further bytes pass without being searched."""
    rewriter = ModelNameRewriter(NAME)
    rewriter.feed(b'data: {"type":"content_block_start"}\n\n')
    assert rewriter.done
    rewriter = ModelNameRewriter(NAME)
    rewriter.feed(b": comment\n" * 2_000)
    assert rewriter.done


def test_the_name_of_a_message_is_replaced_at_its_top_level_only():
    """A ``model`` inside a block, and everything else, stays."""
    body = b'{"content":[{"model":"no"}], "model" : "up", "n":1.0}'
    assert (
        with_client_model(body, members(body), NAME)
        == b'{"content":[{"model":"no"}], "model" : "asked/\\"x\\"", "n":1.0}'
    )
    assert with_client_model(body, members(body), "up") == body
    nameless = b'{"content":[],"model":null}'
    assert with_client_model(nameless, members(nameless), NAME) == nameless


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("space", [b"", b" "])
def test_message_start_is_recognised_by_its_event_name(ends, space):
    """Writers that sort keys put the type after the message; any line ends are allowed."""
    stream = b'event:%smessage_start\ndata: {"message":{"model":"up"},"type":"message_start"}\n\n' % space
    rewriter = ModelNameRewriter(NAME)
    expected = stream.replace(b'"up"', json.dumps(NAME).encode()).replace(b"\n", ends)
    assert rewriter.feed(stream.replace(b"\n", ends)) == expected
    assert rewriter.done


def test_a_name_after_the_limit_is_treated_alike_at_any_partition():
    """The limit counts bytes, whether they arrive in small chunks or in one."""
    stream = b'data: {"type":"message_start","message":{"x":"%s","model":"up"}}\n\n' % (b"x" * 20_000)
    whole, parts = ModelNameRewriter(NAME), ModelNameRewriter(NAME)
    chunks = (stream[start : start + 1_000] for start in range(0, len(stream), 1_000))
    assert whole.feed(stream) == b"".join(chunk if parts.done else parts.feed(chunk) for chunk in chunks)


def test_a_name_without_an_end_is_not_buffered():
    """The memory for an upstream that never ends the name is bounded."""
    rewriter = ModelNameRewriter(NAME)
    passed = len(rewriter.feed(b'data: {"type":"message_start","message":{"model":"'))
    passed += sum(len(rewriter.feed(b"x" * 1_000)) for _ in range(100))
    assert passed > 50_000


@pytest.mark.parametrize(
    ("stream", "changed"),
    [
        (b'data: {"message":{"model":"up"},"type":"message_start"}\n\n', True),
        (b'data: {"message":{"type":"message","model":"up"}}\n\n', True),
        (b'event: odd\ndata: {"message":{"model":"up"},"type":"message_start"}\n\n', True),
        (b'event: odd\ndata: {"message":{"model":"up"}}\n\n', False),
        (b'data: {"type":"odd","message":{"model":"up"}}\n\n', False),
        (b'event: odd\ndata: {"type":"message_start","message":{"model":"up"}}\n\n', True),
        (b': data: {"message":{"model":"up"}}\n\n', False),
    ],
)
def test_message_start_is_recognised_by_type_then_name_then_shape(stream, changed):
    """Without a type the event's name decides, and without both its member ``message``."""
    expected = stream.replace(b'"up"', json.dumps(NAME).encode()) if changed else stream
    for cut in range(len(stream)):
        out, rest = relayed([stream[:cut], stream[cut:]])
        assert b"".join(out) + rest == expected


@pytest.mark.parametrize(
    "piece", [b"\ndata:" * 9, b'data: {"message":{"x":"model",', b'"model"', b'\ndata: {"model":[[[', b'"model" :']
)
@pytest.mark.parametrize("end", [b"", b"\n\n"])
def test_each_event_is_parsed_once_at_any_partition(piece, end, monkeypatch):
    """Three hundred chunks of nine lines held the server for half a minute, because each chunk was a new search."""
    parsed = []
    monkeypatch.setattr(module, "members", lambda data: parsed.append(data) or members(data))
    rewriter, stream = ModelNameRewriter(NAME), piece * 1_000 + end
    sent = [rewriter.feed(bytes([byte])) for byte in stream]
    assert b"".join(sent) + rewriter.close() == stream
    assert len(parsed) <= 1 + len(end)


def test_the_events_before_message_start_share_one_limit():
    """A thousand pings are longer than the 16 KiB that are searched."""
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    rewriter, stream = ModelNameRewriter(NAME), ping * 1_000 + HEAD + b'"model":"up"}}\n\n'
    assert rewriter.feed(stream) == stream
    assert rewriter.done


@pytest.mark.parametrize(
    "stream",
    [
        b'\xef\xbb\xbfdata: {"type":"message_start","message":{"model":"up"}}\n\n',
        b'\xef\xbb\xbfevent: message_start\ndata: {"message":{"model":"up"}}\n\n',
        b'data: {"meta":{"type":"x"},"type":"message_start","message":{"model":"up"}}\n\n',
        b'event: ping\ndata: {"type":"ping","note":"message_stop"}\n\n' + HEAD + b'"model":"up"}}\n\n',
        b'data: {"type":"message_start","message":{"id":"message_stop","x":"type","model":"up"}}\n\n',
        b'data: {"type":"message_start","message":{"id":"model","x":{"model":1},"model":"up"}}\n\n',
    ],
)
def test_lookalikes_do_not_hide_the_name(stream):
    """A byte order mark, nested types, and values that equal names of events and members; at any partition."""
    expected = stream.replace(b'"up"', json.dumps(NAME).encode())
    for cut in range(len(stream)):
        out, rest = relayed([stream[:cut], stream[cut:]])
        assert b"".join(out) + rest == expected
    out, rest = relayed([bytes([byte]) for byte in stream])
    assert b"".join(out) + rest == expected
