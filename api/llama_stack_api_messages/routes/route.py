"""The route class, which turns every exception of an endpoint into an error body; and routes that always refuse.

No exception may escape: the platform logs an exception that reaches the server with a rendered traceback,
which blocks every request for seconds.
"""

import typing
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from llama_stack_api_messages.api import Call
from llama_stack_api_messages.error_response import CLIENT_CLOSED, error_response, visible_error
from llama_stack_api_messages.errors import MessagesError
from llama_stack_api_messages.ids import new_id
from llama_stack_api_messages.models import PromptRequest
from llama_stack_api_messages.request_body import RequestBody, read_body

_CALL: ContextVar[Call | None] = ContextVar("messages_call", default=None)
_REQUEST: ContextVar[Request | None] = ContextVar("messages_request", default=None)


def current_call() -> Call:
    """Return the running HTTP call; in library-client mode a new call without headers."""
    return _CALL.get() or Call(request_id=new_id("req_"))


def current_request() -> Request | None:
    """Return the running HTTP request, or None in library-client mode."""
    return _REQUEST.get()


class MessagesRoute(APIRoute):
    """Reads the body itself, calls the endpoint with it, and returns every failure as an error body of the API.

    An endpoint with a ``PromptRequest`` parameter gets a ``RequestBody`` of that class instead, whatever the content
    type, and parses it only if needed.
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
            except Exception as error:  # noqa: BLE001 - no exception may escape: see the module docstring
                return error_response(visible_error(error, call.request_id), call.request_id)
            response.headers.setdefault("request-id", call.request_id)
            return response

        return handle


def add_refusal(router: APIRouter, path: str, methods: list[str], error: MessagesError) -> None:
    """Add a route that responds to these methods with an error.

    It is a plain Starlette route, because the platform lists FastAPI routes as endpoints (``/v1/inspect/routes``).
    """

    async def refuse(_request: Request) -> Response:
        return error_response(error, new_id("req_"))

    router.add_route(path, refuse, methods=methods, include_in_schema=False)


def _body_model(endpoint: Callable[..., Any]) -> type[PromptRequest] | None:
    hints = typing.get_type_hints(endpoint)
    hints.pop("return", None)
    return next((hint for hint in hints.values() if isinstance(hint, type) and issubclass(hint, PromptRequest)), None)


def _headers(request: Request) -> dict[str, str]:
    """Return the headers; repeated ones are joined with commas (RFC 9110, 5.2)."""
    found: dict[str, str] = {}
    for raw, value in request.scope["headers"]:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found
