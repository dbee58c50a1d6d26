"""Writing of JSON that every client can read, and reading of JSON that may be invalid."""

import json
import math

import pytest

from llama_stack_api_messages.json_bytes import JSONConstantError, encode_json, loads_or_none, reject_constant


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
    """Infinity and NaN are not valid JSON: one of them would make the whole response unreadable."""
    data = encode_json({"a": [float("inf"), -float("inf"), float("nan"), 1.5], "text": text})
    assert json.loads(data, parse_constant=pytest.fail) == {"a": [None, None, None, 1.5], "text": text}


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"nonsense", b"\xff", b"[" * 1_000_000, b'{"a":' * 100_000, b"1" * 5_000, "[1,]", b"[] []"],
    ids=["empty", "cut off", "a word", "not UTF-8", "deep list", "deep object", "long integer", "comma", "two values"],
)
def test_unreadable_json_is_none(data):
    """Whether it is invalid, nested too deeply or has an integer that Python does not convert."""
    assert loads_or_none(data) is None


@pytest.mark.parametrize(
    ("data", "value"),
    [(b"null", None), ("1", 1), (b'{"a": [true]}', {"a": [True]}), ('"\u00e9"'.encode("utf-16"), "\u00e9")],
)
def test_readable_json_is_its_value(data, value):
    """JSON text or bytes give their value; ``null`` gives None, as unreadable JSON does."""
    assert loads_or_none(data) == value


def test_numbers_that_json_does_not_have_are_read():
    """Some backends write them; they become null when they are written again."""
    value = loads_or_none(b"[NaN, Infinity, -Infinity]")
    assert math.isnan(value[0])
    assert value[1:] == [math.inf, -math.inf]
    assert encode_json(value) == b"[null,null,null]"


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_a_decoder_can_reject_the_numbers_that_json_does_not_have(name):
    """The error names the number."""
    with pytest.raises(JSONConstantError, match=f"{name} is not a number"):
        json.loads(f"[{name}]", parse_constant=reject_constant)
