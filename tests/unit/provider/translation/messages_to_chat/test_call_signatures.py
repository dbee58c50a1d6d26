"""Extra fields of a call that a backend requires back: Gemini's thought signature."""

import pytest

from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    ThinkingSigner,
    TranslationContext,
    profile_for,
    translate_request,
    translate_response,
)
from support.streams import call, completion, delta_chunk, id_maker, reply_options, request, translate

SIGNER = ThinkingSigner(b"key", "gemini/gemini-3")
EXTRA = {"google": {"thought_signature": "c2ln"}}
SIGNED = call(0, "c1", "f", '{"a": 1}') | {"extra_content": EXTRA}
PLAIN = call(1, "c2", "g", "{}")


def answer(asked=None, sign=SIGNER.sign):
    message = {"content": "Let me look.", "tool_calls": [SIGNED, PLAIN]}
    value = {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    return translate_response(completion(value), reply_options(asked), id_maker(), sign=sign)["content"]


def sent(content, model="gemini-3-pro", seal=SIGNER):
    results = [{"type": "tool_result", "tool_use_id": name, "content": "r"} for name in ("c1", "c2")]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": content}]
    asked = request(messages=[*turns, {"role": "user", "content": results}])
    return translate_request(asked, TranslationContext(profile_for("remote::gemini", model), signer=seal)).fields[
        "messages"
    ][1]


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "disabled"}])
def test_a_signature_comes_back_beside_its_call(thinking):
    """Also when no thinking is shown: Gemini 3 answers 400 to a call without it."""
    content = answer(request(thinking=thinking))
    assert [block["type"] for block in content] == ["text", "redacted_thinking", "tool_use", "tool_use"]
    first, second = sent(content)["tool_calls"]
    assert first["extra_content"] == EXTRA
    assert "extra_content" not in second


def test_a_stream_gives_the_same_blocks():
    """With the signature in the first piece of the call."""
    chunks = [delta_chunk(content="Let me look."), delta_chunk(tool_calls=[SIGNED]), delta_chunk(tool_calls=[PLAIN])]
    assert fold(translate([*chunks, delta_chunk("tool_calls")], sign=SIGNER.sign))["content"] == answer()
    unsigned = fold(translate([*chunks, delta_chunk("tool_calls")]))["content"]
    assert unsigned == [block for block in answer() if block["type"] != "redacted_thinking"]
    assert translate_response_without_key() == unsigned


def translate_response_without_key():
    message = {"content": "Let me look.", "tool_calls": [SIGNED, PLAIN]}
    value = {"choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}
    return translate_response(completion(value), reply_options(), id_maker())["content"]


def test_a_lost_signature_has_a_stand_in():
    """Histories of another model hold none; older models of the family do not ask for it."""
    content = [block for block in answer() if block["type"] != "redacted_thinking"]
    first, second = sent(content)["tool_calls"]
    assert first["extra_content"] == {"google": {"thought_signature": "skip_thought_signature_validator"}}
    assert "extra_content" not in second
    assert "extra_content" not in sent(content, "gemini-2.5-flash")["tool_calls"][0]


def test_a_signature_is_not_sent_to_another_model():
    """A signature is valid only for the model that made it."""
    assert (
        "extra_content"
        not in sent(answer(), "gemini-2.5-flash", ThinkingSigner(b"key", "gemini/other"))["tool_calls"][0]
    )


def test_a_signature_without_its_call_is_left_out():
    """A client may have cut the turn."""
    content = [block for block in answer() if block["type"] in ("text", "redacted_thinking")]
    turns = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "r"},
    ]
    ctx = TranslationContext(profile_for("", overrides={"like": "openrouter"}), signer=SIGNER)
    assert translate_request(request(messages=turns), ctx).fields["messages"][1] == {
        "role": "assistant",
        "content": "Let me look.",
    }
