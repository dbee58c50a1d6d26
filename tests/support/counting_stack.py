"""Runs ``llama``; on SIGUSR1 its process writes the number of its asyncio tasks and descriptors to a file.

Files on disk are not counted: the platform keeps a pool of connections to its SQLite files, which grows with the number
of requests at a time.

The environment variable ``COUNTS_FILE`` names the file. It takes the arguments of ``llama``.
"""

import asyncio
import gc
import os
import signal
from pathlib import Path


def _is_not_a_file(descriptor: str) -> bool:
    """Return whether a descriptor is a socket, a pipe or an object of the kernel."""
    try:
        return not os.readlink(f"/proc/self/fd/{descriptor}").startswith("/")  # noqa: PTH115 - the target is not a path
    except OSError:  # that of the listing itself
        return False


def write_counts(_signal: int, _frame: object) -> None:
    """Write the counts; the handler runs in the main thread, inside of the event loop."""
    gc.collect()
    counts = f"{len(asyncio.all_tasks())} {sum(map(_is_not_a_file, os.listdir('/proc/self/fd')))}"  # noqa: PTH208 - the names are not paths
    target = Path(os.environ["COUNTS_FILE"])
    target.with_suffix(".new").write_text(counts)
    target.with_suffix(".new").replace(target)


if __name__ == "__main__":
    from llama_stack.cli.llama import main

    signal.signal(signal.SIGUSR1, write_counts)
    main()
