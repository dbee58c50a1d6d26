"""Reads the model list of an upstream, page by page."""

from collections.abc import AsyncIterator, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from llama_stack_api_messages.errors import BadGatewayError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.errors.body import NO_ROUTE
from llama_stack_provider_messages.errors.response import upstream_failure
from llama_stack_provider_messages.stack import Network
from llama_stack_provider_messages.translation.chat_to_messages import replace_lone_surrogates
from llama_stack_provider_messages.upstream.client import connection_failure
from llama_stack_provider_messages.upstream.connections import new_client

from .config import ModelEntry

_PATH = "/v1/models"
_PAGE = "1000"
_MOST_PAGES = 100


class ModelLister:
    """Reads the list, each time with a new HTTP client, because that happens rarely and in several event loops.

    Args:
        base_url: Base URL without ``/v1``.
        provider_id: Id of the provider, for errors.
        network: Network settings of the provider.
        seconds: Timeout of a response, unless the network settings have one.
    """

    def __init__(self, base_url: str, provider_id: str, network: Network, seconds: float = 20.0) -> None:
        self._url = base_url + _PATH
        self._provider_id = provider_id
        self._network = network
        self._seconds = seconds

    async def models(self, headers: Mapping[str, str], secrets: Collection[str]) -> list[ModelEntry] | None:
        """Return the models; None if the upstream has no list.

        Raises:
            MessagesError: The upstream refused or cannot be reached.
        """
        found: dict[str, ModelEntry] = {}
        async for page in self._pages(headers, secrets):
            if page is None:
                return list(found.values()) or None
            found |= {entry.id: entry for entry in map(_entry, page) if entry}
        return list(found.values())

    async def _pages(self, headers: Mapping[str, str], secrets: Collection[str]) -> AsyncIterator[list[Any] | None]:
        after: str | None = None
        async with new_client(self._network, None, None) as client:
            for _ in range(_MOST_PAGES):
                response = await self._get(client, headers, {"after_id": after} if after else {})
                if response.status_code in NO_ROUTE:
                    yield None
                    return
                body = self._checked(response, secrets)
                yield body["data"]
                last = body.get("last_id")
                if not body.get("has_more") or not isinstance(last, str) or last == after:
                    return
                after = last

    async def status(self, headers: Mapping[str, str], seconds: float) -> int:
        """Return the HTTP status of a request for the list.

        Raises:
            MessagesError: The upstream does not respond.
        """
        async with new_client(self._network, seconds, seconds) as client:
            return (await self._get(client, headers, {})).status_code

    async def _get(
        self, client: httpx.AsyncClient, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> httpx.Response:
        timeout = httpx.Timeout(client.timeout.read or self._seconds, connect=client.timeout.connect)
        try:
            return await client.get(self._url, params={"limit": _PAGE, **query}, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise connection_failure(error, self._provider_id) from error

    def _checked(self, response: httpx.Response, secrets: Collection[str]) -> dict[str, Any]:
        if not response.is_success:
            raise upstream_failure(
                response.status_code,
                response.content,
                response.headers,
                provider_id=self._provider_id,
                secrets=secrets,
                now=datetime.now(UTC),
            )
        body = loads_or_none(response.content)
        if not isinstance(body, dict) or not isinstance(body.get("data"), list):
            raise BadGatewayError(f"The backend '{self._provider_id}' did not answer with a list of models")
        return body


def _entry(listed: Any) -> ModelEntry | None:  # noqa: ANN401 - any JSON
    name = listed.get("id") if isinstance(listed, dict) else None
    if not isinstance(name, str) or not name or name != replace_lone_surrogates(name):
        return None
    return ModelEntry(id=name, max_tokens=_count(listed, "max_tokens"), context=_count(listed, "max_input_tokens"))


def _count(listed: Mapping[str, Any], name: str) -> int | None:
    value = listed.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
