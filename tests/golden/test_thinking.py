"""Thinking: response or stream -> blocks -> next request; also the thinking fields of every preset.

``thinking/<behaviour>.in.json`` has a chat completion, the same response as chunks, the request and the backend's
profile; ``.out.json`` the message, the events, and the assistant message of the next request. Signatures are decoded,
because their bytes depend on the compressor.
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
from support.streams import chunk, completion, id_maker, request, translate

CASES = Path(__file__).parent / "thinking"
NAMES = sorted(path.name.removesuffix(".in.json") for path in CASES.glob("*.in.json"))
SIGNER = ThinkingSigner(b"key", "backend/model")
THINKING_REQUESTS = {
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


def decoded(value):
    """Return a value with its signatures replaced by their content."""
    if isinstance(value, list):
        return [decoded(part) for part in value]
    if isinstance(value, dict):
        return {name: decoded(part) for name, part in value.items()}
    signed = SIGNER.open(value) if isinstance(value, str) else None
    return {"sealed": signed.text, "details": list(signed.details)} if signed else value


@pytest.mark.parametrize("name", NAMES)
def test_thinking_in_a_response_and_in_the_next_request(name, golden):
    case = json.loads((CASES / f"{name}.in.json").read_text())
    profile = profile_for("", overrides=case["profile"])
    create_request = request(**case.get("request", {}))
    options = translate_request(create_request, TranslationContext(profile, signer=SIGNER)).options
    message = translate_response(completion(case["completion"]), options, id_maker(), sign=SIGNER.sign)
    events = translate([chunk(value) for value in case["chunks"]], options, sign=SIGNER.sign)
    assert fold(events) == message
    echoed = [{"role": "user", "content": "q"}, message, {"role": "user", "content": "r"}]
    turns = [{"role": turn["role"], "content": turn["content"]} for turn in echoed]
    again = translate_request(request(messages=turns), TranslationContext(profile, signer=SIGNER))
    golden(name, decoded({"message": message, "events": events, "next": again.fields["messages"][1]}))


def test_thinking_fields_of_every_preset(golden):
    table = {}
    for preset in PRESETS:
        profile = profile_for("", overrides={"like": preset})
        for name, fields in THINKING_REQUESTS.items():
            result = translate_request(request(**fields), TranslationContext(profile))
            sent = {key: value for key, value in result.fields.items() if key not in ("messages", profile.output_limit)}
            lost = [f"{entry.feature}: {entry.reason}" for entry in result.dropped]
            table.setdefault(preset, {})[name] = sent | ({"dropped": lost} if lost else {})
    golden("switches", table)
