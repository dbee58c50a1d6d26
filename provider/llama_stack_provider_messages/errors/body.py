"""Translates the body of an upstream's error into an error of the Messages API.

Backends agree on little but the status, so the status selects the error class (``error_for_status``). Six kinds of
errors have no status of their own and are recognized by their codes or texts, in this order:

    the prompt is too long      400 in the words that clients act on (``overflow.py``)
    the model has no vision     400; llama.cpp sends 500, which clients would retry
    the content policy          400, which the translated lane turns into stop reason ``refusal``
    no credit left              402, which is not retried
    the stack's key refused     500; with 401 the client would start a new login, in vain
    any error in a stream       the status that the body itself gives, as a number or a name

The upstream's message is passed on if it is a sentence (not HTML), with keys and addresses redacted. The headers that
clients act on go with it.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from llama_stack_api_messages.errors import (
    ApiError,
    BillingError,
    InvalidRequestError,
    MessagesError,
    UpstreamError,
    error_for_status,
)
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.headers import anthropic_headers

from .overflow import overflow_message
from .redaction import redact_by_pattern

REFUSED_KEY = frozenset({401, 403})
"""Statuses of a backend that does not accept the key."""
NO_ROUTE = frozenset({404, 405, 501})
"""Statuses of servers that do not have the path."""

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

_TYPES_AS_NAMES = frozenset(
    {"invalid_request_error", "not_found_error", "rate_limit_error", "timeout_error", "overloaded_error"}
)
"""Error types that give the status also in bodies of another format; the others count as 500 there."""
_STATUS_BY_NAME: dict[str, int] = {
    **{name: STATUS_BY_TYPE[name] for name in _TYPES_AS_NAMES},
    "BadRequestError": 400,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "server_overloaded": 529,
    "content_filter": 400,
    "content_policy_violation": 400,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""Status by error name: errors inside a stream have no status (OpenAI, vLLM, Anthropic-like gateways, Gemini's gRPC
names)."""

_BLIND_STATUSES = frozenset({400, 404, 415, 422, 500, 501})
_BLIND = re.compile(
    r"""
    images?(?:\s+inputs?)?\s+(?:is|are)\s+not\s+(?:supported|enabled)  # llama.cpp, Mistral
    | (?:not|n't)\s+support\s+(?:images?[ ]inputs?|images(?!\s+\w)|vision|multi-?modal[ ]inputs?)  # Ollama
    | \bis\s+not\s+a\s+(?:multi-?modal|vision)\b           # vLLM
    | no\s+endpoints\s+found\s+that\s+support\s+image       # OpenRouter
    | missing\s+data\s+required\s+for\s+image\s+input       # older Ollama
    | at\s+most\s+0\s+image                                # vLLM, started without images
    | unknown\s+variant\s+.?image_url                      # DeepSeek
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""How backends say that the model has no vision (rather than that this image is bad)."""
NO_VISION = "The model cannot read images"
"""Start of the error message for all of these."""
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "payment_required"})

_POLICY_STATUSES = frozenset({400, 403, 422})
"""Statuses of a policy error; 403 is OpenRouter's moderation, which names the flagged categories."""
_POLICY_CODES = frozenset(
    {"content_policy_violation", "content_filter", "ResponsibleAIPolicyViolation", "moderation_blocked",
     "data_inspection_failed"}
)  # fmt: skip
"""Error codes of OpenAI and LiteLLM, Azure (two), OpenAI, DashScope."""
_POLICY = re.compile(
    r"content management policy"  # Azure
    r"|ResponsibleAIPolicyViolation"
    r"|\Acontent exists risk"  # DeepSeek
    r"|(?:prompt|input|request|content) (?:was|is|has been) (?:flagged|blocked|rejected) "
    r".{0,60}(?:polic|safety|moderation)"
    r"|requires moderation .{0,60}flagged"  # OpenRouter
    r"|may contain inappropriate content",  # DashScope
    re.IGNORECASE,
)
_DEFAULT_TEXTS = {
    404: "The backend does not know the model",
    408: "The backend did not answer in time",
    413: "The request is larger than the backend accepts",
    429: "The backend's rate limit is reached",
    503: "The backend has no capacity right now",
    504: "The backend did not answer in time",
    529: "The backend has no capacity right now",
}
"""Messages for errors whose body has none."""
_MAX_TEXT_CHARS = 1000
_POLICY_TEXT_CHARS = 2000
"""Characters of a message that are searched for a content policy."""


class ContentPolicyError(InvalidRequestError):
    """The upstream's content policy rejects the request; the API itself uses stop reason ``refusal``, not an error."""


class ContextOverflowError(InvalidRequestError):
    """The context window is full. In the middle of a stream, the response itself has filled it and ends there."""


