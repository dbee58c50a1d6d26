"""The platform llama-stack: its names, and small functions and types over its objects.

Only this module of the provider imports the platform. The platform's successor has the same names in other modules, so
it gets a module of its own beside this one, with the same ``__all__``. The interface has three parts:

- ``Platform``: models, inference and metrics of the stack.
- What is read from an inference provider of the stack: its address and key, its network settings, its allowed models.
- What an inference provider of our own needs: its base classes, and the objects that it returns.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpx
from llama_stack.core.access_control.access_control import AccessDeniedError
from llama_stack.core.datatypes import AuthenticationRequiredError
from llama_stack.core.routers.inference import InferenceRouter
from llama_stack.core.server.fastapi_router_registry import register_external_api_routers
from llama_stack.core.utils.config_dirs import LLAMA_STACK_CONFIG_DIR
from llama_stack.log import get_logger as _get_logger
from llama_stack.providers.utils.inference.http_client import _build_network_client_kwargs
from llama_stack.providers.utils.inference.model_registry import RemoteInferenceProviderConfig
from llama_stack.providers.utils.inference.openai_compat import get_stream_options_for_telemetry
from llama_stack.providers.utils.inference.openai_mixin import OpenAIMixin
from llama_stack.telemetry.inference_metrics import (
    create_inference_metric_attributes,
    inference_duration,
    inference_time_to_first_token,
    inference_tokens_per_second,
)
from llama_stack_api import (
    Api,
    ExternalApiSpec,
    HealthResponse,
    HealthStatus,
    InlineProviderSpec,
    Model,
    ModelNotFoundError,
    ModelType,
    ModelTypeError,
    ProviderSpec,
    RemoteProviderSpec,
)
from llama_stack_api.inference import OpenAIChatCompletionRequestWithExtraBody, OpenAIUserMessageParam
from llama_stack_api.inference.models import OpenAIChatCompletionChunkWithReasoning, OpenAIChatCompletionWithReasoning

from llama_stack_api_messages import MessagesUpstream
from llama_stack_api_messages.stack import API_NAME

__all__ = [
    "STATE_FOLDER",
    "AccessDeniedError",
    "Api",
    "AuthenticationRequiredError",
    "HealthResponse",
    "HealthStatus",
    "InlineProviderSpec",
    "Model",
    "ModelNotFoundError",
    "ModelTypeError",
    "Network",
    "OpenAIMixin",
    "Platform",
    "ProviderSpec",
    "RemoteInferenceProviderConfig",
    "RemoteProviderSpec",
    "Target",
    "address_of",
    "check_allowed",
    "chunk_with_reasoning",
    "completion_with_reasoning",
    "configured_headers",
    "get_logger",
    "language_model",
    "network_of",
    "register_routes",
    "stream_options",
]

STATE_FOLDER = LLAMA_STACK_CONFIG_DIR / "messages"
"""Folder for files that have to outlive the process, such as the signing key."""

_PLACEHOLDER_MESSAGES = [OpenAIUserMessageParam(role="user", content="-")]
"""For the platform's validation. The real messages are assigned afterwards as plain dicts, because the platform's
message classes reject or drop what many backends accept (images in tool results, reasoning in history)."""
_NO_KEY = "NO KEY REQUIRED"
"""The placeholder key of several providers of the platform."""


def get_logger(name: str) -> Any:  # noqa: ANN401 - the platform's logger has no public type
    """Return a key-value logger of the platform, in this project's category."""
    return _get_logger(name=name, category="providers::messages")


def register_routes() -> None:
    """Register the routes for library-client mode, which does not find external APIs itself. Idempotent."""
    spec = ExternalApiSpec(module="llama_stack_api_messages", name=API_NAME, protocol="Messages")
    register_external_api_routers({Api(API_NAME): spec})


