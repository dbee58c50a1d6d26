"""The model list of running stacks, for clients of the Messages API and for clients of the platform."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from support.chat_upstream import AUTH_PATH, BEHAVIOURS
from support.stack_process import StackProcess, run_config, vllm

pytestmark = pytest.mark.integration

VERSIONED = {"anthropic-version": "2023-06-01"}
SERVED = {f"up/{name}" for name in BEHAVIOURS}
LISTED = sorted(SERVED | {"my-tool"})
"""Of the fixture ``stack``: its models and its one alias that is not a pattern and has a served target."""
SEEDS = {"0": True, "2": False}
"""PYTHONHASHSEED -> whether our router comes before the platform's models router, which depends on string hashes.
If a new version of the platform changes that, find other seeds."""
SHARED_PATHS = ["/v1/models", "/v1/models?limit=2", "/v1/models/up/text", "/v1/models/up%2Ftext", "/v1/models/nobody"]


OTHER_METHODS = ("HEAD", "POST", "PUT", "DELETE", "OPTIONS")


def platform_view(url, headers, methods=("GET", *OTHER_METHODS)):
    """Return all responses about models that a client of the platform can get, without times."""
    view = {}
    for method in methods:
        for path in SHARED_PATHS:
            reply = httpx.request(method, url + path, headers=headers, timeout=60)
            kept = sorted((name, value) for name, value in reply.headers.items() if name != "date")
            view[method, path] = (reply.status_code, kept, re.sub(rb'"created":\d+', b"", reply.content))
    return view


@pytest.fixture(scope="module")
def without_messages(upstream, tmp_path_factory):
    """The responses of a stack without the Messages API."""
    config = run_config([vllm(upstream.url)], {})
    config["apis"].remove("messages")
    del config["providers"]["messages"], config["external_apis_dir"]
    with StackProcess(config, tmp_path_factory.mktemp("alone")) as process:
        return platform_view(process.url, {})


@pytest.fixture(scope="module", params=SEEDS)
def seeded(request, upstream, tmp_path_factory):
    """A stack whose routers are in the order of the seed."""
    config = run_config([vllm(upstream.url)], {})
    folder = tmp_path_factory.mktemp("seeded")
    with StackProcess(config, folder, {"PYTHONHASHSEED": request.param}) as process:
        paths = list(httpx.get(f"{process.url}/openapi.json", timeout=60).json()["paths"])
        assert (paths.index("/v1/messages") < paths.index("/v1/models")) is SEEDS[request.param]
        yield process


def test_clients_of_the_platform_get_the_same_responses_as_without_this_api(seeded, without_messages):
    """Byte for byte, in either order of the routers."""
    assert platform_view(seeded.url, {}) == without_messages


def test_other_methods_than_get_belong_to_the_platform(seeded, without_messages):
    """An ``anthropic-version`` header changes only the response to GET."""
    view = platform_view(seeded.url, VERSIONED, OTHER_METHODS)
    assert view == {place: seen for place, seen in without_messages.items() if place[0] != "GET"}


def test_clients_of_this_api_get_its_format(seeded):
    """For the list and for a model, in either order of the routers."""
    listed = httpx.get(f"{seeded.url}/v1/models?limit=1000", headers=VERSIONED, timeout=60).json()
    model = httpx.get(f"{seeded.url}/v1/models/up/text", headers=VERSIONED, timeout=60).json()
    assert {entry["id"] for entry in listed["data"]} == SERVED
    assert model in listed["data"]
    assert set(listed) == {"data", "has_more", "first_id", "last_id"}


@pytest.mark.parametrize("prefix", ["", "/anthropic"])
def test_the_list_has_the_models_and_the_aliases(client, prefix):
    """Sorted by id, without patterns and without aliases of models that are not served."""
    listed = client.get(f"{prefix}/v1/models?limit=1000", headers=VERSIONED).json()
    assert [entry["id"] for entry in listed["data"]] == LISTED
    assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, LISTED[0], LISTED[-1])


def test_the_list_request_of_claude_code_returns_ids_and_display_names(client):
    """Claude Code asks for a page of 1000 models."""
    headers = {**VERSIONED, "user-agent": "claude-code/2.1.329", "x-api-key": "none"}
    listed = client.get("/v1/models?limit=1000", headers=headers).json()["data"]
    display_names = {entry["id"]: entry["display_name"] for entry in listed}
    assert (display_names["my-tool"], display_names["up/text"]) == ("my-tool (up/tool)", "up/text")


def test_every_listed_name_can_be_retrieved(client):
    """Retrieving a listed name gives the listed object, at both paths."""
    listed = client.get("/v1/models?limit=1000", headers=VERSIONED).json()["data"]
    for entry in listed:
        assert client.get(f"/v1/models/{entry['id']}", headers=VERSIONED).json() == entry
        assert client.get(f"/anthropic/v1/models/{entry['id'].replace('/', '%2F')}").json() == entry


def test_a_name_that_matches_a_pattern_can_be_retrieved(client):
    """Its id is the requested name, as in a message; the display name also has the target."""
    model = client.get("/v1/models/claude-haiku-4-5", headers=VERSIONED).json()
    assert (model["id"], model["display_name"]) == ("claude-haiku-4-5", "claude-haiku-4-5 (up/text)")


@pytest.mark.parametrize("name", ["nobody", "gone/model", "dangling", "claude-opus-5"])
@pytest.mark.parametrize("prefix", ["", "/anthropic"])
def test_an_unknown_model_is_a_404_that_lists_the_served_models(client, name, prefix):
    """The message names the served models, as for a Messages request."""
    reply = client.get(f"{prefix}/v1/models/{name}", headers=VERSIONED)
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (404, "not_found_error")
    assert error["message"].startswith(f"model: {name} ")
    assert "up/text" in error["message"]
    assert reply.json()["request_id"] == reply.headers["request-id"]


@pytest.mark.parametrize(
    ("query", "member"),
    [("limit=0", "limit"), ("after_id=nobody", "after_id: nobody"), ("before_id=up/gone", "before_id: up/gone")],
)
def test_an_invalid_query_parameter_is_a_400_that_names_it(stack, client, query, member):
    """In the envelope, without a traceback in the log."""
    reply = client.get(f"/v1/models?{query}", headers=VERSIONED)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")
    assert reply.json()["error"]["message"].startswith(member)
    assert "Traceback" not in stack.log


@pytest.fixture(scope="module")
def guarded(upstream, tmp_path_factory):
    """A stack with authentication: alice may read every model, bob only one."""
    rules = [
        {"permit": {"principal": "alice", "actions": ["read"]}},
        {"permit": {"principal": "bob", "actions": ["read"], "resource": "model::up/reasoning"}},
    ]
    endpoint = upstream.url.removesuffix("/v1") + AUTH_PATH
    auth = {"provider_config": {"type": "custom", "endpoint": endpoint}, "access_policy": rules}
    names = {"thinker": "up/reasoning", "talker": "up/text", "lora": "up/not-listed"}
    config = run_config([vllm(upstream.url)], {"aliases": names, "default_model": "up/text"}, auth=auth)
    with StackProcess(config, tmp_path_factory.mktemp("guarded")) as process:
        yield process


@pytest.mark.parametrize("headers", [{}, VERSIONED, {**VERSIONED, "authorization": "Basic x"}])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/up/text", "/anthropic/v1/models", "/anthropic/v1/models/x"])
def test_a_request_without_credentials_is_a_401(guarded, path, headers):
    """The list is not public, as in the platform."""
    assert httpx.get(guarded.url + path, headers=headers, timeout=60).status_code == 401


@pytest.mark.parametrize("path", ["/v1/models", "/anthropic/v1/models"])
@pytest.mark.parametrize(
    ("user", "expected"),
    [("alice", sorted(SERVED | {"thinker", "talker", "lora"})), ("bob", ["thinker", "up/reasoning"])],
)
def test_the_list_has_only_the_models_that_the_caller_may_read(guarded, path, user, expected):
    """Neither other models nor their aliases are in the list."""
    headers = {**VERSIONED, "authorization": f"Bearer {user}"}
    listed = httpx.get(f"{guarded.url}{path}?limit=1000", headers=headers, timeout=60).json()
    assert [entry["id"] for entry in listed["data"]] == expected


@pytest.mark.parametrize(
    ("name", "bob", "alice"),
    [
        ("up/reasoning", 200, 200),
        ("thinker", 200, 200),
        ("up/text", 404, 200),
        ("talker", 404, 200),
        ("lora", 404, 200),
        ("any-name", 404, 200),
    ],
)
def test_a_model_that_the_caller_may_not_read_is_a_404(guarded, name, bob, alice):
    """By its id, by an alias, or as the default model."""
    for user, status in (("bob", bob), ("alice", alice)):
        headers = VERSIONED | {"authorization": f"Bearer {user}"}
        reply = httpx.get(f"{guarded.url}/v1/models/{name}", headers=headers, timeout=60)
        assert reply.status_code == status
        assert status == 404 or reply.json()["id"] == name
        assert status == 200 or name == "up/text" or "up/text" not in reply.text


def run_python(code, *arguments, env):
    """Run a program; return its output."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **env}, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


