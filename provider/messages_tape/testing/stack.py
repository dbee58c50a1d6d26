"""Runs servers for tests: a real ``llama stack run`` in its own process, and the embedded engine as an upstream."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml

from messages_tape.errors import TapeUsageError

START_SECONDS = 180.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.1
_SHOWN_LOG_CHARACTERS = 4000
_DISABLED = "__disabled__"
"""The provider id with which the platform disables a provider."""

_ENGINE_CONTEXT_TOKENS = 8192
"""Context size; small enough that a prompt exceeding it still fits on a tape."""
_REPRODUCIBLE = {"n_parallel": 1, "cache_prompt": False}
"""Engine options with which the order and number of requests do not change a response or its usage."""


def distributions() -> Path:
    """Return the folder of the distributions: inside the installed package, or in the root of a checkout."""
    package = Path(str(files("llama_stack_provider_messages")))
    inside = package / "distributions"
    return inside if inside.is_dir() else package.parents[1] / "distributions"


def stack_environment(tape_url: str, engine: bool, more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a stack, including the address of its upstream.

    Args:
        tape_url: Address of a tape server; empty for a stack without one.
        engine: Whether the stack runs the embedded engine.
        more: Variables that a test adds or overrides.
    """
    apis = {"MESSAGES_APIS_DIR": str(distributions() / "apis.d")}
    upstream = {"TAPE_URL": tape_url, "TAPE_ENGINE": "" if engine else _DISABLED}
    return apis | dict(os.environ) | {"LLAMA_STACK_LOG_FORMAT": "json", "NO_COLOR": "1"} | upstream | dict(more)


class StackProcess:
    """A stack process: starts it on a free port, waits until it is healthy, stops it by its pid.

    Args:
        config: The path or the content of a run.yaml.
        folder: Folder for its files: run.yaml, databases, keys, the log.
        env: Its complete environment.

    Attributes:
        url: Its address, without ``/v1``.
    """

    def __init__(self, config: Path | Mapping[str, Any], folder: Path, env: Mapping[str, str]) -> None:
        with socket.socket() as probe:  # finds a free port
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self._folder = folder
        self._config = config if isinstance(config, Path) else folder / "run.yaml"
        if not isinstance(config, Path):
            self._config.write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
        self._env = {**env, "SQLITE_STORE_DIR": str(folder), "LLAMA_STACK_CONFIG_DIR": str(folder)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything it has printed so far."""
        return (self._folder / "stack.log").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int | None:
        """Its process id, None if it is not running."""
        return self._process.pid if self._process else None

    def models(self) -> list[str]:
        """Return the ids of the language models it serves, in the listed order."""
        import httpx  # not above: commands that only look for the distributions would load it

        response = httpx.get(f"{self.url}/v1/models", timeout=30, trust_env=False).raise_for_status()
        listed = [(model["id"], model.get("custom_metadata") or {}) for model in response.json()["data"]]
        return [name for name, about in listed if about.get("model_type", "llm") == "llm"]

    def start(self) -> Self:
        """Start the process and wait until its health check succeeds.

        Raises:
            TapeUsageError: It exited, or was not healthy in time; the message contains the end of its log.
        """
        command = Path(sys.executable).with_name("llama")
        with (self._folder / "stack.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the platform's own command
                [str(command), "stack", "run", str(self._config), "--port", str(self._port)],
                stdout=log, stderr=log, env=self._env, cwd=self._folder,
            )  # fmt: skip
        ready = False
        try:
            self._wait(self._process)
            ready = True
        finally:
            if not ready:
                self.stop()
        return self

    def stop(self) -> None:
        """Stop the process with SIGTERM; kill it if it does not exit in time."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        import httpx

        deadline = time.monotonic() + START_SECONDS
        # Each client reads the certificate store, which takes 20 ms of CPU time.
        with httpx.Client(timeout=5, trust_env=False) as client:
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    raise TapeUsageError(
                        f"the stack exited with code {process.returncode} while starting; its log ends with\n"
                        f"{self.log[-_SHOWN_LOG_CHARACTERS:]}"
                    )
                with suppress(httpx.TransportError):
                    if client.get(f"{self.url}/v1/health").status_code == httpx.codes.OK:
                        return
                time.sleep(_POLL_SECONDS)
        raise TapeUsageError(
            f"the stack was not healthy within {START_SECONDS:.0f} s; its log ends with\n"
            f"{self.log[-_SHOWN_LOG_CHARACTERS:]}"
        )


@dataclass(frozen=True, slots=True)
class Stack:
    """A running stack for one test.

    Args:
        process: The process, shared by tests.
        model: The model to request: that of the test's tape, otherwise the first one it lists.
    """

    process: StackProcess
    model: str

    @property
    def url(self) -> str:
        """Its address, without ``/v1``."""
        return self.process.url

    @property
    def log(self) -> str:
        """Everything it has printed so far, including output for other tests."""
        return self.process.log


def choose_model(models: Sequence[str], wanted: str) -> str:
    """Return the served model that matches ``wanted``, with or without a provider prefix; otherwise the first one.

    Raises:
        TapeUsageError: No model is served.
    """
    if not models:
        raise TapeUsageError(
            "the stack serves no model: its upstream listed no model, and the played tape names no model"
        )
    return next((model for model in models if wanted in (model, model.partition("/")[2])), models[0])


@contextmanager
def embedded_engine(model_path: str = "", key: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Run the embedded engine while the block runs; yield its address and the facts for ``Upstream``.

    Args:
        model_path: Path of a GGUF file; empty for the bundled model.
        key: The API key that requests have to send; empty disables the check.

    Raises:
        TapeUsageError: The engine is not installed, or does not start; the message says why.
    """
    # imported here: needed for recording only, and imports the platform
    from llama_stack_provider_messages.local.config import (
        LlamaCppConfig,
        check_engine,
        check_model_files,
        engine_options,
    )
    from llama_stack_provider_messages.local.engine import COMMAND, EngineError, EngineProcess

    config = LlamaCppConfig(model_path=model_path, context_size=_ENGINE_CONTEXT_TOKENS)
    try:
        check_engine()
        check_model_files(config)
    except ValueError as error:
        raise TapeUsageError(str(error)) from None
    alias = {"model_alias": [config.model_file.stem]}  # otherwise the model is listed under its path
    options = engine_options(config, key) | alias | _REPRODUCIBLE
    if not key:
        del options["api_keys"]
    process = EngineProcess(COMMAND, options, config.start_timeout_seconds)
    process.start()
    try:
        try:
            address = process.ready.result()
        except EngineError as error:
            raise TapeUsageError(str(error)) from None
        yield address, {"kind": "llama.cpp", "version": f"xllamacpp {version('xllamacpp')}"}
    finally:
        process.stop()
