"""Exceptions of providers and of HTTP requests -> errors of the Messages API."""

import json
import socket
import ssl
from types import SimpleNamespace

import httpx
import openai
import pytest
from llama_stack.core.access_control.access_control import AccessDeniedError
from llama_stack.core.datatypes import AuthenticationRequiredError
from llama_stack_api.common.errors import ModelNotFoundError, ModelTypeError
from openai import _exceptions
from pydantic import BaseModel, ValidationError

from llama_stack_api_messages.error_response import CompletionError
from llama_stack_api_messages.errors import (
    ApiError,
    BadGatewayError,
    GatewayTimeoutError,
    InvalidRequestError,
    OverloadedError,
)
from llama_stack_provider_messages.errors.exceptions import (
    Keys,
    check_key_and_headers,
    connection_failure,
    keys_of,
    translate_failure,
)
from support.scripted_upstream import UPSTREAM_KEY

http = _exceptions.httpx2 if hasattr(_exceptions, "httpx2") else httpx
"""The HTTP library of the installed openai major."""

UNKNOWN_FORM = "gw/Ab9+cdEf012345=="
ADDRESS = "http://10.0.0.7:8000/v1"


def request():
    return http.Request("POST", f"{ADDRESS}/chat/completions")


def status_error(status, body, **headers):
    response = http.Response(status, headers=headers, request=request())
    return openai.APIStatusError("x", response=response, body=body)


def validation_error():
    class Model(BaseModel):
        temperature: float

    with pytest.raises(ValidationError) as caught:
        Model(temperature="hot")
    return caught.value


class OddStatusError(Exception):
    """An exception with a status, as SDKs of other vendors have."""

    status_code = 429


CASES = {
    "status": (status_error(404, {"message": "no such model"}), 404, "not_found_error"),
    "own key refused": (status_error(401, {"message": UPSTREAM_KEY}), 500, "api_error"),
    "timeout": (openai.APITimeoutError(request=request()), 504, "timeout_error"),
    "refused": (openai.APIConnectionError(request=request()), 502, "api_error"),
    "raw http timeout": (http.ReadTimeout("slow"), 504, "timeout_error"),
    "raw http reset": (http.RemoteProtocolError("peer closed"), 502, "api_error"),
    "raw httpx reset": (httpx.RemoteProtocolError("peer closed"), 502, "api_error"),
    "in a stream": (openai.APIError("no", request(), body={"message": "busy", "code": 503}), 529, "overloaded_error"),
    "not allowed": (AccessDeniedError(), 403, "permission_error"),
    "not known": (AuthenticationRequiredError("who are you"), 401, "authentication_error"),
    "unknown model": (ModelNotFoundError("x/y"), 404, "not_found_error"),
    "wrong kind of model": (ModelTypeError("x/y", "embedding", "llm"), 400, "invalid_request_error"),
    "platform validation": (validation_error(), 400, "invalid_request_error"),
    "value": (ValueError(f"tool_choice is wrong, see {ADDRESS}"), 400, "invalid_request_error"),
    "no key": (ValueError("API key not provided. Please provide one"), 401, "authentication_error"),
    "no chat": (NotImplementedError(), 400, "invalid_request_error"),
    "html": (AttributeError("'str' object has no attribute 'choices'"), 502, "api_error"),
    "broken json": (json.JSONDecodeError("Expecting", "{x", 1), 502, "api_error"),
    "broken text": (UnicodeDecodeError("utf-8", b"x", 0, 1, "invalid"), 502, "api_error"),
    "empty": (IndexError("list index out of range"), 502, "api_error"),
    "other SDK": (OddStatusError("slow down"), 429, "rate_limit_error"),
    "of a provider of ours": (CompletionError(503, {"error": {"message": "full"}}), 529, "overloaded_error"),
    "anything": (RuntimeError(f"{UPSTREAM_KEY} at {ADDRESS}"), 500, "api_error"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_failure_has_status_and_type(name):
    """Whatever a provider raises becomes a typed error without its key or address."""
    error, status, kind = CASES[name]
    failure = translate_failure(error, "up")
    assert (failure.status_code, failure.error_type) == (status, kind)
    assert UPSTREAM_KEY not in failure.message
    assert "10.0.0.7" not in failure.message
    assert failure.message


def test_a_messages_error_is_returned_unchanged():
    """It has its type already."""
    error = OverloadedError("busy")
    assert translate_failure(error, "up") is error


@pytest.mark.parametrize(("status", "kind"), [(401, "authentication_error"), (403, "permission_error")])
@pytest.mark.parametrize("raised", [status_error, lambda status, body: CompletionError(status, {"error": body})])
def test_a_refused_key_of_the_client_keeps_its_status(raised, status, kind):
    """So that the client looks for another key; the message does not stay, because it may repeat the key."""
    failure = translate_failure(
        raised(status, {"message": f"wrong key {UPSTREAM_KEY}"}), "up", Keys(None, UPSTREAM_KEY)
    )
    assert (failure.status_code, failure.error_type) == (status, kind)
    assert "'up' refused the key in x-llamastack-provider-data" in failure.message
    assert UPSTREAM_KEY not in failure.message


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (status_error(403, {"message": "requires moderation, flagged", "code": "content_filter"}), 400),
        (status_error(401, {"message": "pay", "code": "insufficient_quota"}), 402),
        (status_error(500, {"message": "broken"}), 500),
    ],
)
def test_an_error_that_is_not_about_the_key_stays(error, status):
    """Also if the client sent the key."""
    assert translate_failure(error, "up", Keys(None, UPSTREAM_KEY)).status_code == status


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize(
    "text", [f"bad key {UNKNOWN_FORM}", f"bad {UNKNOWN_FORM} and {UPSTREAM_KEY}", f"{UPSTREAM_KEY}{UNKNOWN_FORM}"]
)
def test_the_keys_of_a_backend_are_redacted(caplog, status, text):
    """The operator's and the client's, also those of no known form; neither the error nor the log has them."""
    failure = translate_failure(status_error(status, {"message": text}), "up", Keys(UPSTREAM_KEY, UNKNOWN_FORM))
    for key in (UPSTREAM_KEY, UNKNOWN_FORM):
        assert key not in failure.message + caplog.text


