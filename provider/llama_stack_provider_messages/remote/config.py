"""Configuration of ``remote::messages``."""

import re
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.stack import RemoteInferenceProviderConfig

_AUTH = re.compile(r"x-api-key|bearer|header:[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_WORD = re.compile(r"[\x21-\x7e]+")
_FRAMING = frozenset({"content-length", "transfer-encoding", "host", "content-type", "content-encoding"})
"""Headers of message framing and content type, which must not be configured."""


class ModelEntry(BaseModel):
    """One model of the upstream: a name, or a mapping with these fields."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, description="What the upstream calls it: the name of a deployment, on Azure.")
    max_tokens: int | None = Field(
        default=None, ge=1, description="How many tokens it can put out; what a request gets that names no limit."
    )
    context: int | None = Field(default=None, ge=1, description="Its context window in tokens, for the list of models.")
    type: str | None = Field(
        default=None,
        description="The model it is, such as `claude-sonnet-4-5`, where `id` does not say so: what it takes follows "
        "from that.",
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
        description="Where the upstream is, as an Anthropic SDK takes it: `/v1/messages` is appended. It may have a "
        "path, such as `https://NAME.services.ai.azure.com/anthropic`.",
    )
    auth: str = Field(
        default="x-api-key",
        description="How the key is sent: `x-api-key`, `bearer`, or `header:NAME` for a header of that name.",
    )
    anthropic_version: str = Field(
        default="2023-06-01",
        description="The version of the API. Messages requests that go through as they are keep the one of their "
        "client, unless this is set.",
    )
    anthropic_beta: list[str] = Field(
        default_factory=list, description="Betas to switch on with every request, beside those a request asks for."
    )
    headers: dict[str, str] = Field(default_factory=dict, description="Further headers of every request.")
    models: list[ModelEntry] | None = Field(
        default=None,
        description="The models, each a name or a mapping. Unset: those the upstream lists at `/v1/models`; Azure AI "
        "Foundry has no such list.",
    )
    anthropic: bool | None = Field(
        default=None,
        description="The models are Anthropic's own, which check signatures. Unset: those with `claude` in their name.",
    )
    default_max_tokens: int = Field(
        default=4096,
        ge=1,
        description="Stands in for a missing limit where nothing is known of the model: the API needs one.",
    )
    strict: bool = Field(
        default=False,
        description="Answer 400 to what the Messages API has no equal for, instead of leaving it out.",
    )
    max_retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How often a request is sent again that the upstream could not take. Clients do that themselves, "
        "so that 0 is best for most.",
    )
    max_continuations: int = Field(
        default=5,
        ge=0,
        le=50,
        description="How often an answer is continued that the upstream paused in the middle of its own tools.",
    )

    @field_validator("base_url")
    @classmethod
    def _without_version(cls, value: str) -> str:
        try:
            url = httpx.URL(value)
        except httpx.InvalidURL as error:
            raise ValueError(f"no URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host or url.query or url.userinfo:
            raise ValueError("give scheme, host and path of the upstream, such as https://api.anthropic.com")
        return value.rstrip("/").removesuffix("/v1/messages").removesuffix("/v1").rstrip("/")

    @field_validator("auth")
    @classmethod
    def _known_auth(cls, value: str) -> str:
        if not _AUTH.fullmatch(value):
            raise ValueError("this is none of x-api-key, bearer, header:NAME")
        if value.removeprefix("header:").lower() in _FRAMING:
            raise ValueError("HTTP itself sets this header; name another")
        return value

    @field_validator("anthropic_version", "anthropic_beta")
    @classmethod
    def _words(cls, value: str | list[str]) -> str | list[str]:
        for word in [value] if isinstance(value, str) else value:
            if not _WORD.fullmatch(word):
                raise ValueError(f"{word!r} is no name that a header can carry")
        return value

    @field_validator("headers")
    @classmethod
    def _sendable(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _AUTH.fullmatch(f"header:{name}") or not _VALUE.fullmatch(text):
                raise ValueError(f"{name!r} is no header that HTTP can carry")
            if name.lower() in _FRAMING:
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
