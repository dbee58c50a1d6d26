"""Configuration of the embedded engine: the fields, their checks, and llama.cpp's parameters made from them."""

import importlib.util
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

BUNDLED_MODEL = Path(__file__).with_name("tiny.gguf")
MAX_CONNECTIONS = 64
"""Requests that the engine's HTTP server holds at a time, most waiting for a slot; further ones wait before it."""
_SPARE_HTTP_THREADS = 4
"""Extra threads: the engine uses one thread per connection, and a closing connection may still occupy its thread."""
_SMALL_MODEL_BYTES = 64 * 2**20
_GGUF_MAGIC = b"GGUF"
_MAX_SHOWN_CHARACTERS = 300


class LlamaCppConfig(BaseModel):
    """The ``config:`` of ``inline::llama-cpp`` under ``providers.inference``."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_path: str = Field(
        default="",
        description="The GGUF file to serve; `~` is the home directory. Empty: the tiny model that comes with the "
        "package, which is only suitable for first steps and tests.",
    )
    mmproj_path: str = Field(
        default="",
        description="The GGUF file of the model's image projector (`mmproj`), for vision models. Empty: text only.",
    )
    context_size: int = Field(
        default=65536,
        ge=0,
        description="Tokens of context, shared by all parallel requests. The first turn of a coding agent takes 15,000 "
        "to 45,000. All of it is allocated at the start: about 8 GiB at 65536 for an 8B model. 0: the context length "
        "of the model, which is also the largest.",
    )
    parallel: int = Field(default=2, ge=1, description="Requests that are processed at the same time; others wait.")
    threads: int = Field(
        default=0, ge=0, description="CPU threads. 0: one for a model below 64 MiB, else all physical cores."
    )
    gpu_layers: int = Field(
        default=-1, ge=-1, description="Layers to put on the GPU, if the engine supports one. -1: as many as fit."
    )
    prompt_cache_mib: int = Field(
        default=2048,
        ge=0,
        description="Memory for the cached prompts of earlier requests that are no longer in a slot, in MiB.",
    )
    preload: bool = Field(
        default=False, description="Start the engine with the stack instead of with the first request."
    )
    start_timeout_seconds: float = Field(default=300.0, gt=0, description="Timeout of loading the model, in seconds.")
    silence_timeout_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Timeout of the next bytes from the engine, in seconds: a request may wait in the queue, for a "
        "long prompt on a slow machine, or for a complete response that is not streamed.",
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
        """Return the path of the image projector, or None."""
        return Path(self.mmproj_path).expanduser() if self.mmproj_path else None

    @classmethod
    def sample_run_config(cls, **_: Any) -> dict[str, Any]:  # noqa: ANN401 - the platform passes what it likes
        """Return a starting point for run.yaml."""
        return {
            "model_path": "${env.MODEL_PATH:=}",
            "context_size": "${env.CONTEXT_SIZE:=65536}",
            "preload": True,
        }


def check_engine() -> None:
    """Raise a ValueError if the engine's package is not installed, so that the stack fails at once."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ValueError(
            "inline::llama-cpp needs the package xllamacpp: pip install 'llama-stack-provider-messages[local]'"
        )


def model_file_problems(config: LlamaCppConfig) -> list[tuple[str, str]]:
    """Return each field with a file that is missing or not a GGUF file, what is wrong, and what to do.

    The contents of the files are not checked.
    """
    files = {"model_path": config.model_path or str(BUNDLED_MODEL), "mmproj_path": config.mmproj_path}
    return [(field, problem) for field, text in files.items() if text and (problem := _gguf_problem(text))]


def _gguf_problem(text: str) -> str:
    """Return what is wrong with the path of a GGUF file, and what to do; empty if nothing is."""
    try:
        path = Path(text).expanduser()
        if not path.is_file():
            return f"no file at {path}; give the path of a GGUF file"
        with path.open("rb") as file:
            is_gguf = file.read(len(_GGUF_MAGIC)) == _GGUF_MAGIC
    except RuntimeError:
        return f"{text} begins with ~ and the name of an unknown user; write the whole path"
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        reason = getattr(error, "strerror", error)
        return f"cannot read {text[:_MAX_SHOWN_CHARACTERS]}: {reason}; correct the path or its permissions"
    return "" if is_gguf else f"{path} is not a GGUF file; give the path of one"


def check_model_files(config: LlamaCppConfig) -> None:
    """Raise a ValueError if a configured file is missing or not a GGUF file."""
    for field, problem in model_file_problems(config):
        raise ValueError(f"{field}: {problem}")


def engine_options(config: LlamaCppConfig, key: str) -> dict[str, Any]:
    """Return attributes of ``xllamacpp.CommonParams`` by dotted name.

    Args:
        config: The provider's configuration.
        key: API key that requests must send, because other users of the machine can reach the port, too.
    """
    options: dict[str, Any] = {
        "model.path": str(config.model_file),
        "n_ctx": config.context_size,
        "n_parallel": config.parallel,
        "kv_unified": True,  # a single request may use the whole context
        "n_gpu_layers": config.gpu_layers,
        "cache_ram_mib": config.prompt_cache_mib,
        "hostnames": ["127.0.0.1"],
        "port": 0,  # the engine takes a free one and reports it
        "api_keys": [key],
        "n_threads_http": MAX_CONNECTIONS + _SPARE_HTTP_THREADS,
        "use_jinja": True,
        "ui": False,
        "offline": True,
    }
    # llama.cpp's threads spin while they wait for one another. On a busy machine, a tiny model was 1000 times slower
    # with two threads than with one, and one is enough for it.
    is_small = config.model_file.stat().st_size < _SMALL_MODEL_BYTES
    if threads := config.threads or (1 if is_small else 0):
        options |= {"cpuparams.n_threads": threads, "cpuparams_batch.n_threads": threads}
    if config.mmproj_file:
        options["mmproj.path"] = str(config.mmproj_file)
    return options
