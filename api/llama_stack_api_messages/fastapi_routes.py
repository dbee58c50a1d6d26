"""HTTP routes of the Messages API."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from .api import Call, MessageReply, Messages, StreamReply
from .disconnect import run_while_connected
from .error_route import CLIENT_CLOSED, MessagesRoute, current_call, current_request, wire_headers
from .errors import MethodNotAllowedError, NotFoundError
from .event_stream import EventStream
from .models import CreateMessageRequest, ErrorBody, Message
from .stack import PUBLIC_ROUTE_KEY

PATHS = ("/v1/messages", "/anthropic/v1/messages")
"""The second one is for clients that are given ``<stack>/anthropic`` as their base URL."""

PROBES = ("/", "/api/hello")
"""Asked by Claude Code at start-up; any answer will do."""

_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The Message, or its events if `stream` was set.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    "4XX": {"model": ErrorBody, "description": "The request cannot be served as it stands."},
    "5XX": {"model": ErrorBody, "description": "The server or the model behind it failed."},
}


def create_router(impl: Messages) -> APIRouter:
    """Return the routes over an implementation. Called by the platform several times per process."""
    router = APIRouter(route_class=MessagesRoute, tags=["Messages"])
    endpoint = _create_message(impl)
    for path in PATHS:
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            name="create_message",
            summary="Create a Message",
            response_model=Message,
            responses=_RESPONSES,
        )
    _add_probes(router)
    _add_refusals(router)
    return router


def _create_message(impl: Messages) -> Callable[[CreateMessageRequest], Awaitable[Response]]:
    async def create_message(params: Annotated[CreateMessageRequest, Body(...)]) -> Response:
        """Send a conversation and get the next Message of the assistant, whole or as a stream of events."""
        call = current_call()
        if params.stream:
            return EventStream(lambda: _answer(impl, params, call, StreamReply), call, impl.settings.ping_seconds)
        request = current_request()
        work = _answer(impl, params, call, MessageReply)
        reply = await (run_while_connected(request.receive, work) if request else work)
        if reply is None:
            return Response(status_code=CLIENT_CLOSED)
        return Response(reply.body, headers=wire_headers(reply.headers), media_type="application/json")

    create_message.max_request_bytes = impl.settings.max_request_bytes  # type: ignore[attr-defined]
    return create_message


async def _answer[R](impl: Messages, params: CreateMessageRequest, call: Call, kind: type[R]) -> R:
    reply = await impl.create_message(params, call)
    if not isinstance(reply, kind):
        raise TypeError(f"{type(impl).__name__} answered with a {type(reply).__name__}, not a {kind.__name__}")
    return reply


def _add_probes(router: APIRouter) -> None:
    async def hello() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    for path in PROBES:
        router.add_api_route(
            path, hello, methods=["GET", "HEAD"], include_in_schema=False, openapi_extra={PUBLIC_ROUTE_KEY: True}
        )


def _add_refusals(router: APIRouter) -> None:
    async def wrong_method() -> Response:
        raise MethodNotAllowedError("Method not allowed: messages are created with POST", headers={"allow": "POST"})

    async def no_route() -> Response:
        raise NotFoundError(f"Not found: this server answers POST {PATHS[0]}")

    for path in PATHS:
        others = [method for method in _ALL_METHODS if method != "POST"]
        router.add_api_route(path, wrong_method, methods=others, include_in_schema=False)
        router.add_api_route(path + "/{rest:path}", no_route, methods=_ALL_METHODS, include_in_schema=False)
