"""The translation uses no clock, network, random numbers or platform."""

import ast
from pathlib import Path

import pytest

import llama_stack_provider_messages

PACKAGE = Path(llama_stack_provider_messages.__file__).parent
PURE_ERRORS = ("body", "overflow", "redaction", "response")
MODULES = [
    *sorted((PACKAGE / "translation").rglob("*.py")),
    *(PACKAGE / "errors" / f"{name}.py" for name in PURE_ERRORS),
    PACKAGE / "upstream" / "sse.py",
    *sorted((PACKAGE / "headers").rglob("*.py")),
]
ALLOWED = {
    "base64", "binascii", "codecs", "collections", "copy", "dataclasses", "datetime", "encodings", "functools",
    "abc", "hashlib", "hmac", "itertools", "json", "math", "msgspec", "pydantic", "re", "typing", "zlib",
    "llama_stack_api_messages", "llama_stack_provider_messages",
}  # fmt: skip


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_pure_module_imports_only_pure_modules(path):
    assert {name.split(".")[0] for name in imports(path)} <= ALLOWED
    inner = {name for name in imports(path) if name.startswith("llama_stack_")}
    allowed = (
        "llama_stack_api_messages.errors",
        "llama_stack_api_messages.json_bytes",
        "llama_stack_api_messages.json_members",
        "llama_stack_api_messages.models",
        "llama_stack_provider_messages.translation",
        "llama_stack_provider_messages.headers",
        *(f"llama_stack_provider_messages.errors.{name}" for name in PURE_ERRORS),
    )
    assert all(name.startswith(allowed) for name in inner)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_asks_for_the_time(path):
    assert ".now(" not in path.read_text()
    assert "utcnow" not in path.read_text()
