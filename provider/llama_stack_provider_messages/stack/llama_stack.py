"""The platform llama-stack: its names, and small functions and types over its objects.

Only this module of the provider imports the platform. The platform's successor has the same names in other modules, so
it gets a module of its own beside this one, with the same ``__all__``. The interface has three parts:

- ``Platform``: models, inference and metrics of the stack.
- What is read from an inference provider of the stack: its address and key, its network settings, its allowed models.
- What an inference provider of our own needs: its base classes, and the objects that it returns.
"""

import contextlib
import os
import urllib.request
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
from llama_stack_api_messages.errors import InvalidRequestError
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
    "chat_address_of",
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
MAX_SDK_TOOLS = 2_000
"""Tools of a chat completion through the platform's SDK, which spends most of a millisecond on each."""
MAX_SDK_MESSAGES = 10_000
"""Its messages, calls, and parts other than text; the SDK spends a third of a millisecond on each."""
_NO_KEY = "NO KEY REQUIRED"
"""The placeholder key of several providers of the platform."""
_REMOTE = "llama_stack.providers.remote.inference"
_OPENAI_PROVIDER = f"{_REMOTE}.openai.openai"
_PLAIN_PROVIDERS = frozenset({f"{_REMOTE}.{name}" for name in (
    "anthropic.anthropic", "azure.azure", "bedrock.bedrock", "cerebras.cerebras", "databricks.databricks",
    "fireworks.fireworks", "gemini.gemini", "groq.groq", "llama_cpp_server.llama_cpp_server",
    "llama_openai_compat.llama", "nvidia.nvidia", "ollama.ollama", "openai.openai", "runpod.runpod",
    "sambanova.sambanova", "together.together", "vllm.vllm",
)})  # fmt: skip
"""Modules of the platform's providers whose chat completion is a plain POST with a Bearer key. Not among them: OCI
(signed requests), watsonx (tokens, project ids), Vertex AI (another SDK), passthrough (addresses of the request)."""
_PLAIN_CHAT = frozenset({OpenAIMixin.__module__, f"{_REMOTE}.vllm.vllm", f"{_REMOTE}.bedrock.bedrock"})
"""Modules whose ``openai_chat_completion`` adds nothing that the lane needs. vLLM's fills in a missing ``max_tokens``,
which the translation always sends; Bedrock's rewords a 401."""
_OPENAI_HEADERS = {"openai-organization": "OPENAI_ORG_ID", "openai-project": "OPENAI_PROJECT_ID"}
"""Headers that OpenAI's SDK reads from environment variables; sent to OpenAI only."""


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


