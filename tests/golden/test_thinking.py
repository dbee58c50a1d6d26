"""Thinking on its whole way: an answer and its stream -> blocks -> the next request; and the switches of every preset.

``thinking/<behaviour>.in.json`` holds a chat completion, the same answer as chunks, what was asked and the backend's
profile; ``.out.json`` the message, the events, and the assistant message of the next request. A signature is shown
opened, for its bytes depend on the compressor.
"""

import json
from pathlib import Path

import pytest

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    PRESETS,
    ThinkingSigner,
    TranslationContext,
    profile_for,
    translate_request,
    translate_response,
)
from support.streams import chunk, completion, id_maker, request, translate_form

CASES = Path(__file__).parent / "thinking"
NAMES = sorted(path.name.removesuffix(".in.json") for path in CASES.glob("*.in.json"))
SIGNER = ThinkingSigner(b"key", "backend/model")
WISHES = {
    "disabled": {"thinking": {"type": "disabled"}},
    "adaptive": {"thinking": {"type": "adaptive"}},
    "enabled, 5000 tokens": {"thinking": {"type": "enabled", "budget_tokens": 5000}},
    "effort high": {"output_config": {"effort": "high"}},
}


@pytest.fixture
def golden(pytestconfig):
    def compare(name, value):
        path, text = CASES / f"{name}.out.json", json.dumps(value, indent=1) + "\n"
        if pytestconfig.getoption("--update-golden", default=False):
            path.write_text(text)
        assert path.read_text() == text

    return compare


def opened(value):
    """Return a value with what its signatures carry in their place."""
    if isinstance(value, list):
        return [opened(part) for part in value]
    if isinstance(value, dict):
        return {name: opened(part) for name, part in value.items()}
    thoughts = SIGNER.open(value) if isinstance(value, str) else None
    return {"sealed": thoughts.text, "details": list(thoughts.details)} if thoughts else value


@pytest.mark.parametrize("name", NAMES)
def test_thinking_on_its_way(name, golden):
    case = json.loads((CASES / f"{name}.in.json").read_text())
    profile = profile_for("", overrides=case["profile"])
    asked = request(**case.get("request", {}))
    form = translate_request(asked, TranslationContext(profile, signer=SIGNER)).options
    message = translate_response(completion(case["completion"]), form, id_maker(), sign=SIGNER.sign)
    events = translate_form([chunk(value) for value in case["chunks"]], form, sign=SIGNER.sign)
    assert fold(events) == message
    echoed = [{"role": "user", "content": "q"}, message, {"role": "user", "content": "r"}]
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in echoed]
    again = translate_request(request(messages=turns), TranslationContext(profile, signer=SIGNER))
    golden(name, opened({"message": message, "events": events, "next": again.fields["messages"][1]}))


def test_switches_of_every_preset(golden):
    table = {}
    for preset in PRESETS:
        profile = profile_for("", overrides={"like": preset})
        for wish, fields in WISHES.items():
            done = translate_request(request(**fields), TranslationContext(profile))
            sent = {key: value for key, value in done.fields.items() if key not in ("messages", profile.output_limit)}
            lost = [f"{entry.feature}: {entry.reason}" for entry in done.dropped]
            table.setdefault(preset, {})[wish] = sent | ({"dropped": lost} if lost else {})
    golden("switches", table)