class Keyed:
    """A provider with an operator's key."""

    def __init__(self, key, configured):
        self.key = key
        self.configured = configured

    def _get_api_key_from_config_or_provider_data(self):
        if isinstance(self.key, Exception):
            raise self.key
        return self.key

    def get_api_key(self):
        return self.configured


@pytest.mark.parametrize(
    ("provider", "given"),
    [
        (Keyed(UPSTREAM_KEY, "sk-operator"), True),
        (Keyed(UPSTREAM_KEY, None), True),
        (Keyed("sk-operator", "sk-operator"), False),
        (Keyed(None, ""), False),
        (Keyed(ValueError("no validator"), "sk-operator"), False),
        (object(), False),
    ],
)
def test_whether_a_request_has_its_own_key(provider, given):
    """Only if it differs from the operator's: a refused key of the operator is not the client's error."""
    assert keys_of(provider).from_request is given


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-a\r", "sk-a\n", "\0", "sk-\u4e2d", "sk-\xfc", " sk-a"])
def test_a_key_that_no_header_can_carry_is_refused(key):
    """That of a request is an error of its client, the configured one an error of the operator; neither is shown."""
    with pytest.raises(InvalidRequestError, match=r"^x-llamastack-provider-data: .*'up' has a line end") as given:
        check_key_and_headers(Keyed(key, "sk-operator"), "up")
    with pytest.raises(ApiError, match=r"^In the configuration, .*; its operator has to correct it$") as configured:
        check_key_and_headers(Keyed(key, key), "up")
    assert key.strip() not in given.value.message + configured.value.message or not key.strip("\0")


def with_headers(**headers):
    """Return a provider with headers in its network settings."""
    network = SimpleNamespace(headers={name.replace("_", "-"): value for name, value in headers.items()})
    return SimpleNamespace(config=SimpleNamespace(network=network))


@pytest.mark.parametrize("value", ["caf\xe9", "\u4e2d", "a\nb", "a\r", "\0"])
def test_a_configured_header_that_cannot_be_sent_is_named(value):
    """Its value is not shown; the error is the operator's."""
    with pytest.raises(ApiError) as caught:
        check_key_and_headers(with_headers(X_Org=value, X_Other="a"), "up")
    assert caught.value.message == (
        "In the configuration, the header 'X-Org' for the backend 'up' has a line end, or another character that a "
        "header cannot carry; its operator has to correct it"
    )


