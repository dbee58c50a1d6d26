"""Captured requests of Claude Code, translated for a vLLM backend.

Inputs are the captures in ``tests/data/captures``, outputs are in ``messages_to_chat/captures``.
"""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat import (
    Profile,
    TranslationContext,
    profile_for,
    translate_request,
)

CAPTURES = Path(__file__).parents[1] / "data" / "captures"
CAPTURE_NAMES = sorted(path.stem for path in CAPTURES.glob("*.json"))
OUTPUT = Path(__file__).parent / "messages_to_chat" / "captures"
SESSION_CAPTURES = [f"cc329-loop-{number:02}" for number in (0, 3, 5, 7, 9)]
"""Requests of the main agent in one session; ``cc329-loop-12`` is its subagent, with its own prompt and tools."""


def capture(name):
    return json.loads((CAPTURES / f"{name}.json").read_text())


def translated(name, profile):
    return translate_request(CreateMessageRequest.model_validate(capture(name)["body"]), TranslationContext(profile))


@pytest.mark.parametrize("name", CAPTURE_NAMES)
def test_capture(name, golden):
    result = translated(name, profile_for("remote::vllm"))
    dropped = [f"{entry.path} ({entry.feature}): {entry.reason}" for entry in result.dropped]
    golden(OUTPUT / f"{name}.out.json", json.dumps({"fields": result.fields, "dropped": dropped}, indent=1) + "\n")


PROFILES = {
    "vllm": profile_for("remote::vllm"),
    "openai": profile_for("remote::openai"),
    "reasoning": Profile(reasoning_field="reasoning", tool_images=True),
    "reminders": Profile(inline_system="user"),
    "hoisted": Profile(inline_system="first"),
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("turns", [*pairwise(SESSION_CAPTURES)], ids=SESSION_CAPTURES[1:])
def test_a_request_begins_with_the_messages_and_tools_of_the_previous_one(turns, profile):
    """Tools that the client loads later are at the end.

    Vllm 36829, llama.cpp 21793: a change in the middle of the prompt makes the prefix cache useless.
    """
    before, after = (translated(name, profile).fields for name in turns)
    for field in ("messages", "tools"):
        assert after[field][: len(before[field])] == before[field]
    assert len(after["messages"]) > len(before["messages"])


def test_the_session_loads_tools():
    """Otherwise the test above would compare equal lists of tools."""
    first, last = (
        len(translated(name, Profile()).fields["tools"]) for name in (SESSION_CAPTURES[0], SESSION_CAPTURES[-1])
    )
    assert last > first


def test_the_subagent_has_its_own_conversation():
    """Its session header is the same; its billing block marks a subagent, and its first message differs."""
    main, sub = capture(SESSION_CAPTURES[0]), capture("cc329-loop-12")
    session = "x-claude-code-session-id"
    assert main["headers"][session] == sub["headers"][session]
    assert "cc_is_subagent=true" in sub["body"]["system"][0]["text"]
    assert "cc_is_subagent" not in main["body"]["system"][0]["text"]
    assert (
        translated("cc329-loop-12", Profile()).fields["messages"][1]
        != translated(SESSION_CAPTURES[0], Profile()).fields["messages"][1]
    )
