"""``scripts/serve`` and ``scripts/setup``, as a user runs them."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import threading

import httpx
import pytest

from support.stack_process import ROOT, free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not (ROOT / ".venv" / ".complete").exists(), reason="would set up a second environment"),
]

BODY = {"model": "any", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}


class Serve:
    """``scripts/serve`` in its own process group; its output is in ``lines``."""

    def __init__(self, folder, **env):
        self.lines = []
        self.ready = threading.Event()
        self.process = subprocess.Popen(
            [str(ROOT / "scripts" / "serve")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "SQLITE_STORE_DIR": str(folder), "HOME": str(folder), **env},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("  DISTRIBUTION="):
                self.ready.set()
        self.ready.set()

    def stop(self, number=signal.SIGTERM):
        """Stop the command if it is running; return its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join(10)
        self.process.stdout.close()
        return code

    def group_is_gone(self):
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def test_serve_works_from_any_directory_and_ends_with_its_engine(tmp_path):
    """It prints the address, the command for Claude Code and the variables."""
    port = free_port()
    serve = Serve(tmp_path, PORT=str(port))
    try:
        assert serve.ready.wait(120)
        output = "".join(serve.lines)
        assert f"http://127.0.0.1:{port}/v1/messages" in output
        assert f"ANTHROPIC_BASE_URL=http://127.0.0.1:{port}" in output
        assert "MODEL_PATH=" in output
        reply = httpx.post(f"http://127.0.0.1:{port}/v1/messages", json=BODY, timeout=60)
        assert reply.json()["type"] == "message"
    finally:
        code = serve.stop()
    assert code == 0
    assert serve.group_is_gone()


def test_serve_ends_while_a_stream_is_open(upstream, tmp_path):
    """The server would wait for the end of the stream, but the command does not."""
    port = free_port()
    backend = {"DISTRIBUTION": "starter", "OPENAI_COMPATIBLE_URL": upstream.url, "DEFAULT_MODEL": "compatible/text"}
    serve = Serve(tmp_path, PORT=str(port), **backend)
    try:
        assert serve.ready.wait(120)
        endless = {**BODY, "model": "compatible/slow", "stream": True}
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/messages", json=endless, timeout=60) as reply:
            next(reply.iter_raw())
            code = serve.stop()
    finally:
        serve.stop()
    assert code == 0
    assert serve.group_is_gone()


def test_a_port_in_use_is_an_error_of_one_line(tmp_path):
    """The response of the other server is not mistaken for its own."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        serve = Serve(tmp_path, PORT=str(port))
        serve.process.wait(60)
        assert serve.stop() == 1
    assert serve.lines == [f"Port {port} is in use; choose another with PORT=...\n"]


def test_a_port_that_is_not_a_number_is_an_error_of_one_line(tmp_path):
    """It is not a traceback."""
    serve = Serve(tmp_path, PORT="abc")
    serve.process.wait(60)
    assert serve.stop() == 2
    assert serve.lines == ["PORT is a number, not 'abc'\n"]


def test_a_missing_model_file_is_named(tmp_path):
    """The command ends, and its output says what to do."""
    serve = Serve(tmp_path, PORT=str(free_port()), MODEL_PATH="/nowhere/x.gguf")
    assert serve.process.wait(120) == 1
    assert serve.stop() == 1
    assert any("no file at /nowhere/x.gguf; set MODEL_PATH to a GGUF file" in line for line in serve.lines)
    assert serve.group_is_gone()


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
