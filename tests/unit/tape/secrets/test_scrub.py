"""What is kept on a tape without configuration."""

import pytest

from messages_tape.format.model import Body, Chunk
from messages_tape.secrets.scrub import RawRequest, Rules
from messages_tape.secrets.secret_values import SecretValues
from support.tapes import raw_request

KEY = "7f3c9ab2d41e4c0f"
ODD = "Zk3f9QmLx7Vw2pRt8sYb"
RULES = Rules()


def scrubbed(ask, rules=RULES):
    return rules.request(ask, rules.secret_values(ask))


def test_only_listed_request_headers_are_kept():
    ask = raw_request(
        {"a": 1}, Authorization=f"Bearer {KEY}", X_Api_Key=KEY, Cookie=f"session={KEY}", User_Agent="sdk/1",
        Host="10.0.0.7", Anthropic_Version="2023-06-01", Anthropic_Beta="a", anthropic_beta="b",
        Content_Type="application/json",
    )  # fmt: skip
    assert scrubbed(ask).headers == {
        "anthropic-beta": "a, b",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }


def test_only_listed_response_headers_are_kept():
    headers = [("Content-Type", "text/event-stream"), ("Set-Cookie", KEY), ("Server", "x"), ("Date", "x"), ("Via", "x"),
               ("OpenAI-Organization", "acme"), ("Retry-After", "7"), ("CF-Ray", "1")]  # fmt: skip
    assert RULES.response_headers_of(headers, SecretValues(), 1) == {
        "content-type": "text/event-stream",
        "retry-after": "7",
    }


def test_changing_response_headers_get_constant_values():
    """So that a new recording has a small diff; ids still differ between exchanges."""
    headers = [
        ("request-id", "req_011CSHoEeqs5C35K2UUqR7Fy"),
        ("x-request-id", "b7a1"),
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2026-11-20T19:00:00Z"),
        ("x-ratelimit-reset-tokens", "6m0s"),
    ]
    assert RULES.response_headers_of(headers, SecretValues(), 12) == {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "1",
        "anthropic-ratelimit-requests-reset": "2000-01-01T00:00:00Z",
        "request-id": "req_0012",
        "x-ratelimit-reset-tokens": "1s",
        "x-request-id": "req_0012",
    }


def test_a_key_in_a_kept_header_is_blanked():
    secret_values = SecretValues.of([KEY])
    assert RULES.response_headers_of([("retry-after", f"for {KEY}")], secret_values, 1) == {
        "retry-after": "for REDACTED"
    }


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"api_key": "anything at all"}, {"api_key": "REDACTED"}),
        ({"mcp_servers": [{"authorization_token": "t"}]}, {"mcp_servers": [{"authorization_token": "REDACTED"}]}),
        ({"vllm_api_token": "t", "clientSecret": "t"}, {"vllm_api_token": "REDACTED", "clientSecret": "REDACTED"}),
        ({"api_keys": [ODD, "two words"]}, {"api_keys": ["REDACTED", "REDACTED"]}),
        ({"apiKeys": {"openai": ODD, "kind": "plain"}}, {"apiKeys": {"openai": "REDACTED", "kind": "plain"}}),
        ({"api_key": {"value": ODD}}, {"api_key": {"value": "REDACTED"}}),
        ({"secrets": {"a": {"b": [ODD]}}}, {"secrets": {"a": {"b": ["REDACTED"]}}}),
        ({"credentials": {"x": ODD}}, {"credentials": {"x": "REDACTED"}}),
        ({"properties": {"secrets": {"format": "uuid4-like"}}}, {"properties": {"secrets": {"format": "uuid4-like"}}}),
        ({"password": ""}, {"password": ""}),
        ({"password": None, "max_tokens": 7, "token": "the"}, {"password": None, "max_tokens": 7, "token": "the"}),
        ({"properties": {"password": {"type": "string"}}}, {"properties": {"password": {"type": "string"}}}),
        ({"required": ["password"]}, {"required": ["password"]}),
        ({"user": "jo"}, {"user": "REDACTED"}),
        ({"metadata": {"user_id": "jo", "other": "x"}}, {"metadata": {"user_id": "REDACTED", "other": "x"}}),
        ({"messages": [{"role": "user"}]}, {"messages": [{"role": "user"}]}),
        ({"safety_identifier": "jo"}, {"safety_identifier": "REDACTED"}),
    ],
)
def test_fields_for_secrets_and_users_are_blanked(body, kept):
    """Secrets by field name anywhere, users by path; schemas that describe such a field are kept."""
    assert scrubbed(raw_request(body)).body.value == kept


