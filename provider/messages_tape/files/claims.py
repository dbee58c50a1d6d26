"""Lets only one of several test processes record a tape: the first one records it, the others play it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DONE = b"recorded"


class Claim:
    """The exclusive right to record a tape, held by one test at a time.

    Args:
        done: Whether an earlier test of this run has already recorded it.
    """

    def __init__(self, *, done: bool) -> None:
        self.done = done


@contextmanager
def claim(folder: Path, tape: Path) -> Iterator[Claim]:
    """Lock a tape for recording while the block runs; yield the claim, whose ``done`` flag later claims see.

    Args:
        folder: The folder that the processes of one run share.
        tape: The file of the tape.
    """
    import fcntl  # not available on every platform; needed for recording only

    name = hashlib.sha256(str(tape.resolve()).encode()).hexdigest()
    with (folder / name).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed, or this process ends
        file.seek(0)
        held = Claim(done=file.read() == _DONE)
        yield held
        if held.done:
            file.truncate(0)
            file.write(_DONE)
