"""Checks before the engine is started, so that the stack fails at once with a one-line error."""

import importlib.util
from pathlib import Path

from .config import LlamaCppConfig

_GGUF = b"GGUF"


def check_engine() -> None:
    """Raise a ValueError if the engine's package is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise ValueError(
            "inline::llama-cpp needs the package xllamacpp: pip install 'llama-stack-provider-messages[local]'"
        )


def check_model_files(config: LlamaCppConfig) -> None:
    """Raise a ValueError if a configured file is missing or not a GGUF file; its contents are not checked."""
    _check("model_path", config.model_file, "set MODEL_PATH to a GGUF file")
    if config.mmproj_file:
        _check("mmproj_path", config.mmproj_file, "it has to name a GGUF file")


def _check(field: str, path: Path, remedy: str) -> None:
    if not path.is_file():
        raise ValueError(f"{field}: no file at {path}; {remedy}")
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF))
    except OSError as error:
        raise ValueError(f"{field}: cannot read {path}: {error.strerror}") from error
    if magic != _GGUF:
        raise ValueError(f"{field}: {path} is not a GGUF file; {remedy}")
