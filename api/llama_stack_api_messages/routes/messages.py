"""HTTP routes of the Messages API."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, FastAPI, Response
from pydantic import BaseModel
from starlette.routing import BaseRoute

from llama_stack_api_messages.api import MessageReply, Messages, Reply, ServeSettings
from llama_stack_api_messages.error_response import CLIENT_CLOSED, wire_headers
from llama_stack_api_messages.errors import MethodNotAllowedError, NotFoundError
from llama_stack_api_messages.models import (
    CountTokensRequest,
    CreateMessageRequest,
    ErrorBody,
    Message,
    MessageTokensCount,
)
from llama_stack_api_messages.request_body import RequestBody
from llama_stack_api_messages.stack import PUBLIC_ROUTE_KEY
from llama_stack_api_messages.streaming.disconnect import run_while_connected
from llama_stack_api_messages.streaming.response import EventStream

from .completion_error import answer_failures
from .models import add_model_routes, models_lifespan
from .route import MessagesRoute, add_refusal, current_call, current_request

PATHS = ("/v1/messages", "/anthropic/v1/messages")
"""The second one is for clients that are given ``<stack>/anthropic`` as their base URL."""

COUNT = "/count_tokens"

PROBES = ("/", "/api/hello")
"""Claude Code requests these at start-up; any response will do."""

_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The Message, or its events if `stream` was set.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    "4XX": {"model": ErrorBody, "description": "The request cannot be served as it stands."},
    "5XX": {"model": ErrorBody, "description": "The server or the model behind it failed."},
}


class _NoImplementation:
    """A placeholder for when the routes are only listed, never called."""

    settings = ServeSettings()


def create_router(impl: Messages | None) -> APIRouter:
    """Return the router of an implementation. The platform calls this several times per process.

    Args:
        impl: Produces the replies. The platform passes None if it only lists the routes, for ``/v1/inspect/routes``.
    """
    impl = cast("Messages", _NoImplementation()) if impl is None else impl
    create_message = _create_message(impl)
    first = MessagesRoute(PATHS[0], create_message, methods=["POST"], include_in_schema=False)
    router = APIRouter(route_class=MessagesRoute, tags=["Messages"], lifespan=_lifespan(impl, [first]))
    _add_posts(router, "", create_message, Message, "Create a Message")
    _add_posts(router, COUNT, _count_tokens(impl), MessageTokensCount, "Count the tokens of a prompt")
    add_model_routes(router, impl)
    _add_probes(router)
    _add_refusals(router)
    return router


def _lifespan(impl: Messages, first: list[BaseRoute]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    models = models_lifespan(impl, first)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answer_failures(app)
        async with models(app):
            yield

    return lifespan


def _add_posts(
    router: APIRouter, suffix: str, endpoint: Callable[..., Any], model: type[BaseModel], summary: str
) -> None:
    for path in PATHS:
        router.add_api_route(
            path + suffix,
            endpoint,
            methods=["POST"],
            name=endpoint.__name__,
            summary=summary,
            response_model=model,
            responses=_RESPONSES,
        )


def _create_message(impl: Messages) -> Callable[[CreateMessageRequest], Awaitable[Response]]:
    async def create_message(params: Annotated[CreateMessageRequest, Body(...)]) -> Response:
        """Send a conversation and get the next Message of the assistant, whole or as a stream of events."""
        body, call = RequestBody.of(params), current_call()
        if body.stream:
            return EventStream(lambda: impl.create_message(body, call), call, impl.settings.ping_seconds)
        return await _whole(impl.create_message(body, call))

    create_message.max_request_bytes = impl.settings.max_request_bytes  # type: ignore[attr-defined]
    return create_message


def _count_tokens(impl: Messages) -> Callable[[CountTokensRequest], Awaitable[Response]]:
    async def count_tokens(params: Annotated[CountTokensRequest, Body(...)]) -> Response:
        """Count the tokens of a prompt, without generating a response."""
        return await _whole(impl.count_tokens(RequestBody.of(params), current_call()))

    count_tokens.max_request_bytes = impl.settings.max_request_bytes  # type: ignore[attr-defined]
    return count_tokens


async def _whole(work: Coroutine[Any, Any, Reply]) -> Response:
    """Return the response of a non-streaming reply; cancel the work if the client disconnects."""
    request = current_request()
    reply = await (run_while_connected(request.receive, work) if request else work)
    if reply is None:
        return Response(status_code=CLIENT_CLOSED)
    if not isinstance(reply, MessageReply):
        raise TypeError(f"a whole message was asked for, and answered with a {type(reply).__name__}")
    return Response(reply.body, headers=wire_headers(reply.headers), media_type="application/json")


def _add_probes(router: APIRouter) -> None:
    async def hello() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    for path in PROBES:
        router.add_api_route(
            path, hello, methods=["GET", "HEAD"], include_in_schema=False, openapi_extra={PUBLIC_ROUTE_KEY: True}
        )


def _add_refusals(router: APIRouter) -> None:
    wrong_method = MethodNotAllowedError("Method not allowed: use POST", headers={"allow": "POST"})
    no_route = NotFoundError(f"Not found: this server answers POST {PATHS[0]} and {PATHS[0]}{COUNT}")
    others = [method for method in _ALL_METHODS if method != "POST"]
    for path in PATHS:
        for suffix in ("", COUNT):
            add_refusal(router, path + suffix, others, wrong_method)
        add_refusal(router, path + "/{rest:path}", _ALL_METHODS, no_route)