SDK_SESSION = """
import json, sys
import anthropic

def failure(call):
    try:
        call()
    except anthropic.APIStatusError as error:
        return [type(error).__name__, error.status_code, error.request_id, error.body["error"]["message"]]

def pages(first):
    return [[model.id for model in page.data] for page in first.iter_pages()]

report = {"version": anthropic.__version__}
for name, url in (("shared", sys.argv[1]), ("own", sys.argv[1] + "/anthropic")):
    models = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0).models
    report[name] = {
        "pages": pages(models.list(limit=7)),
        "default": [model.id for model in models.list()],
        "before": pages(models.list(limit=4, before_id="up/text")),
        "active": [model.id for model in models.list(limit=1000, lifecycle=["active", "deprecated"])],
        "retired": [model.id for model in models.list(lifecycle=["retired"])],
        "slash": models.retrieve("up/text").to_dict(mode="json"),
        "alias": models.retrieve("my-tool").id,
        "pattern": models.retrieve("claude-haiku-4-5").id,
        "year": models.retrieve("up/text").created_at.year,
        "unknown": failure(lambda: models.retrieve("nobody")),
        "wrong": failure(lambda: models.list(limit=0)),
    }
json.dump(report, sys.stdout)
"""


@pytest.fixture(scope="module", params=["installed", "1.x"])
def sdk(request, stack):
    """The results of a session of one SDK version."""
    path = str(Path(sys.prefix) / "sdk1") if request.param == "1.x" else ""
    seen = json.loads(run_python(SDK_SESSION, stack.url, env={"PYTHONPATH": path}))
    assert request.param == "installed" or seen["version"].startswith("1.")
    return seen


