"""Runs a real ``llama stack run`` in its own process.

Most of the CPU time of a stack's start goes into the import of other packages. So a server process, one for each
process of the tests, imports those once, and each stack is a fork of it that runs ``llama`` with its arguments and
environment.
The platform's server and this project are imported in the stack itself, because they may read its environment.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from support.scripted_upstream import HANG_SECONDS, UPSTREAM_KEY

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 300
"""Startup timeout; long, because two workers take a minute to start on a busy machine."""
LLAMA = [str(Path(sys.executable).with_name("llama"))]
PATIENT_LLAMA = [sys.executable, "-P", str(Path(__file__).with_name("patient_stack.py"))]
IMPORTED_ONCE = ["aiohttp", "fastapi", "httpx", "llama_stack_api", "mcp", "openai", "sqlalchemy.ext.asyncio", "uvicorn"]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(IMPORTED_ONCE)


def _run_llama(arguments: list[str], env: Mapping[str, str], folder: Path, log: Path) -> None:
    """Run the platform's command in a fork of the server, as a process of its own would."""
    from importlib.metadata import entry_points

    with log.open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path[:] = [entry for entry in sys.path if entry != str(ROOT / "tests")]
    sys.argv = ["llama", *arguments]
    (llama,) = entry_points(group="console_scripts", name="llama")
    try:
        llama.load()()
    finally:
        atexit._run_exitfuncs()  # type: ignore[attr-defined]  # a fork ends without them


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_config(inference: list[dict[str, Any]], messages: dict[str, Any], **server: Any) -> dict[str, Any]:
    """Return a run.yaml with these inference providers and this configuration of the Messages provider."""
    return {
        "version": 2,
        "distro_name": "test",
        "apis": ["inference", "models", "messages"],
        "external_apis_dir": str(ROOT / "distributions" / "apis.d"),
        "providers": {
            "inference": inference,
            "messages": [{"provider_id": "builtin", "provider_type": "inline::builtin", "config": messages}],
        },
        "server": {"host": "127.0.0.1", **server},
    }


def vllm(url: str, provider_id: str = "up") -> dict[str, Any]:
    """Return an inference provider entry for an OpenAI-style server."""
    config = {"base_url": url, "api_token": UPSTREAM_KEY, "refresh_models": False}
    return {"provider_id": provider_id, "provider_type": "remote::vllm", "config": config}


def remote_messages(base_url: str, provider_id: str = "up", **config: Any) -> dict[str, Any]:
    """Return an inference provider entry for a server with the Messages API; settings with None are left out."""
    fields = {"base_url": base_url, "api_key": UPSTREAM_KEY, **config}
    return {
        "provider_id": provider_id,
        "provider_type": "remote::messages",
        "module": "llama_stack_provider_messages.remote",
        "config": {name: value for name, value in fields.items() if value is not None},
    }


class StackProcess:
    """A stack process: starts it, waits until it is healthy, stops it by its pid.

    Args:
        config: The content or the path of a run.yaml.
        folder: Folder for its files: run.yaml, the SQLite stores, the log.
        env: Additional environment variables.
        llama: The command line of ``llama``, such as ``PATIENT_LLAMA`` for several workers; None: the platform's
            command, in a fork of the server unless the environment has settings of the interpreter.

    Attributes:
        url: Base URL.
        log: Everything it has printed so far.
    """

    def __init__(
        self,
        config: dict[str, Any] | Path,
        folder: Path,
        env: dict[str, str] | None = None,
        llama: list[str] | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._is_fork = not llama and not any(name.startswith("PYTHON") for name in env or {})
        self._llama = llama or LLAMA
        self._folder = folder
        self._config = config if isinstance(config, Path) else folder / "run.yaml"
        if isinstance(config, dict):
            self._config.write_text(yaml.safe_dump(config))
        self._env = {
            **os.environ,
            "SQLITE_STORE_DIR": str(folder),
            "HOME": str(folder),
            "NO_COLOR": "1",
            **(env or {}),
        }

    @property
    def log(self) -> str:
        return (self._folder / "stack.log").read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process.pid
        return self._process.pid

    def wait(self, seconds: float) -> None:
        """Wait until the process exits by itself."""
        if isinstance(self._process, subprocess.Popen):
            self._process.wait(seconds)
            return
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._llama, seconds)

    @property
    def exit_code(self) -> int | None:
        """The exit code of the process, None while it runs; negative if a signal ended it."""
        return self._process.poll() if isinstance(self._process, subprocess.Popen) else self._process.exitcode

    def __enter__(self) -> Self:
        arguments, log = ["stack", "run", str(self._config), "--port", str(self.port)], self._folder / "stack.log"
        if self._is_fork:
            fork = _forks.Process(target=_run_llama, args=(arguments, self._env, self._folder, log))
            fork.start()
            self._process: subprocess.Popen[bytes] | ForkServerProcess = fork
        else:
            with log.open("wb") as output:
                self._process = subprocess.Popen(
                    [*self._llama, *arguments], stdout=output, stderr=output, env=self._env, cwd=self._folder
                )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with httpx.Client(timeout=5) as client:  # each client reads the certificate store: 20 ms of CPU time
            while time.monotonic() < deadline:
                if self.exit_code is not None:
                    raise AssertionError(f"the stack ended with {self.exit_code}:\n{self.log[-4000:]}")
                try:
                    if client.get(f"{self.url}/v1/health").status_code == 200:
                        return
                except httpx.TransportError:
                    time.sleep(0.1)
        raise AssertionError(f"the stack was not ready within {START_SECONDS} s:\n{self.log[-4000:]}")

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        try:
            self.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait(HANG_SECONDS)
