"""Translates an upstream's HTTP error response into the client's error: same status, type, message and headers.

An error body of the Messages API is passed on unchanged. Any other body (OpenAI's, llama.cpp's, an HTML page, an empty
one) is translated as on the translated lane (``body.py``).
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
from llama_stack_provider_messages.headers import returned_headers

from .body import translate_error
from .redaction import Secrets, redacted

_CREDENTIALS = (401, 403)


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
    """Return the error for a response whose status is not 2xx.

    Args:
        status: The upstream's HTTP status.
        body: Its response body.
        headers: Its response headers.
        provider_id: Id of its provider, for messages.
        secrets: The keys of the request, to be redacted from its message.
        own_request_id: Whether to use this server's request id instead of the upstream's.
        now: Current time, for OpenAI's rate limit headers.
    """
    if 300 <= status < 400:
        remedy = "set base_url to the final address, redirects are not followed"
        return BadGatewayError(f"The backend '{provider_id}' answered with a redirect ({status}); {remedy}")
    if not 400 <= status < 600:
        return BadGatewayError(f"The backend '{provider_id}' answered with the status {status}, which is not an error")
    carried = returned_headers(headers, own_request_id=own_request_id)
    clean = redacted(body, secrets)
    if error := _own_form(clean):
        kind, text, verbatim = error["type"], error["message"], not own_request_id
        return UpstreamError(status, kind, text, headers=carried, raw=clean, verbatim=verbatim)
    words = status if status not in _CREDENTIALS else 400  # 401 and 403 are passed on with their own status
    seen = translate_error(words, clean, headers, now=now)
    carried = {**seen.headers, **carried}
    if isinstance(seen, InvalidRequestError) and error_for_status(status).retryable:
        seen.headers = carried  # too long a prompt or an image without vision, whatever the status
        return seen
    kind = error_for_status(status).error_type
    return UpstreamError(status, kind, seen.message, headers=carried)


def not_a_message(provider_id: str) -> BadGatewayError:
    """Return the error for a 2xx response whose body is not a Message."""
    return BadGatewayError(
        f"The backend '{provider_id}' did not answer in the form of the Messages API; if it has none, switch its "
        "native lane off"
    )


def _own_form(body: bytes) -> dict[str, str] | None:
    """Return the ``error`` object of a Messages API error body, None for any other body."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return None
    error = decoded.get("error") if isinstance(decoded, dict) and decoded.get("type") == "error" else None
    if not isinstance(error, dict) or not all(isinstance(error.get(key), str) for key in ("type", "message")):
        return None
    return error