@pytest.fixture(params=["shared", "own"])
def report(request, sdk):
    """The results at one base URL."""
    return sdk[request.param]


def test_the_sdk_reads_all_pages(report):
    """It gets every name once, forwards and backwards."""
    assert [len(page) for page in report["pages"][:-1]] == [7] * (len(report["pages"]) - 1)
    assert [name for page in report["pages"] for name in page] == LISTED
    assert report["default"] == LISTED
    assert [name for page in reversed(report["before"]) for name in page] == LISTED[: LISTED.index("up/text")]


def test_the_sdk_filters_by_lifecycle(report):
    """All served models are active."""
    assert (report["active"], report["retired"]) == (LISTED, [])


def test_the_sdk_retrieves_a_model_by_every_kind_of_name(report):
    """An id with a slash, an alias, a name that matches a pattern."""
    model = report["slash"]
    assert (model["id"], model["type"], model["lifecycle"]) == ("up/text", "model", "active")
    assert (report["alias"], report["pattern"], report["year"]) == ("my-tool", "claude-haiku-4-5", 1970)


def test_the_sdk_raises_its_own_errors(report):
    """With the request id and the message."""
    kind, status, request_id, message = report["unknown"]
    assert (kind, status, request_id[:4]) == ("NotFoundError", 404, "req_")
    assert message.startswith("model: nobody is not served here")
    kind, status, request_id, message = report["wrong"]
    assert (kind, status, request_id[:4], message[:6]) == ("BadRequestError", 400, "req_", "limit:")


LIBRARY_CLIENT = """
import json, sys
from llama_stack.core.library_client import LlamaStackAsLibraryClient
client = LlamaStackAsLibraryClient(sys.argv[1])
get = lambda path, **query: json.loads(client.get(path, cast_to=object, options={"params": query}).content)
found = [get("/anthropic/v1/models", limit=1000), get("/anthropic/v1/models", limit=2, after_id="short")]
found += [get("/anthropic/v1/models/short"), get("/anthropic/v1/models/up%2Ftext")]
found.append([model.id for model in client.models.list()])
client.shutdown()
print("RESULT" + json.dumps(found))
"""


def test_a_library_client_gets_the_list_and_that_of_the_platform(upstream, tmp_path):
    """In one process, our list is only at ``/anthropic``; the shared path is the platform's."""
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(run_config([vllm(upstream.url)], {"aliases": {"short": "up/text"}})))
    output = run_python(LIBRARY_CLIENT, config, env={"SQLITE_STORE_DIR": str(tmp_path), "HOME": str(tmp_path)})
    listed, page, alias, model, own = json.loads(output.partition("RESULT")[2])
    assert [entry["id"] for entry in listed["data"]] == ["short", *sorted(SERVED)]
    assert [entry["id"] for entry in page["data"]] == sorted(SERVED)[:2]
    assert (alias["display_name"], model["id"]) == ("short (up/text)", "up/text")
    assert set(own) == SERVED
