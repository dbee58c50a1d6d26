"""``inline::llama-cpp``: llama.cpp's server, embedded, as an inference provider of the platform."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import LlamaCppConfig
    from .impl import LlamaCppInference


async def get_provider_impl(config: "LlamaCppConfig", _deps: dict[Any, Any]) -> "LlamaCppInference":
    """Return the provider; called by the platform, in an event loop that does not serve.

    Raises:
        ValueError: The model file or the engine is not there; the stack does not start.
    """
    from .impl import LlamaCppInference
    from .model_file import check_engine, check_model_files

    check_engine()
    check_model_files(config)
    provider = LlamaCppInference(config=config)
    await provider.initialize()  # the platform leaves this to us
    return provider
