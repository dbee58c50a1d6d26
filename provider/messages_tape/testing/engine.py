"""Runs the embedded engine as an upstream, to record without another server."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from messages_tape.errors import TapeUsageError

_CONTEXT = 8192
"""Context size in tokens; small enough that a prompt exceeding it still fits on a tape."""
_STEADY = {"n_parallel": 1, "cache_prompt": False}
"""Engine options with which the order and number of requests do not change a response or its usage."""


@contextmanager
def embedded_engine(model_path: str = "", key: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Run the embedded engine while the block runs; yield its address and the facts for ``Upstream``.

    Args:
        model_path: Path of a GGUF file; empty for the bundled model.
        key: The API key that requests have to send; empty disables the check.

    Raises:
        TapeUsageError: The engine is not installed, or does not start; the message says why.
    """
    # imported here: needed for recording only, and imports the platform
    from llama_stack_provider_messages.local.config import (
        LlamaCppConfig,
        check_engine,
        check_model_files,
        engine_options,
    )
    from llama_stack_provider_messages.local.engine import COMMAND, EngineError, EngineProcess

    config = LlamaCppConfig(model_path=model_path, context_size=_CONTEXT)
    try:
        check_engine()
        check_model_files(config)
    except ValueError as error:
        raise TapeUsageError(str(error)) from None
    alias = {"model_alias": [config.model_file.stem]}  # otherwise the model is listed under its path
    options = engine_options(config, key) | alias | _STEADY
    if not key:
        del options["api_keys"]
    process = EngineProcess(COMMAND, options, config.start_timeout_seconds)
    process.start()
    try:
        try:
            address = process.ready.result()
        except EngineError as error:
            raise TapeUsageError(str(error)) from None
        yield address, {"kind": "llama.cpp", "version": f"xllamacpp {version('xllamacpp')}"}
    finally:
        process.stop()
