"""The inference provider: the platform's requests, answered by the engine."""

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
from openai import AsyncOpenAI, AsyncStream
from pydantic import PrivateAttr

from llama_stack_api_messages import MessagesUpstream
from llama_stack_provider_messages.stack import HealthResponse, HealthStatus, Model, OpenAIMixin

from .clients import TRANSPORT_ERROR, LoopClients
from .config import LlamaCppConfig
from .engine import Engine
from .options import engine_options
from .process import EngineError, EngineProcess

COMMAND = (sys.executable, "-P", str(Path(__file__).with_name("server.py")))
"""Runs the engine's child."""
_END_SECONDS = 1.0
"""How long after its connections a crashed engine itself may be seen to end."""


class LlamaCppInference(OpenAIMixin):  # type: ignore[misc] # the platform's server has no types
    """Serves one model, whatever name a request gives it.

    Nothing in it belongs to an event loop: the platform constructs it in one that does not serve.
    """

    config: LlamaCppConfig
    _engine: Engine = PrivateAttr()
    _clients: LoopClients = PrivateAttr()

    def model_post_init(self, _context: Any, /) -> None:  # noqa: ANN401 - pydantic's signature
        """Make the engine, not yet started."""
        key = secrets.token_urlsafe()
        self._clients = LoopClients(key, self.config.silence_timeout_seconds)
        self._engine = Engine(
            lambda: EngineProcess(COMMAND, engine_options(self.config, key), self.config.start_timeout_seconds)
        )

    async def initialize(self) -> None:
        """Begin to load the model if it is to be preloaded; the stack goes on starting meanwhile."""
        if self.config.preload:
            self._engine.start()

    async def shutdown(self) -> None:
        """End the engine."""
        await self._clients.close()
        await asyncio.to_thread(self._engine.close)

    async def health(self) -> HealthResponse:
        """Report how the engine is, without starting it."""
        if failure := self._engine.failure:
            return HealthResponse(status=HealthStatus.ERROR, message=f"The embedded engine {failure}")
        return HealthResponse(status=HealthStatus.OK)

    @property
    def engine(self) -> Engine:
        """The engine behind this provider."""
        return self._engine

    @property
    def client(self) -> AsyncOpenAI:
        """A client of the running engine."""
        return self._clients.get(self.get_base_url())

    async def messages_upstream(self, resource_id: str) -> MessagesUpstream:  # noqa: ARG002 - there is one model
        """Return the engine's own Messages API, which is used only if the operator says so: it deviates.

        Raises:
            EngineError: The engine does not start.
        """
        return MessagesUpstream(await self._engine.address(), self._clients.credentials, preferred=False)

    def get_base_url(self) -> str:
        """Return the OpenAI-style base URL of the running engine."""
        return f"{self._engine.running_address}/v1"

    async def list_models(self) -> list[Model] | None:
        """Return the one model, named like its file."""
        return [self.construct_model_from_identifier(self.config.model_file.stem)]

    async def check_model_availability(self, model: str) -> bool:  # noqa: ARG002 - any name will do
        """Return True: every name means the one model."""
        return True

    async def should_refresh_models(self) -> bool:
        """Return False: the model stays the same."""
        return False

    async def _get_provider_model_id(self, model: str) -> str:
        """Return the name as it is; the platform would look it up in its database on every request."""
        return model

    async def _maybe_overwrite_id(self, resp: Any, stream: bool | None) -> Any:  # noqa: ANN401, ARG002
        """Return the answer as it is; the platform would wrap a stream so that it cannot be closed any more."""
        return resp

    def _validate_model_allowed(self, provider_model_id: str) -> None:
        """Accept every name."""

    async def openai_chat_completion(self, params: Any) -> Any:  # noqa: ANN401 - the platform's request, the SDK's answer
        """Answer a chat completion; streaming, returns an async generator once the engine has accepted.

        Raises:
            EngineError: The engine does not start, or crashed.
            openai.APIStatusError: The engine refused; a prompt too long is a BadRequestError with its numbers.
        """
        return await self._answer(super().openai_chat_completion, params)

    async def openai_completion(self, params: Any) -> Any:  # noqa: ANN401 - as above
        """Answer a text completion; see ``openai_chat_completion``."""
        return await self._answer(super().openai_completion, params)

    async def _answer(self, call: Callable[[Any], Awaitable[Any]], params: Any) -> Any:  # noqa: ANN401 - as above
        await self._engine.address()
        try:
            answer = await call(params)
        except openai.APITimeoutError:
            raise
        except (openai.APIConnectionError, TRANSPORT_ERROR) as error:
            raise await self._crash() from error
        return self._relay(answer) if params.stream else answer

    async def _relay(self, stream: AsyncStream[Any]) -> AsyncGenerator[Any]:
        """Pass the chunks on; closing this closes the connection at once, which stops the engine."""
        try:
            async with stream:
                async for chunk in stream:
                    yield chunk
        except openai.APITimeoutError:
            raise
        except (openai.APIConnectionError, TRANSPORT_ERROR) as error:
            raise await self._crash() from error

    async def _crash(self) -> EngineError:
        end = await asyncio.to_thread(self._engine.wait_for_end, _END_SECONDS)
        what = f"The embedded engine {end} while it answered" if end else "The connection to the embedded engine broke"
        return EngineError(f"{what}. The next request starts it again if need be")

    async def openai_embeddings(self, params: Any) -> Any:  # noqa: ANN401 - the platform's request
        """Refuse: the engine runs a language model."""
        raise NotImplementedError("inline::llama-cpp serves a language model and makes no embeddings")

    async def rerank(self, request: Any) -> Any:  # noqa: ANN401 - the platform's request
        """Refuse: the engine runs a language model."""
        raise NotImplementedError("inline::llama-cpp serves a language model and does not rerank")
