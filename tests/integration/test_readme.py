"""The examples of README and of docs/library-client.md work unchanged."""

import os
import re
import subprocess
import sys

import httpx
import pytest

from support.chat_upstream import BEHAVIOURS
from support.pages import blocks
from support.stack_process import ROOT, StackProcess

pytestmark = pytest.mark.integration

RUN_YAML = {block.page: block.text for block in blocks("yaml") if block.is_run_yaml}
(LIBRARY_CLIENT,) = (block.text for block in blocks("python") if block.page == "docs/library-client.md")
VARIABLES = {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json"}


@pytest.fixture(params=["README.md"])
def run_yaml(request, tmp_path, monkeypatch):
    """The run.yaml of a page, as a file; the upstream serves its models."""
    for model in ("qwen3-coder", "qwen3-4b"):
        monkeypatch.setitem(BEHAVIOURS, model, BEHAVIOURS["text"])
    file = tmp_path / "run.yaml"
    file.write_text(RUN_YAML[request.param])
    return file


def test_the_run_yaml_of_a_vllm_server_works(upstream, run_yaml, tmp_path):
    """The stack starts, listens on the loopback address only, and serves the default model and an alias."""
    with StackProcess(run_yaml, tmp_path, {**VARIABLES, "VLLM_URL": upstream.url}) as stack:
        for name, model in (("claude-sonnet-5", "qwen3-coder"), ("claude-haiku-4-5", "qwen3-4b")):
            body = {"model": name, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
            reply = httpx.post(f"{stack.url}/v1/messages", json=body, timeout=60)
            assert reply.status_code == 200, reply.text
            assert upstream.last(model).json["messages"][-1]["content"] == "Hello"
        assert f"0.0.0.0:{stack.port}" not in stack.log
        assert f"127.0.0.1:{stack.port}" in stack.log


@pytest.mark.parametrize("run_yaml", ["docs/configuration.md"], indirect=True)
def test_the_library_client_example_works(upstream, run_yaml, tmp_path):
    """It prints a response, and then the event types of a stream."""
    env = {
        **os.environ,
        **VARIABLES,
        "VLLM_URL": upstream.url,
        "SQLITE_STORE_DIR": str(tmp_path),
        "HOME": str(tmp_path),
    }
    run = subprocess.run(
        [sys.executable, "-c", LIBRARY_CLIENT],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
        env=env,
        cwd=run_yaml.parent,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    content, *events = [
        line for line in run.stdout.splitlines() if line.startswith(("[{'type'", "message_", "content_"))
    ]
    assert "Hello there" in content
    assert (events[0], events[-1]) == ("message_start", "message_stop")


@pytest.mark.parametrize("file", ["docs/claude-code.md", "provider/llama_stack_provider_messages/cli/server.py"])
def test_the_command_for_claude_code_sets_a_token(file):
    """With an API key, the interactive client asks whether to use it, preselects No, and needs the internet."""
    (line,) = re.findall(r"^ *(ANTHROPIC_BASE_URL=.* claude)$", (ROOT / file).read_text(), re.MULTILINE)
    assert re.fullmatch(r"ANTHROPIC_BASE_URL=\S+ ANTHROPIC_AUTH_TOKEN=\S+ claude", line)
