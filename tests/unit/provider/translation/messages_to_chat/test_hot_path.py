"""What a streamed token costs, and a large request."""

import sys

import pytest
from pydantic import BaseModel

from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    StreamTranslator,
    TranslationContext,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.reply.text import TextFilter
from support.streams import delta_chunk, id_maker, reply_options, request, usage_chunk

CHUNKS = [
    delta_chunk(role="assistant", content="Hel"),
    delta_chunk(content="lo"),
    delta_chunk(reasoning_content="Hm"),
    delta_chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}]),
    delta_chunk("tool_calls"),
    usage_chunk(prompt_tokens=3, completion_tokens=2),
]


def test_text_without_stop_sequences_is_not_searched(monkeypatch):
    """Requests without stop sequences do not pay for the filter."""
    translator = StreamTranslator(reply_options(), id_maker())
    translator.feed(CHUNKS[0])
    monkeypatch.setattr(TextFilter, "add", None)
    assert [event["delta"]["text"] for _ in range(3) for event in translator.feed(CHUNKS[1])] == ["lo"] * 3


def test_no_pydantic_object_is_built_per_chunk(monkeypatch):
    """Events are plain dicts, encoded once; the stream is complete although models cannot be built."""
    translator = StreamTranslator(reply_options(), id_maker())

    def forbidden(*_args, **_values):
        raise AssertionError("a model is built on the hot path")

    for name in ("__init__", "model_construct", "model_validate", "model_dump"):
        monkeypatch.setattr(BaseModel, name, forbidden)
    events = [event for chunk in CHUNKS for event in translator.feed(chunk)] + translator.finish()
    assert {type(event) for event in events} == {dict}
    assert b"".join(map(encode_event, events)).endswith(b'data: {"type":"message_stop"}\n\n')


def user(*blocks):
    return {"role": "user", "content": [*blocks]}


def calls(count):
    return {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": f"c{i}", "name": "f", "input": {}} for i in range(count)],
    }


def results(count):
    return user(*({"type": "tool_result", "tool_use_id": f"c{i}"} for i in range(count)))


def references(count):
    found = [{"type": "tool_reference", "tool_name": f"gone{i}"} for i in range(count)]
    return user({"type": "tool_result", "tool_use_id": "c0", "content": found})


HI = {"role": "user", "content": "hi"}
NINE = Profile(call_ids="nine")
LARGE = {
    "calls": lambda count: {"messages": [HI, calls(count), results(count)]},
    "system messages": lambda count: {"messages": [HI, *[{"role": "system", "content": "s"}] * count]},
    "references to tools that are gone": lambda count: {
        "tools": [{"name": f"t{i}", "input_schema": {}} for i in range(count)],
        "messages": [HI, calls(1), references(count)],
    },
    "one id in every turn": lambda count: {"messages": [HI, *[calls(1), results(1)] * count]},
    "small texts": lambda count: {"messages": [user(*[{"type": "text", "text": "x"}] * count)]},
    "short turns": lambda count: {"messages": [HI, *[{"role": "assistant", "content": "x"}, HI] * count]},
}


def lines_run(body, *, strict=False, profile=NINE):
    """Return how many lines of Python a translation runs through."""
    asked = request(**body)
    ctx = TranslationContext(profile, Policy(strict=strict), headers={"anthropic-version": "2023-06-01"})
    count = 0

    def trace(_frame, event, _arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        translate_request(asked, ctx)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    ("make", "strict"),
    [
        (LARGE["calls"], True),
        (LARGE["system messages"], True),
        (LARGE["references to tools that are gone"], False),
        (LARGE["one id in every turn"], False),
        (LARGE["small texts"], False),
        (LARGE["short turns"], False),
    ],
    ids=LARGE,
)
def test_a_request_ten_times_as_large_costs_about_ten_times_as_much(make, strict):
    """The event loop waits for the translation: a megabyte must not stop the server for a minute."""
    assert lines_run(make(2_000), strict=strict) < 12 * lines_run(make(200), strict=strict)


def test_a_long_conversation_costs_little_per_message():
    """A message of an agent runs through about 150 lines of Python: steps that look for rare blocks skip the others."""
    session = {"messages": [HI, *[calls(1), results(1)] * 100], "tools": [{"name": "f", "input_schema": {}}]}
    assert lines_run(session, profile=Profile()) < 180 * len(session["messages"])
