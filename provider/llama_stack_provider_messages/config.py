"""Configuration of the builtin Messages provider."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


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

    @field_validator("default_model")
    @classmethod
    def _empty_is_unset(cls, value: str | None) -> str | None:
        return value or None

    @classmethod
    def sample_run_config(cls, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - the platform passes what it likes
        """Return a starting point for run.yaml."""
        return {"default_model": "${env.DEFAULT_MODEL:=}", "aliases": {}}
