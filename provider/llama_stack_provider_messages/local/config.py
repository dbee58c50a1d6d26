"""Configuration of the embedded engine."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

BUNDLED_MODEL = Path(__file__).with_name("tiny.gguf")


class LlamaCppConfig(BaseModel):
    """The ``config:`` of ``inline::llama-cpp`` under ``providers.inference``."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_path: str = Field(
        default="",
        description="The GGUF file to serve; `~` is the home directory. Empty: the tiny model that comes with the "
        "package, good for trying things out and for tests only.",
    )
    mmproj_path: str = Field(
        default="",
        description="The GGUF file of the model's image projector (`mmproj`), for models that see. Empty: text only.",
    )
    context_size: int = Field(
        default=65536,
        ge=0,
        description="Tokens of context, shared by all parallel requests. The first turn of a coding agent takes 15,000 "
        "to 45,000; memory grows with it (about 8 GB at 65536 for an 8B model). 0: as much as the model was made for.",
    )
    parallel: int = Field(default=2, ge=1, description="Requests that are answered at the same time; others wait.")
    threads: int = Field(
        default=0, ge=0, description="CPU threads. 0: one for a model below 64 MiB, else all physical cores."
    )
    gpu_layers: int = Field(
        default=-1, ge=-1, description="Layers to put on the GPU, if the engine is built for one. -1: as many as fit."
    )
    prompt_cache_mib: int = Field(
        default=2048, ge=0, description="Memory for prompts of earlier requests that no slot holds any more, in MiB."
    )
    preload: bool = Field(
        default=False, description="Start the engine with the stack, instead of with the first request."
    )
    start_timeout_seconds: float = Field(
        default=300.0, gt=0, description="Seconds the engine may take to load the model before it is given up."
    )
    silence_timeout_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Seconds a request may wait for the next bytes of the engine: in a queue, while a long prompt is "
        "read on a slow machine, or for a whole answer that is not streamed.",
    )

    @field_validator("model_path", "mmproj_path", mode="before")
    @classmethod
    def _unset_is_empty(cls, value: object) -> object:
        return "" if value is None else value  # the value of an unset `${env.MODEL_PATH:=}`

    @property
    def model_file(self) -> Path:
        """Return the path of the model file."""
        return Path(self.model_path).expanduser() if self.model_path else BUNDLED_MODEL

    @property
    def mmproj_file(self) -> Path | None:
        """Return the path of the image projector, None if there is none."""
        return Path(self.mmproj_path).expanduser() if self.mmproj_path else None

    @classmethod
    def sample_run_config(cls, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - the platform passes what it likes
        """Return a starting point for run.yaml."""
        return {
            "model_path": "${env.MODEL_PATH:=}",
            "context_size": "${env.CONTEXT_SIZE:=65536}",
            "preload": True,
        }
