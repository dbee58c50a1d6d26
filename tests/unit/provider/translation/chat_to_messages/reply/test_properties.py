"""For any upstream: a stream adds up to its unary response, and invalid data never breaks the translation."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.translation.chat_to_messages import (
    StreamTranslator,
    continued,
    dropped_blocks,
    translate_response,
)
from support.chat_answers import (
    CREATED,
    USAGE,
    chat,
    check_chunks,
    check_completion,
    events_of,
    fold_chunks,
    message,
    parsed,
    reply_options,
    text,
    thinking,
    tool_use,
    translator,
)

NAMES = st.sampled_from(["plain", "custom", "wrapped", "renamed"])
WORDS = st.text(max_size=12) | st.text(alphabet="a{ \ud83d\ude00\u00e9", max_size=9)  # halves of an emoji too
NAMES_OF_FIELDS = st.text(max_size=12) | st.just("\ud83d")  # one half only: two would become the same name
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES_OF_FIELDS, inner, max_size=3),
    max_leaves=6,
)
INPUTS = st.dictionaries(NAMES_OF_FIELDS, VALUES, max_size=3) | st.fixed_dictionaries({"input": VALUES})
CITATIONS = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["web_search_result_location", "search_result_location", "char_location"]),
            "url": st.sampled_from(["https://a.example", "https://b.example"]),
            "source": st.sampled_from(["https://c.example", "a note"]),
            "title": st.none() | WORDS,
            "cited_text": WORDS,
        }
    ),
    max_size=2,
)
BLOCKS = st.one_of(
    st.builds(text, WORDS),
    st.builds(lambda words, citations: text(words, citations=citations), WORDS, CITATIONS),
    st.builds(thinking, WORDS, st.sampled_from(["", "sig"])),
    st.builds(lambda data: {"type": "redacted_thinking", "data": data}, WORDS),
    st.builds(tool_use, NAMES, INPUTS, st.sampled_from(["toolu_1", "toolu_2", None])),
    st.just({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}}),
    st.just({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
)
REASONS = st.sampled_from(["end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "pause_turn", "novel"])
DETAILS = st.none() | st.builds(lambda text: {"type": "refusal", "explanation": text}, st.none() | WORDS)
MESSAGES = st.builds(
    lambda content, reason, details, sequence, tier: message(
        *content,
        stop_reason=reason,
        stop_details=details,
        stop_sequence=sequence,
        usage={**USAGE, "service_tier": tier},
    ),
    st.lists(BLOCKS, max_size=5),
    REASONS,
    DETAILS,
    st.none() | WORDS,
    st.sampled_from(["standard", "priority", "batch", None]),
)
OPTIONS = st.builds(
    lambda legacy, json_object: reply_options(
        legacy_functions=legacy,
        json_object=json_object,
        custom_tools=["custom"],
        wrapped_tools=["wrapped"],
        tool_names={"renamed": "re.named"},
    ),
    st.booleans(),
    st.booleans(),
)


@given(MESSAGES, OPTIONS, st.integers(1, 9))
@settings(max_examples=80)
def test_chunks_add_up_to_the_unary_completion(upstream_message, options, size):
    unary = translate_response(upstream_message, options, created=CREATED)
    check_completion(unary)
    assert parsed(fold_chunks(chat(events_of(upstream_message, size), options))) == parsed(unary)


@given(MESSAGES, MESSAGES, OPTIONS)
@settings(max_examples=60)
def test_a_continued_stream_adds_up_to_the_continued_message(first, second, options):
    first["stop_reason"] = "pause_turn"
    translated = translator(options)
    chunks = [chunk for event in events_of(first) for chunk in translated.feed(event)] + translated.resume()
    chunks += [chunk for event in events_of(second) for chunk in translated.feed(event)] + translated.finish()
    check_chunks(chunks, options)
    upstream_message = continued(first, second)
    assert parsed(fold_chunks(chunks)) == parsed(translate_response(upstream_message, options, created=CREATED))
    assert sorted(translated.dropped, key=str) == sorted(dropped_blocks(upstream_message, options), key=str)


@given(st.lists(st.text(alphabet='{}[]",:a1 \\n', max_size=8), max_size=6), st.sampled_from(["plain", "wrapped"]))
@settings(max_examples=300)
def test_streamed_arguments_are_always_an_object(pieces, name):
    events = list(events_of(message(tool_use(name), stop_reason="tool_use")))
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    events[3:3] = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    options = reply_options(wrapped_tools=["wrapped"])
    (call,) = fold_chunks(chat(events, options))["choices"][0]["message"]["tool_calls"]
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


KEYS = st.sampled_from(
    ["type", "index", "delta", "content_block", "message", "usage", "error", "text", "thinking", "signature", "id",
     "name", "input", "partial_json", "citation", "citations", "stop_reason", "stop_details", "data", "code", "url",
     "input_tokens", "output_tokens", "service_tier", "speed", "explanation", "details", "content"]
)  # fmt: skip
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta",
     "message_stop", "ping", "error", "text", "thinking", "redacted_thinking", "tool_use", "text_delta",
     "thinking_delta", "signature_delta", "input_json_delta", "citations_delta", "refusal", "overloaded_error"]
)  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | KINDS | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)
SHAPED = st.builds(
    lambda kind, index, part, inner, usage: {
        "type": kind, "index": index, "usage": usage,
        "delta": {"type": part, **inner}, "content_block": {"type": part, **inner}, "message": inner,
    },
    KINDS.filter(lambda kind: kind != "error"), st.integers(0, 2) | JUNK, KINDS,
    st.dictionaries(KEYS, JUNK, max_size=4), JUNK,
)  # fmt: skip


@given(st.lists(SHAPED | JUNK, max_size=8), OPTIONS, st.integers(0, 9))
@settings(max_examples=200)
def test_any_events_give_chunks_or_one_error(events, options, pause):
    translated: StreamTranslator = translator(options)
    chunks = []
    for place, event in enumerate(events):
        chunks += translated.feed(event)
        chunks += translated.resume() if place == pause else []
    chunks += translated.finish()
    assert translated.finished
    check_chunks(chunks, options)
    json.dumps(translated.usage)


@given(
    st.dictionaries(KEYS, JUNK, max_size=5),
    st.lists(JUNK | SHAPED.map(lambda event: event["delta"]), max_size=4),
    OPTIONS,
)
@settings(max_examples=200)
def test_any_message_gives_a_completion_or_an_error(fields, content, options):
    upstream_message = fields | {"content": content}
    try:
        completion = translate_response(upstream_message, options, created=CREATED)
    except MessagesError:
        return
    check_completion(completion)
    dropped_blocks(upstream_message, options)
