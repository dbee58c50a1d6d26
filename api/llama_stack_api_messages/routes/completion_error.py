"""A failure of a chat completion that knows its own answer.

The platform makes its own body of an exception: the message, and nothing else. ``retry-after``, rate limits, type and
code of an error would be lost, and an exception it does not know it logs with a rendered traceback, which stops every
request for seconds. So a provider raises this one (inside a stream that has begun the platform still renders its own):

* wherever the platform's own handler gets it, it answers with the right status and message: it knows the parent class;
* while this API is served too, the failure is answered as it is.
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
        body: In OpenAI's form, ``{"error": {"message": ..., "type": ..., "code": ..., "param": ...}}``.
        headers: Response headers.
    """

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body["error"]["message"])
        self.status_code = status
        self.body = dict(body)
        self.headers = dict(headers or {})


def answer_failures(app: FastAPI) -> None:
    """Have the server answer ``CompletionError`` with its own body and headers. Idempotent.

    The server has built its middleware when the lifespan of a router begins, and read its table of handlers for the
    last time, so that the handler is given to the middleware itself. If that is not found, the platform's answers.

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
