"""``scripts/serve`` and ``scripts/setup``, as a user runs them."""

import asyncio
import os
import shutil
import socket

import httpx
import pytest

from support.serve_process import ServeProcess
from support.stack_process import ROOT, free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (ROOT / ".venv" / ".complete").exists(), reason="would set up a second environment"),
]

BODY = {"model": "any", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}


def serve(folder, **env):
    return ServeProcess([str(ROOT / "scripts" / "serve")], folder, **env)


def test_serve_works_from_any_directory_and_ends_with_its_engine(tmp_path):
    """It prints the address, the command for Claude Code and the variable for a real model."""
    port = free_port()
    with serve(tmp_path, PORT=str(port)) as command:
        command.wait_until_ready()
        assert f"http://127.0.0.1:{port}/v1/messages" in command.output
        assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port}" in command.output
        assert "MODEL_PATH" in command.output
        reply = httpx.post(f"http://127.0.0.1:{port}/v1/messages", json=BODY, timeout=60)
        assert reply.json()["type"] == "message"
        assert command.stop() == 0
    assert command.group_is_gone()


def test_serve_ends_while_a_stream_is_open(upstream, tmp_path):
    """The variables of a distribution select its backend and model."""
    port = free_port()
    backend = {"DISTRIBUTION": "starter", "OPENAI_COMPATIBLE_URL": upstream.url, "DEFAULT_MODEL": "compatible/text"}
    endless = {**BODY, "model": "compatible/slow", "stream": True}
    with serve(tmp_path, PORT=str(port), **backend) as command:
        command.wait_until_ready()
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/messages", json=endless, timeout=60) as reply:
            next(reply.iter_raw())
            assert command.stop() == 0
    assert command.group_is_gone()


def test_a_port_in_use_is_an_error_of_one_line(tmp_path):
    """The response of the other server is not mistaken for its own."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with serve(tmp_path, PORT=str(port)) as command:
            assert command.end() == 1
    assert command.lines == [f"messages: Port {port} is in use; choose another with --port or PORT=...\n"]


def test_a_port_that_is_not_a_number_is_an_error_of_one_line(tmp_path):
    """It is not a traceback."""
    with serve(tmp_path, PORT="abc") as command:
        assert command.end() == 2
    (line,) = command.lines
    assert "'abc' is not a valid" in line


def test_a_missing_model_file_is_named(tmp_path):
    """The command ends, and its output says what to do."""
    with serve(tmp_path, PORT=str(free_port()), MODEL_PATH="/nowhere/x.gguf") as command:
        assert command.end() == 1
    assert command.lines == ["messages: MODEL_PATH: no file at /nowhere/x.gguf; give the path of a GGUF file\n"]
    assert command.group_is_gone()


PYTHON = """#!/bin/sh
case "$*" in
*" venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*"-r requirements.lock") for n in 1 2 3 4 5 6 7 8 9 10; do echo "Collecting $n"; done; read -r _ <"$GATE" ;;
esac
"""


async def test_setup_shows_its_progress_while_packages_are_installed(tmp_path):
    """The tenth package is printed while pip is running, with any awk."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup", "scripts/sdk1.lock", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    python, gate = tmp_path / "python", tmp_path / "gate"
    python.write_text(PYTHON)
    python.chmod(0o755)
    os.mkfifo(gate)
    env = {**os.environ, "PYTHON": str(python), "PATH": "/usr/bin:/bin", "GATE": str(gate)}
    setup = await asyncio.create_subprocess_exec(
        tmp_path / "scripts" / "setup", stderr=asyncio.subprocess.PIPE, env=env
    )
    async with asyncio.timeout(60):
        await setup.stderr.readuntil(b"  10 of ")
        gate.write_text("go\n")
        assert await setup.wait() == 0
    assert (tmp_path / ".venv" / ".complete").exists()
