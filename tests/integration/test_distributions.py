"""The shipped distributions, as they are."""

import httpx
import pytest

from support.stack_process import ROOT, StackProcess

pytestmark = pytest.mark.integration

ASK = {"max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}], "thinking": {"type": "disabled"}}
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
STARTER = ROOT / "distributions" / "starter" / "run.yaml"


def env(**more):
    return {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json", **more}


def ask(url, model, **more):
    return httpx.post(f"{url}/v1/messages", json={**ASK, "model": model, **more}, timeout=60)


def served(url):
    return {model["id"].partition("/")[0] for model in httpx.get(f"{url}/v1/models", timeout=30).json()["data"]}


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-4", "local/tiny", "a/b/c"])
def test_local_answers_every_name(local_stack, model):
    """Whatever a client calls the model, the embedded engine answers and echoes the name."""
    reply = ask(local_stack.url, model)
    assert reply.status_code == 200, reply.text
    assert reply.json()["model"] == model
    assert reply.json()["content"][0]["text"]


@pytest.mark.parametrize(
    ("distribution", "variables", "size"), [("local", {}, 65536), ("starter", {"CONTEXT_SIZE": "2048"}, 2048)]
)
def test_the_context_of_the_engine_is_named_by_a_variable(tmp_path, distribution, variables, size):
    """Without it there is room for the first turn of Claude Code, which takes up to 45,000 tokens."""
    with StackProcess(ROOT / "distributions" / distribution / "run.yaml", tmp_path, env(**variables)) as stack:
        refused = ask(stack.url, "local/any", messages=[{"role": "user", "content": "~!" * size}])
    assert refused.status_code == 400
    assert refused.json()["error"]["message"].endswith(f" > {size} maximum")


def test_starter_without_variables_is_the_embedded_engine(tmp_path):
    """Nothing is switched on, so the bundled model answers."""
    with StackProcess(STARTER, tmp_path, env()) as stack:
        assert served(stack.url) == {"local"}
        assert ask(stack.url, "claude-x").status_code == 200


def test_starter_switches_on_what_the_variables_name(upstream, tmp_path):
    """Each variable adds its backend; the default model decides who answers unknown names."""
    variables = dict.fromkeys(
        ("VLLM_URL", "LLAMA_CPP_URL", "OPENAI_BASE_URL", "OPENAI_COMPATIBLE_URL", "OLLAMA_URL"), upstream.url
    )
    more = {"OPENAI_API_KEY": "sk-test", "DEFAULT_MODEL": "compatible/text"}
    with StackProcess(STARTER, tmp_path, env(**variables, **more)) as stack:
        assert served(stack.url) == {"vllm", "llama-cpp", "openai", "compatible", "ollama", "local"}
        for model in ("ollama/text", "vllm/text", "llama-cpp/text", "openai/text", "compatible/text", "claude-x"):
            for content in ("Hello", [PICTURE, {"type": "text", "text": "What is it?"}]):
                reply = ask(stack.url, model, messages=[{"role": "user", "content": content}])
                assert reply.status_code == 200, reply.text
                assert reply.json()["content"][0]["text"] == "Hello there"
