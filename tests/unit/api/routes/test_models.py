"""The routes of the list of models, beside a route of the platform for the same path."""

import json
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from llama_stack_api_messages import ServeSettings, create_router
from llama_stack_api_messages.errors import NotFoundError
from llama_stack_api_messages.models.catalog import ModelInfo, ModelList, ModelQuery
from llama_stack_api_messages.routes.models import OWN, SHARED

VERSIONED = {"anthropic-version": "2023-06-01"}
MODEL = ModelInfo(id="up/text", display_name="Text \u20ac")


class Scripted:
    """Knows one model; remembers the queries and names it got."""

    settings = ServeSettings()

    def __init__(self):
        self.queries = []
        self.names = []

    async def list_models(self, query):
        self.queries.append(query)
        return ModelList(data=[MODEL], has_more=True, first_id=MODEL.id, last_id=MODEL.id)

    async def get_model(self, name):
        self.names.append(name)
        if name != MODEL.id:
            raise NotFoundError(f"model: {name}")
        return MODEL


def platform():
    router = APIRouter(prefix="/v1")
    router.add_api_route("/models", lambda: {"platform": "list"}, methods=["GET"])
    router.add_api_route("/models/{model_id:path}", lambda model_id: {"platform": model_id}, methods=["GET"])
    return router


@asynccontextmanager
async def serving(*routers):
    """Yield a client of a running server with these routers, in this order."""
    app = FastAPI()
    for router in routers:
        app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


async def get_with_version(path, **headers):
    """Return the reply to one GET, and the implementation."""
    impl = Scripted()
    async with serving(platform(), create_router(impl)) as client:
        return await client.get(path, headers={**VERSIONED, **headers}), impl


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("path", [SHARED, f"{SHARED}/up/text", f"{SHARED}/", f"{SHARED}?limit=0"])
async def test_without_a_version_header_the_platform_responds_in_any_order(path, ours_first):
    """Its clients get the same responses as without this API."""
    impl = Scripted()
    routers = [create_router(impl), platform()] if ours_first else [platform(), create_router(impl)]
    async with serving(platform()) as alone, serving(*routers) as both:
        want, got = await alone.get(path), await both.get(path)
    assert (got.status_code, got.headers, got.content) == (want.status_code, want.headers, want.content)
    assert "platform" in got.json()
    assert not impl.queries + impl.names


@pytest.mark.parametrize("ours_first", [True, False])
async def test_with_a_version_header_this_api_responds_in_any_order(ours_first):
    """The list and the model have the form of the API."""
    impl = Scripted()
    routers = [create_router(impl), platform()] if ours_first else [platform(), create_router(impl)]
    async with serving(*routers) as client:
        listed = await client.get(SHARED, headers=VERSIONED)
        model = await client.get(f"{SHARED}/up/text", headers=VERSIONED)
    assert listed.json() == {"data": [model.json()], "has_more": True, "first_id": "up/text", "last_id": "up/text"}
    assert model.json()["id"] == "up/text"
    assert impl.names == ["up/text"]


async def test_a_model_has_every_field_of_the_api_and_null_for_unknown_values():
    """Clients in typed languages require them; the epoch stands for an unknown date."""
    reply, _ = await get_with_version(f"{SHARED}/up/text")
    assert reply.json() == {
        "type": "model",
        "id": "up/text",
        "display_name": "Text \u20ac",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        **dict.fromkeys(("line", "deprecated_at", "retires_at", "max_input_tokens", "max_tokens", "capabilities")),
    }
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["request-id"].startswith("req_")


