"""Configuration of ``remote::messages``."""

import re
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.headers import DEFAULT_VERSION, FRAMING
from llama_stack_provider_messages.stack import RemoteInferenceProviderConfig

_AUTH = re.compile(r"x-api-key|bearer|header:[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")


class ModelEntry(BaseModel):
    """One model of the upstream: a name, or a mapping with these fields."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, description="The upstream's name of the model; on Azure, the name of the deployment.")
    max_tokens: int | None = Field(
        default=None, ge=1, description="Limit of output tokens, also sent for a request without a limit."
    )
    context: int | None = Field(default=None, ge=1, description="Context window in tokens, shown in the model list.")
    type: str | None = Field(
        default=None,
        description="The name of the model, such as `claude-sonnet-4-5`, if `id` is the name of a deployment. The "
        "settings that the model accepts follow from it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return {"id": value} if isinstance(value, str) else value


class RemoteMessagesProviderData(BaseModel):
    """Keys that a request may send in ``x-llamastack-provider-data``; also ``<provider_id>_api_key``, which wins."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)  # the platform logs the errors

    messages_api_key: Any = Field(default=None, repr=False, description="Key for the upstream of this request.")

    def key(self, provider_id: str) -> str | None:
        """Return the key that a request sends for a provider.

        Raises:
            InvalidRequestError: The key is not a string; the configured key is not used in its place.
        """
        named = {**(self.model_extra or {}), "messages_api_key": self.messages_api_key}
        for name in (f"{provider_id}_api_key", "messages_api_key"):
            value = named.get(name)
            if value is not None and not isinstance(value, str):
                raise InvalidRequestError(f"x-llamastack-provider-data: {name} has to be a string")
            if value:
                return value
        return None


class RemoteMessagesConfig(RemoteInferenceProviderConfig):  # type: ignore[misc] # the platform's server has no types
    """The ``config:`` of ``remote::messages`` under ``providers.inference``."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field(
        default="https://api.anthropic.com",
        description="Base URL of the upstream, as an Anthropic SDK takes it: `/v1/messages` is appended. It may have a "
        "path, such as `https://NAME.services.ai.azure.com/anthropic`.",
    )
    auth: str = Field(
        default="x-api-key",
        description="How the key is sent: `x-api-key`, `bearer`, or `header:NAME` for a header of that name.",
    )
    anthropic_version: str = Field(
        default=DEFAULT_VERSION,
        description="Version of the API. Messages requests of the native lane keep their client's version, unless this "
        "is set.",
    )
    anthropic_beta: list[str] = Field(
        default_factory=list, description="Betas to enable for every request, in addition to those of the request."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Further headers to send with every request.")
    models: list[ModelEntry] | None = Field(
        default=None,
        description="The models, each a name or a mapping. Unset: those that the upstream lists at `/v1/models`; Azure "
        "AI Foundry does not list them.",
    )
    anthropic: bool | None = Field(
        default=None,
        description="Whether the models are Anthropic's own, which verify signatures. Unset: those with `claude` in "
        "their name.",
    )
    default_max_tokens: int = Field(
        default=4096,
        ge=1,
        description="Limit of output tokens for a request without one, if the limit of the model is not known: the API "
        "requires it.",
    )
    strict: bool = Field(
        default=False,
        description="Reject request fields that the Messages API has no equivalent for with 400, instead of dropping "
        "them.",
    )
    max_retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Limit of retries after a temporary error of the upstream. Clients retry themselves, so 0 suits "
        "most stacks.",
    )
    max_continuations: int = Field(
        default=5,
        ge=0,
        le=50,
        description="Limit of continuations of a response that the upstream paused while it ran its own tools.",
    )

    @field_validator("base_url")
    @classmethod
    def _without_version(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL as error:
            raise ValueError(f"not a valid URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host or url.query or url.userinfo:
            raise ValueError("give scheme, host and path of the upstream, such as https://api.anthropic.com")
        return value.rstrip("/").removesuffix("/v1/messages").removesuffix("/v1").rstrip("/")

    @field_validator("auth")
    @classmethod
    def _valid_auth(cls, value: str) -> str:
        if not _AUTH.fullmatch(value):
            raise ValueError("not one of x-api-key, bearer, header:NAME")
        if value.removeprefix("header:").lower() in FRAMING:
            raise ValueError("HTTP sets this header itself; name another one")
        return value

    @field_validator("anthropic_version", "anthropic_beta")
    @classmethod
    def _valid_tokens(cls, value: str | list[str]) -> str | list[str]:
        for token in [value] if isinstance(value, str) else value:
            if not _TOKEN.fullmatch(token):
                raise ValueError(f"{token!r} is not valid in a header; use ASCII without spaces")
        return value

    @field_validator("headers")
    @classmethod
    def _valid_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _AUTH.fullmatch(f"header:{name}") or not _HEADER_VALUE.fullmatch(text):
                raise ValueError(f"{name!r} is not a valid header; use ASCII without line ends")
            if name.lower() in FRAMING:
                raise ValueError(f"{name!r} is set by HTTP itself; leave it out")
        return {name.lower(): text for name, text in value.items()}

    def credentials(self, key: str | None) -> dict[str, str]:
        """Return the header with the key; empty without a key."""
        if not key:
            return {}
        if self.auth == "bearer":
            return {"authorization": f"Bearer {key}"}
        return {self.auth.removeprefix("header:").lower(): key}

    @classmethod
    def sample_run_config(
        cls,
        base_url: str = "${env.MESSAGES_BASE_URL:=https://api.anthropic.com}",
        api_key: str = "${env.MESSAGES_API_KEY:=}",
        **_: Any,  # noqa: ANN401 - the platform passes what it likes
    ) -> dict[str, Any]:
        """Return a starting point for run.yaml."""
        return {"base_url": base_url, "api_key": api_key, "auth": "x-api-key"}
