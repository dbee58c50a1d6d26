"""The errors of the Messages API, as exceptions that can build their own response body.

    MessagesError
    |- InvalidRequestError     400 invalid_request_error
    |  `- MethodNotAllowedError 405 invalid_request_error
    |- AuthenticationError     401 authentication_error
    |- BillingError            402 billing_error
    |- PermissionDeniedError   403 permission_error
    |- NotFoundError           404 not_found_error
    |- RequestTimeoutError     408 timeout_error
    |- ConflictError           409 conflict_error
    |- RequestTooLargeError    413 request_too_large
    |- RateLimitError          429 rate_limit_error
    |- ApiError                500 api_error
    |  `- BadGatewayError      502 api_error
    |- GatewayTimeoutError     504 timeout_error
    |- OverloadedError         529 overloaded_error
    `- UpstreamError           any status and type: the error response of a Messages API upstream

A message says what failed and what to do. It never contains the key of an upstream; an address only if the
upstream wrote it into an error in the format of the API, which passes as it is.
"""

from collections.abc import Mapping
from typing import Any


class MessagesError(Exception):
    """Base of every failure a client may see.

    Args:
        message: What failed and what to do about it.
        details: Machine-readable details, e.g. ``{"error_code": "thread_unsupported_request"}``.
        headers: Response headers to send with the error (``retry-after``, rate limits).
        retryable: Whether the same request may succeed later; None keeps the default of the class.
    """

    status_code: int = 500
    error_type: str = "api_error"
    retryable: bool = True

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details) if details else None
        self.headers = dict(headers) if headers else {}
        if retryable is not None:
            self.retryable = retryable

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the JSON body, also used as the data of an ``error`` event."""
        error: dict[str, Any] = {"type": self.error_type, "message": self.message}
        if self.details:
            error["details"] = self.details
        return {"type": "error", "error": error, "request_id": request_id}


class InvalidRequestError(MessagesError):
    """The request is invalid and has to be changed."""

    status_code = 400
    error_type = "invalid_request_error"
    retryable = False


class MethodNotAllowedError(InvalidRequestError):
    """The path exists, the method does not."""

    status_code = 405


class AuthenticationError(MessagesError):
    """The client's credentials are missing or wrong."""

    status_code = 401
    error_type = "authentication_error"
    retryable = False


class BillingError(MessagesError):
    """The upstream account has no credit left."""

    status_code = 402
    error_type = "billing_error"
    retryable = False


class PermissionDeniedError(MessagesError):
    """The caller is not allowed to do this."""

    status_code = 403
    error_type = "permission_error"
    retryable = False


class NotFoundError(MessagesError):
    """No such model or route."""

    status_code = 404
    error_type = "not_found_error"
    retryable = False


class RequestTimeoutError(MessagesError):
    """The request stopped arriving."""

    status_code = 408
    error_type = "timeout_error"


class ConflictError(MessagesError):
    """The current state of the resource does not allow the request."""

    status_code = 409
    error_type = "conflict_error"


class RequestTooLargeError(MessagesError):
    """The body exceeds the size limit of the server or of the upstream."""

    status_code = 413
    error_type = "request_too_large"
    retryable = False


class RateLimitError(MessagesError):
    """Too many requests; ``retry-after`` says when to retry."""

    status_code = 429
    error_type = "rate_limit_error"


class ApiError(MessagesError):
    """An internal error of this server or of the upstream."""


class BadGatewayError(ApiError):
    """The upstream cannot be reached, or its response is not valid."""

    status_code = 502


class GatewayTimeoutError(MessagesError):
    """The upstream did not respond in time."""

    status_code = 504
    error_type = "timeout_error"


class OverloadedError(MessagesError):
    """The upstream has no capacity at the moment."""

    status_code = 529
    error_type = "overloaded_error"


ERROR_BY_STATUS: dict[int, type[MessagesError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    402: BillingError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: MethodNotAllowedError,
    408: GatewayTimeoutError,
    409: ConflictError,
    413: RequestTooLargeError,
    429: RateLimitError,
    500: ApiError,
    502: BadGatewayError,
    503: OverloadedError,
    504: GatewayTimeoutError,
    529: OverloadedError,
}
"""The error class for each HTTP status (Messages API documentation, table of errors)."""


class UpstreamError(MessagesError):
    """The error response of an upstream that speaks the Messages API, passed on with its status.

    Args:
        status: HTTP status of the upstream's response.
        error_type: Its ``error.type``.
        message: Its ``error.message``.
        headers: Those of its headers that clients act on.
        raw: Its body as received, if it is an error body of the Messages API.
        verbatim: Send ``raw`` to the client, with the upstream's request id; else build a new body.
    """

    def __init__(
        self,
        status: int,
        error_type: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        verbatim: bool = True,
    ) -> None:
        super().__init__(message, headers=headers, retryable=error_for_status(status).retryable)
        self.status_code = status
        self.error_type = error_type
        self.raw = raw
        self.verbatim = verbatim


def error_for_status(status: int) -> type[MessagesError]:
    """Return the error class for an HTTP status: any other 4xx gives the 400 class, everything else the 500 class."""
    found = ERROR_BY_STATUS.get(status)
    if found:
        return found
    return InvalidRequestError if 400 <= status < 500 else ApiError
