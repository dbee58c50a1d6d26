"""Messages of an upstream -> chat completions, input beside output: ``<behaviour>.in.json`` -> ``.out.json``.

An input holds reply options (``form``) and a message, or the events of a stream with unusual chunks. The output holds
the completion, the dropped parts, and the chunks.
``--update-golden`` writes the outputs; read the diff before you commit it.
"""

import json
from pathlib import Path

import pytest

from llama_stack_provider_messages.translation.chat_to_messages import dropped_blocks, translate_response
from llama_stack_provider_messages.translation.events import fold
from support.chat_answers import (
    CREATED,
    chat,
    check_completion,
    events_of,
    fold_chunks,
    parsed,
    reply_options,
    sdk_completion,
    translator,
)

CASES = Path(__file__).parent / "chat_to_messages_answers"
NAMES = sorted(path.name.removesuffix(".in.json") for path in CASES.glob("*.in.json"))


def load(name):
    """Return reply options, message and events of a case."""
    case = json.loads((CASES / f"{name}.in.json").read_text())
    events = case.get("events") or list(events_of(case["message"], size=24))
    return reply_options(**case.get("form", {})), case.get("message") or fold(events), events


def listed(dropped):
    return [f"{entry.path} ({entry.feature}): {entry.reason}" for entry in dropped]


@pytest.mark.parametrize("name", NAMES)
def test_response(name, golden):
    options, message, events = load(name)
    completion = translate_response(message, options, created=CREATED)
    check_completion(completion)
    chunks = chat(events, options)
    shown = {"completion": completion, "dropped": listed(dropped_blocks(message, options)), "chunks": chunks}
    lines = ",\n  ".join(json.dumps(chunk) for chunk in chunks)
    head = json.dumps({**shown, "chunks": []}, indent=1).removesuffix("[]\n}")
    golden(CASES / f"{name}.out.json", f"{head}[\n  {lines}\n ]\n}}\n")


@pytest.mark.parametrize("name", NAMES)
def test_chunks_add_up_to_the_unary_completion(name):
    options, _, events = load(name)
    unary = translate_response(fold(events), options, created=CREATED)
    unary["usage"] = unary["usage"] if options.include_usage else None
    assert parsed(fold_chunks(chat(events, options))) == parsed(unary)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_drops_the_same_parts_as_the_unary_response(name):
    options, message, events = load(name)
    translated = translator(options)
    for event in events:
        translated.feed(event)
    assert translated.dropped == dropped_blocks(message, options)


@pytest.mark.parametrize("name", NAMES)
def test_the_official_sdk_accumulates_the_same_response(name):
    options, message, events = load(name)
    unary = translate_response(message, options, created=CREATED)["choices"][0]
    (seen,) = sdk_completion(chat(events, options))["choices"]
    assert seen["finish_reason"] == unary["finish_reason"]
    assert (seen["message"].get("content") or "") == (unary["message"]["content"] or "")
    for field in ("reasoning_content", "reasoning_details", "annotations", "refusal"):
        assert (seen["message"].get(field) or None) == (unary["message"].get(field) or None), field
    called = [called_tool(call) for call in seen["message"].get("tool_calls") or []]
    assert called == [called_tool(call) for call in unary["message"].get("tool_calls") or []]


def called_tool(call):
    tool = call[call["type"]]
    return call["id"], tool["name"], json.loads(tool["arguments"]) if "arguments" in tool else tool["input"]
