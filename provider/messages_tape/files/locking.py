"""Files of tapes that several programs write: each one whole, one at a time, and no recording in place of another."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from uuid import uuid4

NO_FILE = ""
"""The stamp of a file that is not there."""


def stamp_of(text: str) -> str:
    """Return what tells a file from another one by what it holds."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody sees a part of it, whoever else writes it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex}.part")  # threads of one process write as well
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def keep_beside(path: Path, text: str) -> Path:
    """Write a conflicting recording next to the file; return where, ``hello.tape.yaml.conflict-1``."""
    for number in count(1):
        beside = path.with_name(f"{path.name}.conflict-{number}")
        with suppress(FileExistsError):
            beside.touch(exist_ok=False)  # takes the name
            break
    write_whole(beside, text)
    return beside


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other threads and processes that save tapes in a folder waiting until the block ends.

    Where the platform has no locks nobody waits; then two that save within the same milliseconds do not see each other.

    Args:
        folder: Which exists; nothing is written to it for the lock.
    """
    try:
        import fcntl  # not on every platform, and only those who record need it
    except ImportError:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives have none
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, or this process ends
        yield
    finally:
        os.close(lock)
