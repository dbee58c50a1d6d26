"""The model list of running stacks, for clients of the Messages API and for clients of the platform."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from support.chat_upstream import AUTH_PATH, BEHAVIOURS
from support.scripted_upstream import ScriptedUpstream, responds, silent
from support.serve_process import MESSAGES
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
        ("reasoning", 200, 200),
        ("text", 404, 200),
    ],
)
def test_a_model_that_the_caller_may_not_read_is_a_404(guarded, name, bob, alice):
    """By its id, by an alias, by its bare name, or as the default model; no header reveals it either."""
    for user, status in (("bob", bob), ("alice", alice)):
        headers = VERSIONED | {"authorization": f"Bearer {user}"}
        reply = httpx.get(f"{guarded.url}/v1/models/{name}", headers=headers, timeout=60)
        assert reply.status_code == status
        assert status == 404 or reply.json()["id"] == name
        assert status == 200 or name == "up/text" or "up/text" not in reply.text
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}]}
        counted = httpx.post(f"{guarded.url}/v1/messages/count_tokens", json=body, headers=headers, timeout=60)
        assert ("x-messages-model" in counted.headers) is (counted.status_code == 200) is (status == 200)
        assert status == 200 or name == "up/text" or "up/text" not in counted.text + repr(counted.headers)


HANG_SECONDS = 120
"""More than the half minute after which a backend that did not respond is asked again."""
LISTING = "limit=1000"
"""In the query of a request for token limits; the platform's own requests for the list at its start have none."""


def entries(*names, **fields):
    """Return a model list of a backend."""
    return json.dumps(
        {"object": "list", "data": [{"id": name, "object": "model", **fields} for name in names]}
    ).encode()


@pytest.fixture(scope="module")
def backends():
    """Servers of several kinds, by the first part of the path; ``silent`` does not respond to a request for limits."""

    async def list_or_silence(answer):
        await (silent(answer) if LISTING in answer.exchange.target else responds(entries("quiet"))(answer))

    shown = {"parameters": "num_ctx 32768", "model_info": {"qwen3.context_length": 131072}}
    with ScriptedUpstream() as server:
        server.scripts |= {
            "/vllm/v1/models": responds(entries("qwen", max_model_len=40960)),
            "/llama/v1/models": responds(entries("gemma")),
            "/llama/props": responds(b'{"default_generation_settings": {"n_ctx": 8192}, "total_slots": 4}'),
            "/ollama/v1/models": responds(entries("loaded:1b", "idle:1b")),
            "/ollama/api/tags": responds(b'{"models": []}'),
            "/ollama/api/ps": responds(b'{"models": [{"name": "loaded:1b", "context_length": 4096}]}'),
            "/ollama/api/show": responds(json.dumps(shown).encode()),
            "/silent/v1/models": list_or_silence,
        }
        yield server


def provider(provider_id, provider_type, **config):
    return {"provider_id": provider_id, "provider_type": provider_type, "config": config}


@pytest.fixture(scope="module")
def second(upstream, backends, tmp_path_factory):
    """A stack with the store of an earlier one that had another provider."""
    folder = tmp_path_factory.mktemp("shared")
    for name in ("first", "second"):
        (folder / name).mkdir()
    store = {"SQLITE_STORE_DIR": str(folder)}
    with StackProcess(run_config([vllm(upstream.url, "gone")], {}), folder / "first", store) as process:
        listed = httpx.get(f"{process.url}/v1/models", headers=VERSIONED, timeout=60).json()
        assert "gone/agent" in {entry["id"] for entry in listed["data"]}
    twin = vllm(upstream.url, "twin")
    twin["config"]["allowed_models"] = ["text", "html"]
    known = {"id": "claude-x", "max_tokens": 64000, "context": 200000}
    inference = [
        vllm(upstream.url),
        twin,
        vllm(f"{backends.address}/vllm/v1", "vllm"),
        vllm(f"{backends.address}/silent/v1", "silent"),
        provider("llama", "remote::llama-cpp-server", base_url=f"{backends.address}/llama/v1"),
        provider("ollama", "remote::ollama", base_url=f"{backends.address}/ollama/v1"),
        provider("foundry", "remote::messages", base_url=backends.address, api_key="k", models=[known, "claude-y"]),
    ]
    inference[-1]["module"] = "llama_stack_provider_messages.remote"
    messages = {"aliases": {"short": "vllm/qwen", "dangling": "gone/text"}, "default_model": "up/lora"}
    messages["backends"] = {"foundry/claude-y": {"max_output_tokens": 1024}}
    with StackProcess(run_config(inference, messages), folder / "second", store) as process:
        yield process


