"""The scan before saving: nothing that looks like a credential is written to a file."""

import base64
import gzip
import json
import zlib

import pytest

from messages_tape.format.model import Body, End, Ignore, Upstream, header_value
from messages_tape.secrets.scan import credentials_in, hide, scan, scan_text
from messages_tape.secrets.secret_values import SecretValues
from support.attacks import cpu_bound
from support.tapes import JSON, SSE, events, exchange, reply, request, response, tape

LOOKS = {
    "sk-ant-api03-abcdefghijkl": "begins with sk-",
    "sk-proj-0123456789abcdef": "begins with sk-",
    "sk_live_0123456789abcdef": "begins with sk-",
    "gsk_0123456789abcdefghij": "model provider",
    "hf_abcdefghijklmnopqrstuvwx": "model provider",
    "nvapi-0123456789abcdefghij": "model provider",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv": "Google",
    "AKIAIOSFODNN7EXAMPLE": "AWS",
    "ghp_0123456789abcdefghijABCD": "GitHub",
    "github_pat_0123456789abcdefghijABCD": "GitHub",
    "xoxb-0123456789-abc": "token of a service",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln": "JSON web token",
    "npm_0123456789abcdefghijABCDEFGHIJ012345": "token of a service",
    "SG.0123456789abcdefghijAB.0123456789abcdefghijABCDEFGHIJ0123456789abc": "token of a service",
    "GOCSPX-0123456789abcdefghijABCDEFGH": "Google",
    "tvly-dev-0123456789abcdefghij": "token of a service",
    "xai-0123456789abcdefghijABCD": "model provider",
    "-----BEGIN RSA PRIVATE KEY-----": "private key",
    "Authorization: Bearer abcdefghij0123456789": "bearer token",
    "https://jo:hunter2@example.com": "address with a password",
    'api_key = "abcdefghij0123"': "given as a key",
    '{\\"client_secret\\": \\"abcdefghij0123\\"}': "given as a key",
    f"{'a1B2' * 13}JQQJ99{'Bc3D' * 6}Ab": "Azure key",
    "Ocp-Apim-Subscription-Key: 0123456789abcdef0123456789abcdef": "after the name of a key",
    "the api key is 0123456789ABCDEF0123456789ABCDEF": "after the name of a key",
    "x-api-key 0123456789abcdef0123456789abcdef": "after the name of a key",
    "AWS secret: wJalrXUtnFEMI1K7MDENG2bPxRfiCYEXAMPLEKEY": "after the name of a key",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMP9EKE": "secret key of AWS",
}
SAFE = [
    "a task-based-approach-to-things", "risk-assessment-of-everything", "sk-short", "sk-xxxxxxxxxxxxxxxx",
    "sk-****************", "api_key = os.environ['API_KEY']", "api_key: your-api-key-here-123",
    "password: correct horse battery staple", "bearer of bad news", "http://example.com/a:b@c", "eyJhbGciOiJIUzI1NiJ9",
    "max_tokens: 123456789012", "REDACTED", "chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwX", "toolu_01A09q90qw90lq917835lq9",
    "fp_44709d6fcb", "mts1.c2stYWJjZGVmZ2hpamts-sk-abcdefghijklmn", "3d1c1f0e-58d5-4b0e-9a0b-6c7f2d6b8f10",
    "call_abc123", "npm_config_registry_of_a_very_long_name_here", "npm_lifecycle_script", "SG.1.2", "SG.example.com",
    "tvly-is-a-prefix-of-some-keys-and-no-key", "GOCSPX-short", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    base64.b64encode(bytes(range(256)) * 64).decode(), base64.urlsafe_b64encode(bytes(range(256)) * 64).decode(),
    "key d41d8cd98f00b204e9800998ecf8427e", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "/opt/tools/Projects/MyApp2/src/component", "access key 0123456789abcdef0123456789abcdef0123456789abcdef",
    f"{'a1B2' * 14}JQQJ99{'Bc3D' * 6}Ab", "C:\\users\\x41\\u0041 is a path",
]  # fmt: skip