@dataclass(frozen=True, slots=True)
class Target:
    """The model to use for a request.

    Attributes:
        model_id: The platform's name of the model, ``provider_id/model``.
        provider_id: Id of the inference provider in run.yaml.
        provider_type: Its type, e.g. ``remote::vllm``.
        resource_id: The backend's name of the model.
        reads_objects: Whether the provider accesses messages by attribute, to load their images, as Ollama's does.
        provider: The provider itself; None if the stack does not have it: the platform's store, which all stacks of a
            user share, still lists models of other stacks.
        metadata: What the platform's list says of the model, such as ``context_length``.
    """

    model_id: str
    provider_id: str
    provider_type: str
    resource_id: str
    reads_objects: bool = False
    provider: Any = field(default=None, repr=False, compare=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


class _Router(InferenceRouter):  # type: ignore[misc]  # the platform has no types
    """The platform's router, except that it accepts a non-streaming response without choices.

    The platform's own method fails on such a response. It contains the backend's error (OpenRouter sends it with status
    200), which the translation reads.
    """

    async def _nonstream_openai_chat_completion(self, provider: Any, params: Any) -> Any:  # noqa: ANN401 - the platform's
        return await provider.openai_chat_completion(params)


class Platform:
    """The stack's models and inference, as this provider needs them.

    Inference uses a separate router without a store: the stack's own router writes every conversation to SQL,
    which stalls the server at a few dozen concurrent requests on SQLite. Routing, access rules and metrics are
    the same.

    Args:
        deps: The API implementations that the platform passes to the provider.
    """

    def __init__(self, deps: Mapping[Any, Any]) -> None:
        self._models = deps[Api.models]
        self._router = _Router(self._models)

    def is_served(self, name: str) -> bool:
        """Return whether the platform can route the name itself.

        It routes ``provider_id/model`` only, with any model name if the provider exists.
        """
        provider_id, slash, _ = name.partition("/")
        return bool(slash) and provider_id in self._models.impls_by_provider_id

    async def locate(self, model_id: str) -> Target | None:
        """Return the target of a model id, or None if there is no such model or the caller may not use it.

        Raises:
            ModelTypeError: The model is not a language model.
        """
        try:
            provider, resource_id = await self._router._get_model_provider(model_id, ModelType.llm)  # noqa: SLF001 - only way that covers unregistered ids
        except (ModelNotFoundError, ValueError):  # ValueError: the provider is one of another stack
            return None
        return _target(model_id, provider.__provider_id__, resource_id, provider)

    def record(
        self,
        target: Target,
        *,
        stream: bool,
        success: bool,
        seconds: float,
        first_seconds: float | None = None,
        tokens: int | None = None,
    ) -> None:
        """Record a request in the platform's metrics that did not go through the platform's inference.

        Args:
            target: The model used.
            stream: Whether the request was streaming.
            success: Whether the response was complete.
            seconds: Seconds from the request to the end of the response.
            first_seconds: Seconds from the request to the first bytes of the response.
            tokens: Number of output tokens.
        """
        status = "success" if success else "error"
        model, provider = target.model_id, target.provider_id
        attributes = create_inference_metric_attributes(model, provider, stream, status)
        inference_duration.record(seconds, attributes=attributes)
        if first_seconds is not None:
            inference_time_to_first_token.record(first_seconds, attributes=attributes)
        if tokens and seconds > 0:
            inference_tokens_per_second.record(tokens / seconds, attributes=attributes)

    async def served_models(self) -> list[Target]:
        """Return the language models that the caller may use, sorted by id, without those of other stacks."""
        found = self._targets((await self._models.list_models()).data)
        return sorted((target for target in found if target.provider), key=lambda target: target.model_id)

    async def models_named(self, name: str) -> list[Target]:
        """Return the language models in the store whose id or backend's name this is, and which the caller may use.

        Models of other stacks are among them. Unlike ``served_models`` this sends no request to a provider.
        """
        stored = await self._models.dist_registry.get_all()
        named = {item.identifier for item in stored if name in (item.identifier, item.provider_resource_id)}
        found = [await self._models.get_object_by_identifier("model", identifier) for identifier in named]
        return self._targets(filter(None, found))  # None: the caller may not use it, or it is not a model

    def _targets(self, models: Iterable[Model]) -> list[Target]:
        providers = self._models.impls_by_provider_id
        return [
            _target(
                model.identifier,
                model.provider_id,
                model.provider_resource_id or model.identifier,
                providers.get(model.provider_id),
                model.metadata,
            )
            for model in models
            if model.model_type == ModelType.llm
        ]

    async def chat(self, target: Target, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - objects of the openai SDK
        """Return a chat completion; if streaming, an async iterator of chunks, once the upstream has accepted.

        Args:
            target: The model to use.
            fields: Chat completion fields with ``messages`` as plain dicts.
        """
        rest = {name: value for name, value in fields.items() if name != "messages"}
        params = OpenAIChatCompletionRequestWithExtraBody(model=target.model_id, messages=_PLACEHOLDER_MESSAGES, **rest)
        messages = fields["messages"]
        params.messages = _records(messages) if target.reads_objects else messages
        return await self._router.openai_chat_completion(params)


def _target(
    model_id: str,
    provider_id: str,
    resource_id: str,
    provider: Any,  # noqa: ANN401 - providers have no common type
    metadata: Mapping[str, Any] | None = None,
) -> Target:
    provider_type = provider.__provider_spec__.provider_type if provider else ""
    reads_objects = getattr(provider, "download_images", False)
    return Target(model_id, provider_id, provider_type, resource_id, reads_objects, provider, metadata or {})


class _Record(dict[str, Any]):
    """A dict whose keys are also attributes."""

    __getattr__ = dict.get
    __setattr__ = dict.__setitem__


def _records(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return _Record((name, _records(part)) for name, part in value.items())
    return [_records(part) for part in value] if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Network:
    """The network settings in a provider's configuration.

    Attributes:
        options: The configured arguments of ``httpx.AsyncClient``: ``verify``, ``timeout`` and ``headers``.
        proxies: URL patterns of httpx (``https://``, ``all://host``) to the URL of a proxy; None: connect directly.
        proxy_ca: File with the CA certificate of the proxy.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    proxies: Mapping[str, str | None] = field(default_factory=dict)
    proxy_ca: str | None = None


def address_of(provider: Any) -> MessagesUpstream | None:  # noqa: ANN401 - providers have no common type
    """Return the base URL and the key that a provider uses for this request; None if it does not expose them.

    The key is the client's own for this provider, else the configured one. It is in no header: how it is sent depends
    on the operator's settings.
    """
    if not isinstance(provider, OpenAIMixin):
        return None
    try:
        base_url = str(provider.get_base_url())
        key = provider._get_api_key_from_config_or_provider_data()  # noqa: SLF001 - get_api_key() ignores the key of the request
    except ValueError:  # no key is configured, or keys per request are not supported
        return None
    return MessagesUpstream(base_url.rstrip("/").removesuffix("/v1"), secret=None if key in ("", _NO_KEY) else key)


def network_of(provider: Any) -> Network:  # noqa: ANN401 - as above
    """Return the network settings of a provider."""
    config = getattr(getattr(provider, "config", None), "network", None)
    options = _build_network_client_kwargs(config)
    options.pop("mounts", None)  # rebuilt by us: these have their own limits and ignore no_proxy
    if "verify" not in options and (shared := getattr(provider, "shared_ssl_context", None)):
        options["verify"] = shared
    proxy = config.proxy if config else None
    if proxy is None:
        return Network(options)
    proxies = {"all://": proxy.url, "http://": proxy.http, "https://": proxy.https}
    if "*" in (proxy.no_proxy or ()):
        return Network(options)
    found: dict[str, str | None] = {pattern: str(url) for pattern, url in proxies.items() if url}
    found |= {pattern: None for host in proxy.no_proxy or () if (pattern := _url_pattern(host.strip()))}
    return Network(options, found, str(proxy.cacert) if proxy.cacert else None)


def configured_headers(provider: Any) -> Mapping[str, str]:  # noqa: ANN401 - as above
    """Return the headers that an operator configured for all requests of a provider (``network.headers``)."""
    network = getattr(getattr(provider, "config", None), "network", None)
    return getattr(network, "headers", None) or {}


def _url_pattern(host: str) -> str | None:
    """Return httpx's URL pattern for a host to connect to directly; None if it is not a valid host."""
    with contextlib.suppress(ValueError):
        host = f"[{host}]" if ip_address(host).version == 6 else host
    pattern = f"all://{'*' if host.startswith('.') else ''}{host}"
    try:
        return pattern if host and httpx.URL(pattern) else None
    except httpx.InvalidURL:
        get_logger(__name__).warning("no_proxy: not a valid host, entry ignored", entry=host)
        return None


def check_allowed(target: Target) -> None:
    """Reject a model that is not in its provider's list of allowed models, as the provider's inference does.

    Raises:
        ValueError: The model is not allowed.
    """
    if isinstance(target.provider, OpenAIMixin):
        target.provider._validate_model_allowed(target.resource_id)  # noqa: SLF001 - only the provider's own inference calls it


def language_model(provider_id: str, name: str, metadata: dict[str, Any]) -> Model:
    """Return a language model for the platform's list."""
    return Model(
        provider_id=provider_id,
        provider_resource_id=name,
        identifier=name,
        model_type=ModelType.llm,
        metadata=metadata,
    )


def stream_options(requested: dict[str, Any] | None, *, stream: bool) -> dict[str, Any] | None:
    """Return the stream options; usage is always requested while the platform traces."""
    return get_stream_options_for_telemetry(requested, stream)  # type: ignore[no-any-return]


def chunk_with_reasoning(chunk: Any, text: str | None) -> Any:  # noqa: ANN401 - the SDK's object, the platform's wrapper
    """Return a chunk with reasoning in the form that the Responses API reads."""
    return OpenAIChatCompletionChunkWithReasoning(chunk=chunk, reasoning_content=text)


def completion_with_reasoning(completion: Any, text: str | None) -> Any:  # noqa: ANN401 - as above
    """Return a completion with reasoning in the form that the Responses API reads."""
    return OpenAIChatCompletionWithReasoning(completion=completion, reasoning_content=text)
