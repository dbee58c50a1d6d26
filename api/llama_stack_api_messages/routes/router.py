"""The router of the API: all its endpoints, and what is done with the server that includes it.

Five things are done when the server starts, in the router's lifespan, because they concern all routes of the server:

* the routes for ``/v1/models`` are inserted before the platform's (see ``models.py``), and before them a second route
  for ``POST /v1/messages``, so that the server does not search the routes of all its APIs first;
* a route for mistyped paths of this API is added after all others;
* the error responses of chat completions are installed (see ``CompletionError``);
* open streams are ended when a signal stops the server (see ``streaming/stop.py``);
* the garbage collector skips what the server has built so far. A request with thousands of messages creates so many
  objects that full collections become due, and each would visit all the objects of the platform, 200,000 and more:
  10,000 messages took 0.5 s of CPU time instead of 0.1 s.
"""

import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from fastapi import APIRouter, FastAPI, Response

from llama_stack_api_messages.api import Messages, ServeSettings
from llama_stack_api_messages.error_response import install_completion_errors
from llama_stack_api_messages.stack import PUBLIC_ROUTE_KEY
from llama_stack_api_messages.streaming.stop import ended_by_signals

from .messages import MESSAGES, MessageEndpoints, message_routes
from .models import own_model_routes, shared_model_routes
from .route import MessagesRoute, UnknownPathRoute

PROBES = ("/", "/api/hello")
"""Claude Code requests these at start-up; any response will do."""


def create_router(impl: Messages | None) -> APIRouter:
    """Return the router of an implementation. The platform calls this several times per process.

    Args:
        impl: Produces the replies. The platform passes None if it only lists the routes, for ``/v1/inspect/routes``.
    """
    settings = ServeSettings() if impl is None else impl.settings
    impl = cast("Messages", impl)  # an endpoint is called only if there is an implementation
    return APIRouter(
        routes=[
            *message_routes(impl, settings),
            *own_model_routes(impl),
            *(_probe_route(path) for path in PROBES),
        ],
        route_class=MessagesRoute,
        lifespan=_lifespan(impl, settings),
    )


def _probe_route(path: str) -> MessagesRoute:
    async def hello() -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    public = {PUBLIC_ROUTE_KEY: True}
    return MessagesRoute(path, hello, methods=["GET", "HEAD"], include_in_schema=False, openapi_extra=public)


def _lifespan(impl: Messages, settings: ServeSettings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan of the router. Entering it twice changes nothing that a client sees."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        create_message = MessageEndpoints(impl).create_message
        before = [
            MessagesRoute(MESSAGES, create_message, methods=["POST"], settings=settings, include_in_schema=False),
            *shared_model_routes(impl),
        ]
        after = [UnknownPathRoute()]
        install_completion_errors(app)
        app.router.routes[:] = [*before, *app.router.routes, *after]
        gc.freeze()
        with ended_by_signals():
            yield
        gc.unfreeze()
        added = [*before, *after]
        app.router.routes[:] = [route for route in app.router.routes if route not in added]

    return lifespan