def test_rules_add_fields_to_blank():
    rules = Rules(secret_fields=("tools.*.endpoint",), user_fields=("tenant",))
    body = {"tools": [{"endpoint": "x", "name": "y"}], "tenant": "acme", "user": "jo"}
    kept = {"tools": [{"endpoint": "REDACTED", "name": "y"}], "tenant": "REDACTED", "user": "jo"}
    assert scrubbed(raw_request(body), rules).body.value == kept


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("key=abc&alt=sse", "key=REDACTED&alt=sse"),
        ("beta=true&API_KEY=abc", "beta=true&API_KEY=REDACTED"),
        (
            "a=1&&b&X-Amz-Signature=abc&X-Amz-Security-Token=abc",
            "a=1&&b&X-Amz-Signature=REDACTED&X-Amz-Security-Token=REDACTED",
        ),
        ("key=&key", "key=&key"),
        ("after_id=token_1", "after_id=token_1"),
    ],
)
def test_parameters_for_secrets_are_blanked(query, kept):
    assert scrubbed(raw_request(query=query)).query == kept


def test_a_sent_key_is_blanked_everywhere():
    """In the path, the query and texts, also percent-encoded."""
    key = "p/l+anted=0123456789"
    ask = raw_request(
        {"messages": [{"content": f"my key is {key}!"}]},
        path=f"/v1/{key}/x",
        query="q=p%2Fl%2Banted%3D0123456789",
        x_api_key=key,
    )
    kept = scrubbed(ask)
    assert kept.path == "/v1/REDACTED/x"
    assert kept.query == "q=REDACTED"
    assert kept.body.value == {"messages": [{"content": "my key is REDACTED!"}]}
    assert scrubbed(raw_request(f"key {KEY}".encode(), x_api_key=KEY)).body == Body("text", "key REDACTED")
    assert scrubbed(raw_request(b"\xff" + KEY.encode(), x_api_key=KEY)).body == Body("base64", b"\xff" + b"*" * 16)


def test_the_boundary_of_a_multipart_form_is_constant():
    """Clients choose it at random, so the request would never match."""
    forms = [
        raw_request(f"--{lot}\r\n\r\nhi\r\n--{lot}--".encode(), content_type=f"multipart/form-data; boundary={lot}")
        for lot in ("d1e2", "f3a4")
    ]
    assert scrubbed(forms[0]) == scrubbed(forms[1])
    assert scrubbed(forms[0]).headers == {"content-type": "multipart/form-data; boundary=boundary"}
    assert scrubbed(forms[0]).body.value == "--boundary\r\n\r\nhi\r\n--boundary--"


@pytest.mark.parametrize(
    ("name", "value", "strong"),
    [
        ("authorization", f"Bearer {KEY}", {KEY}),
        ("Authorization", f"bearer  {KEY}", {KEY}),
        (
            "authorization",
            "Basic dXNlcjpwYXNzLTEyMzQ1Njc4",
            {"dXNlcjpwYXNzLTEyMzQ1Njc4", "user:pass-12345678", "pass-12345678"},
        ),
        ("authorization", "Basic abcde", set()),
        ("authorization", "Basic /w==", set()),
        ("authorization", "Bearer ab/cd=0123456", {"ab/cd=0123456"}),
        ("x-api-key", KEY, {KEY}),
        ("api-key", KEY, {KEY}),
        ("ocp-apim-subscription-key", KEY, {KEY}),
        ("cookie", f"a=1; sid={KEY}", {KEY}),
        ("x-llamastack-provider-data", f'{{"vllm_api_token": "{KEY}", "n": 1}}', {KEY}),
        ("x-llamastack-provider-data", "{broken", set()),
        (
            "authorization",
            'AWS4-HMAC-SHA256 Signature="0123456789abcdef0"',
            {
                "0123456789abcdef0",
                'Signature="0123456789abcdef0"',
                "AWS4-HMAC-SHA256",
                'AWS4-HMAC-SHA256 Signature="0123456789abcdef0"',
            },
        ),
        ("idempotency-key", "stainless-retry-7d1810df", set()),
        ("user-agent", "python-sdk-version-1.2.3.4", set()),
        ("x-api-key", "EMPTY", set()),
        ("x-api-key", "short1", set()),
    ],
)
def test_headers_for_secrets_give_the_secret_values(name, value, strong):
    assert Rules().secret_values(raw_request(**{name: value})).strong == strong


def test_a_key_that_could_be_a_word_is_weak():
    """A response may contain the word by chance."""
    assert RULES.secret_values(raw_request(x_api_key="swordfish")) == SecretValues(weak=frozenset({"swordfish"}))
    assert Rules(harmless=frozenset({"swordfish"})).secret_values(raw_request(x_api_key="swordfish")) == SecretValues()


def test_short_and_dummy_keys_are_not_secret():
    """Clients send them to servers that need no key."""
    assert RULES.secret_values(raw_request(x_api_key="abcd")) == SecretValues()
    assert RULES.secret_values(raw_request(x_api_key="local")) == SecretValues()
    assert (
        RULES.secret_values(raw_request(authorization='Digest realm="inner", nonce="abcdef0123456789"')).weak == set()
    )
    assert RULES.secret_values(raw_request(x_api_key="nokeys")).weak == {"nokeys"}


