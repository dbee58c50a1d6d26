"""Runs ``llama``; on SIGUSR1 its process writes the number of its asyncio tasks and descriptors to a file.

The environment variable ``COUNTS_FILE`` names the file. It takes the arguments of ``llama``.
"""

import asyncio
import gc
import os
import signal
from pathlib import Path


def write_counts(_signal: int, _frame: object) -> None:
    """Write the counts; the handler runs in the main thread, inside of the event loop."""
    gc.collect()
    counts = f"{len(asyncio.all_tasks())} {len(os.listdir('/proc/self/fd'))}"  # noqa: PTH208 - the names are not paths
    target = Path(os.environ["COUNTS_FILE"])
    target.with_suffix(".new").write_text(counts)
    target.with_suffix(".new").replace(target)


if __name__ == "__main__":
    from llama_stack.cli.llama import main

    signal.signal(signal.SIGUSR1, write_counts)
    main()
