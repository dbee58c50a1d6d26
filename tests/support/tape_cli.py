"""Runs the ``messages-tape`` command, and a minimal HTTP client as its client command."""

import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "messages_tape.cli.main"]

_CURL = """
import http.client, os, sys, urllib.parse
for path in sys.argv[1:]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(os.environ["TAPE_URL"]).netloc)
    headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ.get("KEY", "none")}
    connection.request("POST", path, os.environ.get("BODY", '{"model": "m"}').encode(), headers)
    answer = connection.getresponse()
    try:
        sys.stdout.buffer.write(answer.read())
    except http.client.IncompleteRead as error:
        sys.stdout.buffer.write(error.partial + b"(cut)")
sys.exit(int(os.environ.get("CODE", "0")))
"""


def curl(*paths: str) -> list[str]:
    """Return a command that posts ``$BODY`` to these paths and prints the responses; it exits with ``$CODE``."""
    return [sys.executable, "-c", _CURL, *paths]


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run ``messages-tape`` and wait for its end."""
    return subprocess.run([*COMMAND, *map(str, words)], cwd=cwd, capture_output=True, timeout=60, check=False)
