"""The core of the harness knows no network, no files, no clock; everything beside it is an adapter and says so."""

import ast
import importlib.util
from pathlib import Path

import pytest

import llama_stack_provider_messages.tape.model as model

FOLDER = Path(model.__file__).parent
ADAPTERS = {
    "__init__", "bench", "claims", "cli", "deck", "embedded",
    "faults", "in_tests", "orphans", "runner", "server", "settings",
    "stack_process", "store", "streams", "transport", "writing",
}  # fmt: skip
CORE = sorted(path for path in FOLDER.glob("*.py") if path.stem not in ADAPTERS)
ALLOWED = {
    "ast", "base64", "collections", "dataclasses", "difflib", "enum", "fnmatch", "functools", "itertools", "json",
    "jsonschema", "math", "pydantic", "re", "textwrap", "typing", "urllib", "yaml",
}  # fmt: skip
OTHER_PURE = {"llama_stack_provider_messages.translation.events", "llama_stack_provider_messages.upstream.sse"}
SPEC = importlib.util.spec_from_file_location(
    "check_structure", Path(__file__).parents[4] / "scripts" / "check_structure.py"
)
check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check)


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_a_module_of_the_core_imports_only_the_core_and_what_computes(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= ALLOWED
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.module not in ADAPTERS
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] in ALLOWED or node.module in OTHER_PURE


def test_every_module_is_one_or_the_other():
    """A new one is checked once it is named."""
    assert {path.stem for path in CORE} == {name.rpartition(".")[2] for name in check.TAPE_CORE}
    assert {path.stem for path in FOLDER.glob("*.py")} == {path.stem for path in CORE} | ADAPTERS
