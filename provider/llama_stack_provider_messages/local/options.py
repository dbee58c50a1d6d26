"""What the engine is told: our configuration in llama.cpp's words."""

from typing import Any

from .config import LlamaCppConfig

MAX_CONNECTIONS = 64
"""Requests handed to the engine at once; it queues those that have no slot. More wait on our side."""
_SPARE_HTTP_THREADS = 4
"""The engine keeps a thread per connection; a closing one may still hold its thread."""
_SMALL_MODEL_BYTES = 64 * 2**20


def engine_options(config: LlamaCppConfig, key: str) -> dict[str, Any]:
    """Return attributes of ``xllamacpp.CommonParams`` by dotted name.

    Args:
        config: The provider's configuration.
        key: What a request has to present: other users of the machine reach the port too.
    """
    options: dict[str, Any] = {
        "model.path": str(config.model_file),
        "n_ctx": config.context_size,
        "n_parallel": config.parallel,
        "kv_unified": True,  # one request alone may use the whole context
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

    llama.cpp's threads spin while they wait for one another: on a machine that is busy otherwise, two of them
    were 1000 times slower at a tiny model than one, which has enough with one anyway.
    """
    small = config.model_file.stat().st_size < _SMALL_MODEL_BYTES
    return config.threads or (1 if small else 0)
