"""The inference provider: serves chat completions of the platform from an upstream that speaks the Messages API.

A request is translated to the Messages API (``translation/chat_to_messages``), sent (``client.py``), continued if the
upstream paused it (``continuation.py``), and its response is translated back to the objects that the platform expects
(``sdk_objects.py``). Requests of the Messages API do not come here unless ``native`` is off: the provider declares
its upstream (``messages_upstream``), and the native lane passes them through.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from pydantic import PrivateAttr

from llama_stack_api_messages import MessagesUpstream
from llama_stack_api_messages.api import new_id
from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.errors.body import NO_ROUTE, REFUSED_KEY
from llama_stack_provider_messages.headers import BETA_HEADER, VERSION_HEADER, header_secrets
from llama_stack_provider_messages.stack import (
    HealthResponse,
    HealthStatus,
    Model,
    OpenAIMixin,
    Target,
    chunk_with_reasoning,
    completion_with_reasoning,
    configured_headers,
    get_logger,
    language_model,
    network_of,
    stream_options,
)
from llama_stack_provider_messages.translation.chat_to_messages import (
    MessagesRequest,
    StreamTranslator,
    TranslationOptions,
    dropped_blocks,
    traits_of,
    translate_request,
    translate_response,
)
from llama_stack_provider_messages.translation.dropped import Dropped, dropped_text
from llama_stack_provider_messages.upstream.address import resolve
from llama_stack_provider_messages.upstream.client import UpstreamClient
from llama_stack_provider_messages.upstream.settings import NativeSettings

from .client import MessagesClient, ModelLister
from .config import ModelEntry, RemoteMessagesConfig, RemoteMessagesProviderData
from .continuation import complete_message, complete_stream
from .sdk_objects import (
    ModelNotAllowedError,
    NotOfferedError,
    completion,
    completion_chunk,
    completion_error,
    plain_request,
    reasoning_of,
)

logger = get_logger(__name__)

TYPE = "remote::messages"
_HEALTH_SECONDS = 3.0


class MessagesInference(OpenAIMixin):  # type: ignore[misc] # the platform's server has no types
    """Serves the models of one upstream.

    It is not bound to an event loop: the platform constructs it in one that does not serve requests.
    """

    config: RemoteMessagesConfig
    _upstream_client: UpstreamClient = PrivateAttr(default_factory=UpstreamClient)
    _known: dict[str, ModelEntry] = PrivateAttr(default_factory=dict)

    async def initialize(self) -> None:
        """Read the models from the configuration."""
        self._known = {entry.id: entry for entry in self.config.models or []}

    async def shutdown(self) -> None:
        """Close the connections."""
        await self._upstream_client.close()

    async def health(self) -> HealthResponse:
        """Report whether the upstream responds and accepts the configured key."""
        key = self.get_api_key()
        try:
            status = await self._model_lister().status(self._headers(key), _HEALTH_SECONDS)
        except MessagesError as error:
            return HealthResponse(status=HealthStatus.ERROR, message=error.message)
        if key and status in REFUSED_KEY:
            return HealthResponse(status=HealthStatus.ERROR, message=f"The backend refuses the key: {status}")
        if status >= 500 and status not in NO_ROUTE:
            return HealthResponse(status=HealthStatus.ERROR, message=f"The backend answers {status}")
        return HealthResponse(status=HealthStatus.OK)

    def get_base_url(self) -> str:
        """Return the base URL as an Anthropic SDK takes it, without ``/v1``."""
        return self.config.base_url

    async def messages_upstream(self, resource_id: str) -> MessagesUpstream:
        """Return the upstream: requests of the Messages API are passed through to it (native lane)."""
        declared = self._upstream(resource_id)
        if "anthropic_version" in self.config.model_fields_set:
            return declared
        headers = {name: value for name, value in declared.headers.items() if name != VERSION_HEADER}
        return replace(declared, headers=headers)  # the client sends its own version

    def _upstream(self, resource_id: str, betas: tuple[str, ...] = ()) -> MessagesUpstream:
        """Return the upstream with all headers of this request."""
        key = self._get_api_key_from_config_or_provider_data()
        anthropic = self.config.anthropic
        if anthropic is None:
            anthropic = "claude" in self._model_type(resource_id).lower()
        headers = self._headers(key, betas)
        return MessagesUpstream(self.config.base_url, headers, anthropic=anthropic, secret=key)

    def _model_type(self, resource_id: str) -> str:
        """Return the configured ``type`` of a model, or its id."""
        entry = self._known.get(resource_id)
        return (entry and entry.type) or resource_id

    def _get_api_key_from_config_or_provider_data(self) -> str | None:
        """Return the key of the request's provider data (this provider's, else the type's), else the configured key."""
        data: RemoteMessagesProviderData | None = self.get_request_provider_data()
        return (data.key(self.__provider_id__) if data else None) or self.get_api_key() or None

    # models

    async def list_models(self) -> list[Model] | None:
        """Return the configured models, else those that the upstream lists; None if it has no list.

        Raises:
            CompletionError: The upstream does not respond.
        """
        entries = self.config.models
        if entries is None and (entries := await self._listed()) is None:
            return None
        allowed = self.config.allowed_models
        entries = [entry for entry in entries if allowed is None or entry.id in allowed]
        self._known |= {entry.id: entry for entry in entries}
        found = [self.construct_model_from_identifier(entry.id) for entry in entries]
        self._model_cache = {model.provider_resource_id: model for model in found}
        return found

    async def _listed(self) -> list[ModelEntry] | None:
        """Return the models that the upstream lists, else the allowed ones; None without either."""
        try:
            key = self._get_api_key_from_config_or_provider_data()
            headers = self._headers(key)
            secrets = [*([key] if key else []), *header_secrets({**configured_headers(self), **headers})]
            entries = await self._model_lister().models(headers, secrets)
        except MessagesError as error:
            logger.warning("listing models failed", provider_id=self.__provider_id__, reason=error.message[:500])
            raise completion_error(error) from None
        if entries is not None:
            return entries
        logger.info("the backend lists no models; name them in `models`", provider_id=self.__provider_id__)
        return [ModelEntry(id=name) for name in self.config.allowed_models or []] or None

    def construct_model_from_identifier(self, identifier: str) -> Model:
        """Return a model for the platform's list, with its limits if known."""
        entry = self._known.get(identifier)
        limits = {"max_tokens": entry.max_tokens, "context_length": entry.context} if entry else {}
        metadata = {name: value for name, value in limits.items() if value}
        return language_model(self.__provider_id__, identifier, metadata)

    async def _get_provider_model_id(self, model: str) -> str:
        """Return the name unchanged: the platform's router has already resolved it."""
        return model

    def _validate_model_allowed(self, provider_model_id: str) -> None:
        """Reject a model that is not in ``allowed_models``.

        Raises:
            ModelNotAllowedError: The model is not in ``allowed_models``.
        """
        allowed = self.config.allowed_models
        if allowed is not None and provider_model_id not in allowed:
            raise ModelNotAllowedError(provider_model_id)

    # inference

    async def openai_chat_completion(self, params: Any) -> Any:  # noqa: ANN401 - the platform's request, the SDK's answer
        """Return a chat completion; if streaming, an async generator of chunks, once the upstream has accepted.

        Raises:
            CompletionError: The request cannot be translated, or the upstream refused or failed.
        """
        self._validate_model_allowed(params.model)
        try:
            request = self._translate_request(params)
            client = self._messages_client(params.model, request.betas)
            if params.stream:
                return await self._stream(params.model, client, request)
            message = await complete_message(client, request.body, self.config.max_continuations)
            self._log_dropped(params.model, "response", dropped_blocks(message, request.reply_options))
            return completion(translate_response(message, request.reply_options, created=int(time.time())))
        except MessagesError as error:
            raise completion_error(error) from None

    async def _stream(self, model: str, client: MessagesClient, request: MessagesRequest) -> AsyncGenerator[Any]:
        translator = StreamTranslator(request.reply_options, created=int(time.time()), new_id=lambda: new_id(""))
        first = await client.stream(request.body)
        pieces = complete_stream(client, request.body, translator, first, self.config.max_continuations)
        await anext(pieces)  # starts the generator (its first item is empty), so that closing it closes the response

        async def chunks() -> AsyncGenerator[Any]:
            async with aclosing(pieces):
                yield None
                try:
                    async for piece in pieces:
                        yield completion_chunk(piece)
                except MessagesError as error:
                    client.log_failure(error)
                    raise completion_error(error) from None
            self._log_dropped(model, "response", translator.dropped)

        made = chunks()
        await anext(made)
        return made

    def _translate_request(self, params: Any) -> MessagesRequest:  # noqa: ANN401 - the platform's request
        chat = plain_request(params)
        if params.stream and (options := stream_options(chat.get("stream_options"), stream=True)):
            chat["stream_options"] = options
        entry = self._known.get(params.model)
        max_output = entry.max_tokens if entry else None
        request = translate_request(
            chat,
            TranslationOptions(
                params.model,
                max_tokens=max_output or self.config.default_max_tokens,
                traits=traits_of(self._model_type(params.model)),
                strict=self.config.strict,
                max_output=max_output,
            ),
        )
        self._log_dropped(params.model, "request", request.dropped)
        return request

    def _log_dropped(self, model: str, part: str, dropped: tuple[Dropped, ...]) -> None:
        """Log the dropped fields of a request, or the dropped blocks of a response."""
        if dropped:
            where = {"provider_id": self.__provider_id__, "model": model, "of": part}
            logger.info("dropped in translation", **where, dropped=dropped_text(dropped))

    def _messages_client(self, model: str, betas: tuple[str, ...]) -> MessagesClient:
        provider_id = self.__provider_id__
        target = Target(f"{provider_id}/{model}", provider_id, TYPE, model, provider=self)
        upstream = resolve(target, NativeSettings(), self._upstream(model, betas))
        return MessagesClient(self._upstream_client, target, upstream, self.config.max_retries)

    def _headers(self, key: str | None, betas: tuple[str, ...] = ()) -> dict[str, str]:
        config = self.config
        named = ",".join(dict.fromkeys([*config.anthropic_beta, *betas]))
        return {
            VERSION_HEADER: config.anthropic_version,
            **({BETA_HEADER: named} if named else {}),
            **config.headers,
            **config.credentials(key),
        }

    def _model_lister(self) -> ModelLister:
        return ModelLister(self.config.base_url, self.__provider_id__, network_of(self))

    async def openai_chat_completions_with_reasoning(self, params: Any) -> Any:  # noqa: ANN401 - as above
        """Return a chat completion with its reasoning, for the Responses API."""
        answer = await self.openai_chat_completion(params)
        if params.stream:
            return _with_reasoning(answer)
        return completion_with_reasoning(answer, reasoning_of(answer.choices[0].message))

    async def openai_completion(self, params: Any) -> Any:  # noqa: ANN401, ARG002 - the platform's request
        """Raise an error: the Messages API has no text completions."""
        raise NotOfferedError("legacy completions; use /v1/chat/completions")

    async def openai_embeddings(self, params: Any) -> Any:  # noqa: ANN401, ARG002 - the platform's request
        """Raise an error: the Messages API has no embeddings."""
        raise NotOfferedError("embeddings")

    async def rerank(self, request: Any) -> Any:  # noqa: ANN401, ARG002 - the platform's request
        """Raise an error: the Messages API has no reranking."""
        raise NotOfferedError("reranking")


async def _with_reasoning(chunks: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    async with aclosing(chunks):
        async for piece in chunks:
            texts = [text for choice in piece.choices if (text := reasoning_of(choice.delta))]
            yield chunk_with_reasoning(piece, "".join(texts) or None)
