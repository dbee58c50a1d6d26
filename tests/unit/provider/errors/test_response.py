"""An upstream's success, and its HTTP error responses as the client's errors."""

import json
from datetime import UTC, datetime

import pytest

from llama_stack_api_messages.errors import BadGatewayError, InvalidRequestError, MessagesError, UpstreamError
from llama_stack_provider_messages.errors.body import ContextOverflowError
from llama_stack_provider_messages.errors.response import (
    check_message_body,
    not_a_message,
    success_members,
    upstream_failure,
)

API_ERROR = b'{ "type":"error", "error":{"type":"odd_error","message":"no \\u0026 no","x":1},"request_id":"req_up"}'
RETURNED = {
    "retry-after": "3",
    "retry-after-ms": "3000",
    "x-should-retry": "true",
    "request-id": "req_up",
    "anthropic-organization-id": "o",
    "anthropic-ratelimit-requests-limit": "9",
    "anthropic-priority-input-tokens-limit": "9",
    "anthropic-fast-input-tokens-limit": "9",
}
OTHERS = {
    "server": "s",
    "set-cookie": "c=1",
    "content-type": "a/b",
    "content-length": "3",
    "x-request-id": "x",
    "via": "v",
}


def failure(status, body, headers=None, **options):
    return upstream_failure(status, body, headers or {}, provider_id="up", **options)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 418, 429, 500, 503, 529])
def test_an_error_body_of_the_api_is_unchanged(status):
    """Status, type, message and bytes, with the headers that clients act on."""
    error = failure(status, API_ERROR, RETURNED | OTHERS)
    assert isinstance(error, UpstreamError)
    assert (error.status_code, error.error_type, error.message) == (status, "odd_error", "no & no")
    assert (error.raw, error.verbatim, error.headers) == (API_ERROR, True, RETURNED)


def test_an_error_with_this_servers_request_id_has_a_new_body():
    """The upstream's request id is in its bytes."""
    error = failure(400, API_ERROR, RETURNED, own_request_id=True)
    assert error.verbatim is False
    assert "request-id" not in error.headers
    assert error.body("req_1") == {
        "type": "error",
        "error": {"type": "odd_error", "message": "no & no"},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"type": "a", "message": "no"}},
        {"type": "error", "error": {"type": 5, "message": "no"}},
        {"type": "error", "error": {"type": "a", "message": None}},
        {"type": "error", "error": {"type": "a"}},
        {"type": "error", "error": "no"},
        {"type": "error"},
        {"type": "message", "error": {"type": "a", "message": "no"}},
        [],
        "error",
        None,
    ],
)
@pytest.mark.parametrize("status", [404, 500])
def test_an_error_in_another_form_is_put_into_the_envelope(body, status):
    """The status stays; the type is the API's for it."""
    error = failure(status, json.dumps(body).encode())
    assert isinstance(error, UpstreamError)
    assert (error.status_code, error.raw) == (status, None)
    assert error.error_type == {404: "not_found_error", 500: "api_error"}[status]
    assert error.message


@pytest.mark.parametrize("body", [b"", b"<html><b>502</b></html>", b"\xff\xfe", b"[" * 100_000, b'{"type":"error",'])
def test_an_unreadable_error_body_is_still_an_error(body):
    """With its status and without its markup."""
    error = failure(502, body)
    assert (error.status_code, error.error_type) == (502, "api_error")
    assert "<" not in error.message


@pytest.mark.parametrize(("status", "kind"), [(401, "authentication_error"), (403, "permission_error")])
def test_refused_credentials_keep_status_and_message(status, kind):
    """If the client's own are forwarded, the client can act on it."""
    error = failure(status, b'{"error":{"message":"Wrong key, friend"}}')
    assert (error.status_code, error.error_type, error.message) == (status, kind, "Wrong key, friend")


@pytest.mark.parametrize("status", [500, 503])
def test_a_prompt_that_is_too_long_is_an_invalid_request(status):
    """Whatever the status: a retry would not help."""
    body = (
        b'{"error":{"message":"This model\'s maximum context length is 10 tokens. However, you requested 20 tokens"}}'
    )
    error = failure(status, body, {"retry-after": "3"})
    assert isinstance(error, InvalidRequestError)
    assert error.retryable is False
    assert error.headers["retry-after"] == "3"
    refused = failure(400, body)
    assert (type(refused), refused.status_code) == (UpstreamError, 400)


