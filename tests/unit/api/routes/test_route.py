"""The route class, with throw-away endpoints beside those of the API."""

import gzip
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI, Header, Query, Response
from pydantic import BaseModel, Field

from llama_stack_api_messages import RequestBody, ServeSettings, create_router
from llama_stack_api_messages.errors import NotFoundError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.routes.route import NO_REQUEST, MessagesRequest, MessagesRoute, call_of, json_response

THINGS = "/v1/messages/things"
LIMIT = 1_000
SETTINGS = ServeSettings(max_request_bytes=LIMIT)


class Implementation:
    settings = ServeSettings()


class Thing(BaseModel):
    name: str
    size: int = Field(ge=0)


class ThingQuery(BaseModel):
    limit: int = Field(default=20, le=100)
    tags: list[str] = []


async def get_thing(
    thing_id: int,
    detail: bool = False,
    version: Annotated[str | None, Header()] = None,
    request: MessagesRequest = NO_REQUEST,
) -> Response:
    """Get a thing."""
    if thing_id == 404:
        raise NotFoundError("thing: no such thing")
    if thing_id == 500:
        raise RuntimeError("secret")
    seen = {"id": thing_id, "detail": detail, "version": version, "call": call_of(request).headers.get("x-tenant")}
    return Response(repr(seen))


async def list_things(query: Annotated[ThingQuery, Query()]) -> Response:
    """List things."""
    return json_response(query)


async def create_thing(thing: Annotated[Thing, Body()], dry_run: bool = False) -> Response:
    """Create a thing."""
    return Response(repr((thing, dry_run)))


async def ask_thing(thing_id: str, params: Annotated[CreateMessageRequest, Body()]) -> Response:
    """Send a prompt to a thing."""
    assert isinstance(params, RequestBody)
    return Response(f"{thing_id} {params.model}")


def thing_routes():
    return [
        MessagesRoute(f"{THINGS}/{{thing_id}}", get_thing, methods=["GET"]),
        MessagesRoute(THINGS, list_things, methods=["GET"]),
        MessagesRoute(THINGS, create_thing, methods=["POST"], settings=SETTINGS),
        MessagesRoute(f"{THINGS}/{{thing_id}}/ask", ask_thing, methods=["POST"], settings=SETTINGS),
    ]


@asynccontextmanager
async def serving(*later):
    """Yield a client of a running server with the API's router and, after it, further ones."""
    app = FastAPI()
    for router in (create_router(Implementation()), *later):
        app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


@pytest.fixture
async def client():
    """A client of a server with throw-away endpoints, registered after those of the API."""
    async with serving(APIRouter(routes=thing_routes())) as made:
        yield made


def error_of(reply):
    """Return type and message of an error body, after a check of what surrounds them."""
    body = reply.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["request_id"] == reply.headers["request-id"]
    assert body["request_id"].startswith("req_")
    return body["error"]["type"], body["error"]["message"]


async def test_an_endpoint_gets_its_path_query_and_header_parameters(client):
    """FastAPI parses them; the request is there, too."""
    reply = await client.get(f"{THINGS}/7?detail=true", headers={"version": "v", "x-tenant": "a"})
    assert reply.text == repr({"id": 7, "detail": True, "version": "v", "call": "a"})
    assert reply.headers["request-id"].startswith("req_")


async def test_an_endpoint_without_a_request_has_a_call_of_its_own():
    """The platform's library client calls the function itself."""
    reply = await get_thing(thing_id=7)
    assert reply.body.decode() == repr({"id": 7, "detail": False, "version": None, "call": None})


@pytest.mark.parametrize(
    ("path", "status", "kind", "message"),
    [
        ("/x", 400, "invalid_request_error", "thing_id: Input should be a valid integer"),
        ("/7?detail=maybe", 400, "invalid_request_error", "detail: Input should be a valid boolean"),
        ("?limit=101", 400, "invalid_request_error", "limit: Input should be less than or equal to 100"),
        ("/404", 404, "not_found_error", "thing: no such thing"),
        ("/500", 500, "api_error", "Internal server error"),
    ],
)
async def test_a_failure_is_an_error_body(client, path, status, kind, message):
    """A wrong parameter is a 400 that begins with its name; a bug is a 500 without its text."""
    reply = await client.get(THINGS + path)
    assert reply.status_code == status
    found_kind, found_message = error_of(reply)
    assert found_kind == kind
    assert found_message.startswith(message)


