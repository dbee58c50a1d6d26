"""The inference provider of the embedded engine, without an engine or with a test double of it."""

import asyncio
import time

import pytest

from llama_stack_provider_messages.local import get_provider_impl
from llama_stack_provider_messages.local.config import LlamaCppConfig
from llama_stack_provider_messages.local.engine import EngineError
from llama_stack_provider_messages.local.impl import LlamaCppInference, LoopClients
from llama_stack_provider_messages.stack import Target, check_allowed


@pytest.fixture
def provider():
    made = LlamaCppInference(config=LlamaCppConfig())
    made.__provider_id__ = "local"
    return made


async def test_the_model_is_named_after_its_file(provider):
    (model,) = await provider.list_models()
    assert (model.identifier, model.provider_id, model.model_type) == ("tiny", "local", "llm")
    assert not await provider.should_refresh_models()


async def test_every_model_name_is_allowed(provider):
    assert await provider.check_model_availability("whatever")
    check_allowed(Target("local/whatever", "local", "inline::llama-cpp", "whatever", provider=provider))


async def test_embeddings_and_rerank_are_not_implemented(provider):
    with pytest.raises(NotImplementedError, match="no embeddings"):
        await provider.openai_embeddings(None)
    with pytest.raises(NotImplementedError, match="does not rerank"):
        await provider.rerank(None)


async def test_neither_the_start_of_the_stack_nor_health_starts_the_engine_without_preload():
    provider = await get_provider_impl(LlamaCppConfig(), {})
    assert await provider.health() == {"status": "OK"}
    with pytest.raises(EngineError, match="not running"):
        _ = provider.client
    await provider.shutdown()
    with pytest.raises(EngineError, match="shut down"):
        provider.engine.start()


def test_preload_starts_in_one_loop_and_serves_in_another(child_path, tmp_path):
    """The platform constructs providers in an event loop of its own, which is closed when it serves."""
    (tmp_path / "serves.gguf").write_bytes(b"GGUF")
    config = LlamaCppConfig(preload=True, model_path=str(tmp_path / "serves.gguf"))
    provider = asyncio.run(get_provider_impl(config, {}))
    deadline = time.monotonic() + 60
    while not provider.engine.pid:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert provider.engine.start().result(60) == "http://127.0.0.1:9"
    assert provider.engine.pid
    assert asyncio.run(provider.engine.address()) == "http://127.0.0.1:9"
    asyncio.run(provider.shutdown())
    assert provider.engine.pid is None


async def test_health_reports_how_the_engine_failed(child_path, tmp_path):
    (tmp_path / "rejects_model.gguf").write_bytes(b"GGUF")
    provider = LlamaCppInference(config=LlamaCppConfig(model_path=str(tmp_path / "rejects_model.gguf")))
    with pytest.raises(EngineError):
        await provider.engine.address()
    provider.engine.wait_for_end(60)
    health = await provider.health()
    assert health["status"] == "Error"
    assert "ended with code 1" in health["message"]
    await provider.shutdown()


async def test_each_event_loop_has_one_client_which_follows_the_engine_to_a_new_port():
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
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"object": "list", "data": []}'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.close()

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    clients = LoopClients("key", 60.0)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    listed = await clients.get(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1").models.list()
    assert listed.data == []
    await clients.close()
    server.close()
