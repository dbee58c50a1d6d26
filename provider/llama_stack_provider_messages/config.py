"""Configuration of the builtin Messages provider."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from llama_stack_api_messages import ServeSettings
from llama_stack_api_messages.limits import RequestLimits
from llama_stack_api_messages.models.request import MAX_MESSAGES

from .translation.messages_to_chat import PRESETS, Policy, Profile
from .upstream.settings import Mode, NativeSettings


def _preset(name: str) -> str:
    if name not in PRESETS:
        raise ValueError(f"'{name}' is not one of {', '.join(PRESETS)}")
    return name


class BackendSettings(Profile):
    """One entry of ``backends``: fields of the profile, and the preset that it differs from."""

    like: Annotated[str, AfterValidator(_preset)] = Field(default="openai", description="Name of a preset.")


def _backend_settings(value: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of ``backends`` with the fields that are set only; all of its mistakes are raised at once."""
    BackendSettings.model_validate(value)
    return value


class MessagesConfig(BaseModel):
    """The ``config:`` of ``inline::builtin`` under ``providers.messages``."""

    model_config = ConfigDict(extra="forbid")

    default_model: str | None = Field(
        default=None,
        description="The model for every name that no other rule resolves, as `provider_id/model`; such replies have "
        "`reason=default` in `x-messages-model`. Unset or empty: such a name gets a 404 that lists the served models.",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict,
        description="Names that clients send, mapped to `provider_id/model`. A name may be a pattern with `*` and `?`. "
        "Precedence: exact name, served model, first matching pattern, name of a model without its provider, "
        "`default_model`.",
    )
    ping_seconds: float = Field(
        default=10.0,
        gt=0,
        description="Seconds of silence on a stream, also before the first token, after which a `ping` event is sent.",
    )
    max_request_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="Larger request bodies are answered with 413."
    )
    request_silence_seconds: float = Field(
        default=60.0,
        gt=0,
        description="A request whose body stops arriving for this many seconds is answered with 408.",
    )
    max_messages: int = Field(
        default=MAX_MESSAGES, gt=0, le=MAX_MESSAGES, description="Requests with more messages are answered with 400."
    )
    max_content_blocks: int = Field(
        default=50_000,
        gt=0,
        description="Requests with more content blocks are answered with 400. Blocks inside of tool results and "
        "documents count, and those of the system prompt.",
    )
    max_tools: int = Field(default=10_000, gt=0, description="Requests with more tools are answered with 400.")

    validation: Literal["lenient", "strict"] = Field(
        default="lenient",
        description="`lenient` repairs common errors of clients and fills in a missing `max_tokens`; `strict` answers "
        "400 where the API itself does.",
    )
    default_max_tokens: int = Field(
        default=4096, ge=1, description="Used for a missing `max_tokens` if validation is lenient."
    )
    server_tools: Literal["remove", "reject"] = Field(
        default="remove",
        description="Tools that the server has to run, such as `web_search`: `remove` them and list them as dropped, "
        "or `reject` the request with 400. A request that forces one gets a 400 in both cases.",
    )
    content_policy: Literal["refusal", "error"] = Field(
        default="refusal",
        description="What a backend's 400 because of its content policy becomes: a message with stop reason `refusal`, "
        "as in the API, or an `error`.",
    )
    media_urls: Literal["pass", "fetch", "reject"] = Field(
        default="pass",
        description="URLs of images and documents. `pass` sends those of images to the backend, and answers 400 to "
        "those of documents, which chat completions cannot express; `fetch` downloads both here; `reject` answers 400.",
    )
    media_hosts: list[str] = Field(
        default_factory=list,
        description="Host names and addresses to fetch media from although they are not public, such as `10.0.0.5`.",
    )
    media_max_bytes: int = Field(
        default=32 * 1024 * 1024, gt=0, description="Limit of the bytes fetched for one request, all URLs together."
    )
    media_timeout_seconds: float = Field(default=20.0, gt=0, description="Timeout of fetching the URLs of one request.")
    signing_secret: SecretStr | None = Field(
        default=None,
        description="The key that signs thinking blocks. Unset or empty: a key that is generated once and kept in the "
        "platform's folder. Servers that share conversations need the same key.",
    )
    backends: dict[str, Annotated[dict[str, Any], AfterValidator(_backend_settings)]] = Field(
        default_factory=dict,
        description="Profile fields that differ from the built-in ones, by provider type, provider id or "
        "`provider_id/model`; `like` names a preset.",
    )

    native: dict[str, NativeSettings] = Field(
        default_factory=dict,
        description="Whether requests are passed through to a backend's own Messages API, by inference provider id: "
        "`auto`, `on`, `off`, or a mapping. Without an entry vLLM, Ollama and Anthropic are `auto`, providers "
        "that declare a Messages API native, others `off`.",
    )
    wire: dict[str, Mode] = Field(
        default_factory=dict,
        description="Whether chat completions are posted to a backend from here, and not through the SDK in its "
        "inference provider, by inference provider id. `auto`, also without an entry: if the provider is one of the "
        "platform's that do no more than that; `on`: also if it is derived from one; `off`: never.",
    )
    connect_retries: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How often a request is repeated, after half a second, if no connection to the backend can be "
        "made. A request that the backend may have received is never repeated.",
    )
    native_probe_seconds: float = Field(
        default=300.0, gt=0, description="How long the result of probing a backend for a Messages API is kept."
    )
    allow_lane_header: bool = Field(
        default=False,
        description="Let a request select its lane with the header `x-messages-lane: native | translated`, for tests.",
    )

    @field_validator("default_model", "signing_secret", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:  # noqa: ANN401 - not yet validated
        return value or None

    def policy(self) -> Policy:
        """Return the settings that the translation of requests needs."""
        return Policy(
            strict=self.validation == "strict",
            default_max_tokens=self.default_max_tokens,
            server_tools=self.server_tools,
            content_policy=self.content_policy,
            media_urls=self.media_urls,
        )

    def serve_settings(self) -> ServeSettings:
        """Return the settings that the HTTP routes need."""
        limits = RequestLimits(self.max_messages, self.max_content_blocks, self.max_tools)
        return ServeSettings(self.ping_seconds, self.max_request_bytes, self.request_silence_seconds, limits)

    @classmethod
    def sample_run_config(cls, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - the platform passes what it likes
        """Return a starting point for run.yaml."""
        return {
            "default_model": "${env.DEFAULT_MODEL:=}",
            "aliases": {},
            "signing_secret": "${env.MESSAGES_SIGNING_SECRET:=}",
        }
