"""Tapes as files: readable, one chunk per line, and without loss for any bytes."""

import json
import string
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from messages_tape.errors import TapeFormatError
from messages_tape.format import file as tape_file
from messages_tape.format.file import dump, json_schema, load
from messages_tape.format.model import (
    Body,
    Chunk,
    End,
    Exchange,
    Ignore,
    Request,
    Response,
    Tape,
    Upstream,
    header_value,
)
from support.tapes import exchange, request, response, tape

SCHEMA = Path(tape_file.__file__).with_name("tape.schema.json")

HELLO = Tape(
    upstream=Upstream(kind="llama.cpp", model="tiny", date="2026-11-20"),
    ignore=Ignore(body=("metadata.user_id",)),
    exchanges=(
        Exchange(
            request=request(
                {
                    "model": "tiny",
                    "max_tokens": 16,
                    "temperature": 1e-7,
                    "stream": True,
                    "system": "You are\n  a tape.\n",
                    "messages": [{"role": "user", "content": [{"type": "text", "text": 'Say "hi"'}]}],
                    "stop_sequences": [],
                    "n": None,
                },
                query="beta=true",
                **{"content-type": "application/json"},
            ),
            response=Response(
                status=200,
                after=0.041,
                headers={"content-type": "text/event-stream"},
                chunks=(
                    Chunk(0.2, b'data: {"a":1}\n\n'),
                    Chunk(0.201, b'data: {"a":"\xc3'),
                    Chunk(0.0, b'\xa4"}\n\n'),
                    Chunk(0.5, "data: \u4f60\u2028\n\n".encode()),
                ),
            ),
            end=End(how="reset", after=0.1, error="RemoteProtocolError", message="peer closed: connection"),
        ),
    ),
)

TEXT = """\
# A tape: what an upstream was asked and what it answered. The format is described in docs/tapes.md.
tape: 1
upstream:
  kind: llama.cpp
  model: tiny
  date: "2026-11-20"
ignore:
  query: []
  body:
  - metadata.user_id
exchanges:
- request:
    method: POST
    path: /v1/messages
    query: "beta=true"
    headers:
      content-type: application/json
    body:
      json:
        model: tiny
        max_tokens: 16
        temperature: 1.0e-07
        stream: true
        system: |
          You are
            a tape.
        messages:
        - role: user
          content:
          - type: text
            text: "Say \\"hi\\""
        stop_sequences: []
        "n": null
  response:
    status: 200
    after: 0.041
    headers:
      content-type: text/event-stream
    chunks:
    - [0.2, "data: {\\"a\\":1}\\n\\n"]
    - [0.201, {base64: "ZGF0YTogeyJhIjoiww=="}]
    - [0.0, {base64: "pCJ9Cgo="}]
    - [0.5, "data: \u4f60\\u2028\\n\\n"]
  end:
    how: reset
    after: 0.1
    error: RemoteProtocolError
    message: "peer closed: connection"
"""


def test_a_tape_is_readable_text_with_a_line_for_each_chunk():
    """Only chunks that are not valid UTF-8 are base64: the halves of a split character."""
    assert dump(HELLO) == TEXT


def test_a_tape_survives_writing_and_reading():
    assert load(TEXT) == HELLO


def test_an_empty_tape_has_empty_ignore_lists():
    assert "ignore:\n  query: []\n  body: []\n" in dump(Tape())
    assert load(dump(Tape())) == Tape()


def test_a_yaml_1_1_reader_gets_the_same_values():
    """A tape uses no special YAML: the safe loader for YAML 1.1 gives the same values."""
    tree = yaml.safe_load(TEXT)
    (only,) = tree["exchanges"]
    assert only["request"]["body"]["json"] == HELLO.exchanges[0].request.body.value
    assert only["response"]["chunks"][0] == [0.2, 'data: {"a":1}\n\n']
    assert tree["upstream"]["date"] == "2026-11-20"


def test_the_committed_schema_is_up_to_date():
    """Formatted like the output of ``python -m json.tool``; see docs/tapes.md."""
    assert SCHEMA.read_text() == json.dumps(json_schema(), indent=2) + "\n"


