"""Models: from the configuration, or from the upstream's list."""

import asyncio
import json

import httpx
import pytest

from llama_stack_api_messages.error_response import CompletionError
from llama_stack_provider_messages.remote import client as remote_client

URL = "http://host/prefix/v1/models"


def page(*names, last=None, **more):
    data = [name if isinstance(name, dict) else {"id": name, "type": "model"} for name in names]
    return json.dumps({"data": data, "has_more": last is not None, "last_id": last, **more}).encode()


def names(models):
    return [model.identifier for model in models]


async def test_the_list_is_read_page_by_page(upstream, provider):
    """With key and version; invalid entries are skipped, and duplicates are listed once."""
    upstream.answer(200, page("a", {"name": "x"}, {"id": 5}, last="a"))
    upstream.answer(200, page("b", "a", {"id": "c", "max_tokens": 5, "max_input_tokens": 9}))
    models = await (await provider(api_key="k")).list_models()
    assert names(models) == ["a", "b", "c"]
    assert models[2].metadata == {"max_tokens": 5, "context_length": 9}
    assert {(model.provider_id, model.model_type.value) for model in models} == {("up", "llm")}
    assert [str(request.url) for request in upstream.requests] == [f"{URL}?limit=1000", f"{URL}?limit=1000&after_id=a"]
    assert upstream.requests[0].headers["x-api-key"] == "k"
    assert upstream.requests[0].headers["anthropic-version"] == "2023-06-01"


async def test_a_list_that_ends_early_is_used_so_far(upstream, provider):
    """An id that is not valid text is skipped."""
    upstream.answer(200, page("a", "b\ud800", last="a"))
    upstream.answer(404, b"no")
    assert names(await (await provider()).list_models()) == ["a"]


async def test_an_endless_list_is_cut(upstream, provider):
    """If the same page comes again."""
    upstream.answer(200, page("a", last="a"))
    assert names(await (await provider()).list_models()) == ["a"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_without_a_list_the_allowed_models_are_listed(upstream, provider, status):
    """Else nothing is listed, and any model name is accepted."""
    upstream.answer(status, b"no")
    assert await (await provider()).list_models() is None
    assert names(await (await provider(allowed_models=["a"])).list_models()) == ["a"]


async def test_configured_models_are_not_requested(upstream, provider):
    """``allowed_models`` filters them, too."""
    one = await provider(models=["a", "b"], allowed_models=["b", "c"])
    assert names(await one.list_models()) == ["b"]
    assert upstream.requests == []
    assert await one.check_model_availability("b")
    assert not await one.check_model_availability("a")


@pytest.mark.parametrize(
    ("status", "body", "seen"),
    [(401, b"{}", 401), (529, b"", 503), (200, b"<html>", 502), (200, b'{"data": {}}', 502), (200, b"[]", 502)],
)
async def test_a_failed_list_is_an_error(upstream, provider, status, body, seen):
    """The platform keeps the models it knows then."""
    upstream.answer(status, body)
    with pytest.raises(CompletionError) as caught:
        await (await provider()).list_models()
    assert caught.value.status_code == seen


async def test_models_are_refreshed_only_if_configured(provider):
    """The platform's setting ``refresh_models`` decides."""
    assert not await (await provider()).should_refresh_models()
    assert await (await provider(refresh_models=True)).should_refresh_models()


@pytest.mark.parametrize(
    ("key", "status", "fine"),
    [("k", 200, True), ("k", 404, True), ("k", 401, False), ("k", 403, False), ("k", 500, False), ("k", 501, True)],
)
async def test_health_is_whether_the_upstream_responds_and_accepts_the_key(upstream, provider, key, status, fine):
    """A missing list is not a failure."""
    upstream.answer(status)
    assert ((await (await provider(api_key=key)).health())["status"] == "OK") is fine


async def test_health_without_a_key_is_whether_the_upstream_responds(upstream, provider):
    """Requests have their own keys then."""
    upstream.answer(401)
    assert (await (await provider()).health())["status"] == "OK"


async def test_health_of_an_unreachable_upstream_is_an_error(upstream, provider):
    """It names the provider and no address."""
    upstream.fail(httpx.ConnectError("no http://host"))
    health = await (await provider()).health()
    assert health["status"] == "Error"
    assert "'up'" in health["message"]
    assert "host" not in health["message"]


async def test_a_compressed_list_is_an_error(upstream, provider):
    """It was not asked for, and is not read."""
    upstream.answer(200, b"\x1f\x8b", content_encoding="br")
    with pytest.raises(CompletionError, match="compressed its response") as caught:
        await (await provider()).list_models()
    assert caught.value.status_code == 502


async def test_a_list_that_is_too_long_is_an_error(upstream, provider):
    """A stack reads it when it starts."""
    upstream.stream(*[b" " * (1 << 20)] * 9)
    with pytest.raises(CompletionError, match="more than 8 MiB"):
        await (await provider()).list_models()


async def test_a_list_that_drips_is_an_error(monkeypatch, upstream, provider):
    """However often a byte arrives."""
    monkeypatch.setattr(remote_client, "_LIST_SECONDS", 0.05)

    async def body():
        while True:
            await asyncio.sleep(0.01)
            yield b" "

    upstream.answers.append(lambda: httpx.Response(200, content=body()))
    with pytest.raises(CompletionError, match="did not send its models in time") as caught:
        await (await provider()).list_models()
    assert caught.value.status_code == 504


async def test_a_key_in_a_configured_header_is_not_in_the_error(upstream, provider):
    """The headers of the provider, and those of its network settings."""
    upstream.answer(401, b'{"error": {"message": "no: tenant-key-42, gate-key-4711"}}')
    config = {"headers": {"x-tenant": "tenant-key-42"}, "network": {"headers": {"api-key": "gate-key-4711"}}}
    with pytest.raises(CompletionError, match=r"no: \[redacted\], \[redacted\]"):
        await (await provider(**config)).list_models()
