"""A stack over the scripted upstream, and the client libraries, each installed once."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.stack_process import ROOT, StackProcess, run_config, vllm
from support.wire import Wire

HERE = Path(__file__).parent
JS_FOLDER = HERE / "js"
CACHE = ROOT / ".cache" / "clients"
INSTALL_SECONDS = 300
SESSION_SECONDS = 120
OLDEST_NODE_MAJOR = 20


@dataclass
class Session:
    """The report of one client, and the requests and responses that passed the proxy."""

    report: dict[str, Any]
    wire: Wire


type RunClient = Callable[[list[str | Path], dict[str, str]], Session]


@pytest.fixture(scope="session")
def stack(upstream, tmp_path_factory) -> Iterator[StackProcess]:
    """A stack in which all names that begin with ``try-`` or ``claude-`` are the model ``agent``."""
    messages = {"ping_seconds": 0.1, "aliases": {"try-*": "up/agent", "claude-*": "up/agent"}}
    with StackProcess(run_config([vllm(upstream.url)], messages), tmp_path_factory.mktemp("stack")) as process:
        yield process


@pytest.fixture(scope="session")
def run_client(stack, upstream) -> Iterator[RunClient]:
    """Return a function that runs a client command with the base URL as last argument and parses its report."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "LANGSMITH_"))}

    def run(command: list[str | Path], env: dict[str, str]) -> Session:
        with Wire(stack.url, upstream) as wire:
            done = subprocess.run(
                [*command, wire.url],
                capture_output=True,
                text=True,
                timeout=SESSION_SECONDS,
                env={**inherited, "NO_PROXY": "127.0.0.1", **env},
                check=False,
            )
        assert done.returncode == 0, f"{done.stderr[-3000:]}\n{stack.log[-2000:]}"
        return Session(json.loads(done.stdout), wire)

    return run


@pytest.fixture(scope="session")
def node_script(tmp_path_factory) -> Callable[[str], list[str | Path]]:
    """Return a function from a script of the js folder to the command that runs it with its packages."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        pytest.skip("the JavaScript clients need node and npm, which are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE_MAJOR:
        pytest.skip(f"the JavaScript clients need node {OLDEST_NODE_MAJOR} or newer; this is {version}")

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(JS_FOLDER / name, folder)
        _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder)

    packages = _installed_once("js", JS_FOLDER / "package-lock.json", install)
    folder = tmp_path_factory.mktemp("js")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    for script in JS_FOLDER.glob("*.mjs"):
        shutil.copy(script, folder)
    return lambda name: [node, folder / name]


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """Return the Python of an environment with only the packages of ``scripts/clients.lock``."""
    lock = ROOT / "scripts" / "clients.lock"

    def install(folder: Path) -> None:
        python = str(folder / "bin" / "python")
        if uv := shutil.which("uv"):
            _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
            pip = [uv, "pip", "install", "--python", python]
        else:
            _run([sys.executable, "-m", "venv", str(folder)])
            pip = [python, "-m", "pip", "--disable-pip-version-check", "install"]
        _run([*pip, "--quiet", "--no-deps", "--require-hashes", "-r", str(lock)])

    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return _installed_once(version, lock, install) / "bin" / "python"


def _installed_once(kind: str, lock: Path, install: Callable[[Path], None]) -> Path:
    """Return the folder with the packages of a lock file; it is installed elsewhere and then renamed."""
    folder = CACHE / f"{kind}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as part:
            install(Path(part))
            try:
                Path(part).rename(folder)
            except OSError:  # another run has installed it meanwhile
                assert folder.exists()
            else:
                Path(part).mkdir()  # for the context manager to remove
    return folder


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, cwd=cwd, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