def test_a_tape_matches_the_schema():
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    jsonschema.Draft202012Validator.check_schema(validator.schema)
    validator.validate(yaml.safe_load(TEXT))


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(tape=2),
        lambda tree: tree["exchanges"][0]["response"]["chunks"].append(["soon", "x"]),
        lambda tree: tree["exchanges"][0]["response"]["chunks"].append([0.1, "x", "y"]),
        lambda tree: tree["exchanges"][0]["response"]["chunks"].append([-1, "x"]),
        lambda tree: tree["exchanges"][0]["response"]["chunks"].append([0, {"base32": "x"}]),
        lambda tree: tree["exchanges"][0]["end"].update(how="somehow"),
        lambda tree: tree["exchanges"][0].pop("request"),
        lambda tree: tree["exchanges"][0]["response"].update(status=20),
        lambda tree: tree["exchanges"][0]["request"].update(body={"json": 1, "text": "x"}),
        lambda tree: tree["exchanges"][0]["request"].update(body={}),
        lambda tree: tree["exchanges"][0]["request"].update(body={"yaml": 1}),
    ],
)
def test_the_schema_and_the_reader_reject_the_same_tapes(change):
    tree = yaml.safe_load(TEXT)
    change(tree)
    assert not jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(tree)
    with pytest.raises(TapeFormatError):
        load(yaml.safe_dump(tree))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "not YAML"),
        ("- 1\n", "not a tape"),
        ("", "not a tape"),
        ("tape: true\n", "not a tape"),
        ("tape: one\n", "not a tape"),
        ("tape: 2\nexchanges: 7\n", "format 2 is not supported, only format 1"),
        (
            "tape: 1\nexchanges:\n- request: {method: GET}\n  end: {how: complete}\n",
            "exchanges.0.request.path: Field req",
        ),
        (
            TEXT.replace("[0.2,", "[fast,"),
            "exchanges.0.response.chunks.0: a duration is a number of seconds, from 0 to 1000000000",
        ),
        (TEXT.replace("[0.2,", "[true,"), "exchanges.0.response.chunks.0: a duration is"),
        (TEXT.replace("pCJ9Cgo=", "?"), "exchanges.0.response.chunks.2: "),
        (TEXT.replace('"n": null', "1: null"), "exchanges.0.request.body: the key 1 is not text; quote it"),
    ],
)
def test_an_invalid_tape_is_rejected_with_the_place(text, complaint):
    with pytest.raises(TapeFormatError) as raised:
        load(text)
    assert complaint in str(raised.value)


def test_unknown_keys_survive_a_rewrite():
    """Format 1 is open for newer versions and for people."""
    text = TEXT.replace("  kind: llama.cpp", "  gpu: none\n  kind: llama.cpp") + "  note: seen twice\n"
    kept = dump(load(text))
    assert "  gpu: none\n" in kept
    assert "  note: " in kept
    assert load(kept) == load(text)


def test_a_date_written_without_quotes_is_text():
    assert load(TEXT.replace('"2026-11-20"', "2026-11-20")) == HELLO


def test_the_text_is_the_same_without_the_c_library():
    """PyYAML may be installed without libyaml; then its Python code reads tapes."""
    code = (
        "import yaml; del yaml.CSafeLoader\n"
        "import sys; from messages_tape.format.file import dump, load\n"
        "text = sys.stdin.buffer.read().decode(); assert dump(load(text)) == text"
    )
    subprocess.run([sys.executable, "-c", code], input=TEXT.encode(), check=True, timeout=60)


PIECES = st.one_of(st.binary(min_size=1), st.text(min_size=1).map(lambda text: text.encode("utf-8", "replace")))
SECONDS = st.floats(0, 1e9)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.sampled_from([
        "no", "2026-11-20", "1e5", "~", "", "a\nb", " a\nb", "a \nb", "a\n\n", "|", "# x\ny", "---\n...", "<<",
        "a\tb\nc", "a\u2028b", "x: y\n- z\n", "\ufeff", "\x85", "0x1", "1_0", "12:30", ".inf", "=", "!!x",
    ])
)  # fmt: skip
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=128) | st.sampled_from(
    ["y", "1", "<<", "a b", "null"]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.lists(st.tuples(SECONDS, PIECES), max_size=6), SECONDS)
