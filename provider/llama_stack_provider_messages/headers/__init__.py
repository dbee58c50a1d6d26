"""HTTP headers: which go to an upstream, which come back to the client, and which are never sent.

Headers are passed on by name, never wholesale: a header that is not listed here stays on its side of this server, so
that neither cookies and addresses of a client nor those of an upstream reach the other.

    request, client -> upstream     ``forwarded_headers``: version, betas, tracing and session headers, and what the
                                    operator lists; credentials only if the operator wants the client's own to be used
    request, provider -> upstream   the headers that a provider declares or configures; they win over the client's,
                                    except betas, which add up (``merged_betas``)
    response, upstream -> client    ``returned_headers``: retry advice, rate limits, the request id
    response, ours                  ``MODEL_HEADER``, ``LANE_HEADER``, ``COUNT_HEADER``, ``DROPPED_HEADER``

OpenAI's API has other names for rate limits, and durations where Anthropic has timestamps: ``anthropic_headers`` and
``openai_headers`` convert them. This room is pure and imports from no other one.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

VERSION_HEADER, DEFAULT_VERSION = "anthropic-version", "2023-06-01"
BETA_HEADER = "anthropic-beta"

MODEL_HEADER = "x-messages-model"
"""Response header with the model that processed the request, and the rule that selected it."""
LANE_HEADER = "x-messages-lane"
"""Response header with lane and reason; also a request header to select the lane, if the configuration allows it."""
COUNT_HEADER = "x-messages-token-count"
"""Response header: whether a token count is ``exact`` or an ``estimate``."""
DROPPED_HEADER = "x-messages-dropped"
"""Response header that lists the paths of the dropped parts of a request."""

CREDENTIALS = frozenset({"x-api-key", "authorization"})
"""Request headers with a key. The client's own are meant for this server; they go on only if configured."""
FORWARDED = frozenset({VERSION_HEADER, BETA_HEADER, "traceparent", "tracestate", "baggage", "b3"})
"""Request headers that go to an upstream of the native lane: those of the API, and of tracing."""
FORWARDED_PREFIXES = ("x-b3-", "x-claude-code-")
"""Further ones: of tracing, and of sessions, by which routers before several engines select the one with the prefix
cache."""
SESSION_HEADERS = ("x-claude-code-session-id", "x-session-id", "x-session-affinity")
"""Request headers that identify a conversation, from which the key of a backend's prompt cache is made: Claude Code's,
then opencode's."""
FRAMING = frozenset({"content-length", "transfer-encoding", "host", "content-type", "content-encoding"})
"""Headers of message framing and content type, which HTTP sets itself; they cannot be configured."""
NO_SECRETS = frozenset({VERSION_HEADER, BETA_HEADER, "content-type", "accept", "user-agent"})
"""Configured request headers that do not hold keys, so that errors may contain their values."""
KEY_HEADERS = CREDENTIALS | {"api-key", "proxy-authorization", "cookie", "x-auth-token", "x-goog-api-key"}
"""Configured request headers that hold nothing but keys, whatever these look like."""

RETRY_ADVICE = frozenset({"retry-after", "retry-after-ms"})
"""Response headers with the same names in both APIs."""
SHOULD_RETRY = "x-should-retry"
REQUEST_ID = "request-id"
RATE_LIMIT_PREFIX = "anthropic-ratelimit-"
RETURNED = frozenset({*RETRY_ADVICE, SHOULD_RETRY, REQUEST_ID, "anthropic-organization-id"})
"""Response headers of a Messages API upstream that go to the client."""
RETURNED_PREFIXES = (RATE_LIMIT_PREFIX, "anthropic-priority-", "anthropic-fast-")


def forwarded_headers(sent: Mapping[str, str], further: frozenset[str], *, credentials: bool) -> dict[str, str]:
    """Return the client's headers to forward to an upstream; a missing API version is added.

    Args:
        sent: The client's headers, names in lower case.
        further: Names of further headers to forward, from the configuration.
        credentials: Whether to forward the client's credentials.
    """
    names = FORWARDED | further | (CREDENTIALS if credentials else frozenset())
    kept = {name: value for name, value in sent.items() if name in names or name.startswith(FORWARDED_PREFIXES)}
    kept.setdefault(VERSION_HEADER, DEFAULT_VERSION)
    return kept


