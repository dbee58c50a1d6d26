"""Checks the ``.client.jsonl`` files next to tapes, which hold the responses that a client received.

Each file needs its tape, has to be JSON lines, and must not contain a credential. Prints each finding with its place;
the exit code is 1 if there are findings. Usage: check_client_files.py FOLDER
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from messages_tape import SUFFIX, scan_text

CLIENT_SUFFIX = ".client.jsonl"


def findings(path: Path) -> Iterator[str]:
    """Yield the problems of a file."""
    tape = path.with_name(path.name.removesuffix(CLIENT_SUFFIX) + SUFFIX)
    if not tape.exists():
        yield f"{path}: there is no {tape.name}; remove the file"
    text = path.read_text(encoding="utf-8")
    yield from (f"{path}: {place}" for place in scan_text(text))
    for number, line in enumerate(text.splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            yield f"{path}:{number}: not JSON; record the tape again"


def main(folder: str) -> int:
    """Print all findings."""
    files = sorted(Path(folder).rglob(f"*{CLIENT_SUFFIX}"))
    found = [line for path in files for line in findings(path)]
    print("\n".join(found) or f"{len(files)} files with client responses: ok")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
