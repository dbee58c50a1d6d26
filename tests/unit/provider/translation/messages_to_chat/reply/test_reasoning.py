"""Reasoning details (OpenRouter): from the backend to the client and back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    Profile,
    ThinkingSigner,
    TranslationContext,
    profile_for,
    translate_request,
    translate_response,
)
from support.streams import call, completion, delta_chunk, id_maker, reply_options, request, translate

SEAL = ThinkingSigner(b"key", "or/model")
DETAILS = [
    {"type": "reasoning.summary", "summary": "First. Then.", "format": "openai-responses-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAAAA==", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
    {"type": "reasoning.text", "text": "Words", "signature": "sig", "id": None, "format": "anthropic", "index": 2},
]
STREAMED = [
    {"type": "reasoning.summary", "summary": "First.", "format": "openai-responses-v1", "index": 0},
    {"type": "reasoning.summary", "summary": " Then.", "format": None, "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
    {"type": "reasoning.encrypted", "data": "AA==", "index": 1},
    {"type": "reasoning.text", "text": "Wor", "signature": None, "id": None, "format": "anthropic", "index": 2},
    {"type": "reasoning.text", "text": "ds", "index": 2},
    {"type": "reasoning.text", "signature": "sig", "index": 2},
]
STOP = delta_chunk("stop")


def unary_content(req=None, sign=SEAL.sign, **message):
    value = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}]}
    return translate_response(completion(value), reply_options(req), id_maker(), sign=sign)["content"]


def streamed(*deltas, req=None, sign=SEAL.sign):
    chunks = [delta_chunk(**delta) for delta in deltas]
    return translate([*chunks, STOP], req, sign=sign)


def replayed(content, seal=SEAL, **profile):
    """Return the assistant message and the dropped paths of a request that sends content back."""
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "r"},
    ]
    ctx = TranslationContext(Profile(**profile), signer=seal)
    done = translate_request(request(messages=turns), ctx)
    return done.fields["messages"][1], [entry.path for entry in done.dropped]


def test_entries_with_text_are_thinking_and_encrypted_ones_are_redacted():
    """In the order of the backend."""
    content = unary_content(content="Hi", reasoning="First. Then.Words", reasoning_details=DETAILS)
    assert [block["type"] for block in content] == ["thinking", "redacted_thinking", "thinking", "text"]
    assert [block.get("thinking") for block in content] == ["First. Then.", None, "Words", None]


def test_reasoning_details_come_back_unchanged():
    """Rebuilt from the signatures and the redacted data, in order."""
    content = unary_content(content="Hi", reasoning_details=DETAILS)
    message, dropped = replayed(content, reasoning_field="reasoning_details")
    assert message == {"role": "assistant", "content": "Hi", "reasoning_details": DETAILS}
    assert [list(entry) for entry in message["reasoning_details"]] == [list(entry) for entry in DETAILS]
    assert not dropped


@given(st.lists(st.integers(1, len(STREAMED) - 1), max_size=6))
def test_pieces_of_a_stream_become_the_same_entries(cuts):
    """Whatever number of them is in one chunk."""
    at = [0, *sorted({*cuts}), len(STREAMED)]
    deltas = [{"reasoning_details": STREAMED[start:end]} for start, end in itertools.pairwise(at)]
    content = fold(streamed(*deltas, {"content": "Hi"}))["content"]
    assert content == unary_content(content="Hi", reasoning_details=DETAILS)


def test_redacted_thinking_has_no_deltas():
    """Its start holds the complete data, and is sent when another block follows."""
    events = streamed({"reasoning_details": STREAMED[2:3]}, {"reasoning_details": STREAMED[3:4]}, {"content": "Hi"})
    block = next(event for event in events if event["type"] == "content_block_start")
    assert SEAL.open(block["content_block"]["data"]).details == (DETAILS[1],)
    assert [event["type"] for event in events if event.get("index") == 0] == [
        "content_block_start",
        "content_block_stop",
    ]


def test_two_encrypted_entries_are_two_blocks():
    """Also if they have no index."""
    entries = [{"type": "reasoning.encrypted", "data": "a"}, {"type": "reasoning.encrypted", "data": "b"}]
    content = unary_content(content="Hi", reasoning_details=entries)
    assert [SEAL.open(block["data"]).details for block in content[:2]] == [(entries[0],), (entries[1],)]
    assert fold(streamed({"reasoning_details": entries}, {"content": "Hi"}))["content"] == content


def test_encrypted_reasoning_after_a_call_is_kept():
    """Gemini on OpenRouter sends it there."""
    events = streamed({"tool_calls": [call(0, "c", "f", "{}")]}, {"reasoning_details": [DETAILS[1]]})
    content = fold(events)["content"]
    assert [block["type"] for block in content] == ["tool_use", "redacted_thinking"]
    assert replayed(content, reasoning_field="reasoning_details")[0]["reasoning_details"] == [DETAILS[1]]


def test_reasoning_text_beside_encrypted_entries_is_shown():
    """Some models have their text only in the plain field."""
    content = unary_content(content="Hi", reasoning="Hm", reasoning_details=[DETAILS[1]])
    assert [block["type"] for block in content] == ["thinking", "redacted_thinking", "text"]
    deltas = [{"reasoning": "Hm"}, {"reasoning_details": [DETAILS[1]]}, {"content": "Hi"}]
    assert fold(streamed(*deltas))["content"] == content


def test_a_null_text_in_a_later_piece_is_ignored():
    """Other fields are taken from the later piece."""
    pieces = [{"type": "t", "text": "a", "index": 0}, {"type": "t", "text": None, "index": 0, "extra": None}]
    content = unary_content(content="Hi", reasoning_details=[*pieces, "nonsense"])
    assert SEAL.open(content[0]["signature"]).details == ({"type": "t", "text": "a", "index": 0, "extra": None},)


def test_without_a_signer_encrypted_entries_are_dropped():
    """There is no signature to pack them into."""
    message = {"content": "Hi", "reasoning_details": [DETAILS[1]]}
    value = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    assert [
        block["type"] for block in translate_response(completion(value), reply_options(), id_maker())["content"]
    ] == ["text"]


def test_hidden_reasoning_makes_no_blocks():
    """Neither thinking nor redacted thinking."""
    req = request(thinking={"type": "disabled"})
    assert [block["type"] for block in unary_content(req, content="Hi", reasoning_details=DETAILS)] == ["text"]


@pytest.mark.parametrize("display", [None, "summarized", "updates", "omitted"])
def test_the_reasoning_text_comes_back_with_every_display(display):
    """The signature carries it; only ``omitted`` hides it from the client."""
    req = request(thinking={"type": "adaptive", "display": display})
    content = unary_content(req, content="Hi", reasoning_content="Let me think")
    assert content[0]["thinking"] == ("" if display == "omitted" else "Let me think")
    assert replayed(content, reasoning_field="reasoning_content")[0]["reasoning_content"] == "Let me think"


def test_an_edited_thinking_text_is_ignored():
    """The signature's text is used."""
    content = unary_content(content="Hi", reasoning_content="Let me think")
    content[0]["thinking"] = "Let me cheat"
    assert replayed(content, reasoning_field="reasoning_content")[0]["reasoning_content"] == "Let me think"


