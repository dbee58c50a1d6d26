"""Safe concurrent writes of tape files: atomic, one at a time, without overwriting another process's recording."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from uuid import uuid4

NO_FILE = ""
"""The stamp of a missing file."""


def stamp_of(text: str) -> str:
    """Return a hash of a file's text, by which a changed file is recognized."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file atomically: readers and concurrent writers never see a partial file."""
    # the uuid keeps the threads of one process apart
    part = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def keep_beside(path: Path, text: str) -> Path:
    """Write a conflicting recording next to the file; return its path, such as ``hello.tape.yaml.conflict-1``."""
    for number in count(1):
        beside = path.with_name(f"{path.name}.conflict-{number}")
        with suppress(FileExistsError):
            beside.touch(exist_ok=False)  # reserves the name
            break
    write_whole(beside, text)
    return beside


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock a folder for saving tapes, against other threads and processes, while the block runs.

    Platforms without file locks skip the lock: there, two saves within the same milliseconds may miss each other.

    Args:
        folder: An existing folder; the lock writes no file into it.
    """
    try:
        import fcntl  # not available on every platform; needed for recording only
    except ImportError:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, or this process ends
        yield
    finally:
        os.close(lock)
