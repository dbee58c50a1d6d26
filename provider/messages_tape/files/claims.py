"""One recorder per tape, however many processes run tests: the first to come records, the others play it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DONE = b"recorded"


class Claim:
    """The right to record a tape, held by one test at a time.

    Args:
        done: Whether an earlier test of this run has recorded it.
    """

    def __init__(self, *, done: bool) -> None:
        self.done = done


@contextmanager
def claim(folder: Path, tape: Path) -> Iterator[Claim]:
    """Wait until nobody else records a tape; give the right to, and keep what the holder says of it.

    Args:
        folder: Shared by the processes of one run.
        tape: The file of the tape.
    """
    import fcntl  # not on every platform, and only those who record need it

    name = hashlib.sha256(str(tape.resolve()).encode()).hexdigest()
    with (folder / name).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed, or this process ends
        file.seek(0)
        held = Claim(done=file.read() == _DONE)
        yield held
        if held.done:
            file.truncate(0)
            file.write(_DONE)
