"""What a server behind ``--upstream`` is, by its answers; the servers are scripted."""

import json
from collections import defaultdict

import click
import pytest
import yaml

from llama_stack_provider_messages.cli.detect import KINDS, Detected, detect, messages_settings, provider_entry
from llama_stack_provider_messages.cli.running_stack import local_no_proxy
from llama_stack_provider_messages.config import MessagesConfig
from support.native_upstream import NativeUpstream, error_body
from support.scripted_upstream import ScriptedUpstream, responds
from support.stack_process import free_port

NOT_FOUND = responds(b'{"detail": "Not Found"}', 404)
VALIDATED = responds(error_body("invalid_request_error", "model: Field required"), 400)
VERSION = {"version": "0.32.0"}


def models(*names, **more):
    return {"object": "list", "data": [{"id": name, "object": "model", **more} for name in names]}


SERVERS = {
    "vllm": ({"/v1/models": models("qwen3", owned_by="vllm"), "/version": VERSION}, "/v1"),
    "llama-cpp": ({"/v1/models": models("qwen3"), "/props": {"default_generation_settings": {}}}, "/v1"),
    "ollama": ({"/v1/models": models("qwen3"), "/api/version": VERSION}, "/v1"),
    "sglang": ({"/v1/models": models("qwen3"), "/get_server_info": {"model_path": "qwen3"}}, "/v1"),
    "lmstudio": ({"/v1/models": models("qwen3"), "/api/v0/models": models("qwen3", state="loaded")}, "/v1"),
    "openai": ({"/v1/models": models("qwen3")}, "/v1"),
    "messages": ({"/v1/models": models("qwen3")}, ""),
}


@pytest.fixture
def server():
    with ScriptedUpstream() as upstream:
        upstream.scripts = defaultdict(lambda: NOT_FOUND)
        yield upstream


def script(server, answers):
    server.scripts |= {path: responds(json.dumps(body).encode()) for path, body in answers.items()}


@pytest.mark.parametrize("kind", SERVERS)
def test_each_kind_of_server_is_recognized_by_its_own_answer(kind, server):
    """The base URL is the one that its provider takes; the Messages API counts for servers of no other kind."""
    answers, path = SERVERS[kind]
    script(server, answers)
    if kind not in ("openai", "llama-cpp"):
        server.scripts["/v1/messages"] = VALIDATED
    assert detect(server.address) == Detected(kind, server.address + path, ["qwen3"])


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/messages", "/v1/chat/completions"])
def test_the_url_may_be_any_that_users_copy(path, server):
    """It may name the server, the version or an endpoint."""
    script(server, {"/v1/models": models("qwen3")})
    assert detect(server.address + path).base_url == f"{server.address}/v1"


def test_a_list_of_models_without_v1_gives_the_base_url_without_v1(server):
    """Some gateways have /models directly below their own path."""
    script(server, {"/openai/models": models("qwen3")})
    assert detect(f"{server.address}/openai").base_url == f"{server.address}/openai"


def test_a_server_that_answers_every_path_alike_is_an_openai_like_one(upstream):
    """Not the status decides but the content of the response."""
    assert detect(upstream.url).kind == "openai"


def test_an_upstream_with_the_messages_api_only_needs_no_list_of_models():
    """Azure AI Foundry lists none."""
    with NativeUpstream() as native:
        assert detect(native.root("up")) == Detected("messages", native.root("up"), ["m"])


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
def test_the_way_in_which_a_server_takes_its_key_is_found_out(auth, server):
    """The key is sent as Bearer token first, then as x-api-key."""
    sent = {"bearer": ("authorization", "Bearer sk-1"), "x-api-key": ("x-api-key", "sk-1")}[auth]

    async def guarded(answer):
        allowed = sent in answer.exchange.pairs
        await answer.json(models("claude") if allowed else {"error": "key"}, 200 if allowed else 401)

    server.scripts |= {"/v1/models": guarded, "/v1/messages": VALIDATED}
    assert detect(server.address, "sk-1", "MY_KEY") == Detected("messages", server.address, ["claude"], auth)


@pytest.mark.parametrize(
    ("key", "advice"),
    [(None, "name the variable with its key: --upstream-key-env NAME"), ("sk-1", "the value of MY_KEY")],
)
def test_a_server_that_refuses_the_key_is_an_error_with_the_remedy(key, advice, server):
    """The key itself is not in the message."""
    server.scripts["/v1/models"] = responds(b'{"error": "key"}', 401)
    with pytest.raises(click.ClickException, match=f"answers 401 without a valid key; .*{advice}") as caught:
        detect(server.address, key, "MY_KEY")
    assert "sk-1" not in caught.value.message


def test_a_server_that_speaks_neither_api_is_an_error(server):
    """The line says what was looked for."""
    with pytest.raises(click.ClickException, match="has neither /v1/messages nor a list at /v1/models"):
        detect(server.address)


def test_a_server_that_does_not_answer_is_an_error_with_its_address():
    """Nothing listens there."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(click.ClickException, match=f"no answer from {url} .*; start the server, or correct the URL"):
        detect(url)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", ""])
def test_a_url_without_scheme_or_host_is_an_error(url):
    """Httpx is not asked to send anything."""
    with pytest.raises(click.ClickException, match="is not an http or https URL; write http://HOST:PORT"):
        detect(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_a_proxy_of_the_environment_is_not_used_for_a_server_on_this_machine(host, server, monkeypatch):
    """Without NO_PROXY, too; the proxy here refuses connections."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    script(server, {"/v1/models": models("qwen3")})
    assert detect(f"http://{host}:{server.port}").models == ["qwen3"]


def test_a_stack_that_is_started_uses_no_proxy_for_this_machine_and_keeps_what_the_user_excludes():
    """The variables are set only if there is a proxy, in both spellings."""
    assert local_no_proxy({"NO_PROXY": "a"}) == {}
    added = local_no_proxy({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "a"})
    assert added == dict.fromkeys(("NO_PROXY", "no_proxy"), "a,localhost,127.0.0.1,::1")
    assert local_no_proxy({"https_proxy": "http://proxy", "no_proxy": "*"}) == {}


def test_the_default_model_is_one_that_chats():
    """Models for embeddings and speech are passed over."""
    found = Detected("openai", "http://up/v1", ["text-embedding-3-small", "whisper-1", "gpt-5"])
    assert found.default_model == "gpt-5"
    assert Detected("openai", "http://up/v1", ["text-embedding-3-small"]).default_model is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_settings_of_each_kind_are_valid(kind):
    """They name the provider of the same file, and the key only by its environment variable."""
    found = Detected(kind, "http://up", ["m"])
    settings = MessagesConfig(**messages_settings(found, "m"))
    entry = provider_entry(found, "MY_KEY")
    assert settings.default_model == f"{entry['provider_id']}/m"
    assert {*settings.native, *settings.backends} <= {entry["provider_id"]}
    assert "${env.MY_KEY}" in yaml.safe_dump(entry)


def test_a_model_name_that_names_a_variable_is_left_out(server):
    """The platform would put the value of the user's variable into the request."""
    listed = {"data": [{"id": "${env.HOME}"}, {"id": "qwen3"}, {"id": "a\nb"}]}
    server.scripts["/v1/models"] = responds(json.dumps(listed).encode())
    assert detect(server.address).models == ["qwen3"]


def test_a_url_with_a_password_is_an_error_that_does_not_show_it():
    with pytest.raises(click.ClickException) as caught:
        detect("http://user:hunter2@127.0.0.1:1")
    assert "hunter2" not in caught.value.message
