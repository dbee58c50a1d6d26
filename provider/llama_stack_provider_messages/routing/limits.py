"""The token limits of models, for the model list: how large a prompt may be, and how long an answer.

Clients size their requests by them, so a wrong number is worse than none: a limit that no source states is unknown.
The sources, of which the first that has a number wins:

    ``backends``     what the operator configured: ``context_window``, ``max_output_tokens``
    metadata         what the platform's list says of the model: ``context_length``, ``max_tokens``;
                     ``remote::messages`` writes its configured or listed values there
    the backend      one or two short requests, by provider type:

    llama.cpp, embedded or not    GET /props: the context of a slot
    Ollama                        GET /api/ps: the context of a loaded model; else POST /api/show: ``num_ctx``. The
                                  model's own ``context_length`` is not used: Ollama cuts prompts at its default, which
                                  is often much smaller
    every other remote provider   GET /v1/models: ``max_model_len`` (vLLM, SGLang), ``max_input_tokens`` (the Messages
                                  API) and the fields of other services in ``WINDOW_FIELDS`` and ``OUTPUT_FIELDS``

Prompt and answer share the window of vLLM, llama.cpp and Ollama, which have no other limit: it is both limits.

The list is never delayed by more than ``WAIT_SECONDS`` and never fails because of a backend: what has not arrived by
then is unknown, and is in the next list once it has arrived. A query does not start an embedded engine.
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llama_stack_api_messages.errors import MessagesError
from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.headers import DEFAULT_VERSION, VERSION_HEADER
from llama_stack_provider_messages.stack import Target, get_logger
from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.upstream.address import declared_by, upstream_of
from llama_stack_provider_messages.upstream.client import UpstreamClient, UpstreamRequest, read_body
from llama_stack_provider_messages.upstream.settings import NativeSettings
from llama_stack_provider_messages.upstream.state import BoundedDict, SharedTasks

logger = get_logger(__name__)

WAIT_SECONDS = 3.0
"""How long a list waits for all backends together."""
QUERY_SECONDS = 10.0
"""Timeout of the query of one backend, which goes on in the background after ``WAIT_SECONDS``."""
_KNOWN_SECONDS, _UNKNOWN_SECONDS = 300.0, 30.0
"""Lifetime of a limit, and of the fact that a backend did not state one or did not answer."""

WINDOW_FIELDS = ("max_input_tokens", "context_length", "context_window", "max_context_length")
"""Fields of a listed model with its window: the Messages API; OpenRouter, Together; Groq; Mistral, LM Studio."""
OUTPUT_FIELDS = ("max_tokens", "max_completion_tokens")
"""Fields of a listed model with its output limit: the Messages API; Groq."""
_MAX_BYTES = 4 * 1024 * 1024
"""Longer responses are not read; the list of OpenRouter takes half a megabyte."""
_NUM_CTX = re.compile(r"^num_ctx\s+(\d{1,9})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The limits of a model in tokens; None: unknown.

    Attributes:
        window: The largest prompt.
        output: The largest ``max_tokens``.
    """

    window: int | None = None
    output: int | None = None

    def or_else(self, other: "TokenLimits") -> "TokenLimits":
        """Return these limits, the unknown ones replaced by those of ``other``."""
        return TokenLimits(self.window or other.window, self.output or other.output)


type Get = Callable[[str, Mapping[str, Any] | None], Awaitable[Any]]
"""Takes a path below the root of the backend and a body, None for GET; returns decoded JSON, None if there is none."""
type Query = Callable[[Get, list[str], dict[str, TokenLimits]], Awaitable[None]]
"""Takes the backend's names of models and writes their limits by name; what it wrote before a failure is used."""


