"""The route class: FastAPI parses the parameters of an endpoint, and every failure becomes an error body of the API.

A new endpoint is one function and one line in ``create_router``:

    async def get_batch(batch_id: str) -> Response: ...

    MessagesRoute("/v1/messages/batches/{batch_id}", get_batch, methods=["GET"], response_model=Batch)

* Path, query and header parameters are declared by the function, as for any FastAPI endpoint.
* A body is declared as ``Annotated[Model, Body()]``, and ``settings`` limit it. The route reads it itself: gzip is
  accepted and the content type does not matter. A ``PromptRequest`` arrives as ``RequestBody``, which is parsed only if
  needed; every other model arrives parsed.
* A parameter ``request: MessagesRequest = NO_REQUEST`` gets the HTTP request. The platform's library client has none:
  it calls the function itself, with parsed parameters and a parsed body.

No exception may escape: the platform logs an exception that reaches the server with a rendered traceback, which blocks
every request for seconds.
"""

import dataclasses
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.utils import solve_dependencies
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from llama_stack_api_messages.api import Call, ServeSettings, new_id
from llama_stack_api_messages.error_response import CLIENT_CLOSED, error_response, visible_error
from llama_stack_api_messages.errors import MethodNotAllowedError, NotFoundError
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.models import ErrorBody, PromptRequest
from llama_stack_api_messages.request_body import RequestBody, parse, read_body

NO_REQUEST: Any = None
"""Default of an endpoint's request parameter. FastAPI does not accept an optional type for it."""

RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be served as it stands."},
    "5XX": {"model": ErrorBody, "description": "The server or the backend of the model failed."},
}
"""The error responses of an endpoint in the OpenAPI document."""


_ALLOWED_METHODS = "messages.allowed_methods"
"""Key of the ASGI scope: the methods of all routes that have the path of a request, but not its method."""


class MessagesRequest(Request):
    """The HTTP request of an endpoint.

    Attributes:
        call: What the implementation needs of it. Repeated headers are joined with commas (RFC 9110, 5.2).
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.call = Call(new_id("req_"), headers, scope["query_string"].decode("latin-1"))


def call_of(request: MessagesRequest | None) -> Call:
    """Return the call of a request; without a request (library-client mode) a new call without headers."""
    return Call(new_id("req_")) if request is None else request.call


class MessagesRoute(APIRoute):
    """One endpoint of the API.

    Requests with other methods are answered with 405, unless another route of the server has the path and the method.

    Args:
        path: The path, with parameters such as ``{batch_id}``.
        endpoint: The async function; takes at most one body, returns the response, or raises. Background tasks and an
            injected ``Response`` are not supported.
        settings: The limits of the body. Required if the endpoint takes a body.
        options: The options of FastAPI's route.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        settings: ServeSettings | None = None,
        **options: Any,  # noqa: ANN401 - FastAPI's, of many types
    ) -> None:
        self.settings = settings
        super().__init__(path, endpoint, **{"tags": ["Messages"], "responses": RESPONSES, **options})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        if not inspect.iscoroutinefunction(self.endpoint):
            raise TypeError(f"{self.path}: the endpoint has to be an async function")
        bodies = self.dependant.body_params
        body = bodies[0] if bodies else None
        model = body.field_info.annotation if body else BaseModel
        if len(bodies) > 1 or not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{self.path}: the endpoint may take one body, and its type has to be a pydantic model")
        settings = self.settings
        if body and not settings:
            raise TypeError(f"{self.path}: the endpoint takes a body; settings are required")
        lazy = issubclass(model, PromptRequest)
        parameters = dataclasses.replace(self.dependant, body_params=[])

        async def respond(request: MessagesRequest) -> Response:
            solved = await solve_dependencies(
                request=request,
                dependant=parameters,
                async_exit_stack=request.scope["fastapi_inner_astack"],
                embed_body_fields=False,
            )
            if solved.errors:
                raise RequestValidationError(solved.errors)
            arguments = solved.values
            if body and settings:
                data = await read_body(request, settings.max_request_bytes, settings.silence_seconds)
                arguments[body.name] = RequestBody(data, model, settings.limits) if lazy else parse(model, data)
            response: Response = await self.endpoint(**arguments)
            return response

        async def handle(plain: Request) -> Response:
            request = MessagesRequest(plain.scope, plain.receive)
            request_id = request.call.request_id
            try:
                response = await respond(request)
                response.headers.setdefault("request-id", request_id)
            except ClientDisconnect:
                return Response(status_code=CLIENT_CLOSED)
            except Exception as error:  # noqa: BLE001 - no exception may escape: see the module docstring
                return error_response(visible_error(error, request_id), request_id)
            return response

        return handle

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a partial match if only the method differs; all routes of a path do before one of them responds."""
        match, child_scope = super().matches(scope)
        if match is Match.PARTIAL:
            scope.setdefault(_ALLOWED_METHODS, set()).update(self.methods or ())
        return match, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the endpoint, or refuse the method."""
        if scope["method"] in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        allowed = ", ".join(sorted(scope[_ALLOWED_METHODS]))
        error = MethodNotAllowedError(f"Method not allowed: use {allowed}", headers={"allow": allowed})
        await error_response(error, new_id("req_"))(scope, receive, send)


