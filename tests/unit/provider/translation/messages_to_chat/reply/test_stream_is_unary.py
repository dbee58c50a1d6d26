"""However a backend splits a response into chunks, the stream adds up to the message of the unary response."""

import itertools
import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import StreamTranslator, translate_response
from llama_stack_provider_messages.translation.names import ClientName
from support.grammar import check_stream
from support.streams import call, completion, delta_chunk, id_maker, reply_options, usage_chunk

WORDS = st.lists(
    st.sampled_from(["a", "b", " ", "\n", "<think>", "</think>", "</th", "stop", "sto", "p", "\u00e9"]), max_size=8
).map("".join)
ARGUMENTS = st.sampled_from(
    ["", "{}", "null", "[1]", "no JSON", '{"a": 1}', '{"a": {"b": [1, 2]}, "c": "x,y"}', '{"a": 1', '{"a": "b',
     '{"a": 1,}', '"{\\"a\\": 1}"', '{} {"a": 1}', '{"a": 1}{"b": 2}', '{"x": 1, "y": {"z": [']
)  # fmt: skip
CALLS = st.lists(
    st.tuples(st.sampled_from(["call_0", "functions.f:0", "other"]), st.sampled_from(["get", "alias"]), ARGUMENTS),
    max_size=3,
)
ENTRY = st.sampled_from([("reasoning.text", "text"), ("reasoning.summary", "summary"), ("reasoning.encrypted", "data")])
ENTRIES = st.lists(st.tuples(ENTRY, WORDS), min_size=1, max_size=3)
REASONING = st.one_of(
    st.just({}),
    st.builds(lambda name, text: {name: text}, st.sampled_from(["reasoning_content", "reasoning"]), WORDS),
    ENTRIES.map(
        lambda found: {
            "reasoning_details": [
                {"type": kind, "index": index, name: text} for index, ((kind, name), text) in enumerate(found)
            ]
        }
    ),
)
SOURCE = {"type": "url_citation", "url_citation": {"url": "http://x", "title": "t", "start_index": 0, "end_index": 2}}
FORMS = st.builds(
    lambda thinking, inline, stops, prefill: replace(
        reply_options(),
        thinking=thinking,
        inline=inline,
        stops=stops,
        prefill=prefill,
        tools=frozenset({"get", "alias"}),
        names={"alias": ClientName("left_click", "computer")},
        call_ids=frozenset({"other"}),
        safeguards=("dangerous_tool_use",),
        extras=(("context_management", {"applied_edits": []}),),
    ),
    st.sampled_from(["shown", "omitted", "hidden"]),
    st.sampled_from(["none", "tagged", "open"]),
    st.sampled_from([(), ("stop",), ("p", "top"), ("ab", "\n")]),
    st.sampled_from(["", "a", "ab"]),
)
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}


def pieces(text, cuts):
    """Return a text in pieces; the sizes are used in turn."""
    sizes = itertools.cycle(cuts)
    found, start = [], 0
    while start < len(text):
        size = next(sizes)
        found.append(text[start : start + size])
        start += size
    return found


def deltas(message, cuts):
    """Yield the deltas of a message in the order models write: reasoning, text, annotations, calls."""
    for name in ("reasoning_content", "reasoning", "content"):
        yield from ({name: piece} for piece in pieces(message.get(name, ""), cuts))
        if name == "reasoning":
            for entry in message.get("reasoning_details", ()):
                word = next(key for key in ("text", "summary", "data") if key in entry)
                for piece in pieces(entry[word], cuts) or [""]:
                    yield {"reasoning_details": [entry | {word: piece}]}
    if message["annotations"]:
        yield {"annotations": message["annotations"]}
    for one in message["tool_calls"]:
        function = one["function"]
        yield {"tool_calls": [one | {"function": function | {"arguments": ""}}]}
        yield from (
            {"tool_calls": [call(one["index"], arguments=part)]} for part in pieces(function["arguments"], cuts)
        )


def signed(text, details=()):
    """Return the content of a signature, for comparison."""
    return json.dumps([text, list(details)], sort_keys=True)


def comparable(message):
    """Return a message without the parts that a stream stopped by a stop sequence does not have."""
    if message["stop_reason"] != "stop_sequence":
        return message
    content = [{name: value for name, value in block.items() if name != "citations"} for block in message["content"]]
    return message | {"content": content, "usage": None}


@given(
    st.tuples(WORDS, REASONING, CALLS, st.booleans()),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    FORMS,
)
def test_a_stream_adds_up_to_the_unary_response(parts, finish, cuts, reply):
    text, reasoning, calls, cited = parts
    message = {"role": "assistant", "content": text, **reasoning}
    message["annotations"] = [SOURCE] if cited and text else []
    message["tool_calls"] = [call(index, *one) for index, one in enumerate(calls)]
    choice = {"index": 0, "message": message, "finish_reason": finish}
    unary = translate_response(completion({"choices": [choice], "usage": USAGE}), reply, id_maker(), sign=signed)
    translator = StreamTranslator(reply, id_maker(), sign=signed)
    chunks = [delta_chunk(**delta) for delta in deltas(message, cuts)] + [delta_chunk(finish), usage_chunk(**USAGE)]
    events = [event for chunk in chunks for event in translator.feed(chunk)] + translator.finish()
    check_stream(events)
    assert comparable(fold(events)) == comparable(unary)