class Platform:
    """The stack's models and inference, as this provider needs them.

    The inference providers are called without the stack's router: it writes every conversation to SQL, which stalls
    the server at a few dozen concurrent requests on SQLite, and fails on a response without choices, which holds the
    backend's error (OpenRouter sends it with status 200). Routing, access rules and metrics are the same.

    Args:
        deps: The API implementations that the platform passes to the provider.
    """

    def __init__(self, deps: Mapping[Any, Any]) -> None:
        self._models = deps[Api.models]
        self._router = InferenceRouter(self._models)

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
        """Record a request in the platform's metrics, as its router does.

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
        """Return the chat completion of a provider; if streaming, an async iterator of chunks, once it has accepted.

        Args:
            target: The model to use.
            fields: Chat completion fields with ``messages`` as plain dicts.

        Raises:
            InvalidRequestError: The SDK would keep the event loop busy for seconds.
        """
        _check_size(fields)
        rest = {name: value for name, value in fields.items() if name != "messages"}
        params = OpenAIChatCompletionRequestWithExtraBody(
            model=target.resource_id, messages=_PLACEHOLDER_MESSAGES, **rest
        )
        messages = fields["messages"]
        params.messages = _records(messages) if target.reads_objects else messages
        return await target.provider.openai_chat_completion(params)


def _check_size(fields: Mapping[str, Any]) -> None:
    if len(fields.get("tools") or ()) > MAX_SDK_TOOLS:
        raise InvalidRequestError(
            f"tools: more than {MAX_SDK_TOOLS} tools are not accepted for a model of this provider; send fewer"
        )
    count = 0
    for message in fields["messages"]:
        parts = message.get("content")
        texts = isinstance(parts, str) or parts is None
        count += 1 + len(message.get("tool_calls") or ())
        count += 0 if texts else sum(part["type"] != "text" for part in parts)
    if count > MAX_SDK_MESSAGES:
        raise InvalidRequestError(
            f"messages: more than {MAX_SDK_MESSAGES} messages, tool calls, images and files are not accepted for a "
            "model of this provider; shorten the conversation"
        )


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


def chat_address_of(provider: Any, *, any_class: bool = False) -> MessagesUpstream | None:  # noqa: ANN401 - as above
    """Return where a provider sends chat completions, if a plain POST does what the provider would do; else None.

    That is so for the classes in ``_PLAIN_PROVIDERS``, as long as they leave the calls and the client to the platform's
    base class. The provider's other hooks (routing, models, embeddings) stay in use.

    Args:
        provider: The inference provider.
        any_class: Whether to accept any class derived from the platform's base class.
    """
    if not isinstance(provider, OpenAIMixin):
        return None
    cls = type(provider)
    inherits = cls.client is OpenAIMixin.client and (
        cls.get_extra_client_params is OpenAIMixin.get_extra_client_params
        and cls.openai_chat_completion.__module__ in _PLAIN_CHAT
    )
    if not (any_class or (inherits and cls.__module__ in _PLAIN_PROVIDERS)):
        return None
    try:
        base_url = str(provider.get_base_url()).rstrip("/")
        key = provider._get_api_key_from_config_or_provider_data()  # noqa: SLF001 - as in ``address_of``
    except ValueError:
        return None
    if not key:  # the provider's own call raises the error that says how to send one
        return None
    names = _OPENAI_HEADERS if cls.__module__ == _OPENAI_PROVIDER else {}
    headers = {name: value for name, variable in names.items() if (value := os.environ.get(variable))}
    return MessagesUpstream(base_url, {**headers, "authorization": f"Bearer {key}"}, secret=key)


def network_of(provider: Any, *, environment: bool = False) -> Network:  # noqa: ANN401 - as above
    """Return the network settings of a provider.

    Args:
        provider: The inference provider.
        environment: Whether the proxies of the environment (``HTTPS_PROXY`` ...) are used if none is configured.
    """
    config = getattr(getattr(provider, "config", None), "network", None)
    options = _build_network_client_kwargs(config)
    options.pop("mounts", None)  # rebuilt by us: these have their own limits and ignore no_proxy
    if "verify" not in options and (shared := getattr(provider, "shared_ssl_context", None)):
        options["verify"] = shared
    proxy = config.proxy if config else None
    if proxy is None:
        return Network(options, _environment_proxies() if environment else {})
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


def _environment_proxies() -> dict[str, str | None]:
    """Return the proxies of the environment by URL pattern; a host in ``NO_PROXY`` includes its subdomains.

    SOCKS proxies are not supported, and ignored.
    """
    set_ = urllib.request.getproxies()
    excluded = [host for part in set_.get("no", "").split(",") if (host := part.strip())]
    if "*" in excluded:
        return {}
    found: dict[str, str | None] = {}
    for kind in ("all", "http", "https"):
        if proxy := set_.get(kind):
            proxy = proxy if "://" in proxy else f"http://{proxy}"
            found |= {f"{kind}://": proxy} if proxy.startswith(("http://", "https://")) else {}
    for host in excluded if found else ():
        if "://" in host:
            found[host] = None
            continue
        names = (host,) if host.startswith(".") else (host, f".{host}")
        found |= {pattern: None for name in names if (pattern := _url_pattern(name))}
    return found


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


def stream_options(requested: dict[str, Any] | None, *, stream: bool, supported: bool = True) -> dict[str, Any] | None:
    """Return the stream options; usage is always requested while the platform traces, if the backend supports it."""
    return get_stream_options_for_telemetry(requested, stream, supported)  # type: ignore[no-any-return]


def chunk_with_reasoning(chunk: Any, text: str | None) -> Any:  # noqa: ANN401 - the SDK's object, the platform's wrapper
    """Return a chunk with reasoning in the form that the Responses API reads."""
    return OpenAIChatCompletionChunkWithReasoning(chunk=chunk, reasoning_content=text)


def completion_with_reasoning(completion: Any, text: str | None) -> Any:  # noqa: ANN401 - as above
    """Return a completion with reasoning in the form that the Responses API reads."""
    return OpenAIChatCompletionWithReasoning(completion=completion, reasoning_content=text)