async def test_a_query_may_be_a_model(client):
    """A repeated parameter is a list where the model has one."""
    reply = await client.get(f"{THINGS}?limit=5&tags=a&tags=b")
    assert reply.json() == {"limit": 5, "tags": ["a", "b"]}


@pytest.mark.parametrize("headers", [{"content-type": "application/json"}, {"content-type": "text/plain"}, {}])
async def test_a_body_arrives_parsed_whatever_its_content_type(client, headers):
    """The parsed body is passed together with the other parameters."""
    reply = await client.post(f"{THINGS}?dry_run=1", content=b'{"name": "a", "size": 1}', headers=headers)
    assert reply.text == repr((Thing(name="a", size=1), True))


async def test_a_compressed_body_is_read(client):
    """A compressed body is decompressed, as on every endpoint of the API."""
    body = gzip.compress(b'{"name": "a", "size": 1}')
    reply = await client.post(THINGS, content=body, headers={"content-encoding": "gzip"})
    assert reply.status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"name": "a", "size": -1}', "size: Input should be greater than or equal to 0"),
        (b'{"size": 1}', "name: Field required"),
        (b"{", "The request body is not valid JSON: "),
        (b"[]", "The request body must be a JSON object"),
        (b"", "The request body is not valid JSON: "),
    ],
)
async def test_a_wrong_body_is_a_400_that_names_the_path(client, body, message):
    """An invalid body has the error of an invalid Messages request."""
    reply = await client.post(THINGS, content=body)
    assert reply.status_code == 400
    kind, found = error_of(reply)
    assert kind == "invalid_request_error"
    assert found.startswith(message)


@pytest.mark.parametrize("path", [THINGS, f"{THINGS}/7/ask"])
async def test_a_body_over_the_limit_of_its_endpoint_is_a_413_that_names_the_limit(client, path):
    """The limit of the other endpoints is another one."""
    reply = await client.post(path, content=b'"' + b"x" * LIMIT + b'"')
    assert reply.status_code == 413
    kind, message = error_of(reply)
    assert kind == "request_too_large"
    assert f"{LIMIT} bytes" in message


async def test_a_prompt_arrives_as_a_request_body(client):
    """Only its model is looked at; the rest may be wrong until something parses it."""
    reply = await client.post(f"{THINGS}/7/ask", json={"model": "m", "messages": "wrong"})
    assert reply.text == "7 m"


def sync_endpoint() -> Response:
    return Response()


async def list_endpoint(names: Annotated[list[str], Body()]) -> Response:
    return Response(repr(names))


async def two_bodies(one: Annotated[Thing, Body()], other: Annotated[Thing, Body()]) -> Response:
    return Response(repr((one, other)))


@pytest.mark.parametrize("endpoint", [sync_endpoint, list_endpoint, two_bodies])
def test_an_endpoint_that_the_route_cannot_serve_is_a_type_error_at_once(endpoint):
    """When the router is made, and not with each request."""
    with pytest.raises(TypeError, match=rf"^{THINGS}: the endpoint "):
        MessagesRoute(THINGS, endpoint, methods=["POST"], settings=SETTINGS)


async def test_an_endpoint_with_a_body_needs_a_limit():
    """A forgotten limit shows when the router is made, not at the first request."""
    with pytest.raises(TypeError, match="settings are required"):
        MessagesRoute(THINGS, create_thing, methods=["POST"])


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("PUT", "/7", "GET"), ("GET", "/7/ask", "POST"), ("DELETE", "", "GET, POST")]
)
async def test_another_method_is_a_405_that_names_the_right_ones(client, method, path, allow):
    """It is an error body, as every failure; two endpoints of one path are both named."""
    reply = await client.request(method, THINGS + path)
    assert reply.status_code == 405
    assert reply.headers["allow"] == allow
    assert error_of(reply) == ("invalid_request_error", f"Method not allowed: use {allow}")


