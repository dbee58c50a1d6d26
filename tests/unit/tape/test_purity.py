"""The core of the harness uses no network, files or clock; the whole harness needs neither the platform nor SDKs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import messages_tape

FOLDER = Path(messages_tape.__file__).parent
PURE = ("format", "reading", "secrets", "core")
MODULES = sorted(path for room in PURE for path in (FOLDER / room).glob("*.py"))
ALLOWED = {
    "ast", "base64", "collections", "contextlib", "dataclasses", "difflib", "enum", "fnmatch", "functools", "itertools",
    "json", "jsonschema", "math", "pydantic", "re", "textwrap", "typing", "urllib", "yaml", "zlib",
}  # fmt: skip
OTHER_PURE = {"llama_stack_provider_messages.translation.events", "llama_stack_provider_messages.upstream.sse"}
INNER = tuple(f"messages_tape.{name}" for name in (*PURE, "errors"))
BLOCKED = ("llama_stack", "llama_stack_api", "llama_stack_client", "openai", "fastapi")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}.{path.stem}")
def test_a_module_of_the_core_does_no_io(path):
    """It imports modules of the core and pure libraries only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] in ALLOWED or node.module in OTHER_PURE or node.module.startswith(INNER)


@pytest.mark.parametrize(
    "what",
    [
        "import messages_tape, messages_tape.testing.plugin, messages_tape.cli.main as main",
        "import messages_tape as tape; [getattr(tape, name) for name in tape.__all__]",
        "from llama_stack_provider_messages.tape import *; Tape, Deck, TapeTransport, use_tape",
        "from messages_tape.cli.main import main; main(['--help'])",
    ],
)
def test_the_harness_works_without_the_platform_and_the_sdks(what):
    """The package, its command, its pytest plugin, and its earlier name, with their imports blocked."""
    code = f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}))\n{what}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


def test_importing_the_plugin_loads_nothing_heavy():
    """Every test run of an environment has the plugin."""
    code = (
        "import sys, messages_tape.testing.plugin; print({'httpx', 'uvicorn', 'yaml', 'pydantic'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "set()"
