"""The inference provider: passes the platform's requests to the engine."""

import asyncio
import importlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient, Timeout
from pydantic import PrivateAttr

from llama_stack_api_messages import MessagesUpstream
from llama_stack_provider_messages.stack import HealthResponse, HealthStatus, Model, OpenAIMixin
from llama_stack_provider_messages.upstream.address import Upstream
from llama_stack_provider_messages.upstream.settings import NativeSettings
from llama_stack_provider_messages.upstream.state import PerLoop

from .config import MAX_CONNECTIONS, LlamaCppConfig, engine_options
from .engine import COMMAND, Engine, EngineError, EngineProcess

_http = importlib.import_module(DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""httpx or httpx2: the one that the installed openai SDK uses."""

_END_SECONDS = 1.0
"""How long to wait for a crashed engine's process to end after its connections broke."""
_CONNECT_SECONDS = 5.0


class LlamaCppInference(OpenAIMixin):  # type: ignore[misc] # the platform's server has no types
    """Serves one model under any name.

    It is not bound to an event loop: the platform constructs it in one that does not serve requests.
    """

    config: LlamaCppConfig
    _engine: Engine = PrivateAttr()
    _clients: "LoopClients" = PrivateAttr()

    def model_post_init(self, _context: Any, /) -> None:  # noqa: ANN401 - pydantic's signature
        """Create the engine, not yet started."""
        key = secrets.token_urlsafe()
        self._clients = LoopClients(key, self.config.silence_timeout_seconds)
        self._engine = Engine(
            lambda: EngineProcess(COMMAND, engine_options(self.config, key), self.config.start_timeout_seconds)
        )

    async def initialize(self) -> None:
        """Start loading the model in the background if ``preload`` is set."""
        if self.config.preload:
            self._engine.start()

    async def shutdown(self) -> None:
        """Stop the engine."""
        await self._clients.close()
        await asyncio.to_thread(self._engine.close)

    async def health(self) -> HealthResponse:
        """Report the state of the engine, without starting it."""
        if failure := self._engine.failure:
            return HealthResponse(status=HealthStatus.ERROR, message=f"The embedded engine {failure}")
        return HealthResponse(status=HealthStatus.OK)

    async def openai_chat_completion(self, params: Any) -> Any:  # noqa: ANN401 - the platform's request, the SDK's response
        """Return a chat completion; if streaming, an async generator of chunks, once the engine has accepted.

        Raises:
            EngineError: The engine does not start, or crashed.
            openai.APIStatusError: The engine rejected the request; a too long prompt is a BadRequestError with its
                token count.
        """
        return await self._complete(super().openai_chat_completion, params)

    async def openai_completion(self, params: Any) -> Any:  # noqa: ANN401 - as above
        """Return a text completion; see ``openai_chat_completion``."""
        return await self._complete(super().openai_completion, params)

    async def _complete(self, call: Callable[[Any], Awaitable[Any]], params: Any) -> Any:  # noqa: ANN401 - as above
        await self._engine.address()
        try:
            completion = await call(params)
        except openai.APITimeoutError:
            raise
        except (openai.APIConnectionError, _http.TransportError) as error:
            raise await self.connection_error() from error
        return self._relay(completion) if params.stream else completion

    async def _relay(self, stream: AsyncStream[Any]) -> AsyncGenerator[Any]:
        """Yield the chunks; closing the generator closes the connection at once, which stops the generation."""
        try:
            async with stream:
                async for chunk in stream:
                    yield chunk
        except openai.APITimeoutError:
            raise
        except (openai.APIConnectionError, _http.TransportError) as error:
            raise await self.connection_error() from error

    async def connection_error(self) -> EngineError:
        """Return the error for a broken connection; the child's end, if it ended, is the reason."""
        end = await asyncio.to_thread(self._engine.wait_for_end, _END_SECONDS)
        text = f"The embedded engine {end} during a response" if end else "The connection to the embedded engine broke"
        return EngineError(f"{text}. The next request restarts it if necessary")

    @property
    def engine(self) -> Engine:
        """Return the engine."""
        return self._engine

    @property
    def client(self) -> AsyncOpenAI:
        """Return an OpenAI client for the running engine."""
        return self._clients.get(self.get_base_url())

    async def messages_upstream(self, resource_id: str) -> MessagesUpstream:  # noqa: ARG002 - there is one model
        """Return the engine's own Messages API; used only if the operator sets it, because it deviates from the API.

        Raises:
            EngineError: The engine does not start.
        """
        return MessagesUpstream(await self._engine.address(), self._clients.credentials, preferred=False)

    async def chat_upstream(self) -> Upstream:
        """Return where the engine's chat completions are; start it if necessary.

        Raises:
            EngineError: The engine does not start.
        """
        settings = NativeSettings(connect_seconds=_CONNECT_SECONDS, silence_seconds=self.config.silence_timeout_seconds)
        address = await self._engine.address()
        headers = {**self._clients.credentials, "connection": "close"}  # see ``LoopClients``
        return Upstream(self.__provider_id__, f"{address}/v1", headers, settings)

    def get_base_url(self) -> str:
        """Return the OpenAI-style base URL of the running engine."""
        return f"{self._engine.running_address}/v1"

    async def list_models(self) -> list[Model] | None:
        """Return the one model, named after its file."""
        return [self.construct_model_from_identifier(self.config.model_file.stem)]

    async def check_model_availability(self, model: str) -> bool:  # noqa: ARG002 - the name does not matter
        """Return True: every name refers to the one model."""
        return True

    async def should_refresh_models(self) -> bool:
        """Return False: the model does not change."""
        return False

    async def _get_provider_model_id(self, model: str) -> str:
        """Return the name unchanged; the platform's method looks it up in its database on every request."""
        return model

    async def _maybe_overwrite_id(self, resp: Any, stream: bool | None) -> Any:  # noqa: ANN401, ARG002
        """Return the response unchanged; the platform's method wraps a stream so that it cannot be closed."""
        return resp

    def _validate_model_allowed(self, provider_model_id: str) -> None:
        """Accept every name."""

    async def openai_embeddings(self, params: Any) -> Any:  # noqa: ANN401 - the platform's request
        """Raise an error: the engine runs a language model."""
        raise NotImplementedError("inline::llama-cpp serves a language model and makes no embeddings")

    async def rerank(self, request: Any) -> Any:  # noqa: ANN401 - the platform's request
        """Raise an error: the engine runs a language model."""
        raise NotImplementedError("inline::llama-cpp serves a language model and does not rerank")


class LoopClients:
    """The HTTP clients of the engine, one per event loop, without retries, proxies or idle connections.

    Reusing connections would save 0.5 ms but is not safe: the engine closes a connection after each stream, and after
    five idle seconds, without announcing it, so a request in flight would fail. An idle connection also occupies a
    thread of the engine.

    Args:
        key: The engine's API key.
        silence_seconds: Read timeout (between two chunks).
    """

    def __init__(self, key: str, silence_seconds: float) -> None:
        self._key = key
        self._timeout = Timeout(silence_seconds, connect=_CONNECT_SECONDS)
        self._clients: PerLoop[AsyncOpenAI] = PerLoop()

    @property
    def credentials(self) -> dict[str, str]:
        """Return the header with the engine's API key."""
        return {"authorization": f"Bearer {self._key}"}

    def get(self, base_url: str) -> AsyncOpenAI:
        """Return the client of the running loop, for this base URL."""
        client = self._clients.get(lambda: self._new(base_url))
        if str(client.base_url).rstrip("/") != base_url:
            client.base_url = base_url
        return client

    def _new(self, base_url: str) -> AsyncOpenAI:
        limits = _http.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=0)
        http_client = DefaultAsyncHttpxClient(limits=limits, timeout=self._timeout, trust_env=False, verify=False)
        return AsyncOpenAI(
            api_key=self._key, base_url=base_url, max_retries=0, timeout=self._timeout, http_client=http_client
        )

    async def close(self) -> None:
        """Close the client of the running loop."""
        if client := self._clients.pop():
            await client.close()
