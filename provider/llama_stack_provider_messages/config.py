"""Configuration of the builtin Messages provider."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from llama_stack_api_messages.models import describe_validation_error

from .translation.messages_to_chat import PRESETS, Policy, profile_for
from .upstream.address import NativeSettings


class MessagesConfig(BaseModel):
    """The ``config:`` of ``inline::builtin`` under ``providers.messages``."""

    model_config = ConfigDict(extra="forbid")

    default_model: str | None = Field(
        default=None,
        description="Answers every model name that is neither served nor an alias, as `provider_id/model`. "
        "Unset or empty: such a name gets a 404 that lists what is served.",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict,
        description="Names clients insist on, mapped to `provider_id/model`. A name may be a pattern with `*` and `?`; "
        "an exact name wins over a served model, a served model over a pattern, the first pattern over later ones.",
    )
    ping_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Seconds of silence on a stream after which an `event: ping` is sent, also before the first token.",
    )
    max_request_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="Larger request bodies are answered with 413."
    )

    validation: Literal["lenient", "strict"] = Field(
        default="lenient",
        description="`lenient` repairs what clients get wrong and fills a missing `max_tokens`; `strict` answers 400 "
        "where the API itself does.",
    )
    default_max_tokens: int = Field(
        default=4096, ge=1, description="Stands in for a missing `max_tokens` where validation is lenient."
    )
    server_tools: Literal["remove", "reject"] = Field(
        default="remove",
        description="Tools a server would have to run, such as `web_search`: `remove` them and name them as dropped, "
        "or `reject` the request with 400. A forced one is a 400 either way.",
    )
    content_policy: Literal["refusal", "error"] = Field(
        default="refusal",
        description="What a backend's 400 on grounds of content policy becomes: a message with stop reason `refusal`, "
        "as the API does it, or an `error`.",
    )
    media_urls: Literal["pass", "fetch", "reject"] = Field(
        default="pass",
        description="Addresses of images and documents: `pass` hands those of images on, and answers 400 to "
        "those of documents, which chat completions cannot take; `fetch` downloads both here; `reject` answers 400.",
    )
    media_hosts: list[str] = Field(
        default_factory=list,
        description="Names and addresses that may be fetched from although they are not public, such as `10.0.0.5`.",
    )
    media_max_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="How much the addresses of one request may hold together."
    )
    media_timeout_seconds: float = Field(default=20.0, gt=0, description="How long fetching one address may take.")
    signing_secret: SecretStr | None = Field(
        default=None,
        description="Key of the signatures of thinking blocks. Unset or empty: one that was made once and is kept in "
        "the platform's folder. Servers that share conversations need the same one.",
    )
    backends: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Settings that differ from the built-in ones, by provider type, provider id or "
        "`provider_id/model`; the fields are those of a profile, and `like` names a preset.",
    )

    @field_validator("default_model", "signing_secret", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return value or None

    @field_validator("backends")
    @classmethod
    def _fields_exist(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, fields in value.items():
            if fields.get("like", "openai") not in PRESETS:
                raise ValueError(f"{name}.like: '{fields['like']}' is none of {', '.join(PRESETS)}")
            try:
                profile_for("", overrides=fields)
            except ValidationError as error:
                raise ValueError(f"{name}.{describe_validation_error(error)}") from None
        return value

    native: dict[str, NativeSettings] = Field(
        default_factory=dict,
        description="Whether requests go to a backend's own Messages API as they are, by inference provider id: "
        "`auto`, `on`, `off`, or a mapping. Without an entry vLLM, Ollama and Anthropic are `auto`, others `off`.",
    )
    native_probe_seconds: float = Field(
        default=300.0, gt=0, description="How long it holds what a backend answered when asked for its Messages API."
    )
    allow_lane_header: bool = Field(
        default=False,
        description="Let a request choose its lane with the header `x-messages-lane: native | translated`, for tests.",
    )

    def policy(self) -> Policy:
        """Return the settings that the translation of requests needs."""
        return Policy(
            strict=self.validation == "strict",
            default_max_tokens=self.default_max_tokens,
            server_tools=self.server_tools,
            content_policy=self.content_policy,
            media_urls=self.media_urls,
        )

    @classmethod
    def sample_run_config(cls, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - the platform passes what it likes
        """Return a starting point for run.yaml."""
        return {
            "default_model": "${env.DEFAULT_MODEL:=}",
            "aliases": {},
            "signing_secret": "${env.MESSAGES_SIGNING_SECRET:=}",
        }
