"""The routes of the model list, also at ``/v1/models``, where the platform has a route of its own.

``GET /v1/models`` belongs to the platform, which responds in OpenAI's form. The platform includes the routers of its
APIs in random order, so a second route for the path would win in some processes and lose in others. Therefore our
routes for that path

* match only requests with ``anthropic-version``, a header that every client of this API sends and no other client does;
* are not part of the router: its lifespan inserts them before all other routes when the server starts.

So the platform's tables of routes (authentication, metrics, library-client mode) keep the platform's own route.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, FastAPI, Query, Response
from pydantic import BaseModel, ValidationError
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from llama_stack_api_messages.api import Messages
from llama_stack_api_messages.errors import InvalidRequestError, MethodNotAllowedError, NotFoundError
from llama_stack_api_messages.json_bytes import encode_json
from llama_stack_api_messages.models import ErrorBody, describe_validation_error
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery

from .route import MessagesRoute, add_refusal, current_call, current_request

SHARED = "/v1/models"
OWN = "/anthropic/v1/models"
"""For clients that have ``<stack>/anthropic`` as their base URL; the platform has no route there."""

ONE = "/{model_id:path}"
"""``path`` because model ids contain slashes."""

VERSION_HEADER = b"anthropic-version"

_NOT_GET = ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_WRONG_METHOD = MethodNotAllowedError("Method not allowed: use GET", headers={"allow": "GET"})
_ALL = ModelQuery()
_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be served as it stands."},
    "5XX": {"model": ErrorBody, "description": "The server failed."},
}


class VersionedRoute(MessagesRoute):
    """A route that matches only requests with the header ``anthropic-version``."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match or none; a partial match would be answered with 405."""
        match, child_scope = super().matches(scope)
        if match is Match.FULL and any(name == VERSION_HEADER for name, _ in scope["headers"]):
            return match, child_scope
        return Match.NONE, {}


def add_model_routes(router: APIRouter, impl: Messages) -> None:
    """Add the routes below ``/anthropic`` to a router whose route class is ``MessagesRoute``."""
    for suffix, endpoint, model in (("", _list_models(impl), ModelList), (ONE, _get_model(impl), ModelInfo)):
        router.add_api_route(
            OWN + suffix,
            endpoint,
            methods=["GET"],
            name=endpoint.__name__,
            summary="List models" if model is ModelList else "Get a model",
            response_model=model,
            responses=_RESPONSES,
        )
        add_refusal(router, OWN + suffix, _NOT_GET, _WRONG_METHOD)


def models_lifespan(
    impl: Messages, others: Sequence[BaseRoute] = ()
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the lifespan of a router; it inserts our model routes before all others while the server runs.

    Entering it twice, for a router that is included twice, changes nothing that a client sees.

    Args:
        impl: Lists the models.
        others: Further routes to insert first, so that the server does not search those of all its APIs before.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        routes = [
            *others,
            VersionedRoute(SHARED, _list_models(impl), methods=["GET"], include_in_schema=False),
            VersionedRoute(SHARED + ONE, _get_model(impl), methods=["GET"], include_in_schema=False),
        ]
        app.router.routes[:0] = routes
        yield
        app.router.routes[:] = [route for route in app.router.routes if route not in routes]

    return lifespan


def _list_models(impl: Messages) -> Callable[..., Awaitable[Response]]:
    async def list_models(query: Annotated[ModelQuery, Query()] = _ALL) -> Response:
        """List the models that the caller may use: served models and configured aliases."""
        asked = _query(current_call().query) if current_request() else query
        return _json(await impl.list_models(asked))

    return list_models


def _get_model(impl: Messages) -> Callable[..., Awaitable[Response]]:
    async def get_model(model_id: str = "") -> Response:
        """Get a model by any name that a request may use for it."""
        request = current_request()
        name = request.path_params["model_id"] if request else unquote(model_id)
        if not name:
            raise NotFoundError(f"Not found: the id of a model stands behind {SHARED}/")
        return _json(await impl.get_model(name))

    return get_model


def _query(text: str) -> ModelQuery:
    """Return the parsed query string; of a repeated parameter the last one wins, unless it is a list (``[]``).

    Raises:
        InvalidRequestError: A parameter has an invalid value; the message begins with its name.
    """
    members = parse_qs(text, keep_blank_values=True)
    try:
        return ModelQuery.model_validate(
            {name: values if name.endswith("[]") else values[-1] for name, values in members.items()}
        )
    except ValidationError as error:
        raise InvalidRequestError(describe_validation_error(error)) from None


def _json(value: BaseModel) -> Response:
    return Response(encode_json(value.model_dump()), media_type="application/json")
