"""The route class: whatever goes wrong behind it becomes an error body of the Messages API.

Nothing may escape: an exception that reaches the server is logged by the platform with a rendered
traceback, which stops every request for seconds.
"""

import contextlib
import json
import logging
import secrets
import string
import typing
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from .api import Call
from .errors import ApiError, InvalidRequestError, MessagesError, error_for_status
from .models import describe_validation_error
from .request_body import read_body
from .sse import encode_json

logger = logging.getLogger(__name__)

CLIENT_CLOSED = 499
"""Status of a reply that nobody is there to read."""

_ID_ALPHABET = string.ascii_letters + string.digits

_CALL: ContextVar[Call | None] = ContextVar("messages_call", default=None)
_REQUEST: ContextVar[Request | None] = ContextVar("messages_request", default=None)


def new_id(prefix: str) -> str:
    """Return an id in the form of the API: ``req_`` or the like and 24 characters."""
    return prefix + "".join(secrets.choice(_ID_ALPHABET) for _ in range(24))


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
    headers = {**wire_headers(error.headers), "request-id": request_id}
    if not error.retryable:
        headers["x-should-retry"] = "false"
    return Response(
        encode_json(error.body(request_id)), error.status_code, headers=headers, media_type="application/json"
    )


class MessagesRoute(APIRoute):
    """Parses the body itself, calls the endpoint with it, and answers every failure in the envelope of the API.

    The body is parsed whatever its content type, in one pass from bytes to models.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        endpoint = self.endpoint
        model = _body_model(endpoint)
        limit = getattr(endpoint, "max_request_bytes", 0)

        async def handle(request: Request) -> Response:
            call = Call(request_id=new_id("req_"), headers=_headers(request))
            try:
                if model is None:
                    response: Response = await endpoint()
                else:
                    body = await read_body(request, limit)
                    call = Call(call.request_id, call.headers, body)
                    _CALL.set(call)
                    _REQUEST.set(request)
                    response = await endpoint(parse(model, body))
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED)
            except Exception as error:  # noqa: BLE001 - the last line of defence: see the module docstring
                return error_response(visible_error(error, call.request_id), call.request_id)
            response.headers.setdefault("request-id", call.request_id)
            return response

        return handle


def _body_model(endpoint: Callable[..., Any]) -> type[BaseModel] | None:
    hints = typing.get_type_hints(endpoint)
    hints.pop("return", None)
    return next(iter(hints.values()), None)


def _headers(request: Request) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}


def parse[M: BaseModel](model: type[M], body: bytes) -> M:
    """Return the request; the error names the first place in the body that is wrong, and what is wrong with it."""
    if b"NaN" in body or b"Infinity" in body:
        _refuse_constants(body)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequestError(describe_validation_error(error)) from None


def _refuse_constants(body: bytes) -> None:
    """Refuse numbers that JSON does not have; parsers differ about them, and the backend would see them again."""

    def refuse(name: str) -> None:
        raise InvalidRequestError(f"The request body is not valid JSON: {name} is not a number; send null")

    with contextlib.suppress(ValueError, RecursionError):  # told better by the validation that follows
        json.loads(body, parse_constant=refuse)
