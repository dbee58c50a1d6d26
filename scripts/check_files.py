"""Checks the sizes of source files and functions, and that tracked files can be published.

Not to be published: absolute paths of a developer's machine, registry URLs in lock files, non-ASCII source.

Prints each finding with its place; the exit code is 1 if there are findings.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|farm)/")
MAX_FUNCTION_LINES, MAX_FILE_LINES = 60, 600


def size_findings() -> Iterator[str]:
    """Yield files and functions that exceed the size limits."""
    for path in sorted(path for top in ("api", "provider") for path in (ROOT / top).rglob("*.py")):
        name, text = path.relative_to(ROOT).as_posix(), path.read_text()
        if text.count("\n") > MAX_FILE_LINES:
            yield f"{name}: more than {MAX_FILE_LINES} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] or node.body if ast.get_docstring(node) is not None else node.body
                if (node.end_lineno or 0) - body[0].lineno >= MAX_FUNCTION_LINES:
                    yield f"{name}:{node.lineno}: {node.name} has more than {MAX_FUNCTION_LINES} lines"


def published_findings() -> Iterator[str]:
    """Yield machine paths, registry URLs in lock files, and non-ASCII source in tracked files."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        try:
            text = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATH.search(line) and name != "scripts/check_files.py":
                yield f"{name}:{number}: a path of one machine"
            if (name.endswith(".lock") and "://" in line) or (name.endswith("-lock.json") and '"resolved"' in line):
                yield f"{name}:{number}: a lock file names a registry"
        if name.endswith(".py") and not text.isascii():
            yield f"{name}: not ASCII"


def main() -> int:
    """Print all findings."""
    findings = [*size_findings(), *published_findings()]
    print("\n".join(findings) or "files: ok")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
