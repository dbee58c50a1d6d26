"""Reasoning inside the text of an answer."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    ReplyOptions,
    StreamTranslator,
    translate_response,
)
from llama_stack_provider_messages.translation.messages_to_chat.reply.think_tags import ThinkSplitter
from support.streams import call, completion, delta_chunk, form, id_maker, request

CASES = [
    # mode, text, thinking, visible
    ("none", "<think>a</think>b", "", "<think>a</think>b"),
    ("tagged", "<think>a</think>b", "a", "b"),
    ("tagged", " \n<think>\n a b \n</think>\n\n c d ", "a b", "c d "),
    ("tagged", "  plain <think>a</think>", "", "  plain <think>a</think>"),
    ("tagged", "<thinker>", "", "<thinker>"),
    ("tagged", "<thi", "", "<thi"),
    ("tagged", " \n", "", " \n"),
    ("tagged", "<think></think>b", "", "b"),
    ("tagged", "<think>", "", ""),
    ("tagged", "<think> a ", "a", ""),
    ("tagged", "<think>a < b </ c</think>d", "a < b </ c", "d"),
    ("tagged", "<think>a </thi", "a </thi", ""),
    ("tagged", "<think>a</think>  ", "a", ""),
    ("tagged", "<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
    ("open", "a\n</think>\nb", "a", "b"),
    ("open", "<think>a</think>b", "a", "b"),
    ("open", "\n</think>b", "", "b"),
    ("open", " a ", "a", ""),
    ("open", "<thi", "<thi", ""),
    ("open", " ", "", ""),
    ("open", "<think>", "", ""),
]


def joined(pieces, kind):
    return "".join(words for name, words in pieces if name == kind)


@pytest.mark.parametrize(("mode", "text", "thinking", "visible"), CASES)
def test_what_is_thought_and_what_is_said(mode, text, thinking, visible):
    """The table of the module, whole and character by character."""
    for size in (1, 2, 3, len(text)):
        splitter = ThinkSplitter(mode)
        pieces = [p for at in range(0, len(text), size) for p in splitter.add(text[at : at + size])] + splitter.rest()
        assert (joined(pieces, "thinking"), joined(pieces, "text")) == (thinking, visible)
        assert all(words for _, words in pieces)


def test_an_empty_piece_is_nothing():
    assert ThinkSplitter("none").add("") == []


def events(mode, pieces, asked=None):
    reply = ReplyOptions(model="m", inline=mode, stops=tuple(asked or ()))
    translator = StreamTranslator(reply, id_maker())
    found = [event for piece in pieces for event in translator.feed(delta_chunk(content=piece))]
    return found + translator.feed(delta_chunk("stop")) + translator.finish()


WORDS = st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "END"]), max_size=12)


@given(st.sampled_from(["none", "tagged", "open"]), WORDS, st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_every_partition_of_the_text_gives_the_same_message(mode, words, cuts, stops):
    """The unary answer among them."""
    text, asked = "".join(words), ("END",) if stops else ()
    at = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(at)]
    record = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}]}
    reply = ReplyOptions(model="m", inline=mode, stops=asked)
    unary = translate_response(completion(record), reply, id_maker())
    folded = fold(events(mode, pieces, asked))
    assert [folded[name] for name in ("content", "stop_reason", "stop_sequence")] == [
        unary[name] for name in ("content", "stop_reason", "stop_sequence")
    ]


def test_a_stop_sequence_counts_in_the_text_alone():
    """The model may think of it."""
    message = fold(events("tagged", ["<think>not END yet</think>now E", "ND and more"], ["END"]))
    assert [block.get("thinking") or block.get("text") for block in message["content"]] == ["not END yet", "now "]
    assert message["stop_sequence"] == "END"


def test_a_call_ends_the_thought():
    """What was held back comes in front of it."""
    translator = StreamTranslator(ReplyOptions(model="m", inline="tagged"), id_maker())
    chunks = [delta_chunk(content="<think>so </th"), delta_chunk(tool_calls=[call(0, "c", "f", "{}")])]
    found = [event for chunk in [*chunks, delta_chunk("tool_calls")] for event in translator.feed(chunk)]
    content = fold(found + translator.finish())["content"]
    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    assert content[0]["thinking"] == "so </th"


def test_hidden_thought_that_is_all_there_is_becomes_text():
    """An answer that never closed its tag is not lost."""
    asked = request(thinking={"type": "disabled"})
    record = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "just text"}}]}
    assert form(asked).thinking == "hidden"
    reply = ReplyOptions(model="m", inline="open", thinking="hidden")
    unary = translate_response(completion(record), reply, id_maker())
    assert unary["content"] == [{"type": "text", "text": "just text"}]
    translator = StreamTranslator(reply, id_maker())
    streamed = translator.feed(delta_chunk(content="just text")) + translator.feed(delta_chunk("stop"))
    assert fold(streamed + translator.finish())["content"] == unary["content"]
