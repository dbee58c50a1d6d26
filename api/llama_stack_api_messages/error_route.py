"""The route class: whatever goes wrong behind it becomes an error body of the Messages API.

Nothing may escape: an exception that reaches the server is logged by the platform with a rendered
traceback, which stops every request for seconds.
"""

import logging
import secrets
import string
import typing
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from .api import Call
from .errors import ApiError, MessagesError, UpstreamError, error_for_status
from .models import PromptRequest
from .request_body import RequestBody, read_body
from .sse import encode_json

logger = logging.getLogger(__name__)

CLIENT_CLOSED = 499
"""Status of a reply that nobody is there to read."""

_ID_ALPHABET = string.ascii_letters + string.digits
_ID_TABLE = bytes(ord(_ID_ALPHABET[number % len(_ID_ALPHABET)]) for number in range(256))
"""A letter for each random byte; ids have to be different, not unguessable."""

_CALL: ContextVar[Call | None] = ContextVar("messages_call", default=None)
_REQUEST: ContextVar[Request | None] = ContextVar("messages_request", default=None)


def new_id(prefix: str) -> str:
    """Return an id in the form of the API: ``req_`` or the like and 24 characters."""
    return prefix + secrets.token_bytes(24).translate(_ID_TABLE).decode()


def current_call() -> Call:
    """Return the HTTP call being answered; outside of one (library-client mode) a call without headers or body."""
    return _CALL.get() or Call(request_id=new_id("req_"))


def current_request() -> Request | None:
    """Return the HTTP request being answered, or None in library-client mode."""
    return _REQUEST.get()


def visible_error(error: BaseException, request_id: str) -> MessagesError:
    """Return what the client may see of a failure. Anything unforeseen is logged in one line and stays inside."""
    if isinstance(error, MessagesError):
        return error
    if isinstance(error, HTTPException):
        return error_for_status(error.status_code)(str(error.detail))
    logger.error("%s: unexpected %s in %s: %.500s", request_id, type(error).__name__, _where(error), error)
    return ApiError("Internal server error; the server's log has the cause under this request id")


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "unknown"


def wire_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers HTTP can carry; an upstream's odd one must not cost the reply."""
    return {name: value for name, value in headers.items() if value.isascii() and value.isprintable()}


def error_response(error: MessagesError, request_id: str) -> Response:
    """Return the HTTP response of an error."""
    headers = {"request-id": request_id, **wire_headers(error.headers)}
    if not error.retryable:
        headers.setdefault("x-should-retry", "false")
    raw = error.raw if isinstance(error, UpstreamError) and error.verbatim else None
    content = encode_json(error.body(headers["request-id"])) if raw is None else raw
    return Response(content, error.status_code, headers=headers, media_type="application/json")


class MessagesRoute(APIRoute):
    """Reads the body itself, calls the endpoint with it, and answers every failure in the envelope of the API.

    An endpoint that names a model gets a ``RequestBody`` of it, whatever the content type, and parses it or does not.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        endpoint = self.endpoint
        model = _body_model(endpoint)
        limit = getattr(endpoint, "max_request_bytes", 0)

        async def handle(request: Request) -> Response:
            call = Call(new_id("req_"), _headers(request), request.scope["query_string"].decode("latin-1"))
            _CALL.set(call)
            _REQUEST.set(request)
            try:
                arguments = [RequestBody(await read_body(request, limit), model)] if model else []
                response: Response = await endpoint(*arguments)
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED)
            except Exception as error:  # noqa: BLE001 - the last line of defence: see the module docstring
                return error_response(visible_error(error, call.request_id), call.request_id)
            response.headers.setdefault("request-id", call.request_id)
            return response

        return handle


def _body_model(endpoint: Callable[..., Any]) -> type[PromptRequest] | None:
    hints = typing.get_type_hints(endpoint)
    hints.pop("return", None)
    return next((hint for hint in hints.values() if isinstance(hint, type) and issubclass(hint, PromptRequest)), None)


def _headers(request: Request) -> dict[str, str]:
    """Return the headers; one that comes several times is a list, as HTTP has it."""
    found: dict[str, str] = {}
    for raw, value in request.scope["headers"]:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
