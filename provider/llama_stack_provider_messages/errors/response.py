"""An upstream's refusal -> the error a client gets: the same status, type, message and headers.

A body in the form of the API goes on as it is. Any other (OpenAI's, llama.cpp's, a page, nothing) is read as the
translated lane reads it, and put into the envelope.
"""

import json
from collections.abc import Mapping
from datetime import datetime

from llama_stack_api_messages.errors import (
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
    UpstreamError,
    error_for_status,
)

from .body import translate_error
from .redaction import Secrets, redacted

_CARRIED = frozenset({"retry-after", "retry-after-ms", "x-should-retry", "request-id", "anthropic-organization-id"})
_CARRIED_FAMILIES = ("anthropic-ratelimit-", "anthropic-priority-", "anthropic-fast-")
_CREDENTIALS = (401, 403)


def carried_headers(headers: Mapping[str, str], *, own_request_id: bool = False) -> dict[str, str]:
    """Return the headers of an upstream that a client gets to see.

    Args:
        headers: The upstream's.
        own_request_id: Leave its ``request-id`` out.
    """
    kept = {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() in _CARRIED or name.lower().startswith(_CARRIED_FAMILIES)
    }
    if own_request_id:
        kept.pop("request-id", None)
    return kept


def upstream_failure(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    provider_id: str,
    secrets: Secrets = (),
    own_request_id: bool = False,
    now: datetime | None = None,
) -> MessagesError:
    """Return the error for an answer that is no success.

    Args:
        status: The upstream's.
        body: The upstream's.
        headers: The upstream's.
        provider_id: Names the upstream in messages.
        secrets: The keys it was asked with, which must not come back in its words.
        own_request_id: Answer with this server's request id.
        now: The time, for OpenAI's rate limit headers.
    """
    if 300 <= status < 400:
        remedy = "set base_url to the final address, redirects are not followed"
        return BadGatewayError(f"The backend '{provider_id}' answered with a redirect ({status}); {remedy}")
    if not 400 <= status < 600:
        return BadGatewayError(f"The backend '{provider_id}' answered with the status {status}, which is not an error")
    carried = carried_headers(headers, own_request_id=own_request_id)
    clean = redacted(body, secrets)
    if error := _own_form(clean):
        kind, text, verbatim = error["type"], error["message"], not own_request_id
        return UpstreamError(status, kind, text, headers=carried, raw=clean, verbatim=verbatim)
    words = status if status not in _CREDENTIALS else 400  # the status stays, and with it whose key it is about
    seen = translate_error(words, clean, headers, now=now)
    carried = {**seen.headers, **carried}
    if isinstance(seen, InvalidRequestError) and error_for_status(status).retryable:
        seen.headers = carried  # a prompt that is too long or a picture, whatever the status said
        return seen
    kind = error_for_status(status).error_type
    return UpstreamError(status, kind, seen.message, headers=carried)


def not_a_message(provider_id: str) -> BadGatewayError:
    """Return the error for a success that is no Message."""
    return BadGatewayError(
        f"The backend '{provider_id}' did not answer in the form of the Messages API; if it has none, switch its "
        "native lane off"
    )


def _own_form(body: bytes) -> dict[str, str] | None:
    """Return the error of a body in the form of the API."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = decoded.get("error") if isinstance(decoded, dict) and decoded.get("type") == "error" else None
    if not isinstance(error, dict) or not all(isinstance(error.get(key), str) for key in ("type", "message")):
        return None
    return error
