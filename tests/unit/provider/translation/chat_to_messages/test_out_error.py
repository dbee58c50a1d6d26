"""Errors of the Messages API -> OpenAI's envelope."""

from datetime import UTC, datetime

import pytest

from llama_stack_api_messages import errors
from llama_stack_provider_messages.errors.body import error_of_event
from llama_stack_provider_messages.translation.chat_to_messages import translate_error

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("kind", dict.fromkeys(errors.ERROR_BY_STATUS.values()), ids=lambda kind: kind.__name__)
def test_status_type_and_words_stay(kind):
    """Only 529 changes: OpenAI's clients do not know it."""
    found = translate_error(kind("It failed."))
    assert found.status == {529: 503}.get(kind.status_code, kind.status_code)
    assert found.body == {"error": {"message": "It failed.", "type": kind.error_type, "param": None, "code": None}}


def test_the_error_code_of_the_details_is_the_code():
    found = translate_error(errors.NotFoundError("Gone.", details={"error_code": "file_expired"}))
    assert (found.status, found.body["error"]["code"]) == (404, "file_expired")


@pytest.mark.parametrize("status", [400, 413, 500])
@pytest.mark.parametrize(
    "words",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length",
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens",
    ],
)
def test_a_prompt_that_does_not_fit_has_the_code_clients_compact_on(status, words):
    found = translate_error(errors.UpstreamError(status, "api_error", words))
    told = {"message": words, "type": "invalid_request_error", "param": None, "code": "context_length_exceeded"}
    assert (found.status, found.body["error"]) == (400, told)
    assert "x-should-retry" not in found.headers


def test_a_body_that_is_too_large_is_no_prompt_that_is_too_long():
    found = translate_error(errors.RequestTooLargeError("Request exceeds the maximum size"))
    assert (found.status, found.body["error"]["code"]) == (413, None)


def test_headers_get_openais_names():
    given = {
        "Request-Id": "req_1",
        "retry-after": "7",
        "retry-after-ms": "7000",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-11-26T13:06:05Z",
        "anthropic-ratelimit-tokens-reset": "2026-11-26T12:06:00Z",
        "anthropic-ratelimit-input-tokens-remaining": "1000",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-26T11:00:00Z",
        "anthropic-organization-id": "secret",
        "content-type": "application/json",
    }
    found = translate_error(errors.RateLimitError("Slow down.", headers=given), now=NOW)
    assert found.headers == {
        "x-request-id": "req_1",
        "retry-after": "7",
        "retry-after-ms": "7000",
        "x-ratelimit-limit-requests": "50",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1h6m5s",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-remaining-input-tokens": "1000",
        "x-ratelimit-remaining-tokens": "1000",
        "x-ratelimit-reset-output-tokens": "0s",
    }


def test_a_failure_that_lasts_is_not_to_be_retried():
    assert translate_error(errors.ApiError("No key.", retryable=False)).headers == {"x-should-retry": "false"}
    assert translate_error(errors.InvalidRequestError("No.")).headers == {}, "the SDKs do not retry it anyway"
    given = {"x-should-retry": "true"}
    assert translate_error(errors.ApiError("x", retryable=False, headers=given)).headers == given


def test_an_error_event_keeps_type_words_and_details():
    inner = {"type": "overloaded_error", "message": "Busy.", "details": {"error_code": "compaction_unavailable"}}
    found = error_of_event({"type": "error", "error": inner})
    assert (found.status_code, found.error_type, found.message) == (529, "overloaded_error", "Busy.")
    assert translate_error(found).body["error"]["code"] == "compaction_unavailable"