def thinking(signature="", text="Hm"):
    return [{"type": "thinking", "thinking": text, "signature": signature}, {"type": "text", "text": "Hi"}]


def test_an_unsigned_thinking_text_is_used():
    """Claude Code adds an empty signature if a server sent none."""
    assert replayed(thinking(), reasoning_field="reasoning")[0]["reasoning"] == "Hm"


@pytest.mark.parametrize("signature", ["EqQBCkYIBBgC", ThinkingSigner(b"other").sign("Hm")])
def test_a_block_with_a_foreign_signature_is_dropped(signature):
    """Without an error; logged as dropped only if the backend takes reasoning back (CLIProxyAPI 2172)."""
    assert replayed(thinking(signature), reasoning_field="reasoning") == (
        {"role": "assistant", "content": "Hi"},
        ["messages.1.content.0"],
    )
    assert replayed(thinking(signature)) == ({"role": "assistant", "content": "Hi"}, [])
    assert replayed(thinking(signature), seal=None)[1] == []


@pytest.mark.parametrize("data", ["", "EqQBCkYIBBgC"])
def test_foreign_redacted_thinking_is_ignored(data):
    """And not logged as dropped: it was never of use to this backend."""
    content = [{"type": "redacted_thinking", "data": data}, {"type": "text", "text": "Hi"}]
    assert replayed(content, reasoning_field="reasoning_details") == ({"role": "assistant", "content": "Hi"}, [])


def test_details_of_another_model_come_back_as_text():
    """This model cannot use the signatures of another vendor."""
    content = unary_content(sign=ThinkingSigner(b"key", "or/other").sign, content="Hi", reasoning_details=DETAILS)
    message, dropped = replayed(content, reasoning_field="reasoning_details")
    assert message == {"role": "assistant", "content": "Hi", "reasoning": "First. Then.Words"}
    assert not dropped


def test_plain_reasoning_comes_back_as_text_to_a_backend_with_details():
    """OpenRouter accepts both."""
    assert replayed(thinking(), reasoning_field="reasoning_details")[0]["reasoning"] == "Hm"


def test_a_backend_that_requires_reasoning_gets_a_blank():
    """DeepSeek answers 400 to a history without it, and to the empty string (NousResearch/hermes-agent 17341)."""
    assert replayed("Hi", reasoning_field="reasoning_content", reasoning_required=True)[0]["reasoning_content"] == " "
    assert "reasoning_content" not in replayed("Hi", reasoning_field="reasoning_content")[0]


def test_deepseek_gets_the_reasoning_of_its_tool_loop():
    """``reasoning_content`` beside the calls."""
    content = [thinking()[0], {"type": "tool_use", "id": "c", "name": "f", "input": {}}]
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
    ]
    ctx = TranslationContext(profile_for("", overrides={"like": "deepseek"}), signer=SEAL)
    message = translate_request(request(messages=turns), ctx).fields["messages"][1]
    assert message["reasoning_content"] == "Hm"
    assert message["tool_calls"][0]["id"] == "c"


def test_a_fallback_block_is_ignored():
    """The API adds it to responses."""
    content = [{"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}}, {"type": "text", "text": "Hi"}]
    assert replayed(content, reasoning_field="reasoning") == ({"role": "assistant", "content": "Hi"}, [])


@pytest.mark.parametrize("kind", [["reasoning.text"], {}, 1])
def test_an_entry_whose_type_is_not_a_string_is_accepted(kind):
    """In a unary response and in a stream."""
    details = [{"type": kind, "data": "x"}]
    req = request()
    unary = unary_content(req, reasoning_details=details, content="Hi")
    assert unary[-1]["text"] == "Hi"
    assert fold(streamed({"reasoning_details": details}, {"content": "Hi"}, req=req))["content"] == unary
