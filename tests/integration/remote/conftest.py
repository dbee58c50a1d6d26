"""Stacks whose inference provider is ``remote::messages``, over the scripted upstream."""

from collections.abc import Iterator

import pytest

from support.native_upstream import NativeUpstream
from support.stack_process import StackProcess, remote_messages, run_config
from support.stack_with_upstream import StackWithUpstream

JSON_LOGS = {"LLAMA_STACK_LOG_FORMAT": "json"}
SILENCE_SECONDS = 0.6
CONNECT_SECONDS = 0.5


@pytest.fixture(scope="session")
def messages_upstream() -> Iterator[NativeUpstream]:
    with NativeUpstream() as server:
        yield server


@pytest.fixture(scope="session")
def front(messages_upstream, tmp_path_factory) -> Iterator[StackWithUpstream]:
    """A stack whose providers differ in how they reach their upstream; ``up`` is the simplest."""
    quick = {"timeout": {"connect": CONNECT_SECONDS, "read": SILENCE_SECONDS}}
    root = messages_upstream.root
    inference = [
        remote_messages(root("up"), "up"),
        remote_messages(root("quick"), "quick", network=quick),
        remote_messages(root("tls").replace("http://", "https://"), "tls"),
        remote_messages("http://nowhere.invalid", "nameless"),
        remote_messages("http://127.0.0.1:1", "refusing"),
        remote_messages(root("listing"), "listing", allowed_models=["listed"]),
        remote_messages(root("retrying"), "retrying", max_retries=2),
        remote_messages(
            root("azure") + "/anthropic",
            "azure",
            models=["opus-deployment", {"id": "mine", "type": "claude-sonnet-4-5", "max_tokens": 777, "context": 9000}],
        ),
        remote_messages(root("entra") + "/anthropic", "entra", auth="bearer", models=[]),
        remote_messages(root("named"), "named", auth="header:Api-Key", models=[], headers={"X-Tenant": "t1"}),
        remote_messages(root("beta"), "beta", anthropic_beta=["b-one", "b-two"], anthropic_version="2024-10-10"),
        remote_messages(root("keyless"), "keyless", api_key=None),
        remote_messages(root("off"), "off"),
    ]
    config = run_config(inference, {"native": {"off": "off"}})
    with StackProcess(config, tmp_path_factory.mktemp("front"), JSON_LOGS) as process:
        yield StackWithUpstream(messages_upstream, process)
