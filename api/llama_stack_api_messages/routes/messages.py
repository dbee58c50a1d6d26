"""The endpoints that take a prompt: ``/v1/messages`` and ``/v1/messages/count_tokens``.

Both are also served below ``/anthropic``, for clients that are given ``<stack>/anthropic`` as their base URL.
"""

from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import Body, Response
from starlette.routing import BaseRoute

from llama_stack_api_messages.api import MessageReply, Messages, Reply, ServeSettings
from llama_stack_api_messages.error_response import CLIENT_CLOSED, wire_headers
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest, Message, MessageTokensCount
from llama_stack_api_messages.request_body import RequestBody
from llama_stack_api_messages.streaming.disconnect import run_while_connected
from llama_stack_api_messages.streaming.response import EventStream

from .route import NO_REQUEST, RESPONSES, MessagesRequest, MessagesRoute, call_of

MESSAGES = "/v1/messages"

_RESPONSES = {
    200: {
        "description": "The Message, or its events if `stream` was set.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **RESPONSES,
}


class MessageEndpoints:
    """The endpoints of one implementation.

    Args:
        impl: Produces the replies.
    """

    def __init__(self, impl: Messages) -> None:
        self._impl = impl

    async def create_message(
        self, params: Annotated[CreateMessageRequest, Body()], request: MessagesRequest = NO_REQUEST
    ) -> Response:
        """Send a conversation and get the next Message of the assistant, whole or as a stream of events."""
        body, call = RequestBody.of(params, self._impl.settings.limits), call_of(request)
        if body.stream:
            return EventStream(lambda: self._impl.create_message(body, call), call, self._impl.settings.ping_seconds)
        return await _whole(self._impl.create_message(body, call), request)

    async def count_tokens(
        self, params: Annotated[CountTokensRequest, Body()], request: MessagesRequest = NO_REQUEST
    ) -> Response:
        """Count the tokens of a prompt, without generating a response."""
        body = RequestBody.of(params, self._impl.settings.limits)
        return await _whole(self._impl.count_tokens(body, call_of(request)), request)


def message_routes(impl: Messages, settings: ServeSettings) -> list[BaseRoute]:
    """Return the routes of the endpoints that take a prompt."""
    endpoints = MessageEndpoints(impl)
    return [
        MessagesRoute(
            prefix + path,
            endpoint,
            methods=["POST"],
            settings=settings,
            response_model=response_model,
            responses=_RESPONSES,
            summary=summary,
        )
        for path, endpoint, response_model, summary in (
            (MESSAGES, endpoints.create_message, Message, "Create a Message"),
            (MESSAGES + "/count_tokens", endpoints.count_tokens, MessageTokensCount, "Count the tokens of a prompt"),
        )
        for prefix in ("", "/anthropic")
    ]


async def _whole(work: Coroutine[Any, Any, Reply], request: MessagesRequest | None) -> Response:
    """Return the response of a non-streaming reply; cancel the work if the client disconnects."""
    reply = await (work if request is None else run_while_connected(request.receive, work))
    if reply is None:
        return Response(status_code=CLIENT_CLOSED)
    if not isinstance(reply, MessageReply):
        raise TypeError(f"a request without stream got a {type(reply).__name__} instead of a MessageReply")
    return Response(reply.body, headers=wire_headers(reply.headers), media_type="application/json")
