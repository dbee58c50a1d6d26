"""The endpoints of the model list, also at ``/v1/models``, where the platform has a route of its own.

``GET /v1/models`` belongs to the platform, which responds in OpenAI's form. The platform includes the routers of its
APIs in random order, so a second route for the path would win in some processes and lose in others. Therefore our
routes for that path

* match only requests with ``anthropic-version``, a header that every client of this API sends and no other client does;
* are not part of the router: its lifespan inserts them before all other routes when the server starts.

So the platform's tables of routes (authentication, metrics, library-client mode) keep the platform's own route.
"""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Query, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from llama_stack_api_messages.api import Messages
from llama_stack_api_messages.errors import NotFoundError
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery

from .route import NO_REQUEST, MessagesRequest, MessagesRoute, json_response

SHARED = "/v1/models"
OWN = "/anthropic/v1/models"
"""For clients that have ``<stack>/anthropic`` as their base URL; the platform has no route there."""

ONE = "/{model_id:path}"
"""``path`` because model ids contain slashes."""

VERSION_HEADER = b"anthropic-version"


class ModelEndpoints:
    """The endpoints of one implementation.

    Args:
        impl: Knows the models.
    """

    def __init__(self, impl: Messages) -> None:
        self._impl = impl

    async def list_models(self, query: Annotated[ModelQuery, Query()] = ModelQuery()) -> Response:  # noqa: B008 - frozen
        """List the models that the caller may use: served models and configured aliases."""
        return json_response(await self._impl.list_models(query))

    async def get_model(self, model_id: str, request: MessagesRequest = NO_REQUEST) -> Response:
        """Get a model by any name that a request may use for it."""
        name = unquote(model_id) if request is None else model_id  # the library client does not decode paths
        if not name:
            raise NotFoundError(f"Not found: a model id has to follow {SHARED}/")
        return json_response(await self._impl.get_model(name))


class VersionedRoute(MessagesRoute):
    """A route that matches only requests with the header ``anthropic-version``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match or none; a partial match would be answered with 405."""
        match, child_scope = super().matches(scope)
        if match is Match.FULL and any(name == VERSION_HEADER for name, _ in scope["headers"]):
            return match, child_scope
        return Match.NONE, {}


def own_model_routes(impl: Messages) -> list[BaseRoute]:
    """Return the routes below ``/anthropic``."""
    endpoints = ModelEndpoints(impl)
    return [
        MessagesRoute(OWN, endpoints.list_models, methods=["GET"], response_model=ModelList, summary="List models"),
        MessagesRoute(OWN + ONE, endpoints.get_model, methods=["GET"], response_model=ModelInfo, summary="Get a model"),
    ]


def shared_model_routes(impl: Messages) -> list[BaseRoute]:
    """Return the routes to insert before the platform's own."""
    endpoints = ModelEndpoints(impl)
    return [
        VersionedRoute(SHARED, endpoints.list_models, methods=["GET"], include_in_schema=False),
        VersionedRoute(SHARED + ONE, endpoints.get_model, methods=["GET"], include_in_schema=False),
    ]
