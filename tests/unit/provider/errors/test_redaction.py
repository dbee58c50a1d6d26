"""Keys are redacted from an upstream's error bodies."""

import json

import pytest

from llama_stack_provider_messages.errors.body import translate_error
from llama_stack_provider_messages.errors.redaction import redact_body, redact_by_pattern, redact_error
from support.attacks import cpu_bound
from support.scripted_upstream import UPSTREAM_KEY

BODY = {"error": {"message": f"no such key {UPSTREAM_KEY}", "code": 1.50}}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_a_key_is_found_in_every_encoding_of_json(encoding):
    """Whatever encoding the upstream declares."""
    clean = redact_body(json.dumps(BODY).encode(encoding), (UPSTREAM_KEY,))
    assert json.loads(clean) == {"error": {"message": "no such key [redacted]", "code": 1.5}}


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_key_is_found_in_a_truncated_body(cut):
    """A key is found as text and in JSON escapes."""
    body = json.dumps(BODY).encode().replace(b"sk-", b"\\u0073k-")[:-cut]
    assert b"upstream-secret" not in redact_body(body, (UPSTREAM_KEY,))


def test_a_body_without_a_key_is_unchanged():
    """Byte for byte: white space, numbers, odd escapes, lone surrogates."""
    for body in (b'{ "a" : 1.50, "b": "\\u00e9\\ud83d" }', b"<p>\xff\xfe</p>", b'"\\q" "', "{}".encode("utf-16")):
        assert redact_body(body, (UPSTREAM_KEY,)) == body


@pytest.mark.parametrize("body", [b'{"detail":[{"input":"' + b'\\"' * 500_000, b'"' * 1_000_000, b"\\" * 1_000_000])
def test_the_work_is_linear_in_the_length_of_the_body(body):
    """An upstream echoes what its client sent, and an error body is read up to a megabyte, cut anywhere."""
    with cpu_bound(5):
        redact_body(body, (UPSTREAM_KEY,))


@pytest.mark.parametrize("padding", range(960, 1010))
def test_a_key_at_the_end_of_a_shortened_message_is_redacted(padding):
    """A message is cut after 1000 characters, which may be inside of the key."""
    key = "a-word-key-of-the-operator"  # no pattern matches it
    error = translate_error(400, {"error": {"message": "x" * padding + " " + key}})
    assert key[:8] not in redact_error(error, (key,)).message


ADDRESSES = [
    "Cannot connect to host 10.0.0.3:8000 ssl:default [Connect call failed ('10.0.0.3', 8000)]",
    "Cannot connect to host gpu-node:8000 ssl:default [Name or service not known]",
    "HTTPConnectionPool(host='gpu-node', port=8000): Max retries exceeded",
    "[Errno 111] Connect call failed ('::1', 8000, 0, 0)",
    "dial tcp 10.0.0.3:8000: connect: connection refused",
    'Post "http://gpu-node:8000/v1/messages": dial tcp: lookup gpu-node on 10.96.0.10:53: no such host',
    "getaddrinfo ENOTFOUND gpu-node",
    "connect ECONNREFUSED 10.0.0.3:8000",
    "Failed to connect to gpu-node port 8000 after 2 ms: Connection refused",
    "gpu-node.prod.example:443 timed out",
]
NO_ADDRESSES = [
    "model llama-3.1:8b not found, try pulling it first",
    "at line 3: column 80, between 10:30 and 16:9",
    "image ('front', 'left') of 2 is too large",
    "the report port is missing; import 2024 numbers",
]


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses_in_the_forms_of_many_clients_are_redacted(text):
    """Of aiohttp, requests, Go, Node and curl."""
    seen = redact_by_pattern(text)
    assert not [part for part in ("gpu-node", "10.0.0.3", "10.96", "::1") if part in seen], seen


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_texts_that_look_similar_to_addresses_stay(text):
    """Clients and users act on them."""
    assert redact_by_pattern(text) == text
