"""Failures as HTTP responses: of this API, and of the platform's chat completions.

A failure of this API is a ``MessagesError``, and ``error_response`` returns its status, headers and body. It is used by
the route class and by streams that have not started.

A failure of a chat completion is a ``CompletionError``, which an inference provider raises. The platform would turn any
other exception into a body of its own with the message only: ``retry-after``, rate limits, error type and code would be
lost, and an exception of unknown class would be logged with a rendered traceback, which blocks every request for
seconds. With this exception

* the platform's own handler, which knows its parent class, responds with the right status and message;
* if this API is served too, ``install_completion_errors`` makes the server respond with its full body and headers.

Inside a stream that has started, the platform still writes its own error.
"""

import logging
from collections.abc import Mapping
from typing import Any, cast

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.middleware.exceptions import ExceptionMiddleware

from .errors import ApiError, InvalidRequestError, MessagesError, UpstreamError, error_for_status
from .json_bytes import encode_json
from .models.validation import describe_errors
from .stack import ConflictError

logger = logging.getLogger(__name__)

CLIENT_CLOSED = 499
"""Status of the response after the client has disconnected (nginx's 499); it is seen in logs only."""


def error_response(error: MessagesError, request_id: str) -> Response:
    """Return the HTTP response of an error of this API."""
    headers = {"request-id": request_id, **wire_headers(error.headers)}
    if not error.retryable:
        headers.setdefault("x-should-retry", "false")
    raw = error.raw if isinstance(error, UpstreamError) and error.verbatim else None
    content = encode_json(error.body(headers["request-id"])) if raw is None else raw
    return Response(content, error.status_code, headers=headers, media_type="application/json")


def visible_error(error: BaseException, request_id: str) -> MessagesError:
    """Return the error to show to the client.

    An unexpected exception becomes a 500 without its text, and is logged in one line with the place that raised it.
    """
    if isinstance(error, MessagesError):
        return error
    if isinstance(error, HTTPException):
        return error_for_status(error.status_code)(str(error.detail))
    if isinstance(error, RequestValidationError):  # of a parameter; its path begins with "query" or "path"
        return InvalidRequestError(describe_errors([item | {"loc": item["loc"][1:]} for item in error.errors()]))
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "unknown"
    logger.error("%s: unexpected %s in %s: %.500s", request_id, type(error).__name__, place, error)
    return ApiError("Internal server error; the server's log has the cause under this request id")


def wire_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that HTTP can carry; an invalid header of an upstream must not fail the response."""
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}


class CompletionError(ConflictError):  # type: ignore[misc] # the platform has no types
    """A failed call of an inference provider.

    Args:
        status: The HTTP status.
        body: The body in OpenAI's form, ``{"error": {"message": ..., "type": ..., "code": ..., "param": ...}}``.
        headers: Response headers.
    """

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body["error"]["message"])
        self.status_code = status
        self.body = dict(body)
        self.headers = dict(headers or {})


def install_completion_errors(app: FastAPI) -> None:
    """Make the server respond to ``CompletionError`` with its own body and headers. Idempotent.

    When the lifespan of a router begins, the server has already built its middleware from its table of exception
    handlers. So the handler is registered in the middleware itself. If that is not found, the platform's handler
    stays in use.

    Args:
        app: The server.
    """

    async def respond(_request: Request, error: Exception) -> Response:
        failure = cast("CompletionError", error)
        headers = wire_headers(failure.headers)
        return Response(encode_json(failure.body), failure.status_code, headers=headers, media_type="application/json")

    layer: Any = app.middleware_stack
    while layer is not None and not isinstance(layer, ExceptionMiddleware):
        layer = getattr(layer, "app", None)
    if layer is not None:
        layer.add_exception_handler(CompletionError, respond)
