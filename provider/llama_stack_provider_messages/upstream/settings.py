"""Settings of the native lane, per inference provider."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

type Mode = Literal["auto", "on", "off"]

_MODES = {True: "on", False: "off"}
"""YAML parses ``on`` and ``off`` as booleans."""


class NativeSettings(BaseModel):
    """One entry of ``native``: a mode, or a mapping with these fields."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode = Field(
        default="auto",
        description="`on` and `off` decide; `auto` asks the backend, once in a while, whether it has `/v1/messages`.",
    )
    base_url: str | None = Field(
        default=None,
        description="Where the backend's Messages API is, as an Anthropic SDK takes it: `/v1/messages` is appended. "
        "Unset: the base URL of the inference provider, without its `/v1`.",
    )
    anthropic: bool | None = Field(
        default=None,
        description="The backend is Anthropic's own API, wherever it is hosted: it takes the key as `x-api-key`, "
        "wants the billing block, and checks signatures. Unset: true for `remote::anthropic`.",
    )
    auth: Literal["x-api-key", "bearer"] | None = Field(
        default=None, description="How the provider's key is sent. Unset: by `anthropic`, else as Bearer token."
    )
    forward_client_auth: bool = Field(
        default=False,
        description="Send the client's own `x-api-key` and `authorization` instead of the provider's key.",
    )
    forward_headers: list[str] = Field(
        default_factory=list, description="Further request headers to send along, by name."
    )
    strip_billing_header: bool | None = Field(
        default=None,
        description="Take the `x-anthropic-billing-header` block out of the system prompt: it changes with every "
        "request and costs the prefix cache. Unset: unless `anthropic`.",
    )
    own_request_id: bool = Field(
        default=False, description="Answer with this server's `request-id` instead of the backend's."
    )
    ping_before_status: bool = Field(
        default=False,
        description="Begin a stream with pings while the backend is silent, as the translated lane does; a refusal "
        "after the first one is an `error` event.",
    )
    repair: bool = Field(
        default=False, description="Put the backend's answers right where llama.cpp's endpoint deviates from the API."
    )
    connect_seconds: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="How long connecting may take. Unset: the provider's network settings, else 10.",
    )
    silence_seconds: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="How long the next bytes may take. Unset: the provider's network settings, else 600.",
    )

    @model_validator(mode="before")
    @classmethod
    def _mode_alone(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return value if isinstance(value, dict | NativeSettings) else {"mode": value}

    @field_validator("mode", mode="before")
    @classmethod
    def _yaml_boolean(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return _MODES.get(value, value) if isinstance(value, bool) else value
