"""The platform's access rules over ``remote::messages``."""

import json

import pytest

from support.chat_upstream import AUTH_PATH
from support.native_upstream import chat_request_body, message, post, request_body
from support.scripted_upstream import responds
from support.stack_process import StackProcess, remote_messages, run_config

pytestmark = pytest.mark.integration

REPLY = responds(json.dumps(message("whatever")).encode())
RULES = [
    {"permit": {"principal": "alice", "actions": ["read"]}},
    {"permit": {"principal": "bob", "actions": ["read"], "resource": "model::up/for-bob"}},
]


@pytest.fixture(scope="module")
def guarded(messages_upstream, tmp_path_factory):
    endpoint = f"http://127.0.0.1:{messages_upstream.port}{AUTH_PATH}"
    auth = {"provider_config": {"type": "custom", "endpoint": endpoint}, "access_policy": RULES}
    config = run_config([remote_messages(messages_upstream.root("guarded"))], {}, auth=auth)
    with StackProcess(config, tmp_path_factory.mktemp("guarded"), {"LLAMA_STACK_LOG_FORMAT": "json"}) as process:
        yield process


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize(
    ("who", "model", "status"),
    [("alice", "any", 200), ("bob", "for-bob", 200), ("bob", "any", 404), ("alice", "for-bob", 200)],
)
async def test_a_model_that_may_not_be_read_does_not_exist(messages_upstream, guarded, who, model, status, chat):
    """For chat completions and for Messages requests; nothing is sent upstream."""
    messages_upstream.play(REPLY, model)
    before = len(messages_upstream.of(model))
    body, path = (chat_request_body, "/v1/chat/completions") if chat else (request_body, "/v1/messages")
    reply = await post(guarded.url, body(f"up/{model}"), [("authorization", f"Bearer {who}")], path)
    assert reply.status == status, reply.body
    assert len(messages_upstream.of(model)) - before == (status == 200)
