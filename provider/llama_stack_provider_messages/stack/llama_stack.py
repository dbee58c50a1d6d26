"""The only module of this package that imports the platform.

The platform's successor offers the same names elsewhere, so support for it ends here.
"""

import contextlib
from collections.abc import Mapping
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
)
from llama_stack_api.inference import OpenAIChatCompletionRequestWithExtraBody, OpenAIUserMessageParam

from llama_stack_api_messages.stack import API_NAME

__all__ = [
    "STATE_FOLDER",
    "AccessDeniedError",
    "Api",
    "AuthenticationRequiredError",
    "Connection",
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
    "Target",
    "check_allowed",
    "connection_of",
    "get_logger",
    "network_of",
    "register_routes",
]

STATE_FOLDER = LLAMA_STACK_CONFIG_DIR / "messages"
"""Where this provider keeps what has to outlive the process."""

_STAND_IN = [OpenAIUserMessageParam(role="user", content="-")]
"""Passes the platform's validation in place of the real messages, which are assigned afterwards as plain dicts:
its message classes reject or drop what many backends take (images in tool results, reasoning in history)."""


def get_logger(name: str) -> Any:  # noqa: ANN401 - the platform's logger has no public type
    """Return a key-value logger of the platform, in this project's category."""
    return _get_logger(name=name, category="providers::messages")


def register_routes() -> None:
    """Make the routes known to library-client mode, which does not look for external ones. Idempotent."""
    spec = ExternalApiSpec(module="llama_stack_api_messages", name=API_NAME, protocol="Messages")
    register_external_api_routers({Api(API_NAME): spec})


@dataclass(frozen=True, slots=True)
class Target:
    """The model that answers a request.

    Attributes:
        model_id: As the platform names it, ``provider_id/model``.
        provider_id: Name of the inference provider in run.yaml.
        provider_type: Its type, e.g. ``remote::vllm``.
        resource_id: As the backend names the model.
        reads_objects: Whether the provider reads messages by attribute, to load their images, as Ollama's does.
        provider: The provider itself.
    """

    model_id: str
    provider_id: str
    provider_type: str
    resource_id: str
    reads_objects: bool = False
    provider: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Network:
    """How a provider's configuration wants its backend to be reached.

    Attributes:
        options: Arguments of ``httpx.AsyncClient``: ``verify``, ``timeout`` and ``headers``, as far as configured.
        proxies: URL patterns of httpx (``https://``, ``all://host``) to the address of a proxy, or to None for none.
        proxy_ca: File with the certificate of the proxy.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    proxies: Mapping[str, str | None] = field(default_factory=dict)
    proxy_ca: str | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """A backend, as its inference provider reaches it.

    Attributes:
        base_url: Without the ``/v1`` at its end.
        key: Of this request: the client's own for this provider, else the configured one; None if it needs none.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)


_NO_KEY = "NO KEY REQUIRED"  # what several providers of the platform give as a key


def connection_of(provider: Any) -> Connection | None:  # noqa: ANN401 - providers have no common type
    """Return how a provider reaches its backend; None if it does not say."""
    if not isinstance(provider, OpenAIMixin):
        return None
    try:
        base_url = str(provider.get_base_url())
        key = provider._get_api_key_from_config_or_provider_data()  # noqa: SLF001 - get_api_key() knows no request
    except ValueError:  # nothing is configured, or no keys per request are foreseen
        return None
    return Connection(base_url.rstrip("/").removesuffix("/v1"), None if key in ("", _NO_KEY) else key)


def network_of(provider: Any) -> Network:  # noqa: ANN401 - as above
    """Return the network settings of a provider."""
    config = getattr(getattr(provider, "config", None), "network", None)
    options = _build_network_client_kwargs(config)
    options.pop("mounts", None)  # made anew: these have limits of their own and forget no_proxy
    if "verify" not in options and (shared := getattr(provider, "shared_ssl_context", None)):
        options["verify"] = shared
    proxy = config.proxy if config else None
    if proxy is None:
        return Network(options)
    proxies = {"all://": proxy.url, "http://": proxy.http, "https://": proxy.https}
    if "*" in (proxy.no_proxy or ()):
        return Network(options)
    found: dict[str, str | None] = {pattern: str(url) for pattern, url in proxies.items() if url}
    found |= {pattern: None for host in proxy.no_proxy or () if (pattern := _pattern_of(host.strip()))}
    return Network(options, found, str(proxy.cacert) if proxy.cacert else None)