def place_in(place, text):
    """Return a tape with a text in one place."""
    quoted = json.dumps({"a": {"b": text}})
    made = {
        "path": exchange(path=f"/v1/{text}"),
        "query": exchange(query=f"q={text}"),
        "request header": exchange(accept=header_value(text)),
        "request text": exchange(Body("text", text)),
        "request bytes": exchange(Body("base64", b"\xff " + text.encode())),
        "request value": exchange({"messages": [{"content": f"see {text}"}]}),
        "request key": exchange({"a": {text: 1}}),
        "response header": exchange(answer=response(headers={"retry-after": header_value(text)})),
        "response body": exchange(answer=response(quoted, headers=JSON)),
        "response text": exchange(answer=response(f"oops {text}", headers={})),
        "response line": exchange(answer=response(f"{quoted}\n\n", headers={"content-type": "application/x-ndjson"})),
        "event": exchange(answer=response(*events(("delta", {"text": text})))),
        "error": exchange().model_copy(update={"end": End(how="reset", message=text)}),
    }
    if place in made:
        return tape(exchange(), made[place])
    fields = {
        "upstream": {"upstream": Upstream(version=text)},
        "ignore": {"ignore": Ignore(body=(text,))},
        "added": {"note": text},
        "ambient": {"ambient": (exchange(path=f"/{text}/models"),)},
    }
    return tape(exchange(), **fields[place])


PLACES = ["path", "query", "request header", "request text", "request bytes", "request value", "request key",
          "response header", "response body", "response text", "response line", "event", "error", "upstream", "ignore",
          "added", "ambient"]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), LOOKS.items())
def test_credentials_are_found_and_not_repeated_in_the_finding(text, kind):
    found = scan(place_in("request text", text))
    assert any(kind in line for line in found)
    assert not any(word in line for line in found for word in text.split() if len(word) > 10)


@pytest.mark.parametrize("text", SAFE)
def test_similar_values_are_not_found(text):
    """Ids, signatures, placeholders and prose."""
    assert scan(place_in("request text", text)) == []
    assert scan(place_in("event", text)) == []


KEY = "sk-ant-api03-abcdefghijkl"
FILE = f"# settings\nkey: {KEY}\n".encode()
ENCODED = {
    "base64": base64.b64encode(FILE).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(b"\xfb\xff" + FILE).decode().rstrip("="),
    "base64 in lines": base64.encodebytes(FILE * 9).decode(),
    "a data URL": f"data:text/plain;base64,{base64.b64encode(FILE).decode()}",
    "base64 with a prefix": f"file_{base64.b64encode(FILE).decode()}",
    "hex": FILE.hex(),
    "hex, upper case": FILE.hex().upper(),
    "gzip in base64": base64.b64encode(gzip.compress(FILE)).decode(),
    "zlib in hex": zlib.compress(FILE).hex(),
    "UTF-16 in base64": base64.b64encode(KEY.encode("utf-16")).decode(),
}


@pytest.mark.parametrize("place", ["request text", "request value", "response body", "event", "error"])
@pytest.mark.parametrize("name", ENCODED)
def test_a_key_in_another_encoding_is_found(name, place):
    """Files are sent as base64, and texts of models quote hex."""
    found = scan(place_in(place, f"see: {ENCODED[name]}"))
    assert any("begins with sk-" in line and line.endswith((", in base64", ", in hex")) for line in found), found
    assert KEY not in str(found)


@pytest.mark.parametrize(
    "data",
    [gzip.compress(FILE), gzip.compress(FILE)[:-9], zlib.compress(FILE)],
    ids=["gzip", "truncated gzip", "zlib"],  # the bytes of gzip contain the time, which differs by worker
)
def test_a_key_in_a_compressed_body_is_found(data):
    """Its headers need not say that it is compressed."""
    for kept in (exchange(Body("base64", data)), exchange(answer=response(data, headers={}))):
        assert any("begins with sk-" in line for line in scan(tape(kept)))


def test_a_secret_of_a_request_is_found_in_another_encoding():
    """A known secret may have no form of its own."""
    values = SecretValues.of(["correct-horse-battery"])
    sent = base64.b64encode(gzip.compress(b"it was correct-horse-battery")).decode()
    assert scan(place_in("request text", sent), values)
    assert scan(place_in("request text", sent)) == []


def test_undoing_encodings_is_linear_and_bounded():
    """A small text can be gigabytes when it is decompressed, and a long one has many parts."""
    bomb = zlib.compress(bytes(300_000_000), 9)
    with cpu_bound(20):
        assert scan(place_in("request text", base64.b64encode(bomb).decode())) == []
        assert scan(place_in("request text", "ab/" * 300_000 + "=" + "0" * 1_000_000)) == []


@pytest.mark.parametrize("place", PLACES)
def test_every_place_of_a_tape_is_scanned(place):
    assert scan(place_in(place, "sk-ant-api03-abcdefghijkl"))
    assert scan(place_in(place, "nothing-to-see")) == []


def test_the_place_is_named():
    (found,) = scan(place_in("request value", "sk-0123456789ab"))
    assert found == "exchange 2, request body, messages.0.content: a key that begins with sk- (15 characters)"
    assert scan(place_in("ambient", "sk-0123456789ab"))[0].startswith("ambient exchange 1, request path: ")
    assert scan(place_in("added", "sk-0123456789ab"))[0].startswith("note: ")


