"""Messages -> chat completions -> messages: a client of our Messages API on a stack with a Messages upstream.

Two messages are equivalent when they have the same text, the same calls in their order, the same thinking with its
signatures, the same stop reason and the same token counts. Text blocks may be joined, and blank text is dropped.
"""

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_provider_messages.translation import messages_to_chat
from llama_stack_provider_messages.translation.chat_to_messages import translate_response
from llama_stack_provider_messages.translation.events import fold
from support import streams
from support.chat_answers import CREATED, chat, events_of, message, reply_options, text, thinking, tool_use

SIGNER = messages_to_chat.ThinkingSigner(b"key", "model")
REPLY = replace(streams.reply_options(streams.request(stop_sequences=["END"])), tools=frozenset({"look"}))
WORDS = st.text(max_size=12)
INPUTS = st.dictionaries(WORDS, st.integers() | WORDS | st.lists(WORDS, max_size=2), max_size=3)
BLOCKS = st.one_of(
    st.builds(text, WORDS),
    st.builds(thinking, WORDS.filter(bool), WORDS),
    st.builds(lambda data: {"type": "redacted_thinking", "data": data}, WORDS.filter(bool)),
    st.builds(tool_use, st.just("look"), INPUTS, st.uuids().map(lambda number: f"toolu_{number.hex}")),
)
ENDS = st.sampled_from([("end_turn", None), ("max_tokens", None), ("stop_sequence", "END"), ("tool_use", None)])
COUNTS = st.fixed_dictionaries(
    {name: st.integers(1, 9) for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")}
)


def unary(original):
    completion = streams.completion(translate_response(original, reply_options(), created=CREATED))
    return messages_to_chat.translate_response(completion, REPLY, streams.id_maker(), sign=SIGNER.sign)


def streamed(original):
    translator = messages_to_chat.StreamTranslator(REPLY, streams.id_maker(), sign=SIGNER.sign)
    chunks = [streams.chunk(chunk) for chunk in chat(events_of(original))]
    return fold([event for chunk in chunks for event in translator.feed(chunk)] + translator.finish())


def signed_part(block):
    """Return text, signature and data of a thinking block."""
    if block["type"] == "redacted_thinking":
        return ("", None, block["data"])
    return (block["thinking"], block["signature"] or None, None)


def signed_parts(block):
    opened = SIGNER.open(block.get("signature") or block.get("data"))
    return [(entry.get("text", ""), entry.get("signature"), entry.get("data")) for entry in opened.details]


def texts_of(content):
    """Return the texts; the texts of neighbouring blocks are joined."""
    runs = groupby(content, key=lambda block: block["type"] == "text")
    return ["".join(block["text"] for block in run) for is_text, run in runs if is_text]


def expected_text(content, through):
    """Return the expected text: a chat completion has one text, a stream has one for each run of text deltas."""
    texts = texts_of(content) if through is streamed else ["".join(texts_of(content))]
    return "".join(found for found in texts if found.strip())


def comparable(original, thinking_parts):
    """Return what two equivalent messages have in common, with the thinking in a form that both sides have."""
    content = original["content"]
    return {
        "text": "".join(texts_of(content)),
        "calls": [(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"],
        "thinking_parts": thinking_parts,
        "end": (original["stop_reason"], original["stop_sequence"]),
        "counts": [original["usage"][name] for name in ("input_tokens", "output_tokens", "cache_read_input_tokens")],
    }


@pytest.mark.parametrize("through", [unary, streamed])
@given(st.lists(BLOCKS, min_size=1, max_size=5), ENDS, COUNTS)
@settings(max_examples=60)
def test_a_message_survives_the_round_trip(through, content, ending, counts):
    reason, sequence = ending
    called = any(block["type"] == "tool_use" for block in content)
    if called or reason == "tool_use":  # both directions make the end and the calls agree
        reason, sequence = ("tool_use" if called else "end_turn"), None
    original = message(*content, stop_reason=reason, stop_sequence=sequence, usage=counts)
    back = through(original)
    signed = [signed_part(block) for block in content if "thinking" in block["type"]]
    brought = [entry for block in back["content"] if "thinking" in block["type"] for entry in signed_parts(block)]
    assert comparable(back, brought) == comparable(original, signed) | {"text": expected_text(content, through)}
    assert all(found.strip() for found in texts_of(back["content"]))