def _pattern_of(host: str) -> str | None:
    """Return httpx's pattern for a host that is reached directly; None for what is no host."""
    with contextlib.suppress(ValueError):
        host = f"[{host}]" if ip_address(host).version == 6 else host
    pattern = f"all://{'*' if host.startswith('.') else ''}{host}"
    try:
        return pattern if host and httpx.URL(pattern) else None
    except httpx.InvalidURL:
        get_logger(__name__).warning("no_proxy: this is no host, and ignored", entry=host)
        return None


def check_allowed(target: Target) -> None:
    """Refuse a model that is not in its provider's list of allowed ones, as its own inference would.

    Raises:
        ValueError: It is not.
    """
    if isinstance(target.provider, OpenAIMixin):
        target.provider._validate_model_allowed(target.resource_id)  # noqa: SLF001 - the platform leaves it to its callers


class _Record(dict[str, Any]):
    """A dict whose keys are attributes too."""

    __getattr__ = dict.get
    __setattr__ = dict.__setitem__


def _records(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return _Record((name, _records(part)) for name, part in value.items())
    return [_records(part) for part in value] if isinstance(value, list) else value


class _Router(InferenceRouter):  # type: ignore[misc]  # the platform has no types
    """The platform's router. Its own looks through the choices of a whole answer, and fails where there are none.

    Such an answer holds the backend's error (OpenRouter answers 200 then), which the translation reads.
    """

    async def _nonstream_openai_chat_completion(self, provider: Any, params: Any) -> Any:  # noqa: ANN401 - the platform's
        return await provider.openai_chat_completion(params)


class Platform:
    """The stack's models and inference, as this provider needs them.

    Inference goes through a router of our own without a store: the stack's own one writes every
    conversation to SQL, which stalls the server at a few dozen concurrent requests on SQLite.
    Routing, access rules and metrics are the same.

    Args:
        deps: The implementations the platform hands to the provider.
    """

    def __init__(self, deps: Mapping[Any, Any]) -> None:
        self._models = deps[Api.models]
        self._router = _Router(self._models)

    def is_served(self, name: str) -> bool:
        """Whether the platform would route the name itself.

        It knows models as ``provider_id/model`` only, and passes any model name to a provider it has.
        """
        provider_id, slash, _ = name.partition("/")
        return bool(slash) and provider_id in self._models.impls_by_provider_id

    async def locate(self, model_id: str) -> Target | None:
        """Return where the model runs, or None if there is no such model or the caller may not use it.

        Raises:
            ModelTypeError: It is not a language model.
        """
        try:
            provider, resource_id = await self._router._get_model_provider(model_id, ModelType.llm)  # noqa: SLF001 - only way that covers unregistered ids
        except ModelNotFoundError:
            return None
        return Target(
            model_id,
            provider.__provider_id__,
            provider.__provider_spec__.provider_type,
            resource_id,
            reads_objects=getattr(provider, "download_images", False),
            provider=provider,
        )

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
        """Count a call that did not go through the platform's inference, in the platform's own metrics.

        Args:
            target: The model that answered.
            stream: Whether it was a stream.
            success: Whether it came to its end.
            seconds: From the request to the end of the answer.
            first_seconds: From the request to the first bytes of the answer.
            tokens: Output tokens.
        """
        status = "success" if success else "error"
        model, provider = target.model_id, target.provider_id
        attributes = create_inference_metric_attributes(model, provider, stream, status)
        inference_duration.record(seconds, attributes=attributes)
        if first_seconds is not None:
            inference_time_to_first_token.record(first_seconds, attributes=attributes)
        if tokens and seconds > 0:
            inference_tokens_per_second.record(tokens / seconds, attributes=attributes)

    async def served_models(self) -> list[str]:
        """Return the ids of the language models the caller may use."""
        listed = await self._models.list_models()
        return sorted(model.identifier for model in listed.data if model.model_type == ModelType.llm)

    async def chat(self, target: Target, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - objects of the openai SDK
        """Run a chat completion; streaming, it returns an async iterator once the upstream has accepted.

        Args:
            target: The model that answers.
            fields: Chat completion fields with ``messages`` as plain dicts.
        """
        rest = {name: value for name, value in fields.items() if name != "messages"}
        params = OpenAIChatCompletionRequestWithExtraBody(model=target.model_id, messages=_STAND_IN, **rest)
        messages = fields["messages"]
        params.messages = _records(messages) if target.reads_objects else messages
        return await self._router.openai_chat_completion(params)
