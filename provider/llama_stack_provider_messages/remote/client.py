"""Sends requests to the upstream: for messages, with retries as configured, and for its list of models.

The bodies are read by ``upstream/client.py``, with its limits.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from llama_stack_api_messages.errors import BadGatewayError, GatewayTimeoutError, MessagesError
from llama_stack_api_messages.json_bytes import encode_json, loads_or_none
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.errors.body import NO_ROUTE, error_of_event, is_error
from llama_stack_provider_messages.errors.exceptions import connection_failure
from llama_stack_provider_messages.errors.redaction import redact_json
from llama_stack_provider_messages.errors.response import check_message_body, not_a_message, upstream_failure
from llama_stack_provider_messages.headers import SHOULD_RETRY
from llama_stack_provider_messages.stack import Network, Target, get_logger
from llama_stack_provider_messages.translation.chat_to_messages import events_of, replace_lone_surrogates
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.client import (
    UpstreamClient,
    UpstreamRequest,
    is_event_stream,
    read_body,
    read_error_body,
    refuse_compressed,
)
from llama_stack_provider_messages.upstream.connections import new_client

from .config import ModelEntry

logger = get_logger(__name__)

_MESSAGES, _MODELS = "/v1/messages", "/v1/models"
_RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 60.0
"""Pauses before a retry. With a longer ``retry-after`` the error is returned: the client decides."""
_PAGE_SIZE = "1000"
_MAX_PAGES = 100
_MAX_PAGE_BYTES = 8 * 1024 * 1024
_LIST_SECONDS = 120.0
"""Limit of reading all pages: a stack does not start before its providers have listed their models."""


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
        """Return the error of an event, redacted; None if the event is not an error."""
        return error_of_event(redact_json(event, self._upstream.secrets)) if is_error(event) else None

    async def message(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a non-streaming request; return the Message.

        Raises:
            MessagesError: The upstream refused or failed, or its response is not a Message.
        """

        async def attempt() -> dict[str, Any]:
            return await self._message(await self._send(body))

        return await self._with_retries(attempt)

    async def stream(self, body: Mapping[str, Any]) -> httpx.Response:
        """Send a streaming request; return the response once the upstream has accepted. The caller closes it.

        If the upstream responds with a whole Message, it is converted to a stream.

        Raises:
            MessagesError: The upstream refused or failed.
        """

        async def attempt() -> httpx.Response:
            response = await self._send(body)
            if is_event_stream(response):
                return response
            events = events_of(await self._message(response))
            return httpx.Response(200, content=b"".join(map(encode_event, events)))

        return await self._with_retries(attempt)

    async def _send(self, body: Mapping[str, Any]) -> httpx.Response:
        return await self._client.send_ok(
            self._target, self._upstream, UpstreamRequest(_MESSAGES, encode_json(body), {})
        )

    async def _message(self, response: httpx.Response) -> dict[str, Any]:
        body = loads_or_none(await read_body(response, self.provider_id))
        if not check_message_body(body, "content", self._upstream.secrets) or not isinstance(body["content"], list):
            raise not_a_message(self.provider_id, native=False)
        return body

    def log_failure(self, error: MessagesError) -> None:
        """Log a failure of the upstream, in one line."""
        logger.warning(
            "upstream failed",
            provider_id=self.provider_id,
            model=self._target.resource_id,
            status=error.status_code,
            message=error.message[:500],
        )

    async def _with_retries[R](self, attempt: Callable[[], Awaitable[R]]) -> R:
        retries = 0
        while True:
            try:
                return await attempt()
            except MessagesError as error:
                seconds = _retry_seconds(error, retries) if retries < self._retries else None
                if seconds is None:
                    self.log_failure(error)
                    raise
                logger.info("retrying", provider_id=self.provider_id, status=error.status_code, seconds=seconds)
            await self._sleep(seconds)
            retries += 1


