"""``inline::llama-cpp``: an inference provider that runs llama.cpp's server as a child process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import LlamaCppConfig
    from .impl import LlamaCppInference


async def get_provider_impl(config: "LlamaCppConfig", _deps: dict[Any, Any]) -> "LlamaCppInference":
    """Return the provider; the platform calls this in an event loop that does not serve requests.

    Raises:
        ValueError: The model file or the engine package is missing; the stack does not start.
    """
    from .impl import LlamaCppInference
    from .model_file import check_engine, check_model_files

    check_engine()
    check_model_files(config)
    provider = LlamaCppInference(config=config)
    await provider.initialize()  # the platform does not call it
    return provider
