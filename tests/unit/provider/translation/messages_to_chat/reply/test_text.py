"""Text of a reply: inline reasoning, stop sequences, the prefill and citations."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    ReplyOptions,
    StreamTranslator,
    translate_response,
)
from llama_stack_provider_messages.translation.messages_to_chat.reply.text import TextFilter, ThinkSplitter
from support.attacks import cpu_bound
from support.streams import call, completion, delta_chunk, id_maker, reply_options, request, translate

INLINE_CASES = [
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
    return "".join(text for name, text in pieces if name == kind)


@pytest.mark.parametrize(("mode", "text", "thinking", "visible"), INLINE_CASES)
def test_inline_reasoning_is_split_from_the_text(mode, text, thinking, visible):
    """At once and in pieces of one, two and three characters."""
    for size in (1, 2, 3, len(text)):
        splitter = ThinkSplitter(mode)
        pieces = [p for at in range(0, len(text), size) for p in splitter.add(text[at : at + size])] + splitter.rest()
        assert (joined(pieces, "thinking"), joined(pieces, "text")) == (thinking, visible)
        assert all(text for _, text in pieces)


def test_an_empty_text_gives_no_piece():
    assert ThinkSplitter("none").add("") == []


def events(mode, pieces, stop_sequences=()):
    reply = ReplyOptions(model="m", inline=mode, stops=tuple(stop_sequences))
    translator = StreamTranslator(reply, id_maker())
    found = [event for piece in pieces for event in translator.feed(delta_chunk(content=piece))]
    return found + translator.feed(delta_chunk("stop")) + translator.finish()


WORDS = st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think>", " ", "\n", "a", "END"]), max_size=12)


@given(st.sampled_from(["none", "tagged", "open"]), WORDS, st.lists(st.integers(0, 60), max_size=8), st.booleans())
def test_every_partition_of_the_text_gives_the_same_message(mode, words, cuts, stops):
    """The message of the unary response."""
    text, stop_sequences = "".join(words), ("END",) if stops else ()
    at = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(at)]
    record = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}]}
    reply = ReplyOptions(model="m", inline=mode, stops=stop_sequences)
    unary = translate_response(completion(record), reply, id_maker())
    folded = fold(events(mode, pieces, stop_sequences))
    assert [folded[name] for name in ("content", "stop_reason", "stop_sequence")] == [
        unary[name] for name in ("content", "stop_reason", "stop_sequence")
    ]


def test_a_stop_sequence_matches_in_the_text_only():
    """Reasoning may mention it."""
    message = fold(events("tagged", ["<think>not END yet</think>now E", "ND and more"], ["END"]))
    assert [block.get("thinking") or block.get("text") for block in message["content"]] == ["not END yet", "now "]
    assert message["stop_sequence"] == "END"


def test_a_call_ends_inline_reasoning():
    """The held text comes before the call."""
    translator = StreamTranslator(ReplyOptions(model="m", inline="tagged"), id_maker())
    chunks = [delta_chunk(content="<think>so </th"), delta_chunk(tool_calls=[call(0, "c", "f", "{}")])]
    found = [event for chunk in [*chunks, delta_chunk("tool_calls")] for event in translator.feed(chunk)]
    content = fold(found + translator.finish())["content"]
    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    assert content[0]["thinking"] == "so </th"


def test_hidden_inline_reasoning_becomes_text_if_the_response_has_nothing_else():
    """A response without an end tag is not lost."""
    disabled = request(thinking={"type": "disabled"})
    record = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "just text"}}]}
    assert reply_options(disabled).thinking == "hidden"
    reply = ReplyOptions(model="m", inline="open", thinking="hidden")
    unary = translate_response(completion(record), reply, id_maker())
    assert unary["content"] == [{"type": "text", "text": "just text"}]
    translator = StreamTranslator(reply, id_maker())
    streamed = translator.feed(delta_chunk(content="just text")) + translator.feed(delta_chunk("stop"))
    assert fold(streamed + translator.finish())["content"] == unary["content"]


def filtered(pieces, stops=(), prefill=""):
    texts = TextFilter(stops, prefill)
    return "".join(map(texts.add, pieces)) + texts.rest(), texts.matched_stop


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one END two", ["END"], ("one ", "END")),
        ("END", ["END"], ("", "END")),
        ("one two", ["END"], ("one two", None)),
        ("one EN", ["END"], ("one EN", None)),
        ("a, b; c", [";", ","], ("a", ",")),
        ("xabcd", ["abcd", "bc"], ("xa", "bc")),
        ("xabc", ["bc", "abc"], ("x", "abc")),
        ("xab", ["abc", "ab"], ("x", "ab")),
        ("aaab", ["aab"], ("a", "aab")),
        ("text", [""], ("text", None)),
        ("U\u0308ber", ["\u0308"], ("U", "\u0308")),
    ],
)
def test_text_ends_before_the_stop_sequence_that_is_completed_first(text, stops, expected):
    """Of two that end at the same position the longer one wins; in one piece or character by character."""
    assert filtered([text], stops) == filtered(text, stops) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1, 2, 3", " 3"), (" 3", " 3"), ("1, 2,", ""), ("1, 2", "1, 2"), ("1, 3", "1, 3"), ("1, 2,1, 2, 3", "1, 2, 3")],
)
def test_a_repeated_prefill_is_removed_once(text, expected):
    """Llama.cpp repeats it; the response is the continuation only (PROTOCOL 1.4)."""
    assert filtered([text], prefill="1, 2,")[0] == filtered(text, prefill="1, 2,")[0] == expected


def test_a_stop_sequence_in_the_prefill_does_not_fire():
    """It is the client's own text."""
    assert filtered("a;b;c", [";"], "a;") == ("b", ";")


