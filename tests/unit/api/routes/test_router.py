"""The routes over a scripted implementation."""

import gc
import json
import logging

import httpx
import pytest
from fastapi import FastAPI, HTTPException

from llama_stack_api_messages import MessageReply, ServeSettings, create_router
from llama_stack_api_messages.errors import PermissionDeniedError, RateLimitError

BODY = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}


class Scripted:
    """An implementation that does what a test says."""

    settings = ServeSettings()

    def __init__(self, act):
        self.act = act
        self.calls = []

    async def create_message(self, request, call):
        self.calls.append((request, call))
        return self.act()


def client_for(impl):
    app = FastAPI()
    app.include_router(create_router(impl))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=True), base_url="http://x")


def fail(error):
    def act():
        raise error

    return act


async def test_the_implementation_gets_request_headers_and_raw_body():
    """Unchanged, and parsed on demand."""
    impl = Scripted(lambda: MessageReply(b'{"ok":1}', {"x-extra": "1"}))
    async with client_for(impl) as client:
        reply = await client.post("/v1/messages", json=BODY, headers={"X-Api-Key": "k"})
    body, call = impl.calls[0]
    assert body.model == body.parsed.model == "m"
    assert call.headers["x-api-key"] == "k"
    assert body.data == reply.request.content
    assert reply.headers["request-id"] == call.request_id
    assert reply.headers["x-extra"] == "1"
    assert reply.content == b'{"ok":1}'


async def test_an_error_of_the_implementation_is_an_error_body():
    """With its status, type and message."""
    async with client_for(Scripted(fail(PermissionDeniedError("not you")))) as client:
        reply = await client.post("/v1/messages", json=BODY)
    assert reply.status_code == 403
    assert reply.json()["error"] == {"type": "permission_error", "message": "not you"}
    assert reply.headers["x-should-retry"] == "false"


async def test_an_http_exception_keeps_its_status():
    """It becomes an error body."""
    async with client_for(Scripted(fail(HTTPException(413, "too much")))) as client:
        reply = await client.post("/v1/messages", json=BODY)
    assert reply.status_code == 413
    assert reply.json()["error"] == {"type": "request_too_large", "message": "too much"}


async def test_a_bug_is_a_500_without_its_text_and_one_log_line_without_traceback(caplog):
    """No exception escapes, no text leaks, and the log names the place."""
    async with client_for(Scripted(fail(RuntimeError("secret")))) as client:
        with caplog.at_level(logging.ERROR):
            reply = await client.post("/v1/messages", json=BODY)
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "api_error"
    assert "secret" not in reply.text
    (record,) = caplog.records
    assert "RuntimeError in fail.<locals>.act" in record.getMessage()
    assert reply.headers["request-id"] in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize("value", ["soon \u20ac", "a\r\nx-injected: 1", "\u00fc"])
async def test_a_header_that_http_cannot_carry_is_left_out(value):
    """The error is sent without it."""
    error = RateLimitError("slow down", headers={"retry-after": value, "anthropic-ratelimit-requests-limit": "5"})
    async with client_for(Scripted(fail(error))) as client:
        reply = await client.post("/v1/messages", json=BODY)
    assert reply.status_code == 429
    assert "retry-after" not in reply.headers
    assert "x-injected" not in reply.headers
    assert reply.headers["anthropic-ratelimit-requests-limit"] == "5"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_numbers_that_json_does_not_have_are_rejected(number):
    """A backend could not parse them."""
    block = {"type": "tool_use", "id": "t", "name": "n", "input": {"v": float(number)}}
    body = json.dumps({**BODY, "messages": [{"role": "assistant", "content": [block]}]})
    async with client_for(Scripted(fail(AssertionError("not reached")))) as client:
        reply = await client.post("/v1/messages", content=body)
    assert reply.status_code == 400
    assert f"not valid JSON: {number.strip('-')}" in reply.text.replace("-I", "I")


async def test_the_names_of_those_numbers_are_accepted_in_text():
    """Only numbers are rejected."""
    body = {**BODY, "messages": [{"role": "user", "content": "NaN and Infinity"}]}
    async with client_for(Scripted(lambda: MessageReply(b"{}"))) as client:
        assert (await client.post("/v1/messages", json=body)).status_code == 200


async def test_a_reply_of_the_wrong_kind_is_a_bug_of_the_implementation():
    """A MessageReply for a stream request, or the other way round, is a 500."""
    async with client_for(Scripted(lambda: MessageReply(b"{}"))) as client:
        reply = await client.post("/v1/messages", json={**BODY, "stream": True})
    assert reply.status_code == 500


def test_the_default_settings_are_the_documented_ones():
    """Pings after ten seconds of silence, and 32 MiB of request."""
    assert ServeSettings() == ServeSettings(ping_seconds=10.0, max_request_bytes=32 * 1024 * 1024)


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'"text"', b"\xff"])
async def test_anything_that_is_not_a_json_object_is_a_400(body):
    """Such a body is never a 5xx."""
    async with client_for(Scripted(fail(AssertionError("not reached")))) as client:
        reply = await client.post("/v1/messages", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"


async def test_the_garbage_collector_skips_what_a_running_server_has_built():
    """Otherwise a request with thousands of messages pays for visits to every object of the platform."""
    app = FastAPI()
    app.include_router(create_router(Scripted(lambda: MessageReply(b"{}"))))
    built = {"app": app}
    async with app.router.lifespan_context(app):
        created = {"app": app}
        collected = gc.get_objects()
        assert any(found is created for found in collected)
        assert not any(found is built for found in collected)
    assert any(found is built for found in gc.get_objects())