def test_rate_limits_of_openai_get_anthropics_names():
    """The upstream's own under these names win."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    theirs = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
    }
    error = failure(429, b'{"error":{"message":"slow"}}', theirs, now=now)
    assert error.headers["anthropic-ratelimit-requests-limit"] == "10"
    both = failure(429, b"{}", {**theirs, "anthropic-ratelimit-requests-limit": "7"}, now=now)
    assert both.headers["anthropic-ratelimit-requests-limit"] == "7"


@pytest.mark.parametrize("own_form", [True, False])
def test_the_key_is_redacted(own_form):
    """In the message, and in the bytes that are passed on."""
    body = {"error": {"type": "a", "message": "Wrong key: sesame-9f."}, "type": "error" if own_form else "x"}
    error = failure(400, json.dumps(body).encode(), secrets=("sesame-9f",))
    assert "sesame" not in error.message
    assert b"sesame" not in (error.raw or b"")
    assert "Wrong key" in error.message
    assert failure(400, API_ERROR, secrets=()).raw == API_ERROR
    assert failure(400, API_ERROR, secrets=("",)).raw == API_ERROR


@pytest.mark.parametrize("status", [100, 204, 301, 302, 307, 399])
def test_a_status_that_is_neither_success_nor_error_is_a_bad_gateway(status):
    """Above all a redirect, which is not followed."""
    error = failure(status, API_ERROR, {"location": "http://secret", **RETURNED})
    assert isinstance(error, BadGatewayError)
    assert (error.status_code, error.headers) == (502, {})
    assert "'up'" in error.message
    assert str(status) in error.message


MESSAGE = {"type": "message", "content": []}


@pytest.mark.parametrize("body", [MESSAGE, {**MESSAGE, "error": None}, {"content": None}])
def test_a_body_with_the_promised_member_is_a_success(body):
    """Whether it is read as bytes or decoded."""
    data = json.dumps(body).encode()
    assert check_message_body(body, "content", ())
    assert dict(success_members(data, "content", ())).keys() == body.keys()


@pytest.mark.parametrize("body", [{"type": "message"}, {}, [], "content", None, {"error": None}, {"input_tokens": 5}])
def test_a_body_without_the_promised_member_is_not_a_success(body):
    """A 200 without the expected member is an error, whatever JSON it is."""
    assert not check_message_body(body, "content", ())
    assert success_members(json.dumps(body).encode(), "content", ()) is None


@pytest.mark.parametrize("data", [b"", b"<html>", b'{"content": [', b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_not_a_success(data):
    """A 200 with invalid or truncated JSON is an error."""
    assert success_members(data, "content", ()) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "bad sesame-9f"}}, 529),
        ({"error": {"message": "bad sesame-9f"}}, 500),
        ({**MESSAGE, "error": "bad sesame-9f"}, 500),
        ({"code": 503, "message": "bad sesame-9f"}, 529),
        ({"type": "error", "message": "bad sesame-9f"}, 500),
    ],
)
def test_an_error_with_status_200_is_raised_without_the_key(body, status):
    """Its own type and code give the status; content beside it does not make it a success."""
    for read in (
        lambda: check_message_body(body, "content", ("sesame-9f",)),
        lambda: success_members(json.dumps(body).encode(), "content", ("sesame-9f",)),
    ):
        with pytest.raises(MessagesError) as caught:
            read()
        assert (caught.value.status_code, caught.value.message) == (status, "bad [redacted]")


def test_a_refused_key_with_status_200_is_a_401_where_it_may_be_the_clients_own():
    """On the native lane the key is the operator's: a 401 would make the client log in again, in vain."""
    body = {"type": "error", "error": {"type": "authentication_error", "message": "no"}}
    with pytest.raises(MessagesError) as caught:
        check_message_body(body, "content", ())
    assert caught.value.status_code == 401
    with pytest.raises(MessagesError) as caught:
        success_members(json.dumps(body).encode(), "content", ())
    assert caught.value.status_code == 500


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"type": "message", "content": [], "code": 0, "message": "success"}, "content"),
        ({"input_tokens": 5, "code": 200, "message": "ok"}, "input_tokens"),
        ({"type": "message", "content": [], "error": None}, "content"),
    ],
)
def test_code_and_message_beside_the_promised_member_are_not_an_error(body, name):
    """Gateways add them to successful responses, and an error would make the client pay for the generation again."""
    assert check_message_body(body, name, ())
    assert success_members(json.dumps(body).encode(), name, ()) is not None


def test_an_error_of_another_api_with_status_200_is_translated():
    """Claude Code compacts the conversation only on the API's own sentence."""
    text = "This model's maximum context length is 4096 tokens. However, your messages resulted in 9000 tokens."
    body = {"error": {"message": text, "type": "invalid_request_error", "code": "context_length_exceeded"}}
    with pytest.raises(ContextOverflowError):
        success_members(json.dumps(body).encode(), "content", ())


def test_a_2xx_that_is_not_a_message_names_the_backend():
    """The message names the backend and, if possible, what to do."""
    error = not_a_message("up")
    assert isinstance(error, BadGatewayError)
    assert "'up'" in error.message
    assert "off" in error.message
    assert error.retryable
    error = not_a_message("up", native=False)
    assert ("off" in error.message, error.retryable) == (False, False)


def test_a_short_key_is_not_redacted():
    """``test`` and ``none`` are placeholders for keys, and words of a message."""
    body = b'{"type":"error","error":{"type":"test_error","message":"this test key-of-8 is none"}}'
    for secret in ("test", "none", "error", "type", "{", ""):
        assert failure(400, body, secrets=(secret,)).raw == body
    assert failure(400, body, secrets=("key-of-8",)).message == "this test [redacted] is none"


def test_a_key_in_json_escapes_is_redacted():
    """JSON can write it in many ways; the client reads the same text."""
    body = (
        b'{"type":"error","error":{"type":"a","message":"bad plain\\u002dkey-42"},"x":"\\u0070lain-key-42","n":"\\n"}'
    )
    error = failure(401, body, secrets=("plain-key-42",))
    assert error.message == "bad [redacted]"
    assert json.loads(error.raw) == {
        "type": "error",
        "error": {"type": "a", "message": "bad [redacted]"},
        "x": "[redacted]",
        "n": "\n",
    }
    assert failure(401, body, secrets=("another-key",)).raw == body
    openai = b'{"error":{"message":"bad plain\\u002dkey-42"}}'
    assert failure(400, openai, secrets=("plain-key-42",)).message == "bad [redacted]"
