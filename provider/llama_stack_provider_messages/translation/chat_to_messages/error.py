"""An error of the Messages API -> an error of OpenAI's API: envelope, status and headers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llama_stack_api_messages.errors import MessagesError

_STATUSES = {529: 503}
"""Statuses that OpenAI's clients do not know."""
_TOO_LONG = "prompt is too long"
_COPIED = ("retry-after", "retry-after-ms", "x-should-retry")
_LIMITS = {"requests": ("requests",), "tokens": ("tokens", "input-tokens")}
"""What OpenAI limits -> what the Messages API calls it, the first that is there."""


@dataclass(frozen=True, slots=True)
class OpenAIError:
    """An error as OpenAI's clients read it.

    Args:
        status: Of the HTTP response.
        body: ``{"error": {...}}``, also the data of the last event of a stream that failed.
        headers: For the HTTP response.
    """

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def translate_error(error: MessagesError, *, now: datetime | None = None) -> OpenAIError:
    """Return the error.

    Args:
        error: What failed.
        now: The time, with its zone, to count until when a limit is lifted.
    """
    status, code = _STATUSES.get(error.status_code, error.status_code), (error.details or {}).get("error_code")
    if error.message.lower().startswith(_TOO_LONG):
        status, code = 400, "context_length_exceeded"
    told = {"message": error.message, "type": error.error_type, "param": None, "code": code}
    return OpenAIError(status, {"error": told}, _headers(error.headers, now))


def _headers(headers: Mapping[str, str], now: datetime | None) -> dict[str, str]:
    given = {name.lower(): value for name, value in headers.items()}
    found = {name: given[name] for name in _COPIED if name in given}
    if "request-id" in given:
        found["x-request-id"] = given["request-id"]
    for ours, names in _LIMITS.items():
        name = next((name for name in names if f"anthropic-ratelimit-{name}-limit" in given), names[0])
        for part in ("limit", "remaining", "reset"):
            value = given.get(f"anthropic-ratelimit-{name}-{part}")
            if part == "reset":
                value = _duration(value, now)
            if value is not None:
                found[f"x-ratelimit-{part}-{ours}"] = value
    return found


def _duration(until: str | None, now: datetime | None) -> str | None:
    """Return how long a limit still holds; the Messages API says when it ends, OpenAI's how long that is."""
    if until is None or now is None:
        return None
    try:
        end = datetime.fromisoformat(until)
    except ValueError:
        return None
    zoned = end if end.tzinfo else end.replace(tzinfo=UTC)
    return f"{max(0, round((zoned - now).total_seconds()))}s"
