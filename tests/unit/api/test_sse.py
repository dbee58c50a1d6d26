"""Encoding of events."""

import json

import pytest

from llama_stack_api_messages.sse import PING, encode_event, encode_json


def test_an_event_is_named_after_its_type():
    """Clients that go by the event line and clients that go by the type see the same."""
    assert encode_event({"type": "ping"}) == PING == b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize(
    "text", ["plain", "Gr\u00fc\u00dfe", "\u4f60\u597d", "a\nb", "\u2028\u2029\u0085", "\ud83d", "\U0001f600"]
)
def test_any_text_survives_in_one_line(text):
    """No character breaks the line for any client, and all of them come back."""
    data = encode_json({"text": text})
    assert len(data.decode().splitlines()) == 1
    assert json.loads(data) == {"text": text}


def test_text_stays_readable():
    """Letters of other scripts are not escaped."""
    assert encode_json("\u4f60") == '"\u4f60"'.encode()


@pytest.mark.parametrize("text", ["plain", "\u4f60", "\u2028"])
def test_numbers_that_json_does_not_have_are_null(text):
    """Infinity and NaN are no JSON: one of them would make the whole answer unreadable."""
    data = encode_json({"a": [float("inf"), -float("inf"), float("nan"), 1.5], "text": text})
    assert json.loads(data, parse_constant=pytest.fail) == {"a": [None, None, None, 1.5], "text": text}
