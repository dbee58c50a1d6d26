"""The rules of HTTP on a tape: a recording follows them, an edited tape that does not is rejected with the place."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from messages_tape.cli.inspect import review
from messages_tape.core.steps import Recording
from messages_tape.errors import TapeFormatError
from messages_tape.files.store import open_tape
from messages_tape.format import file as tape_file
from messages_tape.format.file import dump, load
from messages_tape.secrets.scrub import Rules
from messages_tape.secrets.secret_values import SecretValues
from support.tapes import JSON, exchange, raw_request, response, tape

SCHEMA = jsonschema.Draft202012Validator(
    json.loads(Path(tape_file.__file__).with_name("tape.schema.json").read_text(encoding="utf-8"))
)


def tree(method="POST", status=200, how="complete", sent=None, **headers):
    """Return a tape of one exchange as parsed YAML; its response has the five bytes of "hello"."""
    one = exchange({"a": 1}, response("hel", "lo", headers={**JSON}), how=how, method=method)
    made = yaml.safe_load(dump(tape(one)))
    (found,) = made["exchanges"]
    found["response"]["headers"] |= {name.replace("_", "-"): value for name, value in headers.items()}
    found["response"]["status"] = status
    found["request"]["headers"] = sent or {}
    return made


def edited(change):
    """Return a tape that was changed by hand."""
    made = tree()
    change(made["exchanges"][0])
    return made


def text_of(made):
    return yaml.safe_dump(made, allow_unicode=False)


BROKEN = [
    (edited(lambda one: one.pop("response")), "exchanges.0: the end is complete, but there is no response"),
    (edited(lambda one: one.update(response=None)), "exchanges.0: the end is complete, but there is no response"),
    (tree(status=199), "exchanges.0.response.status: Input should be greater than or equal to 200"),
    (tree(status=600), "exchanges.0.response.status: Input should be less than 600"),
    (tree(status=0), "exchanges.0.response.status: "),
    (tree(x_a="1\r\nset-cookie: a"), "exchanges.0.response.headers: the value of header x-a has a line break"),
    (tree(x_a="1\n"), "exchanges.0.response.headers: the value of header x-a has a line break"),
    (tree(x_a="1\0"), "exchanges.0.response.headers: the value of header x-a has a line break, a control character"),
    (
        tree(x_a=" 1"),
        "exchanges.0.response.headers: the value of header x-a has a line break, a control character or a blank",
    ),
    (tree(x_a="1\t"), "exchanges.0.response.headers: the value of header x-a has"),
    (tree(**{"x a": "1"}), "exchanges.0.response.headers: 'x a' is not a valid header name"),
    (tree(**{"x\n": "1"}), "exchanges.0.response.headers: 'x\\n' is not a valid header name"),
    (tree(**{"": "1"}), "exchanges.0.response.headers: '' is not a valid header name"),
    (tree(**{"x:": "1"}), "exchanges.0.response.headers: 'x:' is not a valid header name"),
    (tree(sent={"accept": "a\nb"}), "exchanges.0.request.headers: the value of header accept has a line break"),
    (edited(lambda one: one["response"].update(after=-0.5)), "exchanges.0.response.after: a duration is a number"),
    (edited(lambda one: one["end"].update(after=-1)), "exchanges.0.end.after: a duration is a number"),
    (edited(lambda one: one["response"]["chunks"].append([-1, "x"])), "exchanges.0.response.chunks.2: a duration is"),
    (edited(lambda one: one["response"]["chunks"].append([1e10, "x"])), "exchanges.0.response.chunks.2: a duration is"),
]
WRONG_LENGTHS = [
    (tree(content_length="4"), "exchanges.0: the header content-length says 4 bytes, but the chunks have 5"),
    (tree(content_length="6"), "exchanges.0: the header content-length says 6 bytes, but the chunks have 5"),
    (tree(content_length="4", how="reset"), "exchanges.0: the header content-length says 4 bytes, but the chunks"),
    (tree(content_length="five"), "exchanges.0: the header content-length is not a number"),
    (tree(content_length="-5"), "exchanges.0: the header content-length is not a number"),
    (tree(content_length="5, 5"), "exchanges.0: the header content-length is not a number"),
    (tree(content_length="4", method="HEAD"), "exchanges.0: the header content-length says 4"),
]


@pytest.mark.parametrize(("made", "complaint"), BROKEN + WRONG_LENGTHS, ids=str)
def test_a_tape_that_cannot_be_played_is_rejected_with_the_place(made, complaint, tmp_path):
    """By ``check`` and by opening it, with the same message."""
    text = text_of(made)
    (line,) = review(text)
    assert line.startswith(complaint)
    assert line.endswith("; correct the file, or record the tape again")
    (tmp_path / "t.tape.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(TapeFormatError) as raised:
        open_tape(tmp_path, "t")
    assert str(raised.value).startswith(f"t.tape.yaml: {complaint}")


@pytest.mark.parametrize("made", [made for made, _ in BROKEN], ids=str)
def test_the_schema_rejects_it_as_well(made):
    """Except for lengths, which a schema cannot add up."""
    assert not SCHEMA.is_valid(made)


@pytest.mark.parametrize(
    "made",
    [
        tree(),
        tree(content_length="5"),
        tree(content_length="6", how="reset"),
        tree(content_length="6", how="client_closed"),
        tree(status=599),
        tree(x_a=""),
        tree(x_a="a\tb"),
        tree(x_a="caf\u00e9"),
        edited(lambda one: (one.pop("response"), one["end"].update(how="reset"))),
    ],
    ids=str,
)
def test_a_tape_that_can_be_played_has_no_findings(made):
    assert review(text_of(made)) == []
    assert SCHEMA.is_valid(made)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
def test_a_response_without_a_body_may_have_a_content_length(method, status):
    one = exchange(answer=response(status=status, headers={"content-length": "5"}), method=method)
    assert review(dump(tape(one))) == []


def recorded(status, *pieces, **headers):
    """Return the exchange of a recorded response."""
    one = Recording(raw_request({"a": 1}), 0.0)
    one.head(status, [(name.replace("_", "-"), value) for name, value in headers.items()], 0.0)
    for piece in pieces:
        one.chunk(piece, 0.0)
    one.stop(None, 0.0)
    return load(dump(tape(one.exchange(Rules(), SecretValues(), 1)))).exchanges[0]


@pytest.mark.parametrize("status", [101, 600, 999])
def test_an_invalid_status_is_recorded_as_a_reset(status):
    """The rest of the recording is kept."""
    one = recorded(status, b"x")
    assert (one.response, one.end.how, one.end.error) == (None, "reset", "RemoteProtocolError")
    assert str(status) in one.end.message


def test_a_wrong_content_length_is_not_recorded():
    """Transports without a network do not check it; a server could not play it."""
    assert recorded(200, b"hello", content_length="4").response.headers == {}
    assert recorded(200, b"hello", content_length="5").response.headers == {"content-length": "5"}


def test_control_characters_in_a_header_are_not_recorded():
    """Lenient clients accept them."""
    assert recorded(200, content_type="text/\x01plain ").response.headers == {"content-type": "text/ plain"}
