"""The check of layers and sizes sees what it is there for."""

import ast
import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "check_structure", Path(__file__).parents[2] / "scripts" / "check_structure.py"
)
check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check)

PROVIDER = "llama_stack_provider_messages"


def findings(source, module):
    return [what for _, what in check.import_findings(ast.parse(source), module, is_package=False)]


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        (f"{PROVIDER}.translation.x", "from ..impl import MessagesImpl", "outer layer"),
        (f"{PROVIDER}.translation.x", f"import {PROVIDER}.translated", "outer layer"),
        (f"{PROVIDER}.failures", "from .translated import TranslatedBackend", "outer layer"),
        (f"{PROVIDER}.translation.x", "import asyncio", "is pure"),
        (f"{PROVIDER}.sse", "from time import time", "is pure"),
        (f"{PROVIDER}.impl", "from llama_stack.log import get_logger", "only stack.py"),
        ("llama_stack_api_messages.api", "import llama_stack_api", "only stack.py"),
    ],
)
def test_an_import_against_the_rule_is_found(module, source, complaint):
    """Outwards, impure, or past the seam to the platform."""
    (found,) = findings(source, module)
    assert complaint in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (f"{PROVIDER}.impl", "from .translated import TranslatedBackend"),
        (f"{PROVIDER}.translated", "from .translation.messages_to_chat import translate_request"),
        (f"{PROVIDER}.stack", "from llama_stack.log import get_logger"),
        (f"{PROVIDER}.translation.x", "import json, re"),
    ],
)
def test_an_import_by_the_rule_is_not(module, source):
    """Inwards, pure, or in the seam."""
    assert findings(source, module) == []


def test_a_function_is_measured_without_its_docstring():
    """The length of the code counts."""
    tree = ast.parse('def f():\n    """Doc.\n\n    More.\n    """\n    a = 1\n    return a\n')
    assert list(check.function_sizes(tree)) == [(1, "f", 2)]


@pytest.mark.parametrize("handler", ["except:", "except Exception:", "except (ValueError, BaseException):"])
def test_a_broad_except_is_counted(handler):
    """However it is written."""
    assert list(check.broad_excepts(ast.parse(f"try:\n    pass\n{handler}\n    pass\n"))) == [3]


def test_the_project_follows_its_rules():
    """There is nothing to report."""
    assert [*check.source_findings("llama_stack_api_messages"), *check.source_findings(PROVIDER)] == []
