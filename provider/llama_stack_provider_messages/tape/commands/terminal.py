"""What the commands say to people; the standard output stays with the results and the client's own."""

import sys

PROGRAM = "messages-tape"


def tell(text: str) -> None:
    """Print a message on the standard error, in one line."""
    sys.stderr.write(f"{PROGRAM}: {' '.join(text.split())}\n")
    sys.stderr.flush()


def tell_lines(title: str, lines: list[str]) -> None:
    """Print a message and what belongs to it, indented."""
    tell(title)
    for line in (line for text in lines for line in text.split("\n")):
        sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()


def give(text: str) -> None:
    """Print a result on the standard output; what its encoding has no character for is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()