@pytest.mark.parametrize("value", ["2026-10-21", "", "anything"])
async def test_any_version_is_accepted(value):
    """The header shows which API the client speaks, not which version."""
    reply, impl = await get_with_version(SHARED, **{"anthropic-version": value})
    assert reply.json()["has_more"] is True
    assert impl.queries == [ModelQuery()]


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [SHARED, f"{SHARED}/up/text"])
async def test_other_methods_stay_with_the_platform(method, path):
    """With a version header or without, the response is the same as without this API."""
    impl = Scripted()
    async with serving(platform()) as alone, serving(platform(), create_router(impl)) as both:
        want = await alone.request(method, path)
        replies = [await both.request(method, path, headers=headers) for headers in ({}, VERSIONED)]
    for got in replies:
        assert (got.status_code, got.headers, got.content) == (want.status_code, want.headers, want.content)
    assert want.status_code == 405


@pytest.mark.parametrize("headers", [{}, VERSIONED])
@pytest.mark.parametrize("path", [OWN, f"{OWN}/up/text"])
async def test_below_its_own_prefix_the_api_needs_no_version_header(path, headers):
    """The platform has no route there."""
    async with serving(platform(), create_router(Scripted())) as client:
        reply = await client.get(path, headers=headers)
        shared = await client.get(path.replace(OWN, SHARED), headers=VERSIONED)
    assert reply.status_code == 200
    assert reply.content == shared.content


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [OWN, f"{OWN}/up/text"])
async def test_below_its_own_prefix_other_methods_are_405(method, path):
    """The error body is one that the SDKs parse."""
    async with serving(platform(), create_router(Scripted())) as client:
        reply = await client.request(method, path)
        head = await client.head(path)
    assert reply.status_code == head.status_code == 405
    assert reply.json()["error"] == {"type": "invalid_request_error", "message": "Method not allowed: use GET"}
    assert reply.headers["allow"] == "GET"
    assert reply.json()["request_id"] == reply.headers["request-id"]


@pytest.mark.parametrize("path", ["up/text", "up%2Ftext", "up%2ftext"])
async def test_an_id_may_contain_a_slash_raw_or_encoded(path):
    """The SDKs encode it, people do not."""
    reply, impl = await get_with_version(f"{SHARED}/{path}")
    assert (reply.status_code, impl.names) == (200, ["up/text"])


async def test_an_id_is_decoded_once():
    """An encoded percent sign is a percent sign."""
    _, impl = await get_with_version(f"{SHARED}/a%252Fb")
    assert impl.names == ["a%2Fb"]


@pytest.mark.parametrize("path", [f"{SHARED}/nobody", f"{SHARED}/", f"{OWN}/nobody", f"{OWN}/"])
async def test_an_unknown_model_is_a_404_with_an_error_body(path):
    """So is an empty id, which does not reach the implementation, because its default model might be returned."""
    reply, impl = await get_with_version(path)
    assert reply.status_code == 404
    assert reply.json()["error"]["type"] == "not_found_error"
    assert reply.json()["request_id"] == reply.headers["request-id"]
    assert "" not in impl.names


async def test_a_bug_is_a_500_with_an_error_body():
    """No exception escapes the route, on the platform's path either."""
    impl = Scripted()
    impl.list_models = lambda query: 1 / 0
    async with serving(platform(), create_router(impl)) as client:
        reply = await client.get(SHARED, headers=VERSIONED)
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "api_error"


