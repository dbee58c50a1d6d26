"""Signed thinking in the provider: a process restores thinking that another process with the same key signed."""

import json

import pytest

from llama_stack_api_messages import Call, RequestBody
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages import get_provider_impl, stack
from llama_stack_provider_messages.config import MessagesConfig
from llama_stack_provider_messages.impl import MessagesImpl
from llama_stack_provider_messages.stack import Target
from llama_stack_provider_messages.translated import signing_key as signing
from support.replies import answer
from support.streams import completion, delta_chunk

ANSWER = {"index": 0, "finish_reason": "stop", "message": {"content": "42", "reasoning_content": "Six times seven."}}


class ThinkingPlatform:
    """Answers with the same reasoning every time, and keeps the messages that it got."""

    def __init__(self):
        self.histories = []

    def is_served(self, _name):
        return True

    async def locate(self, model_id):
        return Target(model_id, "local", "remote::vllm", "m")

    def record(self, target, **figures):
        pass

    async def chat(self, _target, fields):
        self.histories.append(fields["messages"])
        return self._chunks() if fields.get("stream") else completion({"choices": [ANSWER]})

    async def _chunks(self):
        yield delta_chunk(reasoning_content="Six times seven.")
        yield delta_chunk("stop", content="42")


async def send(key, platform, *turns, **fields):
    return await send_to(MessagesImpl(MessagesConfig(), platform, key), *turns, **fields)


async def send_to(provider, *turns, **fields):
    messages = [{"role": "user", "content": "q"}, *turns]
    request = CreateMessageRequest.model_validate({"model": "local/m", "max_tokens": 9, "messages": messages, **fields})
    return await answer(provider, RequestBody.of(request), Call("r"))


def signature_of(reply):
    return json.loads(reply.body)["content"][0]["signature"]


@pytest.mark.parametrize(("key", "kept"), [(b"one", "Six times seven."), (b"two", None), (b"one" * 2, None)])
async def test_reasoning_is_restored_with_the_same_key_only(key, kept):
    """With another key the signature does not verify."""
    platform = ThinkingPlatform()
    omitted = {"type": "adaptive", "display": "omitted"}
    content = json.loads((await send(b"one", platform, thinking=omitted)).body)["content"]
    assert content[0]["thinking"] == ""
    await send(key, platform, {"role": "assistant", "content": content}, {"role": "user", "content": "r"})
    assert platform.histories[-1][1].get("reasoning") == kept


async def test_a_stream_has_the_same_signature_as_a_non_streaming_reply():
    """Byte for byte."""
    platform = ThinkingPlatform()
    signature = signature_of(await send(b"one", platform))
    reply = await send(b"one", platform, stream=True)
    frames = b"".join([frame async for frame in reply.frames])
    assert f'"signature":"{signature}"'.encode() in frames


async def test_the_provider_signs_with_the_key_file_or_the_configured_secret(tmp_path, monkeypatch):
    """The key file is in the platform's own folder; a configured secret is the key itself."""
    monkeypatch.setattr(stack, "STATE_FOLDER", tmp_path)
    monkeypatch.setattr(stack, "Platform", lambda _deps: ThinkingPlatform())
    monkeypatch.setattr(stack, "register_routes", lambda: None)
    kept = signature_of(await send_to(await get_provider_impl(MessagesConfig(), {})))
    assert kept == signature_of(await send(signing.signing_key(None, tmp_path / "signing_key"), ThinkingPlatform()))
    configured = signature_of(await send_to(await get_provider_impl(MessagesConfig(signing_secret="hush"), {})))
    assert configured == signature_of(await send(b"hush", ThinkingPlatform()))
    assert kept != configured
