"""Stacks whose inference provider is ``remote::messages``, over the scripted upstream."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from support.native_upstream import NativeUpstream, Reply, post
from support.remote import chat_request_body, remote
from support.scripted_upstream import Exchange, Script
from support.stack_process import StackProcess, run_config

JSON_LOGS = {"LLAMA_STACK_LOG_FORMAT": "json"}
SILENCE_SECONDS = 0.6
CONNECT_SECONDS = 0.5


@dataclass
class Front:
    """A stack and its upstream."""

    upstream: NativeUpstream
    process: StackProcess

    @property
    def url(self) -> str:
        return self.process.url

    async def send_chat(
        self, script: Script, to: str = "up", headers: Iterable[tuple[str, str]] = (), **fields: Any
    ) -> tuple[Reply, Exchange]:
        """Send a chat completion for a script; return the reply and the request that the upstream received."""
        model = self.upstream.play(script)
        reply = await post(self.url, chat_request_body(f"{to}/{model}", **fields), headers, "/v1/chat/completions")
        (exchange,) = self.upstream.of(model)
        return reply, exchange


@pytest.fixture(scope="session")
def messages_upstream() -> Iterator[NativeUpstream]:
    with NativeUpstream() as server:
        yield server


@pytest.fixture(scope="session")
def front(messages_upstream, tmp_path_factory) -> Iterator[Front]:
    """A stack whose providers differ in how they reach their upstream; ``up`` is the simplest."""
    quick = {"timeout": {"connect": CONNECT_SECONDS, "read": SILENCE_SECONDS}}
    inference = [
        remote(messages_upstream.root("up"), "up"),
        remote(messages_upstream.root("quick"), "quick", network=quick),
        remote(messages_upstream.root("tls").replace("http://", "https://"), "tls"),
        remote("http://nowhere.invalid", "nameless"),
        remote("http://127.0.0.1:1", "refusing"),
        remote(messages_upstream.root("listing"), "listing", allowed_models=["listed"]),
        remote(messages_upstream.root("retrying"), "retrying", max_retries=2),
        remote(
            messages_upstream.root("azure") + "/anthropic",
            "azure",
            models=["opus-deployment", {"id": "mine", "type": "claude-sonnet-4-5", "max_tokens": 777, "context": 9000}],
        ),
        remote(messages_upstream.root("entra") + "/anthropic", "entra", auth="bearer", models=[]),
        remote(messages_upstream.root("named"), "named", auth="header:Api-Key", models=[], headers={"X-Tenant": "t1"}),
        remote(
            messages_upstream.root("beta"), "beta", anthropic_beta=["b-one", "b-two"], anthropic_version="2024-10-10"
        ),
        remote(messages_upstream.root("keyless"), "keyless", api_key=None),
        remote(messages_upstream.root("off"), "off"),
    ]
    config = run_config(inference, {"native": {"off": "off"}})
    with StackProcess(config, tmp_path_factory.mktemp("front"), JSON_LOGS) as process:
        yield Front(messages_upstream, process)