def test_any_bytes_and_timings_survive(chunks, after):
    """Whatever an upstream sends, and however slowly."""
    answer = Response(status=200, after=after, chunks=tuple(Chunk(*chunk) for chunk in chunks))
    one = Tape(exchanges=(Exchange(request=request(), response=answer, end=End(how="complete", after=after)),))
    text = dump(one)
    assert load(text) == one
    assert text.count("\n    - [") == len(chunks)


@given(VALUES)
def test_any_json_survives(value):
    """With the same values and types."""
    one = tape(exchange(Body("json", value)))
    back = load(dump(one)).exchanges[0].request.body.value
    assert json.dumps(back) == json.dumps(value)


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_body_and_text_survives(raw, text):
    one = Tape(
        upstream=Upstream(kind=text),
        exchanges=(
            Exchange(
                request=Request(
                    method="POST", path=text, query=text, headers={"x": header_value(text)}, body=Body.of(raw)
                ),
                end=End(how="reset", error=text, message=text),
            ),
        ),
    )
    assert load(dump(one)) == one


def test_a_value_that_yaml_cannot_hold_is_a_programming_error():
    with pytest.raises(TypeError, match="a tape cannot hold bytes"):
        dump(Tape.model_validate({"tape": 1, "extra": b"x"}))


def test_lists_of_numbers_are_one_line():
    """Embedding requests contain thousands of numbers."""
    assert "        input: [1, 2, 3]\n" in dump(tape(exchange({"input": [1, 2, 3]})))
    assert "        - true\n" in dump(tape(exchange({"input": [True, [1, "a"], {}]})))


DEEP = 100_000


@pytest.mark.parametrize("base", ["the loader in C", "the loader in Python"])
def test_very_deep_nesting_is_rejected_and_does_not_crash(base):
    """In a process of its own, because the loader in C would crash it."""
    code = (
        "import sys, yaml\n"
        f"if {base!r}.endswith('Python'): del yaml.CSafeLoader\n"
        "from messages_tape.format.file import load\n"
        "from messages_tape.errors import TapeFormatError\n"
        f"for deep in ('[' * {DEEP}, '{{a: ' * {DEEP}, '\\n- ' + '- ' * {DEEP}, '[' * {DEEP} + ']' * {DEEP}):\n"
        "    try:\n"
        "        load('tape: 1\\na: ' + deep)\n"
        "    except TapeFormatError as error:\n"
        "        print(str(error).split(chr(10))[0], 'line' in str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "not YAML: nested deeper than 100 levels True\n" * 4


def test_a_body_of_64_levels_is_readable():
    value = "x"
    for _ in range(64):
        value = [value]
    one = tape(exchange(Body("json", value)))
    assert load(dump(one)) == one


def test_a_response_may_have_ten_thousand_chunks():
    """Ten thousand chunks are written and read in seconds."""
    many = tape(exchange(answer=response(*[f"data: {number}\n\n" for number in range(10_000)])))
    assert load(dump(many)) == many


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tape: 1\nexchanges: []\nexchanges: []\n", "duplicate key 'exchanges'"),
        ("tape: 1\nupstream:\n  kind: a\n  kind: b\n", "duplicate key 'kind'"),
        (f"tape: 1\nnote: {'9' * 5000}\n", "not readable"),
        ("tape: 1\nnote: &a [*a]\n", "aliases"),
        (
            "tape: 1\na: &a [x, x]\n"
            + "".join(f"{c}: &{c} [*{b}, *{b}]\n" for b, c in pairwise(string.ascii_lowercase)),
            "aliases",
        ),
    ],
)
def test_ambiguous_yaml_is_rejected(text, words):
    """Duplicate keys, as a merge may leave them; huge numbers; aliases, also recursive ones."""
    with pytest.raises(TapeFormatError, match=words):
        load(text)
