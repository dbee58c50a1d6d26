"""Translates errors of the Messages API into OpenAI's error envelope, status and headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_stack_api_messages.errors import MessagesError, OverloadedError, UpstreamError, error_for_status
from llama_stack_provider_messages.errors.body import status_inside
from llama_stack_provider_messages.errors.body import translate_error as from_backend
from llama_stack_provider_messages.errors.overflow import overflow_message
from llama_stack_provider_messages.errors.redaction import redact
from llama_stack_provider_messages.headers import openai_headers
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
"""Error type -> HTTP status, for errors inside a stream, which have no status (errors table of the Messages API)."""

_OVERLOADED = 503
"""Sent in place of 529, which OpenAI's clients do not know."""
_RETRIED = frozenset({408, 409, 429})
"""Statuses below 500 that the SDKs retry (README of the openai SDK)."""
_TOO_LONG = {"type": "invalid_request_error", "code": "context_length_exceeded"}


@dataclass(frozen=True, slots=True)
class OpenAIError:
    """An error response in OpenAI's format.

    Args:
        status: HTTP status.
        body: ``{"error": {"message", "type", "param", "code"}}``, also the last chunk of a failed stream.
        headers: Response headers, names in lower case.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def translate_error(error: MessagesError, *, now: datetime | None = None) -> OpenAIError:
    """Return an error in OpenAI's format. Message and status are kept, except where OpenAI's API uses others.

    Args:
        error: The error.
        now: The current time, timezone-aware, to turn rate limit timestamps into durations; if None, they are omitted.
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
    """Return the error in an ``error`` event, or in an error body sent in its place.

    An error in the API's format keeps its type, message and details. Any other is parsed as in the other direction,
    except that 401 and 403 are kept: here the API key may be the client's own.
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
    """Return whether an event or body is an error. llama.cpp marks its errors outside of the event data."""
    if event.get("type") == "error" or event.get("error"):
        return True
    return event.get("code") is not None and isinstance(event.get("message"), str)
