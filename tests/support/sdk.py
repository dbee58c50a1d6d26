"""Runs sessions of the official SDK, newest and 1.x, in separate processes: two major versions cannot share one."""

import json
import os
import subprocess
import sys
from pathlib import Path

VERSIONS = ("installed", "1.x")
SESSION = Path(__file__).resolve().parents[1] / "integration" / "sdk_session.py"
SDK_1 = Path(sys.prefix) / "sdk1"


def session(version, url, strict_url):
    """Run a session against two stacks and return its results; the stack at ``strict_url`` has no default model."""
    path = str(SDK_1) if version == "1.x" else ""
    run = subprocess.run(
        [sys.executable, str(SESSION), url, strict_url],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    seen = json.loads(run.stdout)
    assert version == "installed" or seen["version"].startswith("1.")
    return seen


def text_of(message):
    """Return the text of a message, without its thinking."""
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")
