"""Output of the commands: messages go to stderr; stdout has only results and the client's own output.

The module imports nothing else of the package, so that ``main.py`` reports usage errors without loading a command.
"""

import os
import sys
from contextlib import suppress

PROGRAM = "messages-tape"


def print_message(text: str) -> None:
    """Print a message to stderr, on one line."""
    _print(f"{PROGRAM}: {' '.join(text.split())}\n")


def print_message_lines(title: str, lines: list[str]) -> None:
    """Print a message to stderr, followed by indented lines."""
    print_message(title)
    for line in (line for text in lines for line in text.split("\n")):
        _print(f"  {line}\n")


def print_result(text: str) -> None:
    """Print a result to stdout; characters that its encoding lacks are escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _print(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # the terminal is closed; continue, to save the tape
        with suppress(OSError):  # Python flushes stderr again at exit, and would fail
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stderr.fileno())
            os.close(null)
