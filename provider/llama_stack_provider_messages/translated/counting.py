"""Counts the prompt tokens of a chat request: with the backend's tokenizer if it has one, else by an estimate.

The ways to call a tokenizer (vLLM's ``/tokenize``, llama.cpp's counting route or its two older steps) are free of I/O,
in ``translation/messages_to_chat/backend/tokens.py``; here are the requests and the cooldowns. Claude Code sends up
to 28 counts at once, so a tokenizer that failed is not called again for a minute: not every count waits for it to fail.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from llama_stack_api_messages.errors import MessagesError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.errors.body import NO_ROUTE
from llama_stack_provider_messages.stack import Target, get_logger
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import (
    Count,
    Steps,
    TokenizerUnavailable,
    counting_methods,
    estimate_tokens,
)
from llama_stack_provider_messages.upstream.address import declared_by, upstream_of
from llama_stack_provider_messages.upstream.client import UpstreamClient, UpstreamRequest, read_body
from llama_stack_provider_messages.upstream.settings import NativeSettings
from llama_stack_provider_messages.upstream.state import COOLDOWN_SECONDS, Cooldown

__all__ = ["Count", "Post", "TokenCounter", "TokenizerUnavailable"]

logger = get_logger(__name__)

type Post = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Takes a path below the root of the backend and a body; returns the decoded JSON of a 2xx response.

Raises TokenizerUnavailable for any other response. Its timeout is short: clients send two dozen counts at once.
"""

_REQUEST_SECONDS = 10.0
"""Limit of one request to a tokenizer, however slowly its response arrives."""
_MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Longer responses are not read; one with the ids of 200,000 tokens takes about 1.5 MB."""
_REJECTED_REQUEST = frozenset({400, 413, 422, 500})
"""Statuses that servers return at once for a conversation that the chat template rejects; 500 is llama.cpp's."""


class TokenCounter:
    """Counts prompts; a tokenizer that failed is in cooldown, during which prompts are estimated.

    Args:
        clock: Returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._failed = Cooldown(clock)

    async def count(
        self, fields: Mapping[str, Any], kind: str | None, model: str, post: Post, *, upstream: str = ""
    ) -> Count:
        """Return the number of tokens of a chat request's prompt.

        Args:
            fields: The chat request, as ``translate_request`` makes it.
            kind: Tokenizer API of the backend (``Profile.tokenizer``), None if it has none.
            model: The backend's name of the model.
            post: Sends a request to the backend.
            upstream: Distinguishes backends that have a model of the same name.
        """
        backend = (upstream, model)
        for way in counting_methods(kind, fields):
            if self._failed.active(backend) or self._failed.active((*backend, way)):
                continue
            try:
                return await _run_steps(way(fields, model), post)
            except TokenizerUnavailable as failure:
                if failure.status in _REJECTED_REQUEST:
                    break
                key = (*backend, way) if failure.status in NO_ROUTE else backend
                if not self._failed.active(key):  # counts come in bursts
                    logger.info(
                        "tokenizer unavailable, using estimates for a while",
                        model=model,
                        seconds=COOLDOWN_SECONDS,
                        because=str(failure),
                    )
                self._failed.start(key)
        return Count(estimate_tokens(fields), exact=False)


async def _run_steps(steps: Steps, post: Post) -> Count:
    """Send the requests of a counting method, and return its result."""
    response: Any = None
    while True:
        try:
            call = steps.send(response)
        except StopIteration as end:
            count: Count = end.value
            return count
        response = await post(call.path, call.body)


def poster(client: UpstreamClient, target: Target) -> Post:
    """Return a function that sends requests to a backend's tokenizer, with its provider's address and credentials."""

    async def post(path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
        upstream = upstream_of(target, NativeSettings(), await declared_by(target))
        if upstream is None:
            raise TokenizerUnavailable
        request = UpstreamRequest(path, json.dumps(body).encode(), {}, short=True)
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                response = await client.send(target, upstream, request)
                data = await read_body(response, upstream.provider_id, _MAX_RESPONSE_BYTES)
        except (MessagesError, TimeoutError) as error:
            raise TokenizerUnavailable from error
        if not response.is_success:
            raise TokenizerUnavailable(response.status_code)
        decoded = loads_or_none(data)
        if decoded is None:
            raise TokenizerUnavailable
        return decoded

    return post