_OWN_WORDS = r"(?:v1|anthropic|api|messages?|count_tokens|complete|batches)"
_MISTYPED = re.compile(
    rf"/+(?:{_OWN_WORDS}/+)*(?:messages?|count_tokens|complete)(?:/.*)?"  # /v1/message, /anthropic/messages
    r"|/.*/v1/+messages(?:/+count_tokens)?/*"  # /gateway/v1/messages
    r"|/+anthropic(?:/.*)?|/+v1/+v1/+models(?:/.*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Paths that only a client of this API requests: built from its words, or ending as its endpoints do."""
_BELOW_ENDPOINT = re.compile(r"(?:/anthropic)?/v1/messages/(?!.*v1)[^/].*", re.DOTALL)
"""Paths of clients with the right base URL that request an endpoint which this server does not have."""
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")


class UnknownPathRoute(Route):
    """Answers requests of this API's clients whose path no route of the server has, mostly because of a wrong base URL.

    It never matches in full, so every route that does comes first, wherever and whenever it was registered. Other
    unknown paths are left to the platform, whose clients expect its own error body.
    """

    def __init__(self) -> None:
        super().__init__("/{rest:path}", self.handle, include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a partial match for any method."""
        match, child_scope = super().matches(scope)
        if match is Match.NONE or not _MISTYPED.fullmatch(scope["path"]):
            return Match.NONE, {}
        return Match.PARTIAL, child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 404 and the right path."""
        text = f"Not found: {scope['method']} {scope['path'][:200]} is not an endpoint of this server"
        error = NotFoundError(f"{text}. {_path_hint(scope)}")
        await error_response(error, new_id("req_"))(scope, receive, send)


def _path_hint(scope: Scope) -> str:
    """Return what to do about a mistyped path, with the address under which the client reached this server."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    base_url = f"{scope.get('scheme', 'http')}://{host}" if _HOST.fullmatch(host) else "http://host:port"
    words = scope["path"].lower().split("/")
    if "complete" in words:
        return f"Text completions are not available; send POST {base_url}/v1/messages"
    if _BELOW_ENDPOINT.fullmatch(scope["path"]):
        return "The endpoints are POST /v1/messages and POST /v1/messages/count_tokens"
    hint = f"Messages are at POST /v1/messages: set base_url to {base_url}"
    return hint if "v1" in words else f"{hint} (to {base_url}/v1 if the client appends /messages only)"


def json_response(value: BaseModel) -> Response:
    """Return a model as a response, with all its fields."""
    return Response(encode_json(value.model_dump()), media_type="application/json")