def merged_betas(requested: str | None, configured: str | None) -> dict[str, str]:
    """Return the ``anthropic-beta`` header with the betas of a request and of its provider; empty without betas."""
    named = [value for value in (requested, configured) if value]
    return {BETA_HEADER: ",".join(named)} if named else {}


def returned_headers(headers: Mapping[str, str], *, own_request_id: bool = False) -> dict[str, str]:
    """Return the response headers of a Messages API upstream that are passed on to the client.

    Args:
        headers: The upstream's response headers.
        own_request_id: Whether to omit its ``request-id``.
    """
    kept = {name.lower(): value for name, value in headers.items()}
    if own_request_id:
        kept.pop(REQUEST_ID, None)
    return {name: value for name, value in kept.items() if name in RETURNED or name.startswith(RETURNED_PREFIXES)}


_WORD = re.compile(r"[^\s,;=\"']{8,}={0,2}")
_LIKE_A_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}")
"""A value without digits is a word, which errors may contain."""


def header_secrets(headers: Mapping[str, str]) -> list[str]:
    """Return the values in configured request headers that errors must not contain.

    Those are words of at least eight characters: with letters and digits, or any in ``KEY_HEADERS``.
    """
    found: list[str] = []
    for name, text in headers.items():
        if name.lower() not in NO_SECRETS:
            words = _WORD.findall(text)
            found += words if name.lower() in KEY_HEADERS else filter(_LIKE_A_KEY.fullmatch, words)
    return [word for word in found if word.lower() not in _SCHEMES]


_SCHEMES = frozenset({"negotiate"})
"""Authorization schemes of at least eight characters."""

_OPENAI_RATE = re.compile(r"x-ratelimit-(limit|remaining|reset)-(requests|tokens)")
_ANTHROPIC_RATE = re.compile(rf"{RATE_LIMIT_PREFIX}((?:input-|output-)?tokens|requests)-(limit|remaining|reset)")
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def anthropic_headers(headers: Mapping[str, str], now: datetime | None) -> dict[str, str]:
    """Return the retry advice and rate limits of a backend under the names of the Messages API.

    Args:
        headers: Response headers of a backend of either API.
        now: The current time, to turn OpenAI's durations into timestamps; without it, they are omitted.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in RETRY_ADVICE or lower.startswith(RATE_LIMIT_PREFIX):
            found[lower] = value
        elif rate := _OPENAI_RATE.fullmatch(lower):
            kept = _timestamp(value, now) if rate[1] == "reset" else value
            if kept:
                found[f"{RATE_LIMIT_PREFIX}{rate[2]}-{rate[1]}"] = kept
    return found


def openai_headers(headers: Mapping[str, str], now: datetime | None = None) -> dict[str, str]:
    """Return the retry advice and rate limits under OpenAI's names; other headers are omitted.

    OpenAI has no separate limits for input and output tokens; these are sent with their own names after
    ``x-ratelimit-limit-``. The input limits also fill in for missing limits of all tokens.

    Args:
        headers: Response headers of the Messages API, of a success or an error.
        now: The current time, timezone-aware, to turn timestamps into durations; without it, they are omitted.
    """
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower == REQUEST_ID:
            found["x-request-id"] = value
        elif lower in RETRY_ADVICE or lower == SHOULD_RETRY:
            found[lower] = value
        elif rate := _ANTHROPIC_RATE.fullmatch(lower):
            kept = _duration(value, now) if rate[2] == "reset" else value
            if kept:
                found[f"x-ratelimit-{rate[2]}-{rate[1]}"] = kept
    for part in ("limit", "remaining", "reset"):
        if limit := found.get(f"x-ratelimit-{part}-input-tokens"):
            found.setdefault(f"x-ratelimit-{part}-tokens", limit)
    return found


def _timestamp(duration: str, now: datetime | None) -> str:
    """Return the timestamp of now plus a duration such as ``6m0s`` or ``250ms``; ``""`` if it is not a duration."""
    found = _DURATION.fullmatch(duration.strip())
    if now is None or found is None or not any(found.groups()):
        return ""
    days, hours, minutes, seconds, millis = (float(part or 0) for part in found.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=millis)
    return (now + span).strftime("%Y-%m-%dT%H:%M:%SZ")


def _duration(timestamp: str, now: datetime | None) -> str:
    """Return the time until an RFC 3339 timestamp in OpenAI's format, ``6m0s``; ``""`` if it is not a timestamp."""
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
