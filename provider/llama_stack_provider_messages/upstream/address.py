"""The address of a backend that speaks the Messages API, and the credentials of a request to it.

``Upstream`` is what a request is sent to. It is resolved for each request, because the key may be the client's, from
three sources, of which the first that says something wins:

    ``NativeSettings``      what the operator configures for an inference provider, under ``native``
    ``MessagesUpstream``    what the provider itself declares (``SpeaksMessages``, the public contract)
    ``address_of``          the base URL and the key that the provider uses for chat completions
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llama_stack_api_messages import MessagesUpstream, SpeaksMessages
from llama_stack_provider_messages.errors.exceptions import translate_failure
from llama_stack_provider_messages.headers import CREDENTIALS, NO_SECRETS
from llama_stack_provider_messages.stack import Target, address_of

ANTHROPIC_TYPES = frozenset({"remote::anthropic"})
"""Provider types whose backend is Anthropic's own API."""

type Mode = Literal["auto", "on", "off"]

_MODES = {True: "on", False: "off"}
"""YAML parses ``on`` and ``off`` as booleans."""
_LIKE_A_KEY = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z]).{8,}")
"""At least eight characters with letters and digits; a value without digits is a word, which errors may contain."""


class NativeSettings(BaseModel):
    """One entry of ``native``: a mode, or a mapping with these fields."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode = Field(
        default="auto",
        description="`on`: use the native lane; `off`: do not; `auto`: probe the backend, from time to time, for "
        "`/v1/messages`.",
    )
    base_url: str | None = Field(
        default=None,
        description="Base URL of the backend's Messages API, as an Anthropic SDK takes it: `/v1/messages` is appended. "
        "Unset: the base URL of the inference provider, without its `/v1`.",
    )
    anthropic: bool | None = Field(
        default=None,
        description="Whether the backend is Anthropic's own API, wherever it is hosted: it takes the key as "
        "`x-api-key`, needs the billing block, and verifies signatures. Unset: true for `remote::anthropic`.",
    )
    auth: Literal["x-api-key", "bearer"] | None = Field(
        default=None,
        description="How the provider's key is sent. Unset: as `x-api-key` if `anthropic`, else as Bearer token.",
    )
    forward_client_auth: bool = Field(
        default=False,
        description="Send the client's own `x-api-key` and `authorization` in place of the provider's key.",
    )
    forward_headers: list[str] = Field(default_factory=list, description="Names of further request headers to forward.")
    strip_billing_header: bool | None = Field(
        default=None,
        description="Remove the `x-anthropic-billing-header` block from the system prompt: it changes with every "
        "request, which defeats the prefix cache. Unset: true unless `anthropic`.",
    )
    own_request_id: bool = Field(
        default=False, description="Send this server's `request-id` to the client in place of the backend's."
    )
    ping_before_status: bool = Field(
        default=False,
        description="Send pings before the backend has responded, as the translated lane does; after the first ping, "
        "an error response of the backend becomes an `error` event.",
    )
    repair: bool = Field(
        default=False, description="Repair responses where llama.cpp's endpoint deviates from the API."
    )
    connect_seconds: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Connect timeout in seconds. Unset: that of the provider's network settings, else 10.",
    )
    silence_seconds: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Read timeout in seconds, between two chunks. Unset: that of the provider's network "
        "settings, else 600.",
    )

    @model_validator(mode="before")
    @classmethod
    def _mode_alone(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return value if isinstance(value, dict | NativeSettings) else {"mode": value}

    @field_validator("mode", mode="before")
    @classmethod
    def _yaml_boolean(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return _MODES.get(value, value) if isinstance(value, bool) else value


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend that speaks the Messages API.

    Attributes:
        provider_id: Id of its inference provider, which errors may show.
        base_url: Base URL without ``/v1``.
        headers: Credentials for this request, and other headers of the provider.
        settings: The operator's settings of the native lane.
        anthropic: Whether it is Anthropic's own API.
        secret: The key in the headers.
    """

    provider_id: str
    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    settings: NativeSettings
    anthropic: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values to redact from errors: the key, and other header values that look like keys."""
        values = [text.split(" ")[-1] for name, text in self.headers.items() if name.lower() not in NO_SECRETS]
        return tuple(filter(None, [self.secret, *filter(_LIKE_A_KEY.fullmatch, values)]))


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
    )


def _is_anthropic(target: Target, settings: NativeSettings, declared: bool | None) -> bool:
    """Return whether the backend is Anthropic's own API: as configured, declared, or by the provider's type."""
    if settings.anthropic is not None:
        return settings.anthropic
    return target.provider_type in ANTHROPIC_TYPES if declared is None else declared
