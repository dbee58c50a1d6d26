"""Running stacks, started once per session."""

from collections.abc import Iterator

import httpx
import pytest

from support.stack_process import ROOT, StackProcess, run_config, vllm

PING_SECONDS = 0.5


@pytest.fixture(scope="session")
def stack(upstream, tmp_path_factory) -> Iterator[StackProcess]:
    """A stack over the scripted upstream, with short pings and the platform's default log format."""
    messages = {
        "ping_seconds": PING_SECONDS,
        "max_request_bytes": 100_000,
        "aliases": {"claude-haiku-*": "up/text", "my-tool": "up/tool", "dangling": "gone/model"},
    }
    folder = tmp_path_factory.mktemp("stack")
    with StackProcess(run_config([vllm(upstream.url)], messages), folder) as process:
        yield process


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory) -> Iterator[StackProcess]:
    """The unchanged local distribution: the embedded engine with the bundled model."""
    folder = tmp_path_factory.mktemp("local")
    env = {"MESSAGES_APIS_DIR": str(ROOT / "distributions" / "apis.d"), "LLAMA_STACK_LOG_FORMAT": "json"}
    with StackProcess(ROOT / "distributions" / "local" / "run.yaml", folder, env) as process:
        yield process


@pytest.fixture
def client(stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=60) as http:
        yield http
