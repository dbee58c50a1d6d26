"""Failures of chat completions that know their own answer."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware

from llama_stack_api_messages.error_response import CompletionError, install_completion_errors

BODY = {"error": {"message": "Later", "type": "overloaded_error", "code": None, "param": None}}


@pytest.fixture
def app():
    made = FastAPI()

    @made.get("/")
    async def fail():
        raise CompletionError(503, BODY, {"retry-after": "7", "x-odd": "a\r\nb"})

    async def passing(request, call_next):
        return await call_next(request)

    made.add_middleware(BaseHTTPMiddleware, dispatch=passing)
    return made


async def get(app):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get("/")


async def test_the_server_responds_with_the_errors_own_body_and_headers(app):
    """Through any middleware; installing it twice changes nothing, and headers that HTTP cannot carry are left out."""
    app.middleware_stack = app.build_middleware_stack()
    install_completion_errors(app)
    install_completion_errors(app)
    reply = await get(app)
    assert (reply.status_code, reply.json(), reply.headers["retry-after"]) == (503, BODY, "7")
    assert "x-odd" not in reply.headers


async def test_without_exception_middleware_the_platforms_handler_is_used():
    """It responds with the status and the message."""

    class Other:
        middleware_stack = object()

    install_completion_errors(Other())
    failure = CompletionError(503, BODY)
    assert (failure.status_code, str(failure)) == (503, "Later")
