"""Tells the success of a Messages API upstream from its failure, and translates its HTTP error responses.

A response with an error status becomes the client's error with the same status, type, message and headers: an error
body of the Messages API is passed on unchanged, any other body (OpenAI's, llama.cpp's, an HTML page, an empty one) is
translated as on the translated lane (``body.py``).

A response with status 200 is not yet a success: gateways send errors and HTML pages with it. It is one if its body is
a stream of events, or has the member that the endpoint promises and is not an error (``check_message_body``).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeGuard

from llama_stack_api_messages.errors import (
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
    UpstreamError,
    error_for_status,
)
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_api_messages.json_members import Member, members
from llama_stack_provider_messages.headers import returned_headers

from .body import REFUSED_KEY, error_of_event, is_error, translate_error
from .redaction import Secrets, redact_body, redact_json

_WRONG_FORM = "did not answer in the form of the Messages API"
_ENDED_EARLY = "ended the stream before its answer was complete"
WRONG_FORM = f"The backend {_WRONG_FORM}"
"""Error message for a response, or an event, that does not have the form of the Messages API."""
ENDED_EARLY = f"The backend {_ENDED_EARLY}"
"""Error message for a stream without its last events."""


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
    if failure := unexpected_status(status, provider_id):
        return failure
    carried = returned_headers(headers, own_request_id=own_request_id)
    clean = redact_body(body, secrets)
    if error := _api_error(clean):
        kind, text, verbatim = error["type"], error["message"], not own_request_id
        return UpstreamError(status, kind, text, headers=carried, raw=clean, verbatim=verbatim)
    known = status if status not in REFUSED_KEY else 400  # 401 and 403 are passed on with their own message
    translated = translate_error(known, clean, headers, now=now)
    carried = {**translated.headers, **carried}
    if isinstance(translated, InvalidRequestError) and error_for_status(status).retryable:
        translated.headers = carried  # the prompt is too long or the model has no vision, whatever the status
        return translated
    return UpstreamError(status, error_for_status(status).error_type, translated.message, headers=carried)


def unexpected_status(status: int | None, provider_id: str) -> BadGatewayError | None:
    """Return the error for a status that is neither a success nor an error; None for an error, and without a status."""
    if status is None or 400 <= status < 600:
        return None
    if 300 <= status < 400:
        remedy = "set base_url to the final address, redirects are not followed"
        return BadGatewayError(f"The backend '{provider_id}' answered with a redirect ({status}); {remedy}")
    return BadGatewayError(f"The backend '{provider_id}' answered with the status {status}, which is not an error")


def check_message_body(body: object, name: str, secrets: Secrets) -> TypeGuard[dict[str, Any]]:
    """Return whether the decoded body of a 2xx response is one of the Messages API; an error in it is raised.

    Args:
        body: The decoded body.
        name: The member that the endpoint promises: ``content`` of a Message, ``input_tokens`` of a token count.
        secrets: The keys of the request, to be redacted from an error.

    Raises:
        MessagesError: The body is an error, which gateways send with status 200, too.
    """
    if not isinstance(body, dict):
        return False
    if is_error(body, promised=name):
        raise error_of_event(redact_json(body, secrets))
    return name in body


def success_members(data: bytes, name: str, secrets: Secrets) -> list[Member] | None:
    """Return the top-level members of the body of a 2xx response; None if it is not one of the Messages API.

    As ``check_message_body``, but the body is decoded only if it may be an error, and any error is translated: gateways
    without the API's error format use its type names, too, and clients act on the translated sentences.

    Raises:
        MessagesError: The body is an error.
    """
    try:
        found = members(data)
    except ValueError:
        return None
    names = {member for member, _ in found}
    if name in names and names.isdisjoint(("error", "code")):
        return found
    body = loads_or_none(data)
    if not isinstance(body, dict):
        return None
    if is_error(body, promised=name):
        raise translate_error(None, redact_json(body, secrets))
    return found if name in names else None


def not_a_message(provider_id: str, *, native: bool = True) -> BadGatewayError:
    """Return the error for a 2xx response that is not one of the Messages API.

    Args:
        provider_id: Id of the backend's provider.
        native: Whether the request was passed through, so that switching the native lane off may help.
    """
    text = f"The backend '{provider_id}' {_WRONG_FORM}"
    if native:
        return BadGatewayError(f"{text}; if it has no Messages API, set `native: off` for it")
    return BadGatewayError(text, retryable=False)


def ended_early(provider_id: str) -> BadGatewayError:
    """Return the error for a stream without its last events."""
    return BadGatewayError(f"The backend '{provider_id}' {_ENDED_EARLY}")


def _api_error(body: bytes) -> dict[str, str] | None:
    """Return the ``error`` object of a Messages API error body, None for any other body."""
    decoded = loads_or_none(body)
    error = decoded.get("error") if isinstance(decoded, dict) and decoded.get("type") == "error" else None
    if not isinstance(error, dict) or not all(isinstance(error.get(key), str) for key in ("type", "message")):
        return None
    return error
