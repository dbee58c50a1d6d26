"""Stacks over the scripted upstream, one of each kind per session."""

import socket
from collections.abc import Iterator

import pytest

from support.chat_upstream import AUTH_PATH
from support.native_upstream import NativeUpstream
from support.stack_process import StackProcess, run_config, vllm
from support.stack_with_upstream import StackWithUpstream

PING_SECONDS = 0.15
SILENCE_SECONDS = 0.6
CONNECT_SECONDS = 0.5
PROBE_SECONDS = 0.5
ENV = {"LLAMA_STACK_LOG_FORMAT": "json"}


@pytest.fixture(scope="session")
def native() -> Iterator[NativeUpstream]:
    with NativeUpstream() as server:
        yield server


@pytest.fixture(scope="session")
def closed_port() -> Iterator[int]:
    """A port that is bound, so that no other process gets it, but on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(scope="session")
def full_port() -> Iterator[int]:
    """A port with a full backlog, where a connection is neither accepted nor refused."""
    waiting = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        for _ in range(4):
            waiting.append(client := socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port
        for client in waiting:
            client.close()


@pytest.fixture(scope="session")
def relay(native, closed_port, full_port, tmp_path_factory) -> Iterator[StackWithUpstream]:
    """A stack whose providers have different settings of the native lane; ``up`` has none."""
    settings = {
        "verbatim": {"mode": "on", "strip_billing_header": False},
        "keyed": {"mode": "on", "auth": "x-api-key"},
        "anthropic": {"mode": "on", "anthropic": True},
        "forwarding": {"mode": "on", "forward_client_auth": True, "forward_headers": ["X-Tenant", "user-agent"]},
        "numbering": {"mode": "on", "own_request_id": True},
        "elsewhere": {"mode": "on", "base_url": native.root("elsewhere")},
        "refusing": {"mode": "on", "base_url": f"http://127.0.0.1:{closed_port}"},
        "nameless": {"mode": "on", "base_url": "http://nowhere.invalid"},
        "full": {"mode": "on", "base_url": f"http://127.0.0.1:{full_port}", "connect_seconds": CONNECT_SECONDS},
        "tls": {"mode": "on", "base_url": native.root("tls").replace("http://", "https://")},
        "hasty": "on",
        "yes": True,
        "no": False,
        "listing": "on",
        "first": "auto",
    }
    inference = [vllm(native.url(name), name) for name in ("up", *settings)]
    next(entry for entry in inference if entry["provider_id"] == "listing")["config"]["allowed_models"] = ["listed"]
    messages = {"aliases": {"claude-*": "up/aliased"}, "native": settings}
    with StackProcess(run_config(inference, messages), tmp_path_factory.mktemp("relay"), ENV) as process:
        yield StackWithUpstream(native, process)


NATIVE_SETTINGS = {
    "on": "on",
    "off": "off",
    "quick": {"mode": "on", "silence_seconds": SILENCE_SECONDS},
    "early": {"mode": "on", "ping_before_status": True},
}
PROBED = ("p400", "p401", "p404", "p405", "p422", "p501", "turning", "counted", "header")


@pytest.fixture(scope="session")
def impatient(native, tmp_path_factory) -> Iterator[StackWithUpstream]:
    """A stack with short timeouts and both types of providers, where requests may choose the lane."""
    native.probe_statuses |= {name: int(name[1:]) for name in PROBED if name[1:].isdigit()}
    others = {"provider_id": "other", "provider_type": "remote::openai"}
    others["config"] = {"base_url": native.url("other"), "api_key": "sk-other", "refresh_models": False}
    messages = {
        "ping_seconds": PING_SECONDS,
        "allow_lane_header": True,
        "native_probe_seconds": PROBE_SECONDS,
        "native": NATIVE_SETTINGS,
    }
    inference = [*(vllm(native.url(name), name) for name in (*PROBED, *NATIVE_SETTINGS)), others]
    with StackProcess(run_config(inference, messages), tmp_path_factory.mktemp("quick"), ENV) as process:
        yield StackWithUpstream(native, process)


@pytest.fixture(scope="session")
def guarded(native, tmp_path_factory) -> Iterator[StackWithUpstream]:
    """A stack with authentication: alice may read every model, bob only one."""
    rules = [
        {"permit": {"principal": "alice", "actions": ["read"]}},
        {"permit": {"principal": "bob", "actions": ["read"], "resource": "model::up/for-bob"}},
    ]
    endpoint = f"http://127.0.0.1:{native.port}{AUTH_PATH}"
    auth = {"provider_config": {"type": "custom", "endpoint": endpoint}, "access_policy": rules}
    inference = [vllm(native.url("guarded")), vllm(native.url("unprobed"), "unprobed")]
    config = run_config(inference, {"native": {"up": "on"}}, auth=auth)
    with StackProcess(config, tmp_path_factory.mktemp("guarded"), ENV) as process:
        yield StackWithUpstream(native, process)
