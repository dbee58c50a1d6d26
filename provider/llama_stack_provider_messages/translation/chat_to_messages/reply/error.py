"""An error of the Messages API -> OpenAI's envelope, status and headers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llama_stack_api_messages.errors import MessagesError, OverloadedError, UpstreamError, error_for_status
from llama_stack_provider_messages.errors.body import status_inside
from llama_stack_provider_messages.errors.body import translate_error as from_backend
from llama_stack_provider_messages.errors.overflow import overflow_message
from llama_stack_provider_messages.errors.redaction import redact
from llama_stack_provider_messages.translation.fields import field, text_field
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

STATUS_BY_TYPE: dict[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
    "memory_precondition_failed_error": 409,
    "memory_path_conflict_error": 409,
}
"""The status of an error that came inside a stream, where there is none (errors table of the Messages API)."""

_OVERLOADED = 503
"""OpenAI's clients know no 529."""
_RETRIED = frozenset({408, 409, 429})
"""Statuses below 500 that the SDKs send again (README of the openai SDK)."""
_TOO_LONG = {"type": "invalid_request_error", "code": "context_length_exceeded"}


@dataclass(frozen=True, slots=True)
class OpenAIError:
    """An answer that is no success, as OpenAI's clients read it.

    Args:
        status: HTTP status.
        body: ``{"error": {"message", "type", "param", "code"}}``, also what a stream ends with.
        headers: Response headers, names in lower case.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def translate_error(error: MessagesError, *, now: datetime | None = None) -> OpenAIError:
    """Return an error as OpenAI's clients expect it: the same words and status, except where these have another.

    Args:
        error: The error.
        now: The time, with its zone, to turn timestamps of rate limits into durations; without it they are left out.
    """
    status = _OVERLOADED if error.status_code == OverloadedError.status_code else error.status_code
    code = (error.details or {}).get("error_code")
    body = {
        "message": replace_lone_surrogates(error.message),
        "type": replace_lone_surrogates(error.error_type),
        "param": None,
        "code": code,
    }
    if overflow_message(error.status_code, {"message": error.message, "code": code}):
        status, body = 400, body | _TOO_LONG
    headers = openai_headers(error.headers, now)
    if not error.retryable and (status in _RETRIED or status >= 500):
        headers.setdefault("x-should-retry", "false")
    return OpenAIError(status, {"error": body}, headers)


def error_of_event(event: Mapping[str, Any]) -> MessagesError:
    """Return the error of an ``error`` event, or of a body in its place.

    Of one in the form of the API type, message and details are kept; any other is read as the other direction does,
    but for its status: whose key a 401 is about is the client's to know here.
    """
    inner = event.get("error")
    kind, text = text_field(inner, "type"), text_field(inner, "message").strip()
    if kind not in STATUS_BY_TYPE or not text:
        return _foreign(dict(event))
    error = UpstreamError(STATUS_BY_TYPE[kind], kind, redact(text))
    details = field(inner, "details")
    error.details = dict(details) if isinstance(details, Mapping) else None
    return error


def _foreign(body: dict[str, Any]) -> MessagesError:
    status = status_inside(body)
    if status not in (401, 403):
        return from_backend(status, body)
    return UpstreamError(status, error_for_status(status).error_type, from_backend(400, body).message)


def is_error(event: Mapping[str, Any]) -> bool:
    """Return whether an event, or a body, is an error; llama.cpp names its own outside of the data."""
    if event.get("type") == "error" or event.get("error"):
        return True
    return event.get("code") is not None and isinstance(event.get("message"), str)


_AS_IS = frozenset({"retry-after", "retry-after-ms", "x-should-retry"})
_RATE_HEADER = re.compile(r"anthropic-ratelimit-((?:input-|output-)?tokens|requests)-(limit|remaining|reset)")


def openai_headers(headers: Mapping[str, str], now: datetime | None = None) -> dict[str, str]:
    """Return the headers a client acts on, under OpenAI's names; others are left out.

    Limits of input and output tokens, which OpenAI does not tell apart, keep their names behind ``x-ratelimit-limit-``;
    those of the input are also the limits of tokens where there are no common ones.

    Args:
        headers: Of an answer of the Messages API, success or not.
        now: The time, with its zone; see ``translate_error``.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower == "request-id":
            found["x-request-id"] = value
        elif lower in _AS_IS:
            found[lower] = value
        elif rate := _RATE_HEADER.fullmatch(lower):
            kept = _duration(value, now) if rate[2] == "reset" else value
            if kept:
                found[f"x-ratelimit-{rate[2]}-{rate[1]}"] = kept
    for part in ("limit", "remaining", "reset"):
        if limit := found.get(f"x-ratelimit-{part}-input-tokens"):
            found.setdefault(f"x-ratelimit-{part}-tokens", limit)
    return found


def _duration(timestamp: str, now: datetime | None) -> str:
    """Return the time until a timestamp (RFC 3339) as OpenAI writes it, ``6m0s``; ``""`` when it is none."""
    if now is None:
        return ""
    try:
        end = datetime.fromisoformat(timestamp)
    except ValueError:
        return ""
    zoned = end if end.tzinfo else end.replace(tzinfo=UTC)
    minutes, seconds = divmod(max(0, round((zoned - now).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"
