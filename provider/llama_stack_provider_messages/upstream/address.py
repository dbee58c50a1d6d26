"""The address of a backend, and the credentials of a request to it.

``Upstream`` is what a request is sent to. It is resolved for each request, because the key may be the client's. For
the Messages API there are three sources, of which the first that says something wins:

    ``NativeSettings``      what the operator configures for an inference provider, under ``native``
    ``MessagesUpstream``    what the provider itself declares (``SpeaksMessages``, the public contract)
    ``address_of``          the base URL and the key that the provider uses for chat completions

Chat completions go to the address that the provider itself uses (``chat_upstream_of``), if the provider does no more
with a request than to post it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

from llama_stack_api_messages import MessagesUpstream, SpeaksMessages
from llama_stack_provider_messages.errors.exceptions import translate_failure
from llama_stack_provider_messages.headers import CREDENTIALS, header_secrets
from llama_stack_provider_messages.stack import Target, address_of, chat_address_of, configured_headers

from .settings import Mode, NativeSettings
from .this_machine import is_this_machine

ANTHROPIC_TYPES = frozenset({"remote::anthropic"})
"""Provider types whose backend is Anthropic's own API."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend.

    Attributes:
        provider_id: Id of its inference provider, which errors may show.
        base_url: Base URL; of the Messages API without ``/v1``, of chat completions as the provider has it.
        headers: Credentials for this request, and other headers of the provider.
        settings: The operator's settings of the native lane.
        anthropic: Whether it is Anthropic's own API.
        secret: The key in the headers.
        environment_proxies: Whether the proxies of the environment are used, as the platform's providers do.
        network_headers: Headers that the operator configured for all requests of the provider.
    """

    provider_id: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    settings: NativeSettings
    anthropic: bool = False
    secret: str | None = field(default=None, repr=False)
    environment_proxies: bool = False
    network_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values to redact from errors: the key, other header values that look like keys, and the host."""
        configured = [*header_secrets(self.headers), *header_secrets(self.network_headers)]
        return tuple(dict.fromkeys(filter(None, [self.secret, *configured, *_parts_to_hide(self.base_url)])))


def _parts_to_hide(base_url: str) -> list[str]:
    """Return host and port of a base URL, and the credentials in it; a host without a dot and a port is a word."""
    try:
        login, _, host = urlsplit(base_url).netloc.rpartition("@")
    except ValueError:  # not a valid URL, and the request will fail
        return []
    return [*login.split(":"), *([host] if set(host) & {".", ":"} else [])]


@runtime_checkable
class ServesChat(Protocol):
    """An inference provider of this package, whose engine has a chat completions endpoint of its own."""

    async def chat_upstream(self) -> Upstream:
        """Return the endpoint; raise a RuntimeError if the engine does not start."""
        ...

    async def connection_error(self) -> Exception:
        """Return the error for a broken connection, with the reason if the engine has ended."""
        ...


async def chat_upstream_of(target: Target, mode: Mode) -> Upstream | None:
    """Return where the chat completions of a model are; None if they have to go through its provider.

    Args:
        target: The model.
        mode: ``auto``: only if a provider of this class does no more than post the request; ``on``: for providers of
            other classes, too; ``off``: never.

    Raises:
        RuntimeError: The provider's engine does not start.
    """
    if mode == "off":
        return None
    if isinstance(target.provider, ServesChat):
        return await target.provider.chat_upstream()
    found = chat_address_of(target.provider, any_class=mode == "on")
    if found is None:
        return None
    return Upstream(
        target.provider_id,
        found.base_url,
        found.headers,
        NativeSettings(),
        secret=found.secret,
        network_headers=configured_headers(target.provider),
        environment_proxies=not is_this_machine(found.base_url),
    )


async def declared_by(target: Target) -> MessagesUpstream | None:
    """Return the upstream that a provider declares; None if it declares none.

    Raises:
        MessagesError: The provider's engine does not start.
    """
    if not isinstance(target.provider, SpeaksMessages):
        return None
    try:
        return await target.provider.messages_upstream(target.resource_id)
    except RuntimeError as error:  # an engine did not start
        raise translate_failure(error, target.provider_id) from error


def upstream_of(target: Target, settings: NativeSettings, declared: MessagesUpstream | None) -> Upstream | None:
    """Return the upstream of a model; None if no base URL is known.

    Args:
        target: The model.
        settings: The operator's settings.
        declared: The upstream that the provider declares; without it, the provider's base URL and key are used.
    """
    if declared:
        return resolve(target, settings, declared)
    found = address_of(target.provider)
    if found is None:
        return resolve(target, settings, MessagesUpstream(settings.base_url)) if settings.base_url else None
    headers = {}
    if key := found.secret:
        auth = settings.auth or ("x-api-key" if _is_anthropic(target, settings, None) else "bearer")
        headers = {"x-api-key": key} if auth == "x-api-key" else {"authorization": f"Bearer {key}"}
    return resolve(target, settings, MessagesUpstream(found.base_url, headers))


def resolve(target: Target, settings: NativeSettings, declared: MessagesUpstream) -> Upstream:
    """Return a declared upstream with the operator's settings applied.

    Args:
        target: The model.
        settings: The operator's settings.
        declared: The address, and the headers of this request.
    """
    headers = dict(declared.headers)
    if settings.forward_client_auth:
        headers = {name: text for name, text in headers.items() if name not in CREDENTIALS and text != declared.secret}
    in_headers = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    return Upstream(
        target.provider_id,
        (settings.base_url or declared.base_url).rstrip("/").removesuffix("/v1"),
        headers,
        settings,
        _is_anthropic(target, settings, declared.anthropic),
        declared.secret or in_headers or None,
        network_headers=configured_headers(target.provider),
    )


def _is_anthropic(target: Target, settings: NativeSettings, declared: bool | None) -> bool:
    """Return whether the backend is Anthropic's own API: as configured, declared, or by the provider's type."""
    if settings.anthropic is not None:
        return settings.anthropic
    return target.provider_type in ANTHROPIC_TYPES if declared is None else declared
