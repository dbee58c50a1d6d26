"""The platform's access rules over ``remote::messages``."""

import json

import pytest

from support.native_upstream import ask, message, post, whole
from support.remote import ask_chat, remote
from support.stack_process import StackProcess, run_config
from support.upstream import AUTH_PATH

pytestmark = pytest.mark.integration

REPLY = whole(json.dumps(message("whatever")).encode())
RULES = [
    {"permit": {"principal": "alice", "actions": ["read"]}},
    {"permit": {"principal": "bob", "actions": ["read"], "resource": "model::up/for-bob"}},
]


@pytest.fixture(scope="module")
def guarded(native, tmp_path_factory):
    endpoint = f"http://127.0.0.1:{native.port}{AUTH_PATH}"
    auth = {"provider_config": {"type": "custom", "endpoint": endpoint}, "access_policy": RULES}
    config = run_config([remote(native.root("guarded"))], {}, auth=auth)
    with StackProcess(config, tmp_path_factory.mktemp("guarded"), {"LLAMA_STACK_LOG_FORMAT": "json"}) as process:
        yield process


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize(
    ("who", "model", "status"),
    [("alice", "any", 200), ("bob", "for-bob", 200), ("bob", "any", 404), ("alice", "for-bob", 200)],
)
async def test_a_model_that_may_not_be_read_does_not_exist(native, guarded, who, model, status, chat):
    """For chat completions and for Messages requests; nothing is sent upstream."""
    native.play(REPLY, model)
    before = len(native.of(model))
    body, path = (ask_chat, "/v1/chat/completions") if chat else (ask, "/v1/messages")
    reply = await post(guarded.url, body(f"up/{model}"), [("authorization", f"Bearer {who}")], path)
    assert reply.status == status, reply.body
    assert len(native.of(model)) - before == (status == 200)
