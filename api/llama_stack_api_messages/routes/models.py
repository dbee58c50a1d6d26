"""The list of models in the form of the API, also where the platform has one of its own.

``GET /v1/models`` belongs to the platform, which answers in the form of OpenAI. It includes the routers of its APIs in
random order, so a second route for the path would win in some processes and lose in others. Ours for that path

* are not there for a request without ``anthropic-version``, which every client of this API sends and no other does;
* are put in front of all others when the server starts, by the lifespan of the router, instead of being part of it.

So the platform's tables of routes (authentication, metrics, library-client mode) keep its own route for the path.
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
"""For clients that are given ``<stack>/anthropic`` as their base URL; the platform has nothing there."""

ONE = "/{model_id:path}"
"""Ids hold slashes."""

VERSION_HEADER = b"anthropic-version"

_NOT_GET = ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_WRONG_METHOD = MethodNotAllowedError("Method not allowed: use GET", headers={"allow": "GET"})
_ALL = ModelQuery()
_RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be served as it stands."},
    "5XX": {"model": ErrorBody, "description": "The server failed."},
}


class VersionedRoute(MessagesRoute):
    """Answers GET requests that name a version of the API; for any other it is not there."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the request is one of these; never a partial match, which would answer 405."""
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
    """Return the lifespan of a router: while the server runs, requests with a version find our list of models.

    Entering it again, for a router that is included twice, changes nothing that a client sees.

    Args:
        impl: Lists them.
        others: Routes that are to be found first too: the server goes through those of all its APIs.
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
        """List the models that may be used, by their names and by the names the server's configuration gives them."""
        asked = _query(current_call().query) if current_request() else query
        return _json(await impl.list_models(asked))

    return list_models


def _get_model(impl: Messages) -> Callable[..., Awaitable[Response]]:
    async def get_model(model_id: str = "") -> Response:
        """Get what is known of a model, by any name that a message may ask for it with."""
        request = current_request()
        name = request.path_params["model_id"] if request else unquote(model_id)
        if not name:
            raise NotFoundError(f"Not found: the id of a model stands behind {SHARED}/")
        return _json(await impl.get_model(name))

    return get_model


def _query(text: str) -> ModelQuery:
    """Return what a query string asks for; of a member that comes several times the last counts, unless it is a list.

    Raises:
        InvalidRequestError: A member has a wrong value; the message begins with its name.
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