@pytest.mark.parametrize("path", ["/v1/messages/nonsense", f"{THINGS}/7/ask/b", "/anthropic/v1/messages/a/b"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_a_path_that_no_endpoint_has_is_a_404(client, method, path):
    """It is an error body that names the path and the endpoints."""
    reply = await client.request(method, path)
    assert reply.status_code == 404
    text = f"Not found: {method} {path} is not an endpoint of this server. The endpoints are POST /v1/messages and POST"
    assert error_of(reply) == ("not_found_error", f"{text} /v1/messages/count_tokens")


BASE_URL = "Messages are at POST /v1/messages: set base_url to http://x"
SHORT_BASE_URL = f"{BASE_URL} (to http://x/v1 if the client appends /messages only)"
NO_COMPLETIONS = "Text completions are not available; send POST http://x/v1/messages"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/v1/messages", BASE_URL),
        ("/v1/v1/messages/count_tokens", BASE_URL),
        ("/v1/messages/v1/messages", BASE_URL),
        ("/v1/messages/", BASE_URL),
        ("/V1/Messages", BASE_URL),
        ("//v1/messages", BASE_URL),
        ("/v1/message", BASE_URL),
        ("/v1/count_tokens", BASE_URL),
        ("/v1/v1/models", BASE_URL),
        ("/v1/anthropic/v1/messages", BASE_URL),
        ("/gateway/openai/v1/messages", BASE_URL),
        ("/anthropic/v1", BASE_URL),
        ("/anthropic/v1/v1/messages", BASE_URL),
        ("/messages", SHORT_BASE_URL),
        ("/message", SHORT_BASE_URL),
        ("/messages/count_tokens", SHORT_BASE_URL),
        ("/messages/messages", SHORT_BASE_URL),
        ("/api/messages", SHORT_BASE_URL),
        ("/anthropic", SHORT_BASE_URL),
        ("/anthropic/messages", SHORT_BASE_URL),
        ("/v1/complete", NO_COMPLETIONS),
        ("/complete", NO_COMPLETIONS),
        ("/anthropic/v1/complete", NO_COMPLETIONS),
        ("/v1/messages/messages", "The endpoints are POST /v1/messages and POST /v1/messages/count_tokens"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_mistyped_path_is_a_404_with_the_right_one(client, method, path, hint):
    """The error body has the address under which the client reached the server."""
    reply = await client.request(method, f"http://x{path}")
    text = f"Not found: {method} {path} is not an endpoint of this server. {hint}"
    assert (reply.status_code, error_of(reply)) == (404, ("not_found_error", text))


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("stack.example:8321", "http://stack.example:8321"),
        ("[::1]:8321", "http://[::1]:8321"),
        ("evil.example/<script>", "http://host:port"),
        ("a" * 300, "http://host:port"),
    ],
)
async def test_the_hint_repeats_only_a_valid_host(client, host, shown):
    """Anything else in the Host header is not repeated."""
    reply = await client.post("/v1/v1/messages", headers={"host": host})
    assert error_of(reply)[1].endswith(f"set base_url to {shown}")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/models/messages",
        "/v1/v1/chat/completions",
        "/v1/threads/t/messages",
        "/v1/conversations/c/items",
        "/v1",
        "/api/hello2",
        "/anthropics/models",
        "/v1/completed",
        "/messages.json",
    ],
)
async def test_other_unknown_paths_are_left_to_the_platform(client, path):
    """Its clients expect its own error body."""
    reply = await client.post(path)
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})


async def test_a_very_long_path_is_answered_shortly():
    """The error repeats its beginning only."""
    async with serving() as client:
        reply = await client.post("/v1" * 20_000 + "/messages")
    assert reply.status_code == 404
    assert len(reply.content) < 1_000


@pytest.mark.parametrize("path", ["/messages", "/v1/complete", "/anthropic/x", "/gateway/v1/messages"])
async def test_a_route_of_another_router_is_not_hidden_by_a_mistyped_path(path):
    """Also one that has the path with another method: its router answers."""
    other = APIRouter()
    other.add_api_route(path, lambda: {"other": path}, methods=["GET"])
    async with serving(other) as client:
        assert (await client.get(path)).json() == {"other": path}
        assert (await client.post(path)).json() == {"detail": "Method Not Allowed"}


async def test_endpoints_of_another_router_are_not_hidden():
    """A path below the API's own that another API of the stack serves stays with it."""
    other = APIRouter()
    other.add_api_route("/v1/messages/batches/{batch_id}", lambda batch_id: {"other": batch_id}, methods=["GET"])
    async with serving(other) as client:
        assert (await client.get("/v1/messages/batches/b")).json() == {"other": "b"}
        assert (await client.get("/v1/messages/batches")).status_code == 404