@pytest.mark.parametrize("key", ["q7x2z", "q7x2zp", "q7x2zp4", "admin"])
def test_a_short_key_is_weak_wherever_it_was_sent(key):
    """In a header, a field or a query parameter."""
    assert RULES.secret_values(raw_request(x_api_key=key)) == SecretValues(weak=frozenset({key}))
    assert RULES.secret_values(raw_request(authorization=f"Bearer {key}")).weak == {key}
    assert RULES.secret_values(raw_request({"api_key": key})).weak == {key}
    assert RULES.secret_values(raw_request(query=f"key={key}")).weak == {key}


def test_only_long_user_ids_are_blanked_elsewhere():
    """A short one may be a word."""
    body = {"user": "alice-12345", "model": "a-long-name-of-a-model-1", "metadata": {"user_id": "alice-123456"}}
    assert RULES.secret_values(raw_request(body)) == SecretValues(frozenset({"alice-123456"}))


def test_fields_and_parameters_give_secret_values():
    body = {"password": "correct-horse-1", "user": "jo", "metadata": {"user_id": "account_1234567890"}}
    secret_values = RULES.secret_values(raw_request(body, query="key=correct-key-2"))
    assert secret_values.strong == {"correct-horse-1", "account_1234567890", "correct-key-2"}


def test_a_key_split_over_chunks_becomes_stars_of_the_same_length():
    chunks = [Chunk(0.1, b"data: 7f3c9a"), Chunk(0.2, b"b2d4"), Chunk(0.3, b"1e4c0f\n\n")]
    blanked = SecretValues.of([KEY]).blank_chunks(chunks)
    assert blanked == (Chunk(0.1, b"data: ******"), Chunk(0.2, b"****"), Chunk(0.3, b"******\n\n"))


def test_chunks_without_a_key_do_not_change():
    chunks = [Chunk(0.1, b"\xc3"), Chunk(0.2, b"\xa4")]
    assert SecretValues.of([KEY]).blank_chunks(chunks) == tuple(chunks)
    assert SecretValues().blank_chunks(chunks) == tuple(chunks)


def test_the_longer_of_two_keys_is_blanked_whole():
    secret_values = SecretValues.of(["abcdefgh1", "abcdefgh1-and-more"])
    assert secret_values.blank("abcdefgh1-and-more, abcdefgh1") == "REDACTED, REDACTED"


PHRASE = "correct-horse-battery"


def taped(body, kind="application/json", query="", **headers):
    """Return a scrubbed request as text, and its secret values."""
    sent = RawRequest("POST", "/v1/x", query, [("content-type", kind), *headers.items()], body)
    secret_values = RULES.secret_values(sent)
    return str(RULES.request(sent, secret_values)), secret_values


@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key":"correct-horse-battery","model":"a","model":"b"}',
        b'{"password":"correct-horse-battery","seed":1e400}',
        b'{"password":"correct-horse-battery","t":NaN}',
        b'{"headers":{"Authorization":["correct-horse-battery"]}}',
        b'{"credentials":{"value":"correct-horse-battery"}}',
        b'{"auth":{"token":"correct-horse-battery"}}',
        b'{"headers":{"Cookie":"correct-horse-battery"}}',
        b'{"password":"correct-horse-battery and more"}',
    ],
)
def test_a_field_for_secrets_is_blanked_in_any_body(body):
    """Also in JSON that is stored as text, in lists, in nested fields, and with blanks in the value."""
    text, secret_values = taped(body)
    assert PHRASE not in text
    assert "*" in secret_values.blank_bytes(body).decode()


def test_a_number_may_be_a_password():
    """The description of such a field is not."""
    text, _ = taped(b'{"password":8675309123,"tools":[{"properties":{"password":{"type":"string"}}}]}')
    assert "8675309123" not in text
    assert "string" in text


@pytest.mark.parametrize("name", ["subscription-key", "x-api-key", "access_key", "pwd", "code", "client_secret"])
@pytest.mark.parametrize("where", ["query", "body"])
def test_a_parameter_for_secrets_is_blanked_in_queries_and_forms(name, where):
    """In any spelling of its name."""
    pairs = f"grant_type=client_credentials&{name}={PHRASE}"
    if where == "query":
        text, secret_values = taped(b"{}", query=pairs)
    else:
        text, secret_values = taped(pairs.encode(), "application/x-www-form-urlencoded; charset=utf-8")
    assert PHRASE not in text
    assert "client_credentials" in text
    assert PHRASE in secret_values.strong


def test_keys_in_a_json_header_are_secret_values():
    """At any depth."""
    _, secret_values = taped(b"{}", **{"x-llamastack-provider-data": '{"up": {"api_key": "correct-horse-battery"}}'})
    assert PHRASE in secret_values.strong
    assert taped(b"{}", **{"x-llamastack-provider-data": "{" + "[" * 100_000})[1].strong == frozenset()
