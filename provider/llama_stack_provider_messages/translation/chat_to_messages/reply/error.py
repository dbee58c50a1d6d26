"""Translates errors of the Messages API into OpenAI's error envelope, status and headers."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llama_stack_api_messages.errors import MessagesError, OverloadedError
from llama_stack_provider_messages.errors.overflow import overflow_message
from llama_stack_provider_messages.headers import openai_headers
from llama_stack_provider_messages.translation.surrogates import replace_lone_surrogates

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