def test_a_key_split_over_chunks_is_found():
    cut = response("data: my key: sk-01234", "56789ab\n\n")
    assert scan(tape(exchange(answer=cut)))


@pytest.mark.parametrize(
    "deltas",
    [
        [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in ("it is sk", "-0123", "456789ab")],
        [("content_block_delta", {"index": 1, "delta": {"text": piece}}) for piece in ("sk-01", "2345", "6789ab")],
        [{"choices": [{"delta": {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}}]}
         for at, piece in ((0, "sk-0123"), (1, "{"), (0, "456789ab"))],
    ],
)  # fmt: skip
def test_a_key_split_over_events_is_found(deltas):
    """No chunk contains it, but the folded message does."""
    answer = response(*events(*deltas))
    assert any("joined: a key that begins with sk-" in line for line in scan(tape(exchange(answer=answer))))


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
def test_a_key_split_over_ndjson_lines_is_found(kind):
    lines = [json.dumps({"message": {"content": piece}}) + "\n" for piece in ("sk-01234", "56789ab")]
    answer = response(*lines, headers={"content-type": kind})
    assert any("message.content joined" in line for line in scan(tape(exchange(answer=answer))))


def test_a_key_in_json_escapes_is_found():
    answer = response('{"a": "sk\\u002d0123456789ab"}', headers=JSON)
    assert scan(tape(exchange(answer=answer)))


@pytest.mark.parametrize(
    "form",
    [
        "7f3c9ab2/d41e+4c0f",
        "7f3c9ab2%2Fd41e%2B4c0f",
        "7f3c9ab2\\/d41e+4c0f",
        *(base64.b64encode(before + b"7f3c9ab2/d41e+4c0f" + b"!").decode() for before in (b"", b"a", b"ab", b"abc")),
        base64.urlsafe_b64encode(b"user:7f3c9ab2/d41e+4c0f").decode(),
        b"7f3c9ab2/d41e+4c0f".hex(),
        b"user:7f3c9ab2/d41e+4c0f".hex().upper(),
        "".join(f"\\u{ord(char):04x}" for char in "7f3c9ab2/d41e+4c0f"),
        "".join(f"\\\\u{ord(char):04X}" for char in "7f3c9ab2/d41e+4c0f"),
        "".join(f"\\x{ord(char):02x}" for char in "7f3c9ab2/d41e+4c0f"),
        "7f3c9ab2\\u002fd41e\\u002B4c0f",
    ],
)
def test_a_sent_secret_is_found_in_any_encoding(form):
    """Scrubbing blanks the plain form only."""
    secret_values = SecretValues.of(["7f3c9ab2/d41e+4c0f"])
    (found, *_) = scan(place_in("event", f"x {form} y"), secret_values)
    assert "a value that a request sent as a secret" in found
    assert scan(place_in("event", f"x {form} y")) == []


def test_a_secret_with_quotes_is_found_in_its_json_form():
    secret_values = SecretValues.of(['ab"cd-01234'])
    assert scan(tape(exchange(answer=response(json.dumps('ab"cd-01234'), headers={}))), secret_values)


@pytest.mark.parametrize("place", ["request text", "request bytes", "request value", "response text", "event"])
@pytest.mark.parametrize(
    "write",
    [lambda key: key.encode().hex(), lambda key: "".join(f"\\u{ord(char):04x}" for char in key), "\0".join],
    ids=["hex", "escapes", "UTF-16"],
)
def test_an_encoded_key_is_found_in_any_body(place, write):
    """Only if a request sent the key, because nothing else identifies it."""
    key = "7f3c9ab2d41e4c0f"
    assert scan(place_in(place, write(key)), SecretValues.of([key]))
    assert scan(place_in(place, write(key))) == []
    assert scan(place_in(place, write(key[::-1])), SecretValues.of([key])) == []


def test_a_key_with_a_known_prefix_is_found_in_escapes():
    escaped = "".join(f"\\u{ord(char):04x}" for char in "sk-ant-api03-abcdefghijkl")
    assert "begins with sk-" in scan(place_in("request text", escaped))[0]


@pytest.mark.parametrize("text", ["q7x2z", "(q7x2z)", "key_q7x2z", "q7x2z.", "it is \\u0071\\u0037x2z"])
def test_a_short_key_is_found_as_a_word(text):
    assert scan(place_in("event", text), SecretValues.of(["q7x2z"]))


