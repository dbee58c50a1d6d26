"""The shipped distributions, unchanged."""

import httpx
import pytest

from support.stack_process import ROOT, StackProcess

pytestmark = pytest.mark.integration

BODY = {"max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}], "thinking": {"type": "disabled"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
STARTER = ROOT / "distributions" / "starter" / "run.yaml"


def env(**more):
    return {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json", **more}


def post(url, model, **more):
    return httpx.post(f"{url}/v1/messages", json={**BODY, "model": model, **more}, timeout=60)


def provider_ids(url):
    return {model["id"].partition("/")[0] for model in httpx.get(f"{url}/v1/models", timeout=30).json()["data"]}


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-4", "local/tiny", "a/b/c"])
def test_local_accepts_every_model_name(local_stack, model):
    """The embedded engine responds, with the client's name."""
    reply = post(local_stack.url, model)
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == model
    assert reply.json()["content"][0]["text"]


@pytest.mark.parametrize(
    ("distribution", "variables", "size"), [("local", {}, 65536), ("starter", {"CONTEXT_SIZE": "2048"}, 2048)]
)
def test_a_variable_sets_the_context_size_of_the_engine(tmp_path, distribution, variables, size):
    """The default has space for the first request of Claude Code, which has up to 45,000 tokens."""
    with StackProcess(ROOT / "distributions" / distribution / "run.yaml", tmp_path, env(**variables)) as stack:
        rejected = post(stack.url, "local/any", messages=[{"role": "user", "content": "~!" * size}])
    assert rejected.status_code == 400
    assert rejected.json()["error"]["message"].endswith(f" > {size} maximum")


def test_starter_without_variables_has_only_the_embedded_engine(tmp_path):
    """The bundled model responds to every name."""
    with StackProcess(STARTER, tmp_path, env()) as stack:
        assert provider_ids(stack.url) == {"local"}
        assert post(stack.url, "claude-x").status_code == 200


def test_each_variable_of_starter_adds_its_backend(upstream, tmp_path):
    """The default model receives requests for unknown names."""
    variables = dict.fromkeys(
        ("VLLM_URL", "LLAMA_CPP_URL", "OPENAI_BASE_URL", "OPENAI_COMPATIBLE_URL", "OLLAMA_URL"), upstream.url
    )
    more = {"OPENAI_API_KEY": "sk-test", "DEFAULT_MODEL": "compatible/text"}
    with StackProcess(STARTER, tmp_path, env(**variables, **more)) as stack:
        assert provider_ids(stack.url) == {"vllm", "llama-cpp", "openai", "compatible", "ollama", "local"}
        for model in ("ollama/text", "vllm/text", "llama-cpp/text", "openai/text", "compatible/text", "claude-x"):
            for content in ("Hello", [IMAGE, {"type": "text", "text": "What is it?"}]):
                reply = post(stack.url, model, messages=[{"role": "user", "content": content}])
                assert reply.status_code == 200, reply.text
                assert reply.json()["content"][0]["text"] == "Hello there"