class ModelLimits:
    """Finds the token limits of models; caches what backends state.

    Args:
        client: Sends requests to backends.
        configured: Profile fields from the configuration, by provider type, provider id or model id. The more specific
            entry wins.
        clock: Returns monotonic seconds.
        wait_seconds: How long ``of`` waits for backends.
        query_seconds: Timeout of the query of one backend.
    """

    def __init__(
        self,
        client: UpstreamClient,
        configured: Mapping[str, Mapping[str, Any]],
        clock: Callable[[], float] = time.monotonic,
        wait_seconds: float = WAIT_SECONDS,
        query_seconds: float = QUERY_SECONDS,
    ) -> None:
        self._client = client
        self._configured = configured
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._query_seconds = query_seconds
        self._cache: BoundedDict[str, tuple[TokenLimits, float]] = BoundedDict()
        self._running = SharedTasks()

    async def of(self, targets: Collection[Target]) -> dict[str, TokenLimits]:
        """Return the limits of models by model id, after at most ``wait_seconds``."""
        known = {target.model_id: self._stated(target) for target in targets}
        missing: dict[str, list[Target]] = {}
        for target in {target.model_id: target for target in targets}.values():
            if None in (known[target.model_id].window, known[target.model_id].output) and not self._is_fresh(target):
                missing.setdefault(target.provider_id, []).append(target)
        if tasks := [self._start(provider_id, models) for provider_id, models in missing.items()]:
            await asyncio.wait(tasks, timeout=self._wait_seconds)
        nothing = (TokenLimits(), 0.0)
        return {model_id: stated.or_else(self._cache.get(model_id, nothing)[0]) for model_id, stated in known.items()}

    def _stated(self, target: Target) -> TokenLimits:
        """Return the limits that the configuration or the platform's list states."""
        fields: dict[str, Any] = {}
        for name in (target.provider_type, target.provider_id, target.model_id):
            fields |= self._configured.get(name, {})
        configured = TokenLimits(_tokens(fields.get("context_window")), _tokens(fields.get("max_output_tokens")))
        return configured.or_else(_listed_limits(target.metadata))

    def _is_fresh(self, target: Target) -> bool:
        return target.model_id in self._cache and self._clock() < self._cache[target.model_id][1]

    def _start(self, provider_id: str, targets: list[Target]) -> asyncio.Task[None]:
        """Return the running query of a backend, else a new one; so a page may wait for the query of another page."""
        return self._running.start(provider_id, lambda: self._query(provider_id, targets))

    async def _query(self, provider_id: str, targets: list[Target]) -> None:
        """Query the backend of these models, and cache its limits; a failure is logged and leaves them unknown."""
        by_name: dict[str, TokenLimits] = {}
        try:
            async with asyncio.timeout(self._query_seconds):
                query = _query_of(targets[0].provider_type)
                await query(self._getter(targets[0]), [target.resource_id for target in targets], by_name)
        except Exception as error:  # noqa: BLE001 - providers raise any exception, and the list must not fail
            reason = error.message[:200] if isinstance(error, MessagesError) else type(error).__name__
            logger.info("token limits unknown", provider_id=provider_id, reason=reason)
        now = self._clock()
        for target in targets:
            limits = by_name.get(target.resource_id, TokenLimits())
            self._cache[target.model_id] = (limits, now + (_KNOWN_SECONDS if limits.window else _UNKNOWN_SECONDS))

    def _getter(self, target: Target) -> Get:
        async def get(path: str, body: Mapping[str, Any] | None) -> Any:  # noqa: ANN401 - any JSON
            target.provider.get_base_url()  # fails if the embedded engine is not running, which a query must not start
            upstream = upstream_of(target, NativeSettings(), await declared_by(target))
            if upstream is None:
                return None
            data, method = (b"", "GET") if body is None else (json.dumps(body).encode(), "POST")
            headers = {VERSION_HEADER: DEFAULT_VERSION}
            request = UpstreamRequest(path, data, headers, short=True, method=method)
            response = await self._client.send(target, upstream, request)
            found = await read_body(response, target.provider_id, _MAX_BYTES)
            return loads_or_none(found) if response.is_success else None

        return get

    async def close(self) -> None:
        """Cancel the running requests of this event loop."""
        await self._running.close()


async def _query_llama_cpp(get: Get, names: list[str], found: dict[str, TokenLimits]) -> None:
    for name in names:  # a router has several models, and must not load one to answer
        props = await get(f"/props?model={quote(name, safe='')}&autoload=false", None)
        window = _tokens(field(field(props, "default_generation_settings"), "n_ctx"))
        found[name] = TokenLimits(window, window)


async def _query_ollama(get: Get, names: list[str], found: dict[str, TokenLimits]) -> None:
    loaded = list_field(await get("/api/ps", None), "models")
    windows = {field(model, "name"): _tokens(field(model, "context_length")) for model in loaded}
    for name in names:
        window = windows.get(name) or windows.get(f"{name}:latest")
        if window is None:
            shown = await get("/api/show", {"model": name})
            set_by_model = _NUM_CTX.search(str(field(shown, "parameters") or ""))
            window = _tokens(int(set_by_model[1])) if set_by_model else None
        found[name] = TokenLimits(window, window)


async def _query_list(get: Get, _names: list[str], found: dict[str, TokenLimits]) -> None:
    listed = await get("/v1/models?limit=1000", None)
    for model in listed if isinstance(listed, list) else list_field(listed, "data"):
        shared = _tokens(field(model, "max_model_len"))
        limits = TokenLimits(shared, shared).or_else(_listed_limits(model))
        found[str(field(model, "id"))] = limits.or_else(_listed_limits(field(model, "custom_metadata")))


async def _query_nothing(_get: Get, _names: list[str], _found: dict[str, TokenLimits]) -> None:
    """Leave the limits of providers without an HTTP backend unknown."""


_QUERIES: Mapping[str, Query] = {
    "inline::llama-cpp": _query_llama_cpp,
    "remote::llama-cpp-server": _query_llama_cpp,
    "remote::ollama": _query_ollama,
}


def _query_of(provider_type: str) -> Query:
    other = _query_list if provider_type.startswith("remote::") else _query_nothing
    return _QUERIES.get(provider_type, other)


def _listed_limits(model: object) -> TokenLimits:
    """Return the limits in an entry of a model list, or in the platform's metadata of a model."""
    window, output = (
        next(filter(None, (_tokens(field(model, name)) for name in names)), None)
        for names in (WINDOW_FIELDS, OUTPUT_FIELDS)
    )
    return TokenLimits(window, output)


def _tokens(value: object) -> int | None:
    """Return a positive number of tokens, None for anything else; True is an int to isinstance."""
    return value if type(value) is int and value > 0 else None
