"""Encoding of events, and completion of truncated ones."""

import json

import anthropic
import httpx2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.streaming.sse import PING, TAIL_BYTES, encode_event, unfinished_frame


def test_an_event_is_named_after_its_type():
    """Clients may use the event line or the type."""
    assert encode_event({"type": "ping"}) == PING == b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (b"", b""),
        (b"data: 1\n\n", b""),
        (b"data: 1\r\n\r\n", b""),
        (b"data: 1\r\r", b""),
        (b"\n\n", b""),
        (b"data: 1\n", b"event: ping\n\n"),
        (b"data: 1\r\n", b"event: ping\n\n"),
        (b"data: 1\r", b"\nevent: ping\n\n"),
        (b"data: 1\r\n\r", b"\nevent: ping\n\n"),
        (b"\n", b"event: ping\n\n"),
        (b"d", b"\nevent: ping\n\n"),
        (b"data: 1", b"\nevent: ping\n\n"),
        (b"a\n\nb", b"\nevent: ping\n\n"),
    ],
)
def test_a_truncated_frame_is_completed(sent, end):
    """It becomes a ping, whose data clients ignore; a complete frame needs nothing."""
    assert unfinished_frame(sent[-TAIL_BYTES:]) == end


@given(st.characters(exclude_categories=["Cs", "Cc"]), st.sampled_from(["", "a", "\u00e9", "\u4f60", "\U0001f600"]))
@example("\u0800", "")
@example("\ud7ff", "")
@example("\U00010000", "")
@example("\U0010ffff", "")
def test_a_truncated_character_is_completed(character, before):
    """Wherever it was cut, the bytes are valid UTF-8."""
    sent = (before + character).encode()
    for cut in range(len(before.encode()), len(sent) + 1):
        (sent[:cut] + unfinished_frame(sent[:cut][-TAIL_BYTES:])).decode()


@pytest.mark.parametrize("sent", [b"\x80\x80\x80\x80", b"a\xff", b"\xc0", b"\xf5\x80", b"\xed\xa0"])
def test_invalid_utf8_is_left_as_it_is(sent):
    """The bytes are the upstream's; what follows is still a line of its own."""
    assert unfinished_frame(sent) == b"\nevent: ping\n\n"


STREAM = [
    {"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": []}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": '\u00e9\u4f60\U0001f600\\"\n'}},
    {"type": "message_stop"},
]
ERROR = encode_event({"type": "error", "error": {"type": "overloaded_error", "message": "no more"}})


def read_by_the_sdk(raw):
    """Return the events the official SDK makes of a stream, and what it raised."""

    def answer(_request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    events, raised = [], None
    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0) as client,
    ):
        stream = client.messages.create(
            model="m", max_tokens=9, stream=True, messages=[{"role": "user", "content": "hi"}]
        )
        try:
            for event in stream:
                events.append(event.type)  # noqa: PERF401 - those before the error count
        except Exception as error:  # noqa: BLE001 - which one is the question
            raised = error
    return events, raised


def lines(event, end, fields):
    data = json.dumps(event, ensure_ascii=False)
    named = {"event": f"event: {event['type']}", "data": f"data: {data}", "id": "id: 7", "comment": ": \u00e9"}
    return end.join([named[field] for field in fields] + ["", ""]).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("fields", [("event", "data"), ("data", "event"), ("comment", "event", "id", "data")])
def test_the_sdk_reads_an_error_after_a_stream_that_was_cut_anywhere(end, fields):
    """At every byte: the complete events, then the error, and never an error of its parser."""
    frames = [lines(event, end, fields) for event in STREAM]
    raw = b"".join(frames)
    whole = [len(b"".join(frames[: number + 1])) for number in range(len(frames))]
    for cut in range(len(raw) + 1):
        sent = raw[:cut]
        events, raised = read_by_the_sdk(sent + unfinished_frame(sent[-TAIL_BYTES:]) + ERROR)
        assert isinstance(raised, anthropic.APIStatusError), (sent[-30:], raised)
        assert raised.body["error"]["type"] == "overloaded_error"
        came = [event["type"] for event, end in zip(STREAM, whole, strict=True) if end <= cut]
        assert events[: len(came) - came.count("ping")] == [kind for kind in came if kind != "ping"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_sdk_reads_an_error_after_an_event_with_several_data_lines(end):
    """The first data line alone is not valid JSON."""
    sent = f'event: message_start{end}data: {{"type":"message_start",{end}'.encode()
    _, raised = read_by_the_sdk(sent + unfinished_frame(sent[-TAIL_BYTES:]) + ERROR)
    assert isinstance(raised, anthropic.APIStatusError)


@given(st.text() | st.text(st.characters(max_codepoint=127)), st.integers(0, 10**6))
@example("\u2028 \x7f \ud83d", 0)
def test_a_piece_of_text_is_encoded_as_any_other_event(text, index):
    """The ready frame for text has the bytes of the general encoder."""
    event = {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}
    assert encode_event(event) == b"event: content_block_delta\ndata: %s\n\n" % encode_json(event)