@pytest.mark.parametrize(
    "provider", [Keyed("sk-a b", None), Keyed(None, None), object(), None, with_headers(a="b c", b="", c="a\tb")]
)
def test_other_keys_are_accepted(provider):
    check_key_and_headers(provider, "up")


def test_retry_headers_of_the_upstream_are_passed_on():
    """The client learns when to retry."""
    failure = translate_failure(status_error(429, {"message": "slow"}, **{"retry-after": "7"}), "up")
    assert failure.headers["retry-after"] == "7"


def test_a_platform_validation_error_names_the_field():
    """The message begins with the invalid field."""
    assert translate_failure(validation_error(), "up").message.startswith("temperature: ")


def test_a_connection_failure_names_the_backend():
    """The operator sees which provider it was."""
    assert "'up'" in translate_failure(openai.APIConnectionError(request=request()), "up").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompt is too long: 9 tokens > 8 maximum, litellm says", "prompt is too long: 9 tokens > 8 maximum"),
        ("image input is not supported", "The model cannot read images"),
        ("", "The backend answered 400"),
    ],
)
def test_a_value_error_is_translated_like_a_400(text, expected):
    """Providers that wrap other SDKs raise the backend's message as a ValueError."""
    failure = translate_failure(ValueError(text), "up")
    assert (failure.status_code, failure.message[: len(expected)]) == (400, expected)


def test_an_error_of_our_own_provider_keeps_its_headers():
    """It comes in OpenAI's form, and is translated back."""
    error = CompletionError(429, {"error": {"message": "slow", "type": "rate_limit_error"}}, {"retry-after": "7"})
    failure = translate_failure(error, "up")
    assert (failure.status_code, failure.message, failure.headers["retry-after"]) == (429, "slow", "7")


def caused(error, *causes):
    """Chain exceptions, as httpx does."""
    chain = error
    for cause in causes:
        chain.__cause__ = cause
        chain = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (httpx.PoolTimeout("x"), GatewayTimeoutError, "has no connection free"),
        (httpx.ConnectTimeout("x"), GatewayTimeoutError, "did not answer in time"),
        (httpx.ReadTimeout("x"), GatewayTimeoutError, "did not answer in time"),
        (httpx.WriteTimeout("x"), GatewayTimeoutError, "did not answer in time"),
        (httpx.ConnectError("x"), BadGatewayError, "cannot be reached: no connection"),
        (caused(httpx.ConnectError("x"), OSError("y"), ConnectionRefusedError()), BadGatewayError, "is it running"),
        (caused(httpx.ConnectError("x"), socket.gaierror()), BadGatewayError, "host name is not known"),
        (caused(httpx.ConnectError("x"), ssl.SSLCertVerificationError()), BadGatewayError, "TLS failed"),
        (httpx.InvalidURL("x"), BadGatewayError, "its base URL is not a valid URL"),
        (httpx.UnsupportedProtocol("x"), BadGatewayError, "its base URL is not a valid URL"),
        (httpx.ProxyError("x"), BadGatewayError, "the proxy refused"),
        (httpx.ReadError("x"), BadGatewayError, "broke the connection"),
        (httpx.WriteError("x"), BadGatewayError, "broke the connection"),
        (httpx.RemoteProtocolError("x"), BadGatewayError, "broke the connection"),
        (httpx.DecodingError("x"), BadGatewayError, "does not match its content-encoding"),
    ],
)
def test_a_failed_exchange_names_the_backend_and_the_cause(error, kind, words):
    """The text of httpx is not used, because it contains the address."""
    error.args = ("at http://secret",)
    failure = connection_failure(error, "up")
    assert type(failure) is kind
    assert "'up'" in failure.message
    assert words in failure.message
    assert "secret" not in failure.message


def test_the_context_of_an_exception_counts_as_its_cause():
    """Not every layer raises from a cause."""
    error = httpx.ConnectError("x")
    error.__context__ = ConnectionRefusedError()
    assert "is it running" in connection_failure(error, "up").message
