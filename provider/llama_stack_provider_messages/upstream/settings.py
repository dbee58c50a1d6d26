"""What an operator configures for requests to an inference provider's backend, under ``native`` in run.yaml.

The module does not import the platform, so that ``messages check`` validates a run.yaml in less than a second.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_MODES = {True: "on", False: "off"}


def _yaml_boolean(value: object) -> object:
    return _MODES.get(value, value) if isinstance(value, bool) else value


type Mode = Annotated[Literal["auto", "on", "off"], BeforeValidator(_yaml_boolean)]
"""YAML parses ``on`` and ``off`` as booleans."""


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
