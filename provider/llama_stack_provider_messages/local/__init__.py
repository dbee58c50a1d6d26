"""``inline::llama-cpp``: an inference provider that runs llama.cpp's server as a child process.

``impl.py`` is the provider, ``engine.py`` starts and supervises the child, ``child.py`` is the program that runs in it.
The platform imports ``provider.py`` and ``config.py`` by name. Imports go to ``stack/`` and ``upstream/``; nothing
imports from here, except the harness to record the engine. The engine itself, ``xllamacpp``, is imported in the child
only.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import LlamaCppConfig
    from .impl import LlamaCppInference


async def get_provider_impl(config: "LlamaCppConfig", _deps: dict[Any, Any]) -> "LlamaCppInference":
    """Return the provider; the platform calls this in an event loop that does not serve requests.

    Raises:
        ValueError: The model file or the engine package is missing; the stack does not start.
    """
    from .config import check_engine, check_model_files
    from .impl import LlamaCppInference

    check_engine()
    check_model_files(config)
    provider = LlamaCppInference(config=config)
    await provider.initialize()  # the platform does not call it
    return provider
