"""Requests of a real agent, as a vLLM backend gets them.

Inputs are the captures in ``tests/data/captures``, outputs stand in ``messages_to_chat/captures``.
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
NAMES = sorted(path.stem for path in CAPTURES.glob("*.json"))
OUTPUT = Path(__file__).parent / "messages_to_chat" / "captures"
TURNS = [f"cc329-loop-{number:02}" for number in (0, 3, 5, 7, 9)]
"""One session's main agent; ``cc329-loop-12`` is a subagent of it, with a prompt and tools of its own."""


def capture(name):
    return json.loads((CAPTURES / f"{name}.json").read_text())


def translated(name, profile):
    return translate_request(CreateMessageRequest.model_validate(capture(name)["body"]), TranslationContext(profile))


@pytest.mark.parametrize("name", NAMES)
def test_capture(name, golden):
    done = translated(name, profile_for("remote::vllm"))
    dropped = [f"{entry.path} ({entry.feature}): {entry.reason}" for entry in done.dropped]
    golden(OUTPUT / f"{name}.out.json", json.dumps({"fields": done.fields, "dropped": dropped}, indent=1) + "\n")


PROFILES = {
    "vllm": profile_for("remote::vllm"),
    "openai": profile_for("remote::openai"),
    "reasoning": Profile(reasoning_field="reasoning", tool_images=True),
    "reminders": Profile(inline_system="user"),
    "hoisted": Profile(inline_system="first"),
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("turns", [*pairwise(TURNS)], ids=TURNS[1:])
def test_a_turn_begins_with_the_whole_turn_before(turns, profile):
    """Messages and tools; tools that were loaded later come last.

    Vllm 36829, llama.cpp 21793: a prompt that changes in the middle is computed again, for every turn.
    """
    before, after = (translated(name, profile).fields for name in turns)
    for field in ("messages", "tools"):
        assert after[field][: len(before[field])] == before[field]
    assert len(after["messages"]) > len(before["messages"])


def test_the_session_loads_tools_on_its_way():
    """Or the tools above would be a prefix of themselves."""
    first, last = (len(translated(name, Profile()).fields["tools"]) for name in (TURNS[0], TURNS[-1]))
    assert last > first


def test_the_subagent_is_another_conversation():
    """The same session by its header; its attribution block says what it is, and its first message is another."""
    main, sub = capture(TURNS[0]), capture("cc329-loop-12")
    session = "x-claude-code-session-id"
    assert main["headers"][session] == sub["headers"][session]
    assert "cc_is_subagent=true" in sub["body"]["system"][0]["text"]
    assert "cc_is_subagent" not in main["body"]["system"][0]["text"]
    assert (
        translated("cc329-loop-12", Profile()).fields["messages"][1]
        != translated(TURNS[0], Profile()).fields["messages"][1]
    )
