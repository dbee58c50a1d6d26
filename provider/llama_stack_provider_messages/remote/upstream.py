"""Sends requests to the upstream, with retries as configured."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from llama_stack_api_messages.errors import BadGatewayError, MessagesError
from llama_stack_api_messages.json_bytes import encode_json, loads_or_none
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.body import error_of_event, is_error
from llama_stack_provider_messages.errors.redaction import redacted_json
from llama_stack_provider_messages.errors.response import is_success, not_a_message
from llama_stack_provider_messages.stack import Target, get_logger
from llama_stack_provider_messages.translation.chat_to_messages import events_of
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import UpstreamClient, UpstreamRequest, is_event_stream, read_body

logger = get_logger(__name__)

_PATH = "/v1/messages"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
"""Pauses before a retry in seconds. With a longer ``retry-after`` the error is returned: the client decides."""
_WORTH_A_RETRY = frozenset({408, 409, 429, 500, 502, 503, 504, 529})


class MessagesClient:
    """Sends Messages API requests for one model to one upstream.

    Args:
        client: The HTTP client.
        target: The model.
        upstream: The upstream.
        retries: Limit of retries per request.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        client: UpstreamClient,
        target: Target,
        upstream: Upstream,
        retries: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._target = target
        self._upstream = upstream
        self._retries = retries
        self._sleep = sleep

    @property
    def provider_id(self) -> str:
        """Return the id of the provider, for errors."""
        return self._upstream.provider_id

    def error_in(self, event: Mapping[str, Any]) -> MessagesError | None:
        """Return the error of an event, or of a body with status 200, redacted; None if there is none."""
        return error_of_event(redacted_json(event, self._upstream.secrets)) if is_error(event) else None

    async def message(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a non-streaming request; return the Message.

        Raises:
            MessagesError: The upstream refused or failed, or its response is not a Message.
        """
        for attempt in range(self._retries + 1):
            try:
                response = await self._accepted(body)
                return self._message(await read_body(response, self.provider_id))
            except MessagesError as error:
                await self._pause(error, attempt)
        raise AssertionError("the last attempt returns or raises")

    async def stream(self, body: Mapping[str, Any]) -> httpx.Response:
        """Send a streaming request; return the response once the upstream has accepted. The caller closes it.

        If the upstream responds with a whole Message, it is converted to a stream.

        Raises:
            MessagesError: The upstream refused or failed.
        """
        for attempt in range(self._retries + 1):
            try:
                response = await self._accepted(body)
                if is_event_stream(response):
                    return response
                return _as_stream(self._message(await read_body(response, self.provider_id)))
            except MessagesError as error:
                await self._pause(error, attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _accepted(self, body: Mapping[str, Any]) -> httpx.Response:
        request = UpstreamRequest(_PATH, encode_json(body), {})
        return await self._client.send_ok(self._target, self._upstream, request)

    async def _pause(self, error: MessagesError, attempt: int) -> None:
        """Wait until the request may be retried, or raise its error."""
        seconds = _seconds(error, attempt)
        if attempt >= self._retries or seconds is None:
            logger.warning(
                "upstream failed",
                provider_id=self.provider_id,
                model=self._target.resource_id,
                status=error.status_code,
                message=error.message[:500],
            )
            raise error
        logger.info("retrying", provider_id=self.provider_id, status=error.status_code, seconds=seconds)
        await self._sleep(seconds)

    def _message(self, data: bytes) -> dict[str, Any]:
        body = loads_or_none(data)
        if not is_success(body, "content", self._upstream.secrets) or not isinstance(body["content"], list):
            raise not_a_message(self.provider_id, native=False)
        return body


def _as_stream(message: Mapping[str, Any]) -> httpx.Response:
    return httpx.Response(200, content=b"".join(map(encode_event, events_of(message))))


def _seconds(error: MessagesError, attempt: int) -> float | None:
    """Return the pause before a retry in seconds; None: do not retry."""
    if error.status_code not in _WORTH_A_RETRY or error.headers.get("x-should-retry") == "false":
        return None
    if isinstance(error, BadGatewayError) and not error.retryable:
        return None
    try:
        seconds = float(error.headers.get("retry-after", _FIRST_PAUSE * 2**attempt))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_PAUSE else None