def ask(stack, model, **fields):
    """Send a message request; return the response."""
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return httpx.post(f"{stack.url}/v1/messages", json=body, headers=VERSIONED, timeout=60)


def test_models_of_another_stack_are_not_listed(second):
    """Its provider is not in this stack; the default model is listed although its provider does not list it."""
    entries = httpx.get(f"{second.url}/v1/models?limit=1000", headers=VERSIONED, timeout=60).json()["data"]
    listed = {entry["id"] for entry in entries}
    assert {"up/text", "twin/text", "short", "up/lora"} <= listed
    assert not [name for name in listed if name.startswith("gone/") or name == "dangling"]
    stored = httpx.get(f"{second.url}/v1/models", timeout=60).json()["data"]
    assert "gone/text" in {entry["id"] for entry in stored}, "the store of the platform does not have them any more"


def test_the_doctor_does_not_fail_for_the_models_of_another_stack(second):
    """They are named in a check that is ok."""
    words = [MESSAGES, "doctor", second.url, "--model", "up/text", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=HANG_SECONDS, check=False)
    (found,) = (check for check in json.loads(done.stdout)["checks"] if check["name"] == "other stacks")
    assert found["status"] == "ok"
    assert "also has models of other stacks: gone/" in found["text"]
    assert "up/" not in found["text"]


@pytest.mark.parametrize("model", ["gone/text", "dangling"])
def test_a_model_of_another_stack_is_a_404(second, model):
    """The default does not answer for it, and the error names no other model of that stack."""
    read = httpx.get(f"{second.url}/v1/models/{model}", headers=VERSIONED, timeout=60)
    for reply in (ask(second, model), ask(second, model, stream=True), read):
        error = reply.json()["error"]
        assert (reply.status_code, error["type"]) == (404, "not_found_error")
        assert error["message"].startswith(f"model: {model} is not served here")
        assert "gone/" not in error["message"].removeprefix(f"model: {model}")
        assert "x-messages-model" not in reply.headers


@pytest.mark.parametrize(
    ("model", "header"),
    [
        ("tool", "up/tool; reason=bare"),
        ("text", "up/lora; reason=default"),
        ("gone-too/text", "up/lora; reason=default"),
    ],
)
def test_a_bare_name_is_a_model_if_one_provider_of_this_stack_serves_it(second, model, header):
    """Models of other stacks do not count; a name that two providers serve is left to the default."""
    assert ask(second, model).headers["x-messages-model"] == header


def limits_of(stack, names):
    """Return the limits of models in the list."""
    listed = httpx.get(f"{stack.url}/v1/models?limit=1000", headers=VERSIONED, timeout=60).json()["data"]
    return {one["id"]: (one["max_input_tokens"], one["max_tokens"]) for one in listed if one["id"] in names}


def test_the_list_has_the_limits_that_backends_state(second):
    """From vLLM's list, llama.cpp's props, Ollama's loaded models and parameters, and the configuration."""
    expected = {
        "vllm/qwen": (40960, 40960),
        "short": (40960, 40960),
        "llama/gemma": (8192, 8192),
        "ollama/loaded:1b": (4096, 4096),
        "ollama/idle:1b": (32768, 32768),
        "foundry/claude-x": (200000, 64000),
        "foundry/claude-y": (None, 1024),
        "up/text": (None, None),
        "silent/quiet": (None, None),
    }
    deadline = time.monotonic() + HANG_SECONDS
    while (found := limits_of(second, expected)) != expected and time.monotonic() < deadline:
        time.sleep(0.1)  # on a slow machine, a backend is heard only after the list
    assert found == expected
    one = httpx.get(f"{second.url}/v1/models/foundry/claude-x", headers=VERSIONED, timeout=60).json()
    assert (one["max_input_tokens"], one["max_tokens"]) == (200000, 64000)


def test_a_list_asks_each_backend_once(second, backends):
    """What they state is kept for minutes."""
    for _ in range(3):
        limits_of(second, ())
    asked = [exchange.path for exchange in backends.requests if LISTING in exchange.target]
    assert asked.count("/vllm/v1/models") == 1
    assert [exchange.path for exchange in backends.requests].count("/llama/props") == 1


def test_the_list_has_the_context_of_the_running_engine(local_stack):
    """The default of 65,536 tokens, which prompt and answer share."""
    assert ask(local_stack, "local/tiny", thinking={"type": "disabled"}).status_code == 200  # the engine runs
    expected = {"local/tiny": (65536, 65536), "local/default": (65536, 65536)}
    deadline = time.monotonic() + HANG_SECONDS
    while (found := limits_of(local_stack, expected)) != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found == expected


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
