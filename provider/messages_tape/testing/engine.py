"""The embedded engine as an upstream of its own, for recording without any other server."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

from messages_tape.errors import TapeUsageError

_CONTEXT = 8192
"""Tokens; a prompt that is too long for them still fits on a tape."""
_STEADY = {"n_parallel": 1, "cache_prompt": False}
"""So that neither the order nor the number of requests changes an answer or its usage."""


@contextmanager
def embedded_engine(model_path: str = "", key: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address of a running engine and what is known of it, until the block ends.

    Args:
        model_path: A GGUF file; empty is the bundled one.
        key: What requests have to present; empty takes all: it is there for tests, with nothing to protect.

    Raises:
        TapeUsageError: It is not installed, or does not start; says why.
    """
    # only those who record need it, and it brings the platform along
    from llama_stack_provider_messages.local.config import LlamaCppConfig
    from llama_stack_provider_messages.local.impl import COMMAND
    from llama_stack_provider_messages.local.model_file import check_engine, check_model_files
    from llama_stack_provider_messages.local.options import engine_options
    from llama_stack_provider_messages.local.process import EngineError, EngineProcess

    config = LlamaCppConfig(model_path=model_path, context_size=_CONTEXT)
    try:
        check_engine()
        check_model_files(config)
    except ValueError as error:
        raise TapeUsageError(str(error)) from None
    alias = {"model_alias": [config.model_file.stem]}  # else it is listed with its path
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