@pytest.mark.parametrize(
    ("query", "want"),
    [
        ("", {}),
        ("limit=1000", {"limit": 1000}),
        ("limit=1", {"limit": 1}),
        ("limit=5&limit=7", {"limit": 7}),
        ("after_id=up%2Ftext", {"after_id": "up/text"}),
        ("before_id=up/text&limit=2", {"before_id": "up/text", "limit": 2}),
        ("lifecycle[]=active&lifecycle[]=retired", {"lifecycle": ["active", "retired"]}),
        ("lifecycle%5B%5D=deprecated", {"lifecycle": ["deprecated"]}),
        ("beta=true", {"beta": "true"}),
    ],
)
async def test_the_query_has_the_parameters_of_the_api(query, want):
    """Brackets may be encoded; unknown parameters are accepted."""
    reply, impl = await get_with_version(f"{SHARED}?{query}")
    assert reply.status_code == 200
    assert impl.queries == [ModelQuery(**want)]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "0"}, "limit: Input should be greater than or equal to 1"),
        ({"limit": "1001"}, "limit: Input should be less than or equal to 1000"),
        ({"limit": "-5"}, "limit: Input should be greater than or equal to 1"),
        ({"limit": "ten"}, "limit: Input should be a valid integer"),
        ({"limit": ""}, "limit: Input should be a valid integer"),
        ({"limit": "9" * 5000}, "limit: Unable to parse input string as an integer"),
        ({"lifecycle[]": "new"}, "lifecycle[].0: Input should be 'active', 'deprecated' or 'retired'"),
        ({"after_id": "a", "before_id": "b"}, "before_id: cannot be sent together with after_id"),
        ({"after_id": "", "before_id": ""}, "before_id: cannot be sent together with after_id"),
    ],
)
@pytest.mark.parametrize("path", [SHARED, OWN])
async def test_a_wrong_query_is_a_400_that_names_the_parameter(path, query, message):
    """The message begins with the name, as with the path of a wrong body."""
    reply, impl = await get_with_version(f"{path}?{urlencode(query)}")
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.json()["error"]["message"].startswith(message)
    assert not impl.queries


async def test_a_stopped_server_has_its_original_routes():
    """Started again, it has each route once."""
    app = FastAPI()
    app.include_router(platform())
    app.include_router(create_router(Scripted()))
    before = list(app.router.routes)
    for _ in range(2):
        async with app.router.lifespan_context(app):
            assert len(app.router.routes) == len(before) + 4
        assert app.router.routes == before


async def test_a_router_that_is_included_twice_calls_the_implementation_once():
    """The platform makes several routers per process; serving more than one is harmless."""
    impl = Scripted()
    async with serving(platform(), create_router(impl), create_router(impl)) as client:
        reply = await client.get(SHARED, headers=VERSIONED)
        other = await client.get(SHARED)
    assert reply.json()["data"][0]["id"] == "up/text"
    assert len(impl.queries) == 1
    assert other.json() == {"platform": "list"}


def test_the_router_has_no_route_for_the_path_of_the_platform():
    """The platform makes its tables for authentication, metrics and library-client mode from routers."""
    paths = {route.path for route in create_router(Scripted()).routes}
    assert {path for path in paths if "models" in path} == {OWN, OWN + "/{model_id:path}"}


async def test_openapi_documents_the_own_path_and_leaves_the_shared_one_alone():
    """The parameters have their names on the wire."""
    async with serving(platform(), create_router(Scripted())) as client, serving(platform()) as alone:
        document, plain = (await client.get("/openapi.json")).json(), (await alone.get("/openapi.json")).json()
    listed, model = document["paths"][OWN]["get"], document["paths"][OWN + "/{model_id}"]["get"]
    assert {item["name"] for item in listed["parameters"]} == {"limit", "after_id", "before_id", "lifecycle[]"}
    assert listed["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/ModelList")
    assert model["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/ModelInfo")
    assert [(item["name"], item["in"]) for item in model["parameters"]] == [("model_id", "path")]
    assert {path: document["paths"][path] for path in plain["paths"]} == plain["paths"]


def endpoint(impl, name):
    return next(route.endpoint for route in create_router(impl).routes if route.name == name)


async def test_library_client_mode_calls_the_endpoints_without_a_request():
    """It passes the encoded path parameters, and a model of the query or nothing."""
    impl = Scripted()
    listed = await endpoint(impl, "list_models")()
    await endpoint(impl, "list_models")(query=ModelQuery(limit=3))
    model = await endpoint(impl, "get_model")(model_id="up%2Ftext")
    assert impl.queries == [ModelQuery(), ModelQuery(limit=3)]
    assert json.loads(listed.body)["data"][0] == json.loads(model.body) == MODEL.model_dump()
