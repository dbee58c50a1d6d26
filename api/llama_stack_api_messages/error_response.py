"""A failure as an HTTP response: status, headers and the error body of the Messages API.

Used by the route class, by streams that have not started, and by the routes that always return an error.
"""

import logging
from collections.abc import Mapping

from fastapi import HTTPException, Response
from fastapi.exceptions import RequestValidationError

from .errors import ApiError, InvalidRequestError, MessagesError, UpstreamError, error_for_status
from .json_bytes import encode_json
from .models.validation import describe_errors

logger = logging.getLogger(__name__)

CLIENT_CLOSED = 499
"""Status of the response after the client has disconnected (nginx's 499); it is seen in logs only."""


def visible_error(error: BaseException, request_id: str) -> MessagesError:
    """Return the error to show to the client; an unexpected exception is logged in one line and becomes a plain 500."""
    if isinstance(error, MessagesError):
        return error
    if isinstance(error, HTTPException):
        return error_for_status(error.status_code)(str(error.detail))
    if isinstance(error, RequestValidationError):  # of a parameter; the path begins with the part of the request
        return InvalidRequestError(describe_errors([item | {"loc": item["loc"][1:]} for item in error.errors()]))
    logger.error("%s: unexpected %s in %s: %.500s", request_id, type(error).__name__, _where(error), error)
    return ApiError("Internal server error; the server's log has the cause under this request id")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "unknown"


def wire_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that HTTP can carry; an invalid header of an upstream must not fail the response."""
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}


def error_response(error: MessagesError, request_id: str) -> Response:
    """Return the HTTP response of an error."""
    headers = {"request-id": request_id, **wire_headers(error.headers)}
    if not error.retryable:
        headers.setdefault("x-should-retry", "false")
    raw = error.raw if isinstance(error, UpstreamError) and error.verbatim else None
    content = encode_json(error.body(headers["request-id"])) if raw is None else raw
    return Response(content, error.status_code, headers=headers, media_type="application/json")
