"""An exception for failed chat completions that carries its own HTTP response.

The platform turns an exception into a body of its own with the message only. ``retry-after``, rate limits, error type
and code are lost, and an exception of unknown class is logged with a rendered traceback, which blocks every request
for seconds. So a provider raises this exception instead:

* the platform's own handler knows its parent class, and responds with the right status and message;
* if this API is served too, ``answer_failures`` makes the server respond with its full body and headers.

Inside a stream that has started, the platform still writes its own error.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.middleware.exceptions import ExceptionMiddleware

from llama_stack_api_messages.error_response import wire_headers
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.stack import ConflictError


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


def answer_failures(app: FastAPI) -> None:
    """Make the server respond to ``CompletionError`` with its own body and headers. Idempotent.

    When the lifespan of a router begins, the server has already built its middleware from its table of exception
    handlers. So the handler is registered in the middleware itself. If that is not found, the platform's handler
    stays in use.

    Args:
        app: The server.
    """
    layer: Any = app.middleware_stack
    while layer is not None and not isinstance(layer, ExceptionMiddleware):
        layer = getattr(layer, "app", None)
    if layer is not None:
        layer.add_exception_handler(CompletionError, _answer)


async def _answer(_request: Request, failure: Exception) -> Response:
    assert isinstance(failure, CompletionError)  # noqa: S101 - what it is registered for
    headers = wire_headers(failure.headers)
    return Response(encode_json(failure.body), failure.status_code, headers=headers, media_type="application/json")
