"""Which headers pass between client and upstream, and under which names."""

from datetime import UTC, datetime

import httpx
import pytest

from llama_stack_provider_messages.headers import (
    anthropic_headers,
    forwarded_headers,
    merged_betas,
    openai_headers,
    returned_headers,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
REQUEST = {
    "anthropic-version": "2024-01-01",
    "anthropic-beta": "a,b",
    "traceparent": "00-1",
    "tracestate": "t",
    "baggage": "k=v",
    "b3": "1",
    "x-b3-traceid": "1",
    "x-claude-code-session-id": "s",
    "x-api-key": "client",
    "authorization": "Bearer client",
    "cookie": "c=1",
    "host": "here",
    "content-length": "9",
    "content-encoding": "gzip",
    "x-llamastack-provider-data": "{}",
    "x-tenant": "t",
    "user-agent": "u",
    "anthropic-dangerous-direct-browser-access": "true",
}
FORWARDED = dict(list(REQUEST.items())[:8])
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


def test_only_headers_of_the_api_and_of_tracing_are_forwarded():
    """Neither credentials nor headers that describe this connection."""
    assert forwarded_headers(REQUEST, frozenset(), credentials=False) == FORWARDED


def test_configured_headers_are_forwarded():
    """In addition to the others."""
    forwarded = forwarded_headers(REQUEST, frozenset({"x-tenant", "x-none"}), credentials=False)
    assert forwarded == {**FORWARDED, "x-tenant": "t"}


def test_credentials_are_forwarded_if_configured():
    """Both of them, and no cookie."""
    both = {"x-api-key": "client", "authorization": "Bearer client"}
    assert forwarded_headers(REQUEST, frozenset(), credentials=True) == {**FORWARDED, **both}


def test_a_version_is_always_forwarded():
    """Upstreams reject requests without one."""
    assert forwarded_headers({}, frozenset(), credentials=False) == {"anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("requested", "configured", "merged"), [("a,b", "c", "a,b,c"), ("a", None, "a"), ("", "c", "c"), (None, "", None)]
)
def test_betas_of_request_and_provider_add_up(requested, configured, merged):
    """Without betas there is no header."""
    assert merged_betas(requested, configured) == ({} if merged is None else {"anthropic-beta": merged})


def test_only_listed_response_headers_are_returned():
    """In any case of their names."""
    assert returned_headers(RETURNED | OTHERS) == RETURNED
    assert returned_headers({name.title(): value for name, value in (RETURNED | OTHERS).items()}) == RETURNED
    assert returned_headers(httpx.Headers(RETURNED | OTHERS)) == RETURNED


def test_the_request_id_of_the_upstream_may_be_omitted():
    """With ``own_request_id`` only the request id is omitted."""
    kept = {name: value for name, value in RETURNED.items() if name != "request-id"}
    assert returned_headers(RETURNED, own_request_id=True) == kept
    assert returned_headers({}, own_request_id=True) == {}


@pytest.mark.parametrize(
    ("duration", "reset"),
    [
        ("1s", "20T12:00:01"),
        ("1h2m3.5s", "20T13:02:03"),
        ("1d", "21T12:00:00"),
        ("90s", "20T12:01:30"),
        ("soon", None),
        ("", None),
        ("12", None),
    ],
)
def test_durations_of_openai_become_timestamps(duration, reset):
    """A reset that is not a duration is omitted."""
    found = anthropic_headers({"x-ratelimit-reset-tokens": duration}, NOW)
    assert found == ({} if reset is None else {"anthropic-ratelimit-tokens-reset": f"2026-11-{reset}Z"})


def test_without_the_time_durations_are_omitted():
    """The other rate limits are not."""
    given = {"x-ratelimit-reset-tokens": "1s", "x-ratelimit-limit-tokens": "5"}
    assert anthropic_headers(given, None) == {"anthropic-ratelimit-tokens-limit": "5"}


def test_a_reset_that_is_not_a_timestamp_is_omitted():
    assert openai_headers({"anthropic-ratelimit-tokens-reset": "soon"}, NOW) == {}


def test_a_reset_without_a_zone_is_in_utc():
    given = {"anthropic-ratelimit-tokens-reset": "2026-11-20T12:00:09"}
    assert openai_headers(given, NOW) == {"x-ratelimit-reset-tokens": "9s"}


def test_without_the_time_timestamps_are_omitted():
    assert openai_headers({"anthropic-ratelimit-tokens-reset": "2026-11-20T13:06:05Z"}) == {}
