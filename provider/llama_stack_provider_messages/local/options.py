"""Converts the provider's configuration to llama.cpp's parameters."""

from typing import Any

from .config import LlamaCppConfig

MAX_CONNECTIONS = 64
"""Limit of concurrent requests to the engine, which queues those without a slot; further ones wait in the client."""
_SPARE_HTTP_THREADS = 4
"""Extra threads: the engine uses one thread per connection, and a closing connection may still occupy its thread."""
_SMALL_MODEL_BYTES = 64 * 2**20


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
    if threads := _threads(config):
        options |= {"cpuparams.n_threads": threads, "cpuparams_batch.n_threads": threads}
    if config.mmproj_file:
        options["mmproj.path"] = str(config.mmproj_file)
    return options


def _threads(config: LlamaCppConfig) -> int:
    """Return the number of threads, 0 for the engine's choice.

    llama.cpp's threads spin while they wait for one another. On a busy machine, a tiny model was 1000 times slower
    with two threads than with one, and one is enough for it.
    """
    small = config.model_file.stat().st_size < _SMALL_MODEL_BYTES
    return config.threads or (1 if small else 0)
