"""The run.yaml files of docs/openai-clients.md and the starter distribution, against servers like the real ones."""

import json
import re

import httpx
import pytest

from support.native_upstream import chat_request_body, message, post
from support.scripted_upstream import responds
from support.stack_process import ROOT, StackProcess

pytestmark = pytest.mark.integration

FRAGMENTS = [
    block
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "openai-clients.md").read_text(), re.DOTALL)
    if "remote::messages" in block
]
ENV = {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json"}
REPLY = responds(json.dumps(message("whatever")).encode())
CASES = {
    "foundry": ("FOUNDRY_URL", "FOUNDRY_KEY", "my-deployment", {"claude-opus-4-8", "my-deployment"}),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "m", {"m"}),
}


def test_there_is_a_fragment_for_each():
    """The README has one fragment for Azure AI Foundry and one for Anthropic."""
    assert [name for name in CASES for block in FRAGMENTS if f"provider_id: {name}\n" in block] == list(CASES)
    assert len(FRAGMENTS) == len(CASES)


def listed(url):
    return {model["id"] for model in httpx.get(f"{url}/v1/models", timeout=30).json()["data"]}


@pytest.mark.parametrize("name", CASES)
async def test_a_fragment_is_a_stack(messages_upstream, tmp_path, name):
    """Unchanged, with its variables set: it starts, lists its models, and a client of OpenAI gets a response."""
    url, key, model, models = CASES[name]
    block = next(block for block in FRAGMENTS if f"provider_id: {name}\n" in block)
    file = tmp_path / "run.yaml"
    file.write_text(block)
    messages_upstream.play(REPLY, model)
    with StackProcess(
        file, tmp_path, {**ENV, url: messages_upstream.root(name) + "/anthropic/", key: "sk-fragment"}
    ) as stack:
        assert listed(stack.url) == {f"{name}/{model}" for model in models}
        reply = await post(stack.url, chat_request_body(f"{name}/{model}"), path="/v1/chat/completions")
    assert reply.json["choices"][0]["message"]["content"] == "Hello"
    exchange = messages_upstream.of(model)[-1]
    assert exchange.target == f"/{name}/anthropic/v1/messages"
    assert exchange.headers["x-api-key"] == "sk-fragment"


@pytest.mark.parametrize(
    ("auth", "header"), [({}, ("x-api-key", "sk-s")), ({"MESSAGES_AUTH": "bearer"}, ("authorization", "Bearer sk-s"))]
)
async def test_the_starter_distribution_takes_a_messages_upstream(messages_upstream, tmp_path, auth, header):
    """The starter's environment variables set a Messages upstream, with an API key or a bearer token."""
    file = ROOT / "distributions" / "starter" / "run.yaml"
    env = {**ENV, "MESSAGES_URL": messages_upstream.root("starter") + "/anthropic", "MESSAGES_API_KEY": "sk-s", **auth}
    model = messages_upstream.play(REPLY)
    with StackProcess(file, tmp_path, env) as stack:
        reply = await post(stack.url, chat_request_body(f"messages/{model}"), path="/v1/chat/completions")
    assert reply.status == 200
    (exchange,) = messages_upstream.of(model)
    assert header in exchange.pairs
    assert exchange.target == "/starter/anthropic/v1/messages"