def _retry_seconds(error: MessagesError, retries: int) -> float | None:
    """Return the pause before a retry; None: do not retry."""
    if error.status_code not in _RETRIED or error.headers.get(SHOULD_RETRY) == "false":
        return None
    if isinstance(error, BadGatewayError) and not error.retryable:
        return None
    try:
        seconds = float(error.headers.get("retry-after", _FIRST_PAUSE_SECONDS * 2**retries))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _MAX_PAUSE_SECONDS else None


class ModelLister:
    """Reads the model list, each time with a new HTTP client, because that happens rarely and in several event loops.

    Args:
        base_url: Base URL without ``/v1``.
        provider_id: Id of the provider, for errors.
        network: Network settings of the provider.
        seconds: Timeout of a response, unless the network settings have one.
    """

    def __init__(self, base_url: str, provider_id: str, network: Network, seconds: float = 20.0) -> None:
        self._url = base_url + _MODELS
        self._provider_id = provider_id
        self._network = network
        self._seconds = seconds

    async def models(self, headers: Mapping[str, str], secrets: Collection[str]) -> list[ModelEntry] | None:
        """Return the models, read page by page; None if the upstream has no list.

        Raises:
            MessagesError: The upstream refused or cannot be reached.
        """
        found: dict[str, ModelEntry] = {}
        after: str | None = None
        try:
            async with asyncio.timeout(_LIST_SECONDS), new_client(self._network, None, None) as client:
                for _ in range(_MAX_PAGES):
                    page = await self._page(client, headers, {"after_id": after} if after else {}, secrets)
                    if page is None:
                        return list(found.values()) or None
                    found |= {entry.id: entry for entry in map(_entry, page["data"]) if entry}
                    last = page.get("last_id")
                    if not page.get("has_more") or not isinstance(last, str) or last == after:
                        break
                    after = last
        except TimeoutError:
            raise GatewayTimeoutError(f"The backend '{self._provider_id}' did not send its models in time") from None
        return list(found.values())

    async def status(self, headers: Mapping[str, str], seconds: float) -> int:
        """Return the HTTP status of a request for the list.

        Raises:
            MessagesError: The upstream does not respond.
        """
        async with new_client(self._network, seconds, seconds) as client:
            response = await self._get(client, headers, {})
            await response.aclose()
            return response.status_code

    async def _get(
        self, client: httpx.AsyncClient, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> httpx.Response:
        """Return the response to a request for a page, with its body still to be read."""
        timeout = httpx.Timeout(client.timeout.read or self._seconds, connect=client.timeout.connect)
        query = {"limit": _PAGE_SIZE, **query}
        try:
            request = client.build_request("GET", self._url, params=query, headers=headers, timeout=timeout)
            response = await client.send(request, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise connection_failure(error, self._provider_id) from error
        await refuse_compressed(response, self._provider_id)
        return response

    async def _page(
        self, client: httpx.AsyncClient, headers: Mapping[str, str], query: Mapping[str, str], secrets: Collection[str]
    ) -> dict[str, Any] | None:
        """Return a decoded page, whose ``data`` is a list; None if the upstream has no list."""
        response = await self._get(client, headers, query)
        if response.status_code in NO_ROUTE:
            await response.aclose()
            return None
        if not response.is_success:
            raise upstream_failure(
                response.status_code,
                await read_error_body(response),
                response.headers,
                provider_id=self._provider_id,
                secrets=secrets,
                now=datetime.now(UTC),
            )
        body = loads_or_none(await read_body(response, self._provider_id, _MAX_PAGE_BYTES))
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise BadGatewayError(f"The backend '{self._provider_id}' did not answer with a list of models")
        return body


def _entry(listed: Any) -> ModelEntry | None:  # noqa: ANN401 - any JSON
    """Return a model of the list, None if its id is not a valid name."""
    name = listed.get("id") if isinstance(listed, dict) else None
    if not isinstance(name, str) or not name or name != replace_lone_surrogates(name):
        return None
    limits = {"max_tokens": listed.get("max_tokens"), "context": listed.get("max_input_tokens")}
    return ModelEntry(id=name, **{limit: count for limit, count in limits.items() if type(count) is int and count > 0})
