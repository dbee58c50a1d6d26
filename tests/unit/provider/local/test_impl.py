import asyncio

import pytest

from llama_stack_provider_messages.local import get_provider_impl
from llama_stack_provider_messages.local.clients import LoopClients
from llama_stack_provider_messages.local.config import LlamaCppConfig
from llama_stack_provider_messages.local.impl import LlamaCppInference
from llama_stack_provider_messages.local.process import EngineError


@pytest.fixture
def provider():
    made = LlamaCppInference(config=LlamaCppConfig())
    made.__provider_id__ = "local"
    return made


async def test_the_model_is_named_like_its_file(provider):
    (model,) = await provider.list_models()
    assert (model.identifier, model.provider_id, model.model_type) == ("tiny", "local", "llm")
    assert not await provider.should_refresh_models()


async def test_every_name_means_the_one_model(provider):
    assert await provider.check_model_availability("whatever")
    assert await provider._get_provider_model_id("default") == "default"
    provider._validate_model_allowed("whatever")


async def test_what_a_language_model_cannot_do_is_said(provider):
    with pytest.raises(NotImplementedError, match="no embeddings"):
        await provider.openai_embeddings(None)
    with pytest.raises(NotImplementedError, match="does not rerank"):
        await provider.rerank(None)


async def test_nothing_is_started_without_preload_and_health_starts_nothing():
    provider = await get_provider_impl(LlamaCppConfig(), {})
    assert await provider.health() == {"status": "OK"}
    with pytest.raises(EngineError, match="not running"):
        _ = provider.client
    await provider.shutdown()
    with pytest.raises(EngineError, match="shut down"):
        provider.engine.start()


def test_preload_starts_in_one_loop_and_serves_in_another(child_path, tmp_path):
    """The platform makes providers in an event loop of its own, which is gone when it serves."""
    (tmp_path / "serves.gguf").write_bytes(b"GGUF")
    config = LlamaCppConfig(preload=True, model_path=str(tmp_path / "serves.gguf"))
    provider = asyncio.run(get_provider_impl(config, {}))
    assert provider.engine._current
    assert provider.engine.start().result(20) == "http://127.0.0.1:9"
    assert provider.engine.pid
    assert asyncio.run(provider.engine.address()) == "http://127.0.0.1:9"
    asyncio.run(provider.shutdown())
    assert provider.engine.pid is None


async def test_health_says_how_the_engine_failed(child_path, tmp_path):
    (tmp_path / "refuses.gguf").write_bytes(b"GGUF")
    provider = LlamaCppInference(config=LlamaCppConfig(model_path=str(tmp_path / "refuses.gguf")))
    with pytest.raises(EngineError):
        await provider.engine.address()
    provider.engine.wait_for_end(10)
    health = await provider.health()
    assert health["status"] == "Error"
    assert "ended with code 1" in health["message"]
    await provider.shutdown()


async def test_one_client_per_loop_follows_the_engine_to_its_new_port():
    clients = LoopClients("key", 5.0)
    first = clients.get("http://127.0.0.1:1/v1")
    again = clients.get("http://127.0.0.1:2/v1")
    other = await asyncio.to_thread(lambda: asyncio.run(_client_of_this_loop(clients)))
    assert first is again
    assert str(again.base_url) == "http://127.0.0.1:2/v1/"
    assert other is not first
    assert (first.max_retries, first.api_key) == (0, "key")
    await clients.close()
    assert first.is_closed()


async def _client_of_this_loop(clients):
    client = clients.get("http://127.0.0.1:1/v1")
    await clients.close()
    return client


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    clients = LoopClients("key", 5.0)
    assert clients.get("http://127.0.0.1:1/v1")._client._mounts == {}
    await clients.close()
