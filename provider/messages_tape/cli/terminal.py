"""What the commands say to people; the standard output stays with the results and the client's own."""

import os
import sys
from contextlib import suppress

PROGRAM = "messages-tape"


def tell(text: str) -> None:
    """Print a message on the standard error, in one line."""
    _print(f"{PROGRAM}: {' '.join(text.split())}\n")


def tell_lines(title: str, lines: list[str]) -> None:
    """Print a message and what belongs to it, indented."""
    tell(title)
    for line in (line for text in lines for line in text.split("\n")):
        _print(f"  {line}\n")


def give(text: str) -> None:
    """Print a result on the standard output; what its encoding has no character for is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _print(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # the terminal is closed, and there is still a tape to save
        _silence()


def _silence() -> None:
    """Send what could not be written nowhere, or Python would try again at its end and make a failure of it."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
