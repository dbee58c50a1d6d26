"""A key in any place is not written to a file: it is blanked, or the tape is not saved."""

import base64
import json

import pytest

from messages_tape import Mode, TapeSelection, TapeServer, TapeTransport, UnsafeTapeError, serving, use_tape
from support.scripted_upstream import responds, streamed
from support.tapes import JSON, events
from support.wire_client import CLIENTS

OPAQUE = "7f3c9ab2d41e4c0fa8f5f167f44f4964"
"""Has no recognizable form: only the place where it is sent shows that it is a key."""
TELLING = "sk-ant-api03-planted0key0of0tests"
"""Is recognized as a key in any place."""
KEYS = [OPAQUE, TELLING]
PART = 12
"""No part of a key with this many characters may be written."""
CLIENT = CLIENTS["httpx-async"]


@pytest.fixture(scope="module")
def through_transport(wire, tmp_path_factory):
    """Records one exchange inside the program; returns the folder and why it was not saved."""

    def record(path, **request):
        """Record an exchange through either adapter; return the text of the tape and why it was not saved."""
        folder = tmp_path_factory.mktemp("transport")
        try:
            with use_tape(folder, "planted", Mode.REWRITE) as session:
                CLIENT.get(wire.address + path, transport=TapeTransport(session), **request)
        except UnsafeTapeError as error:
            return folder, str(error)
        return folder, ""

    return record


@pytest.fixture(scope="module")
def through_server(wire, tmp_path_factory):
    """Does the same through a tape server between the program and the upstream."""
    folder = tmp_path_factory.mktemp("server")
    selection = TapeSelection(folder, Mode.REWRITE, upstream=wire.address)
    with serving(TapeServer(selection)) as url:

        def record(path, **request):
            for tape in folder.iterdir():
                tape.unlink()
            selection.select("planted")
            CLIENT.get(url + path, **request)
            return folder, selection.eject().refused

        yield record


@pytest.fixture(params=["through_transport", "through_server"])
def record(request, wire):
    """Records an exchange through either adapter; gives the text of the tape and why it was refused."""
    through = request.getfixturevalue(request.param)

    def recorded(path="/v1/x", script=None, body=None, headers=None):
        wire.scripts[path.partition("?")[0]] = script or responds(b"{}")
        folder, refused = through(path, method="POST", json=body or {"a": 1}, headers=headers or {})
        text = "".join(one.read_text(encoding="utf-8") for one in folder.iterdir())
        assert bool(text) != bool(refused)
        for key in KEYS:
            for at in range(len(key) - PART):
                assert key[at : at + PART] not in text
                assert key[at : at + PART] not in refused
        return text, refused

    return recorded


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("name", "before"), [("x-api-key", ""), ("authorization", "Bearer "), ("cookie", "session="), ("api-key", "")]
)
def test_in_a_header(wire, record, name, before, key):
    """The upstream gets it, the tape does not."""
    text, _ = record(headers={name: before + key})
    assert wire.requests[-1].headers[name] == before + key
    assert name not in text


@pytest.mark.parametrize("key", KEYS)
def test_in_a_header_that_is_kept(record, key):
    """The beta header is kept, a key in it is not."""
    text, _ = record(headers={"x-api-key": key, "anthropic-beta": f"a,{key},b"})
    assert "a,REDACTED,b" in text


@pytest.mark.parametrize("key", KEYS)
def test_in_a_url(wire, record, key):
    text, _ = record(f"/v1/x?key={key}&alt=sse")
    assert f"key={key}" in wire.requests[-1].target
    assert 'query: "key=REDACTED&alt=sse"' in text
    text, _ = record(f"/v1/{key}/x", headers={"x-api-key": key})
    assert "path: /v1/REDACTED/x" in text


@pytest.mark.parametrize("key", KEYS)
def test_in_a_body(wire, record, key):
    """In a field for keys, and in the text of a prompt."""
    body = {"api_key": key, "messages": [{"content": f"my key is {key}"}]}
    text, _ = record(body=body)
    assert json.loads(wire.requests[-1].body) == body
    assert "api_key: REDACTED" in text
    assert 'content: "my key is REDACTED"' in text


@pytest.mark.parametrize("key", KEYS)
def test_in_the_headers_of_a_response(record, key):
    headers = {**JSON, "set-cookie": f"session={key}", "x-api-key": key, "retry-after": key}
    text, _ = record(script=streamed(b"{}", headers=headers), headers={"x-api-key": key})
    assert "retry-after: REDACTED" in text
    assert "set-cookie" not in text


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("cut", [0, 1, 7, 20])
def test_in_a_response_whole_or_split_over_two_chunks(record, key, cut):
    """The key is replaced by stars, so that every chunk keeps its length."""
    first, second = f'data: "{key[:cut]}'.encode(), f'{key[cut:]}"\n\n'.encode()
    text, _ = record(script=streamed(first, second), headers={"authorization": f"Bearer {key}"})
    assert f'data: \\"{"*" * cut}"]' in text
    assert f', "{"*" * (len(key) - cut)}\\"\\n\\n"]' in text


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_in_the_text_of_a_model(record, key, count):
    """A key that is split over events cannot be blanked with certainty, so the tape is not saved."""
    size = -(-len(key) // count)
    deltas = [{"choices": [{"delta": {"content": key[at : at + size]}}]} for at in range(0, len(key), size)]
    script = streamed(*(piece.encode() for piece in events(*deltas)))
    text, refused = record(script=script, headers={"x-api-key": key})
    if count == 1:
        assert "*" * len(key) in text
    else:
        assert refused.startswith('tape "planted" was not saved, it contains what looks like a credential:\n')
        assert "exchange 1, response body, choices.delta.content joined: " in refused


@pytest.mark.parametrize(
    "write",
    [
        lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
        lambda key: key.replace("a", "\\u0061"),
        lambda key: "".join(f"%{ord(char):02x}" for char in key),
    ],
)
@pytest.mark.parametrize("key", KEYS)
def test_in_another_encoding(record, key, write):
    """Base64, JSON escapes and percent-encoding."""
    script = responds(b'{"error": "bad key %s"}' % write(key).encode())
    assert "exchange 1, response body" in record(script=script, headers={"x-api-key": key})[1]


@pytest.mark.parametrize(
    ("place", "record_it"),
    [
        ("request path", lambda record: record(f"/v1/{TELLING}")),
        ("request query", lambda record: record(f"/v1/x?q={TELLING}")),
        ("request header anthropic-beta", lambda record: record(headers={"anthropic-beta": TELLING})),
        ("request body, messages.0.content", lambda record: record(body={"messages": [{"content": f"a {TELLING}"}]})),
        ("response header retry-after", lambda record: record(script=streamed(b"x", headers={"retry-after": TELLING}))),
        (
            "response body",
            lambda record: record(script=streamed(b"data: " + TELLING[:9].encode(), TELLING[9:].encode())),
        ),
    ],
)
def test_a_key_that_was_not_sent_as_a_credential_prevents_saving(record, place, record_it):
    """Its exact extent is unknown, so a person has to look."""
    text, refused = record_it(record)
    assert not text
    assert f"  exchange 1, {place}: a key that begins with sk- ({len(TELLING)} characters)\n" in refused
    assert "Record it with made-up values in these places" in refused


def test_a_compressed_response_prevents_saving(record):
    """It was requested without compression, and cannot be scanned."""
    _, refused = record(script=streamed(b"\x1f\x8b", headers={**JSON, "content-encoding": "gzip"}))
    assert "exchange 1, response body: cannot be scanned, it is compressed with gzip" in refused