def translate_error(
    status: int | None,
    body: object,
    headers: Mapping[str, str] | None = None,
    *,
    now: datetime | None = None,
) -> MessagesError:
    """Return the client's error for an upstream's error body.

    Args:
        status: The upstream's HTTP status; None for an error inside a stream.
        body: The decoded body: ``{"error": {...}}``, its inner object, text, or None.
        headers: The upstream's response headers.
        now: Current time, to convert the durations in OpenAI's rate limit headers to timestamps.
    """
    error = _error_object(body)
    code = _effective_status(status, error)
    if message := overflow_message(code, error):
        return ContextOverflowError(message)
    text = _error_text(error)
    if code in _BLIND_STATUSES and _BLIND.search(text):
        return InvalidRequestError(f"{NO_VISION}; remove them or use a model that can. The backend said: {text}")
    if _is_policy(code, error):
        return ContentPolicyError(text or "The backend's content policy forbids this request")
    if code == BillingError.status_code or not _QUOTA_CODES.isdisjoint(
        (str(error.get("code")), str(error.get("type")))
    ):
        return BillingError(text or "The backend's account has no credit left")
    if code in REFUSED_KEY:
        return ApiError(
            "The backend refused the stack's own credentials; its operator has to check the configured key",
            retryable=False,
        )
    carried = anthropic_headers(headers or {}, now)
    return error_for_status(code)(text or _DEFAULT_TEXTS.get(code, f"The backend answered {code}"), headers=carried)


def is_error(body: Mapping[str, Any], *, promised: str = "") -> bool:
    """Return whether a body with status 200, or an event, is an error. All modules use this rule.

    A member ``error`` that is not empty makes it one, whatever else it has: clients must not take half an answer for a
    whole one. llama.cpp sends only ``code`` and ``message``: it names an event an error outside of the event's data.

    Args:
        body: The decoded body or event.
        promised: The member that a success has; with it, ``code`` and ``message`` do not make the body an error.
    """
    if body.get("type") == "error" or body.get("error"):
        return True
    text = body.get("message")
    return promised not in body and body.get("code") is not None and isinstance(text, str) and bool(text)


def error_of_event(event: Mapping[str, Any]) -> MessagesError:
    """Return the error in an ``error`` event, or in an error body sent with status 200.

    An error in the API's format keeps its type, message and details. Any other is translated as ``translate_error``
    does, except that 401 and 403 are kept: here the key may be the client's own.
    """
    inner = event.get("error")
    inner = inner if isinstance(inner, Mapping) else {}
    kind, text, details = inner.get("type"), inner.get("message"), inner.get("details")
    if isinstance(kind, str) and kind in STATUS_BY_TYPE and isinstance(text, str) and text.strip():
        error = UpstreamError(STATUS_BY_TYPE[kind], kind, redact_by_pattern(text.strip()))
        error.details = dict(details) if isinstance(details, Mapping) else None
        return error
    status = _effective_status(None, _error_object(event))
    if status in REFUSED_KEY:
        return UpstreamError(status, error_for_status(status).error_type, translate_error(400, event).message)
    return translate_error(status, event)


def _error_object(body: object) -> dict[str, Any]:
    """Return the object with message, type and code.

    OpenAI nests it under ``error``, older vLLM does not, Ollama has a string there, FastAPI uses ``detail``, Gemini
    wraps everything in a list. SDKs raise objects with attributes.
    """
    if isinstance(body, str | bytes):
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        decoded = loads_or_none(text)
        return _error_object(decoded) if isinstance(decoded, dict | list) else {"message": text}
    if isinstance(body, list) and body and isinstance(body[0], Mapping):
        body = body[0]
    if not isinstance(body, Mapping):
        return {name: getattr(body, name, None) for name in ("message", "type", "code", "status")}
    inner = body.get("error")
    record = inner if isinstance(inner, Mapping) else body
    message = inner if isinstance(inner, str) else record.get("message") or record.get("detail")
    return {**record, "message": _message_text(message)}


def _message_text(message: object) -> object:
    """Return FastAPI's list of invalid fields (nested by Mistral) as sentences, any other message unchanged."""
    details = message.get("detail") if isinstance(message, Mapping) else message
    if not isinstance(details, list):
        return details
    sentences = []
    for detail in details:
        if isinstance(detail, Mapping) and isinstance(detail.get("msg"), str):
            path = detail.get("loc")
            place = ".".join(map(str, path)) if isinstance(path, list | tuple) else ""
            sentences.append(f"{place}: {detail['msg']}" if place else detail["msg"])
    return "; ".join(sentences)


def _effective_status(status: int | None, error: dict[str, Any]) -> int:
    """Return the HTTP status, else that in code, type or status of the body: a number, quoted or not, or a name."""
    if status is not None:
        return status
    for name in (str(error.get(key)) for key in ("code", "type", "status")):
        if re.fullmatch(r"[45]\d\d", name):
            return int(name)
        if name in _STATUS_BY_NAME:
            return _STATUS_BY_NAME[name]
    return 500


def _is_policy(status: int, error: dict[str, Any]) -> bool:
    """Return whether the upstream rejected the content of the request, by its codes or its message."""
    if status not in _POLICY_STATUSES:
        return False
    inner = error.get("innererror")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, Mapping) else None]
    text = error.get("message")
    return not _POLICY_CODES.isdisjoint(map(str, codes)) or (
        isinstance(text, str) and bool(_POLICY.search(text[:_POLICY_TEXT_CHARS]))
    )


_MARKUP = re.compile(r"\s*+<[A-Za-z!?/]|(?:\s*+[\[{](?:\s*+\"[^\"]{0,100}+\"\s*+:)?){20}")
"""Start of an HTML page (not ``<400>``, which begins messages of DashScope), or of JSON that is nested too deeply."""


def _error_text(error: dict[str, Any]) -> str:
    """Return the upstream's message, redacted; empty if it is not a sentence (HTML, nested data)."""
    text = error.get("message")
    if not isinstance(text, str) or "<html" in text[:500].lower() or _MARKUP.match(text):
        return ""
    return redact_by_pattern(text.strip())[:_MAX_TEXT_CHARS]