@pytest.mark.parametrize("text", ["aq7x2z", "q7x2zb", "iVBORw0KGgoAAAANSUhEUgq7x2zAAABCAYAAAAfFcSJ", "0.412345678"])
def test_a_short_key_inside_of_a_longer_word_is_not_found(text):
    """Images, signatures and numbers contain any five characters by chance."""
    assert scan(place_in("event", text), SecretValues.of(["q7x2z", "12345"])) == []


def test_a_weak_secret_is_found_as_a_word():
    secret_values = SecretValues.of(["swordfish"])
    assert scan(place_in("event", "the swordfish."), secret_values)
    assert scan(place_in("event", "swordfishes"), secret_values) == []


@pytest.mark.parametrize(
    ("one", "place"),
    [
        (exchange({"tools": [{"api_key": "abcd"}]}), "request body, tools.0.api_key"),
        (exchange(answer=reply({"data": {"clientSecret": "abcd"}})), "response body, data.clientSecret"),
        (exchange(answer=response(*events({"password": "abcd"}))), "response body, password"),
    ],
)
def test_a_field_for_secrets_is_found_with_any_value(one, place):
    """Also on a tape that was edited by hand."""
    assert f"exchange 1, {place}: a field for secrets with 4 characters in it" in scan(tape(one))


def test_a_blanked_field_is_not_found():
    assert scan(tape(exchange({"api_key": "REDACTED", "password": "", "secret": None}, reply("api_key")))) == []


@pytest.mark.parametrize("side", ["request", "response"])
def test_a_compressed_body_is_found(side):
    """It may contain anything."""
    packed = {"content-encoding": "gzip"}
    one = (
        exchange({"a": 1}, response("x"), **packed)
        if side == "request"
        else exchange({}, response("x", headers=packed))
    )
    (found,) = scan(tape(one))
    assert found == f"exchange 1, {side} body: cannot be scanned, it is compressed with gzip"
    assert scan(tape(exchange({}, response("x", headers={"content-encoding": "identity"})))) == []


def test_a_value_can_be_declared_harmless():
    harmless = frozenset({"sk-0123456789ab", "abcdefghij0123456789"})
    assert scan(place_in("event", "sk-0123456789ab"), harmless=harmless) == []
    assert scan(place_in("event", "Bearer abcdefghij0123456789"), harmless=harmless) == []
    assert scan(place_in("event", "sk-0123456789abc"), harmless=harmless)


def test_the_text_of_a_file_is_scanned_by_line():
    assert scan_text("a: b\nnote: sk-0123456789ab\n") == ["line 2: a key that begins with sk- (15 characters)"]
    assert scan_text("a: abcdefgh1\n", SecretValues.of(["abcdefgh1"])) == [
        "line 1: a value that a request sent as a secret (9 characters)"
    ]


def test_hide_replaces_keys_in_messages():
    assert hide("the key sk-0123456789ab is wrong") == "the key REDACTED is wrong"


def test_a_long_stream_is_scanned_in_linear_time():
    """Ten thousand chunks, as bytes and as joined texts."""
    answer = response(
        *events(*({"choices": [{"index": 0, "delta": {"content": f"word {n} "}}]} for n in range(10_000)))
    )
    with cpu_bound(10):
        assert scan(tape(exchange({}, answer)), SecretValues.of(["abcdefgh1"])) == []


def test_an_empty_request_has_no_findings():
    assert scan(tape(exchange(answer=response(headers=SSE)))) == []
    assert request().body is None


@pytest.mark.parametrize("space", ["\\n", "\\t", "\\\\n", "\\r\\n", "\\u000a"])
def test_a_key_after_escaped_white_space_in_json_is_found(space):
    """The letter of the escape is not part of the word: tool calls that write files contain such texts."""
    key = "sk-ant-api03-" + "A" * 20
    assert [*credentials_in(f'{{"text": "# keys{space}{key}"}}', SecretValues())]
    assert not [*credentials_in(f'{{"text": "des{key}"}}', SecretValues())]


@pytest.mark.parametrize("kind", ["Text/Event-Stream", "text/plain", "text/event-stream"])
def test_a_split_key_is_found_in_events_of_any_name(kind):
    """Content types are not case-sensitive, and some servers send events with another one."""
    key = "sk-ant-api03-" + "A" * 20
    pieces = [f'data: {{"choices":[{{"index":0,"delta":{{"content":"{part}"}}}}]}}\n\n' for part in (key[:9], key[9:])]
    one = tape(exchange(answer=response(*pieces, headers={"content-type": kind})))
    assert scan(one)


def test_a_finding_does_not_show_a_key_that_is_a_field_name():
    """The place is blanked."""
    key = "sk-ant-api03-" + "A" * 20
    found = scan(tape(exchange({key: {"x": "sk-ant-api03-" + "B" * 20}}, reply({}))))
    assert found
    assert not [line for line in found if key in line]
