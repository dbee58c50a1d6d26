"""scripts/check_structure.py finds forbidden imports."""

import ast
import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "check_structure", Path(__file__).parents[2] / "scripts" / "check_structure.py"
)
check = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check)

API, PROVIDER, TAPE = "llama_stack_api_messages", "llama_stack_provider_messages", "messages_tape"
TO_CHAT, TO_MESSAGES = f"{PROVIDER}.translation.messages_to_chat", f"{PROVIDER}.translation.chat_to_messages"


def findings(source, module, *, is_package=False):
    return [what for _, what in check.import_findings(ast.parse(source), module, is_package=is_package)]


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        (f"{PROVIDER}.translation.x", "from ..impl import MessagesImpl", "is a lower room than"),
        (f"{PROVIDER}.translation.x", f"import {PROVIDER}.translated", "is a lower room than"),
        (f"{PROVIDER}.errors.x", f"def f():\n    from {PROVIDER}.native.stream import relayed", "is a lower room than"),
        (f"{API}.x", f"from {API}.routes import create_router", "is a lower room than"),
        (f"{TAPE}.core.x", f"from {TAPE}.http import transport", "is a lower room than"),
        (f"{TO_MESSAGES}.request.x", f"from {TO_CHAT}.profile import Profile", "must not import each other"),
        (
            f"{PROVIDER}.translated.x",
            f"from {PROVIDER}.native.lane import NativeLane",
            "must not import each other",
        ),
        (f"{PROVIDER}.translation.x", "import asyncio", "is pure"),
        (f"{TAPE}.format.x", "from time import time", "is pure"),
        (f"{PROVIDER}.impl", "from llama_stack.log import get_logger", "only stack/"),
        (f"{API}.routes.x", "import llama_stack_api", "only stack/"),
    ],
)
def test_a_forbidden_import_is_found(module, source, message):
    """From a lower room, from one direction or lane to the other, of I/O in a pure room, or of the platform."""
    (found,) = findings(source, module)
    assert message in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (f"{PROVIDER}.impl", "from .translated.lane import TranslatedLane"),
        (f"{PROVIDER}.translated.lane", f"from {TO_CHAT} import translate_request"),
        (f"{PROVIDER}.stack.llama_stack", "from llama_stack.log import get_logger"),
        (f"{PROVIDER}.translation.x", "import json, re"),
        (f"{API}.x", f"if TYPE_CHECKING:\n    from {API}.routes import create_router"),
    ],
)
def test_an_allowed_import_is_not_found(module, source):
    """From a higher room, pure, in the room of the platform, or only for type checking."""
    assert findings(source, module) == []


def test_the_init_of_a_room_may_import_from_the_rooms_inside_it():
    """It is the public surface of the room."""
    source = f"from {TO_CHAT}.reply.response import translate_response"
    assert findings(source, TO_CHAT, is_package=True) == []
    assert findings(source, f"{TO_CHAT}.context") != []


def test_the_project_follows_its_rules():
    """No findings, no import cycles."""
    assert [*check.findings()] == []
