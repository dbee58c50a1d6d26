"""The error body, also the data of an `error` event."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from .base import JsonObject, Known, OpenModel

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "conflict_error",
    "request_too_large",
    "rate_limit_error",
    "api_error",
    "timeout_error",
    "overloaded_error",
    "memory_precondition_failed_error",
    "memory_path_conflict_error",
]
ERROR_TYPES: tuple[ErrorType, ...] = get_args(ErrorType)
"""The broad categories of errors."""


class ErrorDetail(OpenModel):
    """Type and message of an error."""

    type: Annotated[str, Known(*ERROR_TYPES)] = Field(description="Broad category.")
    message: str = Field(description="What failed and what to do.")
    details: JsonObject | None = Field(default=None, description="Machine-readable part, such as `error_code`.")


class ErrorBody(OpenModel):
    """The body of every error response."""

    type: Literal["error"] = Field(description="Kind of object.")
    error: ErrorDetail = Field(description="The error.")
    request_id: str | None = Field(default=None, description="Id of the request, as in the `request-id` header.")