def test_a_stop_sequence_in_an_incomplete_prefill_fires():
    """Text that is only a prefix of the prefill is text of the response."""
    assert filtered("a;b", [";"], "a;bcd") == filtered(["a;b"], [";"], "a;bcd") == ("a", ";")


def test_only_the_possible_beginning_of_a_stop_sequence_is_held():
    """All other text is sent at once."""
    texts = TextFilter(["\n\nHuman:"])
    assert [texts.add(piece) for piece in ("one\n", "two\n", "\nHu", "go", "\n\nHuman", ":", "later")] == [
        "one", "\ntwo", "", "\n\nHugo", "", "", "",
    ]  # fmt: skip


def test_a_filter_without_stop_sequences_and_prefill_is_idle():
    """Streams without them skip the filter."""
    assert TextFilter().idle
    assert not TextFilter(["x"]).idle
    prefilled = TextFilter(prefill="x")
    assert not prefilled.idle
    prefilled.add("y")
    assert prefilled.idle


PIECES = st.lists(st.text("ab;", max_size=4), max_size=12)


@settings(max_examples=400)
@given(PIECES, st.lists(st.text("ab;", max_size=4), max_size=4), st.text("ab;", max_size=5))
def test_the_result_does_not_depend_on_the_pieces(pieces, stops, prefill):
    """Streams and unary responses give the same text, and no stop sequence is in it."""
    text, matched_stop = filtered(pieces, stops, prefill)
    assert (text, matched_stop) == filtered(["".join(pieces)], stops, prefill)
    assert not any(stop in text for stop in stops if stop)
    assert matched_stop is None or matched_stop in stops


TEXT = "Oslo is the capital."
CITED = {"start_index": 0, "end_index": 4, "url": "https://a.example", "title": "A"}


def cited_message(*annotations, content=TEXT, **message):
    record = {"role": "assistant", "content": content, "annotations": list(annotations), **message}
    choice = {"index": 0, "finish_reason": "stop", "message": record}
    return translate_response(completion({"choices": [choice]}), reply_options(), id_maker())


@pytest.mark.parametrize(
    ("change", "cited", "title"),
    [
        ({}, "Oslo", "A"),
        ({"content": "The page says so."}, "The page says so.", "A"),
        ({"title": None}, "Oslo", None),
        ({"end_index": 0}, "", "A"),
        ({"start_index": None}, "", "A"),
        ({"start_index": -3}, "", "A"),
    ],
)
def test_an_annotation_is_a_citation_of_the_text(change, cited, title):
    """The quoted text is that of the annotation, else the range of the response."""
    message = cited_message({"type": "url_citation", "url_citation": CITED | change})
    citation = {
        "type": "web_search_result_location",
        "cited_text": cited,
        "url": "https://a.example",
        "title": title,
        "encrypted_index": "",
    }
    assert message["content"] == [{"type": "text", "text": TEXT, "citations": [citation]}]


def test_an_annotation_without_the_inner_object_is_a_citation():
    assert cited_message({"type": "url_citation", **CITED})["content"][0]["citations"][0]["cited_text"] == "Oslo"


@pytest.mark.parametrize("annotation", [{"type": "file_citation"}, {"url_citation": {"title": "x"}}, "x", None])
def test_an_annotation_without_a_url_is_ignored(annotation):
    assert cited_message(annotation)["content"] == [{"type": "text", "text": TEXT}]


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_stream_has_the_same_citations_wherever_the_annotation_comes(place):
    """Before the text it covers, with it, or after the last text."""
    pieces = [{"content": "Os"}, {"content": "lo is the"}, {"content": " capital."}]
    pieces.insert(place, {"annotations": [{"type": "url_citation", "url_citation": CITED}]})
    events = translate([*(delta_chunk(**piece) for piece in pieces), delta_chunk("stop")])
    assert fold(events) == cited_message({"type": "url_citation", "url_citation": CITED})
    (delta,) = [event["delta"] for event in events if event.get("delta", {}).get("type") == "citations_delta"]
    assert delta["citation"]["cited_text"] == "Oslo"


def test_a_call_after_the_text_does_not_lose_the_citation():
    """The text's block closes when the call begins."""
    calls = [call(0, "c", "f", "{}")]
    first = delta_chunk(content=TEXT, annotations=[{"url_citation": CITED}], tool_calls=calls)
    translator = StreamTranslator(reply_options(), id_maker())
    events = translator.feed(first) + translator.feed(delta_chunk("stop")) + translator.finish()
    assert fold(events)["content"][0]["citations"][0]["cited_text"] == "Oslo"


@pytest.mark.parametrize("mode", ["tagged", "open"])
@pytest.mark.parametrize("begin", ["", "<think>a", "<think>a</think>"])
def test_blank_text_is_split_in_linear_time(mode, begin):
    """White space may precede a tag, but not megabytes of it: holding it back would be quadratic."""
    splitter = ThinkSplitter(mode)
    splitter.add(begin)
    with cpu_bound(5):
        for _ in range(20_000):
            splitter.add(" " * 100)
    assert len("".join(text for _kind, text in splitter.rest())) <= 2_000


def test_a_long_text_is_counted_and_not_kept():
    """Usage that the backend does not send is estimated from all of it."""
    made = translate([delta_chunk(content="word ")] * 2_500 + [delta_chunk(content="end", finish="stop")])
    assert made[-2]["usage"]["output_tokens"] == (5 * 2_500 + 3 + 3) // 4
