"""Requests: what is rejected, dropped, or depends on the backend. The plain mapping is in the golden files."""

import hashlib
import json
from pathlib import Path

import pytest
from llama_stack_api import OpenAIChatCompletionRequestWithExtraBody

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.dropped import Dropped
from llama_stack_provider_messages.translation.messages_to_chat import (
    PRESETS,
    Policy,
    Profile,
    TranslationContext,
    profile_for,
    translate_request,
)
from support.attacks import cpu_bound
from support.streams import delta_chunk, message_of, request

CAPTURES = Path(__file__).parents[5] / "data" / "captures"
TOOL = {"name": "f", "input_schema": {"type": "object"}}
SEARCH = {"type": "web_search_20250305", "name": "web_search"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAA"}}


def translated(profile=None, **fields):
    return translate_request(request(**fields), TranslationContext(profile or Profile()))


def value(profile=None, **fields):
    return translated(profile, **fields).fields


def dropped(profile=None, **fields):
    return [entry.path for entry in translated(profile, **fields).dropped]


def messages(*turns, profile=None, **fields):
    return value(profile, messages=[{"role": role, "content": content} for role, content in turns], **fields)[
        "messages"
    ]


def use(call_id="a", **fields):
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {}} | fields


def result(call_id="a", **fields):
    return {"type": "tool_result", "tool_use_id": call_id} | fields


def refusal(profile=None, **fields):
    with pytest.raises(InvalidRequestError) as caught:
        translated(profile, **fields)
    return caught.value


def test_a_plain_request_drops_nothing():
    done = translated()
    assert done.fields == {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100}
    assert done.dropped == ()


def test_usage_is_always_requested_when_streaming():
    """Without it the client's context meter never moves (sgl-project/sglang 20678)."""
    assert value(stream=True)["stream_options"] == {"include_usage": True}


def test_a_request_is_not_changed_by_its_translation():
    """Envoyproxy 2488: a retry found the system prompt doubled."""
    asked = request(
        system=[{"type": "text", "text": "a"}],
        messages=[{"role": "system", "content": "b"}, {"role": "user", "content": "c"}],
    )
    assert translate_request(asked, TranslationContext(Profile())) == translate_request(
        asked, TranslationContext(Profile())
    )


@pytest.mark.parametrize("provider_type", ["remote::openai", "remote::vllm", "remote::llama-cpp-server", "remote::x"])
def test_the_platform_accepts_what_comes_out(provider_type):
    """Its request model refuses max_tokens 0, effort max, tools of other types, long user ids, images in results."""
    fields = value(
        profile_for(provider_type),
        max_tokens=0,
        output_config={"effort": "max", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        thinking={"type": "adaptive"},
        metadata={"user_id": "u" * 300},
        service_tier="standard_only",
        tools=[TOOL, SEARCH],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=list("abcdef"),
        top_k=3,
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "x"}, IMAGE]},
            {"role": "assistant", "content": [use()]},
            {"role": "user", "content": [result(content=[IMAGE])]},
        ],
    )
    assert OpenAIChatCompletionRequestWithExtraBody(model="m", **fields)


# --- system ---


def test_system_messages_stay_in_place():
    """claude-code 63469: requests with a system message inside the conversation were refused."""
    roles = [turn["role"] for turn in messages(("user", "a"), ("system", "b"), ("assistant", "c"), ("user", "d"))]
    assert roles == ["user", "system", "assistant", "user"]


def test_a_leading_system_message_follows_the_system_prompt():
    """Envoyproxy 2488: promotion overwrote the prompt."""
    assert messages(("system", "b"), ("user", "c"), system="a")[0] == {"role": "system", "content": "a\n\nb"}


def test_a_template_that_wants_system_first_gets_reminders():
    """VLLM's merging of inline system messages: templates with a loop.first guard raise."""
    chat = messages(("user", "a"), ("system", "b"), profile=Profile(inline_system="user"))
    assert chat == [{"role": "user", "content": "a\n\n<system-reminder>\nb\n</system-reminder>"}]


@pytest.mark.parametrize(
    "system",
    [
        [{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}, {"type": "text", "text": "Be kind."}],
        "x-anthropic-billing-header: cch=2;\nBe kind.",
    ],
)
def test_the_billing_header_does_not_reach_the_prompt(system):
    """Vllm 36829, llama.cpp 21793, ollama 14918: it changes per request and costs the prefix cache."""
    done = translated(system=system)
    assert done.fields["messages"][0] == {"role": "system", "content": "Be kind."}
    assert done.dropped == ()


def test_a_cleared_system_message_is_gone():
    turns = [
        {"role": "user", "content": "a"},
        {"role": "system", "content": "b", "clear_at": "next_user_message"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
        {"role": "system", "content": "e", "clear_at": "next_user_message"},
    ]
    assert [turn["content"] for turn in value(messages=turns)["messages"]] == ["a", "c", "d", "e"]


def test_every_turn_of_a_session_begins_with_the_turn_before():
    """Vllm 36829, llama.cpp 21793: a prompt that changes in the middle is computed again, for every turn."""
    before = None
    for path in sorted(CAPTURES.glob("cc329-loop-0*.json")):
        body = json.loads(path.read_text())
        chat = translate_request(
            CreateMessageRequest.model_validate(body.get("body", body)), TranslationContext(Profile())
        ).fields["messages"]
        assert before is None or chat[: len(before)] == before
        before = chat
    assert before


# --- turns ---


def test_messages_of_one_role_are_merged():
    chat = messages(
        ("user", "a"), ("user", [{"type": "text", "text": "b"}]), ("assistant", "c"), ("assistant", "d"), ("user", "e")
    )
    assert [turn["content"] for turn in chat] == ["a\n\nb", "c\n\nd", "e"]


def test_consecutive_system_messages_are_merged():
    assert messages(("user", "a"), ("system", "b"), ("system", "c"))[1]["content"] == "b\n\nc"


@pytest.mark.parametrize("empty", ["", "  \n", [], [{"type": "text", "text": ""}], [{"type": "text", "text": " "}]])
def test_empty_text_is_dropped(empty):
    """hermes-agent 11929: "text content blocks must be non-empty"."""
    assert messages(("user", "a"), ("assistant", empty), ("user", empty), ("user", "b")) == [
        {"role": "user", "content": "a\n\nb"}
    ]


def test_text_as_list_and_as_string_is_the_same_prompt():
    """Claude Code sends a list first and a string one turn later."""
    block = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    assert messages(("user", [block])) == messages(("user", "a"))


def test_adjacent_assistant_text_is_one_text():
    blocks = [
        {"type": "text", "text": "It is "},
        {"type": "text", "text": "warm."},
        use(),
        {"type": "text", "text": "Bye"},
    ]
    assert messages(("user", "a"), ("assistant", blocks), ("user", [result()]))[1]["content"] == "It is warm.\n\nBye"


def test_thinking_of_earlier_turns_is_left_out_unless_the_backend_takes_it():
    turns = [
        ("user", "a"),
        ("assistant", [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "b"}]),
        ("user", "c"),
    ]
    assert messages(*turns)[1] == {"role": "assistant", "content": "b"}
    assert messages(*turns, profile=Profile(reasoning_field="reasoning"))[1]["reasoning"] == "hm"


@pytest.mark.parametrize(
    ("role", "block"),
    [
        ("user", {"type": "container_upload", "file_id": "f"}),
        ("user", {"type": "brand_new"}),
        ("user", {"type": "compaction", "content": "x"}),
        ("user", {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}),
        ("assistant", {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "f"}}),
        ("assistant", {"type": "tool_result", "tool_use_id": "a"}),
        ("system", {"type": "tool_result", "tool_use_id": "a"}),
        ("system", {"type": "brand_new"}),
        ("system", {"type": "image", "source": {"type": "url", "url": "u"}}),
    ],
)
def test_blocks_that_would_be_lost_are_refused_with_their_path(role, block):
    error = refusal(messages=[{"role": "user", "content": "a"}, {"role": role, "content": [block]}])
    assert error.message.startswith(f"messages.1.content.0: blocks of type '{block['type']}'")


@pytest.mark.parametrize(("profile", "extra"), [("remote::vllm", True), ("remote::ollama", False)])
def test_prefill_is_continued(profile, extra):
    fields = value(
        profile_for(profile), messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    )
    assert ("continue_final_message" in fields) is extra


def test_a_continued_answer_does_not_begin_with_thinking():
    """llama.cpp: "Assistant response prefill is incompatible with enable_thinking"."""
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    profile = profile_for("inline::llama-cpp")
    assert value(profile, messages=turns)["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert dropped(profile, messages=turns, thinking={"type": "adaptive"}) == ["thinking"]
    assert dropped(profile, messages=turns, thinking={"type": "disabled"}) == []


def closed(**properties):
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (closed(default={"type": "string"}, required={"enum": [{"not": 1}]}, properties={"type": "object"}), False),
        (closed(default={"type": "string"}, required={"enum": [{"not": 1}]}, properties={"type": "string"}), True),
        (closed(a={"anyOf": [closed(), {"type": "null"}]}), True),
        (closed(a={"anyOf": [{"type": "object"}, {"type": "null"}]}), False),
        (closed(a={"type": "array", "items": {"type": ["object", "null"]}}), False),
        (closed(a={"oneOf": [{"type": "string"}]}), False),
        (closed(a={"type": "string", "default": "b"}), False),
        (closed(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"allOf": [{"type": "string"}]}}}, False),
        (closed(a={"$ref": "#/$defs/b"}) | {"$defs": {"b": {"type": "string"}}}, True),
        ({"type": ["object"], "properties": None}, False),
    ],
)
def test_a_schema_is_strict_where_openai_takes_it(schema, strict):
    """OpenAI answers 400 to unsupported keywords, and so to every request that has the tool."""
    asked = {"tools": [TOOL | {"input_schema": schema, "strict": True}]}
    function = value(profile_for("remote::openai"), **asked)["tools"][0]["function"]
    assert ("strict" in function) is strict
    assert dropped(profile_for("remote::openai"), **asked) == ([] if strict else ["tools.0.strict"])


UNKNOWN_SETTINGS = {
    "brand_new": 1,
    "output_config": {"verbosity": "low"},
    "tool_choice": {"type": "auto", "newer": 1},
    "metadata": {"team": "a"},
}


@pytest.mark.parametrize("path", ["brand_new", "output_config.verbosity", "tool_choice.newer", "metadata.team"])
def test_unknown_settings_are_dropped_or_rejected(path):
    """Unknown settings inside objects are reported, too."""
    name = path.partition(".")[0]
    fields = {name: UNKNOWN_SETTINGS[name]}
    assert dropped(**fields) == [path]
    strict = TranslationContext(Profile(), Policy(strict=True), headers={"anthropic-version": "2023-06-01"})
    with pytest.raises(InvalidRequestError) as caught:
        translate_request(request(**fields), strict)
    assert caught.value.message == f"{path}: Extra inputs are not permitted"


def test_configured_fields_are_merged_with_thinking_fields():
    """A configured template setting is merged with the switch, which is in the same object."""
    extra = {"chat_template_kwargs": {"style": "short", "thinking": False}, "seed": 1}
    profile = profile_for("remote::vllm", overrides={"extra_body": extra})
    fields = value(profile, thinking={"type": "adaptive"})
    assert fields["chat_template_kwargs"] == {"enable_thinking": True, "thinking": False, "style": "short"}
    assert fields["seed"] == 1


def test_a_refused_prefill_is_named_by_the_path_of_its_message():
    """docs/errors.md promises that a 400 begins with the JSON path; the rest is the API's own sentence."""
    with pytest.raises(InvalidRequestError) as caught:
        messages(("user", "a"), ("assistant", "b"), ("system", " "), profile=profile_for("remote::openai"))
    assert caught.value.message == (
        "messages.1: This model does not support assistant message prefill. "
        "The conversation must end with a user message."
    )


@pytest.mark.parametrize("provider", ["remote::openai", "remote::vllm"])
def test_a_blank_user_message_does_not_make_the_last_response_a_prefill(provider):
    """Elsewhere a blank message is left out; at the end that would turn the last response into a prefill."""
    turns = [("user", "a"), ("assistant", "b"), ("user", [{"type": "text", "text": ""}])]
    with pytest.raises(InvalidRequestError, match=r"^messages\.2: all messages must have non-empty content"):
        messages(*turns, profile=profile_for(provider))
    assert len(messages(*turns, ("user", "c"))) == 3


@pytest.mark.parametrize(
    ("turns", "path"),
    [
        ([("user", " ")], "messages.0"),
        ([("system", "s"), ("user", []), ("assistant", "")], "messages.1"),
        ([("user", [{"type": "text", "text": ""}]), ("system", "s")], "messages.0"),
        ([("system", "s")], "messages.0"),
    ],
)
def test_an_empty_conversation_is_rejected(turns, path):
    """Upstreams answer ``messages: []`` with a 400 without a path, or with a made-up response."""
    error = refusal(system="Be kind.", messages=[{"role": role, "content": content} for role, content in turns])
    assert error.message == (
        f"{path}: all messages must have non-empty content except for the optional final assistant message"
    )


TEXT_A, TEXT_B = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
NOTHING = {"type": "text", "text": ""}


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([TEXT_A, {"type": "thinking", "thinking": "hm"}, TEXT_B], "ab"),
        ([TEXT_A, {"type": "redacted_thinking", "data": "x"}, NOTHING, TEXT_B], "ab"),
        ([TEXT_A, use(), {"type": "thinking", "thinking": "hm"}, TEXT_B], "a\n\nb"),
        ([TEXT_A, use(), NOTHING, TEXT_B], "a\n\nb"),
        ([use(), TEXT_A], "a"),
    ],
)
def test_text_around_thinking_is_replayed_as_the_model_wrote_it(blocks, text):
    """A backend keeps text around thinking as one piece, so any other form would miss its prefix cache."""
    assert messages(("user", "x"), ("assistant", blocks), ("user", "y"))[1]["content"] == text


def test_our_own_answer_comes_back_as_the_backend_wrote_it():
    """Text, thinking, text in a stream become one ``content`` in the history."""
    chunks = [delta_chunk(content="It is "), delta_chunk(reasoning_content="hm"), delta_chunk("stop", content="warm.")]
    blocks = message_of(chunks)["content"]
    assert [block["type"] for block in blocks] == ["text", "thinking", "text"]
    assert messages(("user", "x"), ("assistant", blocks), ("user", "y"))[1]["content"] == "It is warm."


@pytest.mark.parametrize("role", ["assistant", "system"])
@pytest.mark.parametrize(("blocks", "turns"), [(20_000, 1), (1, 9_000)])
def test_thousands_of_texts_are_translated_in_time_that_grows_with_their_number(role, blocks, turns):
    """Each text was appended to all before it: 10,000 blocks of 1 kB held the server for 19 s."""
    turn = {"role": role, "content": [{"type": "text", "text": "x" * 1000}] * blocks}
    asked = request(messages=[{"role": "user", "content": "a"}, *[turn] * turns])
    with cpu_bound(2):
        chat = translate_request(asked, TranslationContext(Profile())).fields["messages"]
    assert len(chat[1]["content"]) >= 1000 * blocks * turns


# --- tool calls and results ---


def test_results_come_first_and_in_the_order_of_the_calls():
    said = [result("b", content="2"), {"type": "text", "text": "and?"}, result("a", content="1")]
    chat = messages(("user", "x"), ("assistant", [use("a"), use("b")]), ("user", said))
    assert [(turn["role"], turn["content"]) for turn in chat[2:]] == [("tool", "1"), ("tool", "2"), ("user", "and?")]


def test_results_of_two_messages_are_together():
    chat = messages(
        ("user", "x"), ("assistant", [use("a"), use("b")]), ("user", [result("a")]), ("user", [result("b")])
    )
    assert [turn["role"] for turn in chat[2:]] == ["tool", "tool"]


def test_keys_of_an_input_keep_their_order():
    """Ollama ac83ac20c: another order costs the prefix cache."""
    turn = [use(input={"z": 1, "a": "\u00e4"})]
    chat = messages(("user", "x"), ("assistant", turn), ("user", [result()]))
    assert chat[1]["tool_calls"][0]["function"]["arguments"] == '{"z": 1, "a": "\u00e4"}'


def test_an_empty_input_is_an_empty_object():
    """Agentgateway 3002: "" as arguments poisoned the conversation."""
    chat = messages(("user", "x"), ("assistant", [use(input=None)]), ("user", [result()]))
    assert chat[1]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert chat[1]["content"] is None


def test_ids_stay_as_they_are():
    chat = messages(("user", "x"), ("assistant", [use("call.1:weird")]), ("user", [result("call.1:weird")]))
    assert (chat[1]["tool_calls"][0]["id"], chat[2]["tool_call_id"]) == ("call.1:weird", "call.1:weird")


def test_a_call_without_id_gets_an_id_from_its_position():
    assert messages(("user", "x"), ("assistant", [use("")]))[1]["tool_calls"][0]["id"] == "call_messages_1_content_0"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, ""),
        ({"content": None}, ""),
        ({"content": "ok"}, "ok"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": " \n"}, " \n"),
        ({"content": ""}, ""),
        ({"content": "no", "is_error": True}, "Error: no"),
        ({"is_error": True}, "Error: "),
        ({"content": [{"type": "tool_reference", "tool_name": "g"}]}, "Tool g is not available"),
        ({"content": [{"type": "browser_state", "tabs": []}]}, "[browser]\nno tabs"),
        (
            {"content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}}]},
            "<document>\nd\n</document>",
        ),
    ],
)
def test_results_are_text(fields, text):
    assert messages(("user", "x"), ("assistant", [use()]), ("user", [result(**fields)]))[2]["content"] == text


def test_images_of_results_follow_the_results():
    """llama.cpp 22536, claude-code-proxy 59: the model could not see images that a tool read."""
    said = [result("a", content=[{"type": "text", "text": "see"}, IMAGE]), result("b"), {"type": "text", "text": "so?"}]
    chat = messages(("user", "x"), ("assistant", [use("a"), use("b")]), ("user", said))
    assert chat[2]["content"] == "see\n[image 1 of tool result a: see next message]"
    assert [turn["role"] for turn in chat[2:]] == ["tool", "tool", "user"]
    assert [part["type"] for part in chat[4]["content"]] == ["text", "image_url", "text"]
    assert chat[4]["content"][0]["text"] == "[image 1 of tool result a]"


def test_images_stay_in_results_if_the_backend_accepts_them():
    chat = messages(
        ("user", "x"), ("assistant", [use()]), ("user", [result(content=[IMAGE])]), profile=Profile(tool_images=True)
    )
    assert [part["type"] for part in chat[2]["content"]] == ["image_url"]
    assert len(chat) == 3


def test_a_pdf_in_a_result_becomes_a_note_to_the_model():
    pdf = {"type": "document", "title": "T", "source": {"type": "base64", "media_type": "application/pdf", "data": "x"}}
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use()]}]
    done = translated(messages=[*turns, {"role": "user", "content": [result(content=[pdf])]}])
    assert done.fields["messages"][2]["content"].startswith("[document T: this model cannot read it: ")
    assert [entry.path for entry in done.dropped] == ["messages.2.content.0.content.0"]


def test_a_call_without_a_result_gets_one():
    """cc-switch 6044, letta 3308: an interrupted turn made the session unusable."""
    chat = messages(("user", "x"), ("assistant", [use()]), ("user", "never mind"))
    assert [turn["role"] for turn in chat] == ["user", "assistant", "tool", "user"]
    assert chat[2]["content"].startswith("Error: ")
    assert messages(("user", "x"), ("assistant", [use()]))[-1]["role"] == "tool"


def test_a_result_without_a_call_becomes_text():
    """claude-code 14075."""
    chat = messages(("user", [result("gone", content="data"), {"type": "text", "text": "go on"}]))
    assert chat == [{"role": "user", "content": "[result of tool call gone] data\n\ngo on"}]


def test_a_second_result_for_one_call_becomes_text():
    chat = messages(("user", "x"), ("assistant", [use()]), ("user", [result(content="1"), result(content="2")]))
    assert [turn["role"] for turn in chat[2:]] == ["tool", "user"]


def test_a_system_message_does_not_separate_a_call_from_its_result():
    chat = messages(("user", "x"), ("assistant", [use()]), ("system", "s"), ("user", [result()]))
    assert [turn["role"] for turn in chat] == ["user", "assistant", "tool", "system"]


BOTH = ("assistant", [use("a"), use("b")])


def shape(*turns, **fields):
    """Return role and content of what follows the first message and the calls."""
    return [(turn["role"], turn["content"]) for turn in messages(("user", "x"), BOTH, *turns, **fields)[2:]]


def test_a_system_message_does_not_separate_results():
    """Otherwise the second half became user text, and its call counted as interrupted."""
    halves = ("user", [result("a", content="1")]), ("system", "s"), ("user", [result("b", content="2")])
    assert shape(*halves) == [("tool", "1"), ("tool", "2"), ("system", "s")]
    assert shape(halves[0], halves[2], halves[1]) == [("tool", "1"), ("tool", "2"), ("system", "s")]


def test_messages_between_results_keep_their_order():
    """It follows the results, because nothing may come between calls and results."""
    said = [
        ("user", [result("a", content="1"), TEXT_A]),
        ("system", "s"),
        ("user", [TEXT_B, result("b", content="2")]),
        ("system", "t"),
        ("assistant", "ok"),
        ("user", "y"),
    ]
    assert shape(*said) == [
        ("tool", "1"), ("tool", "2"), ("user", "a"), ("system", "s"), ("user", "b"), ("system", "t"),
        ("assistant", "ok"), ("user", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize("after", [(), (("assistant", "ok"), ("user", "y"))])
def test_calls_without_results_get_one_before_the_next_response_or_at_the_end(after):
    """Before that a result may still follow."""
    chat = shape(("user", [result("b", content="2")]), ("system", "s"), ("user", "go on"), *after)
    assert [role for role, _ in chat[:4]] == ["tool", "tool", "system", "user"]
    assert chat[0][1].startswith("Error: ")
    assert chat[1][1] == "2"
    assert len(chat) == 4 + len(after)


def twice(call_id):
    return [use(call_id, input={"n": 1}), use(call_id, input={"n": 2})]


def test_two_calls_of_one_id_keep_their_own_results():
    """Both got the last result. The sent ids differ, and are the same in every later turn."""
    turns = [("user", "x"), ("assistant", twice("a")), ("user", [result(content="1"), result(content="2")])]
    chat = messages(*turns)
    assert [call["id"] for call in chat[1]["tool_calls"]] == ["a", "a_2"]
    assert [(turn["tool_call_id"], turn["content"]) for turn in chat[2:]] == [("a", "1"), ("a_2", "2")]
    assert messages(*turns, ("assistant", twice("a")), ("user", "y"))[: len(chat)] == chat


def test_an_id_made_for_a_second_call_is_not_another_calls():
    calls = [*twice("a"), use("a_2")]
    said = [result("a", content="1"), result("a_2", content="3"), result("a", content="2")]
    chat = messages(("user", "x"), ("assistant", calls), ("user", said))
    assert len({turn["tool_call_id"] for turn in chat[2:]}) == 3
    assert [turn["content"] for turn in chat[2:]] == ["1", "2", "3"]


# --- media ---


def test_an_image_in_a_result_becomes_a_note_for_a_model_without_vision():
    """The tool loop continues, as with a PDF."""
    blind = Profile(images="reject")
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use()]}]
    done = translated(blind, messages=[*turns, {"role": "user", "content": [result(content=[TEXT_A, IMAGE])]}])
    assert [turn["content"] for turn in done.fields["messages"][2:]] == ["a\n[image: this model cannot read it]"]
    assert [(entry.path, entry.feature) for entry in done.dropped] == [("messages.2.content.0.content.1", "image")]


def test_a_users_image_is_rejected_for_a_model_without_vision():
    """The response would ignore the image."""
    said = [{"role": "user", "content": [TEXT_A, IMAGE]}]
    assert refusal(profile=Profile(images="reject"), messages=said).message.startswith("messages.0.content.1: ")


def test_every_preset_accepts_images_by_default():
    assert all(profile.images == "parts" for profile in (Profile(), *PRESETS.values()))


@pytest.mark.parametrize(
    ("data", "media"), [("/9j/4AAQ", "image/jpeg"), ("UklGRgAAAABXRUJQ", "image/webp"), ("AAAA", "image/png")]
)
def test_the_media_type_follows_the_bytes(data, media):
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    part = messages(("user", [block]))[0]["content"][0]
    assert part["image_url"]["url"] == f"data:{media};base64,{data}"


@pytest.mark.parametrize("kind", ["image", "document"])
def test_uploaded_files_are_refused(kind):
    error = refusal(
        messages=[{"role": "user", "content": [{"type": kind, "source": {"type": "file", "file_id": "f"}}]}]
    )
    assert error.message.startswith("messages.0.content.0.source: ")


def test_documents_and_search_results_are_text():
    source = {"type": "text", "media_type": "text/plain", "data": "d"}
    blocks = [
        {"type": "document", "source": source, "title": "T", "citations": {"enabled": True}},
        {
            "type": "search_result",
            "source": "s",
            "title": "t",
            "content": [{"type": "text", "text": "x"}],
            "citations": {"enabled": True},
        },
    ]
    done = translated(messages=[{"role": "user", "content": blocks}])
    assert done.fields["messages"][0]["content"] == (
        '<document title="T">\nd\n</document>\n\n<search_result source="s" title="t">\nx\n</search_result>'
    )
    assert [entry.feature for entry in done.dropped] == ["citations", "citations"]


def test_search_results_without_citations_drop_nothing():
    block = {"type": "search_result", "source": "s", "title": "t", "content": []}
    assert dropped(messages=[{"role": "user", "content": [block]}]) == []


# --- tools ---


@pytest.mark.parametrize("kind", [{}, {"type": None}, {"type": ""}, {"type": "custom"}])
def test_a_tool_without_type_is_custom(kind):
    """Envoyproxy 1843: Claude Code's first request failed."""
    assert value(tools=[TOOL | kind])["tools"][0]["function"]["name"] == "f"


def test_a_server_tool_does_not_make_the_request_fail():
    """Agentgateway 2804: one web_search tool made the whole request fail."""
    done = translated(tools=[TOOL, SEARCH])
    assert len(done.fields["tools"]) == 1
    assert done.dropped == (
        Dropped("tools.1", "web_search", "this server does not run web searches; the other tools are kept"),
    )


def test_a_deferred_tool_is_offered_after_its_reference():
    """Claude Code inserts loaded tools in the middle of its list; here they come last, in the order of loading."""
    later, never = TOOL | {"name": "a", "defer_loading": True}, TOOL | {"name": "b", "defer_loading": True}
    references = [{"type": "tool_reference", "tool_name": name} for name in ("c", "a", "gone", "c")]
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [use()]}]
    turns += [{"role": "user", "content": [result(content=references)]}]
    tools = [later, never, TOOL | {"name": "c", "defer_loading": True}, TOOL]
    assert [tool["function"]["name"] for tool in value(tools=tools)["tools"]] == ["f"]
    assert [tool["function"]["name"] for tool in value(tools=tools, messages=turns)["tools"]] == ["f", "c", "a"]


def test_every_tool_is_sent_with_a_server_side_tool_search():
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    assert len(value(tools=[TOOL | {"defer_loading": True}, search])["tools"]) == 1


def test_tool_names_are_unique():
    assert refusal(tools=[TOOL, TOOL]).message == "tools: Tool names must be unique."


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tool_choice(choice, expected):
    fields = value(tools=[TOOL], tool_choice=choice)
    assert fields["tool_choice"] == expected
    assert "parallel_tool_calls" not in fields


def test_parallel_calls_are_switched_off_only_with_tools():
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert value(tools=[TOOL], tool_choice=choice)["parallel_tool_calls"] is False
    assert value(tool_choice=choice).keys() == {"messages", "max_tokens"}


LLAMA_CPP = ("inline::llama-cpp", "remote::llama-cpp-server")


@pytest.mark.parametrize("provider_type", LLAMA_CPP)
@pytest.mark.parametrize(("choice", "names"), [({"type": "any"}, ["f", "g"]), ({"type": "tool", "name": "g"}, ["g"])])
def test_llama_cpp_gets_required_for_a_forced_tool_and_the_choice_is_dropped(provider_type, choice, names):
    """Llama.cpp 26535: a named choice is read as auto; 27217: text without end may come before a required call."""
    done = translated(profile_for(provider_type), tools=[TOOL, TOOL | {"name": "g"}], tool_choice=choice)
    assert done.fields["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in done.fields["tools"]] == names
    assert [(entry.path, entry.feature) for entry in done.dropped] == [("tool_choice", f"tool_choice {choice['type']}")]


@pytest.mark.parametrize("provider_type", LLAMA_CPP)
def test_llama_cpp_may_still_call_in_parallel(provider_type):
    """The setting is sent, and the loss is logged."""
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    done = translated(profile_for(provider_type), tools=[TOOL], tool_choice=choice)
    assert (done.fields["tool_choice"], done.fields["parallel_tool_calls"]) == ("auto", False)
    assert [entry.path for entry in done.dropped] == ["tool_choice.disable_parallel_tool_use"]


def test_auto_is_not_dropped_for_llama_cpp():
    assert dropped(profile_for("inline::llama-cpp"), tools=[TOOL], tool_choice={"type": "auto"}) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [TOOL, SEARCH], "tool_choice": {"type": "tool", "name": "web_search"}},
        {"tools": [SEARCH], "tool_choice": {"type": "any"}},
        {"tool_choice": {"type": "tool", "name": "f"}},
        {"tools": [TOOL], "tool_choice": {"type": "brand_new"}},
    ],
)
def test_a_choice_that_cannot_be_fulfilled_is_rejected(fields):
    assert refusal(**fields).message.startswith("tool_choice")


def test_examples_go_into_the_description():
    tool = TOOL | {"description": "Does.", "input_examples": [{"x": 1}]}
    assert value(tools=[tool])["tools"][0]["function"]["description"] == 'Does.\nExamples of input:\n{"x": 1}'


CLOSED = {
    "type": "object",
    "properties": {"x": {"anyOf": [{"type": "string"}]}},
    "required": ["x"],
    "additionalProperties": False,
}


def test_strict_is_kept_if_the_schema_allows_it():
    done = translated(tools=[TOOL | {"strict": True, "input_schema": CLOSED}, TOOL | {"name": "g", "strict": True}])
    assert [tool["function"].get("strict") for tool in done.fields["tools"]] == [True, None]
    assert [entry.path for entry in done.dropped] == ["tools.1.strict"]


# --- thinking ---


@pytest.mark.parametrize(
    ("thinking", "effort", "openai", "vllm"),
    [
        (None, None, None, None),
        ({"type": "disabled"}, None, "none", (False, None)),
        ({"type": "between_tools"}, "high", "none", (False, None)),
        ({"type": "adaptive"}, None, None, (True, None)),
        ({"type": "adaptive"}, "medium", "medium", (True, "medium")),
        ({"type": "enabled", "budget_tokens": 500}, None, "low", (True, "low")),
        ({"type": "enabled", "budget_tokens": 5000}, None, "medium", (True, "medium")),
        ({"type": "enabled", "budget_tokens": 9000}, None, "high", (True, "high")),
        ({"type": "enabled", "budget_tokens": 31999}, None, "xhigh", (True, "high")),
        ({"type": "enabled", "budget_tokens": 500}, "max", "xhigh", (True, "high")),
        (None, "low", "low", (None, "low")),
    ],
)
def test_thinking_is_switched_on_backends_with_a_switch(thinking, effort, openai, vllm):
    """Bifrost 1479: a budget below 1024 was refused."""
    fields = {"thinking": thinking, "output_config": {"effort": effort}}
    assert value(profile_for("remote::openai"), **fields).get("reasoning_effort") == openai
    seen = value(profile_for("remote::vllm"), **fields)
    switch = seen.get("chat_template_kwargs", {}).get("enable_thinking")
    assert (switch, seen.get("reasoning_effort")) == (vllm or (None, None))


def test_llama_cpp_reads_the_effort_from_the_template():
    profile = profile_for("inline::llama-cpp")
    fields = value(profile, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert fields["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}
    assert value(profile, output_config={"effort": "low"})["chat_template_kwargs"] == {"reasoning_effort": "low"}


@pytest.mark.parametrize("mode", ["disabled", "between_tools", "adaptive"])
def test_thinking_is_dropped_on_backends_without_a_switch(mode):
    assert dropped(thinking={"type": mode}, output_config={"effort": "high"}) == ["thinking"]
    assert dropped(output_config={"effort": "high"}) == ["output_config.effort"]


def test_ollama_gets_only_the_setting_that_switches_thinking_off():
    """Ollama answers 400 to a level for a model that does not think; Claude Code sends one always."""
    profile = profile_for("remote::ollama")
    assert "reasoning_effort" not in value(profile, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert value(profile, thinking={"type": "disabled"})["reasoning_effort"] == "none"


def test_an_unsupported_effort_is_dropped_by_name():
    assert dropped(profile_for("remote::openai"), output_config={"effort": "max"}) == ["output_config.effort"]
    assert dropped(Profile(thinking="effort"), output_config={"effort": "max"}) == ["output_config.effort"]


def test_an_unknown_mode_is_dropped_by_name():
    assert dropped(profile_for("remote::vllm"), thinking={"type": "brand_new"}) == ["thinking"]


def test_the_last_message_sets_the_effort():
    turns = [
        {"role": "user", "content": "a"},
        {"role": "system", "output_config": {"effort": "low"}},
        {"role": "system", "content": "b", "output_config": {"effort": "high"}},
    ]
    fields = value(profile_for("remote::openai"), messages=turns, output_config={"effort": "medium"})
    assert fields["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    ("model", "efforts"),
    [("gpt-4o", ()), ("o3-mini", ("low", "medium", "high")), ("gpt-5", ("minimal", "low", "medium", "high"))],
)
def test_openai_models_accept_different_efforts(model, efforts):
    """OpenAI answers 400 to an effort a model does not have."""
    profile = profile_for("remote::openai", model)
    assert (profile.efforts, profile.thinking) == (efforts, "effort" if efforts else "none")
    assert profile_for("remote::openai", "gpt-5.1").but(documents="text") == profile_for("remote::azure")
    assert profile_for("remote::vllm", model) == profile_for("remote::vllm")


# --- limits, sampling, account ---


def test_the_output_limit_has_two_names():
    assert value(profile_for("remote::openai"))["max_completion_tokens"] == 100
    assert value(profile_for("remote::vllm"))["max_tokens"] == 100


def test_prewarming_asks_for_one_token():
    assert value(max_tokens=0)["max_tokens"] == 1
    assert refusal(max_tokens=0, stream=True).message.startswith("max_tokens: ")


def test_sampling():
    fields = value(Profile(top_k=True), temperature=0.5, top_p=0.9, top_k=40)
    assert (fields["temperature"], fields["top_p"], fields["top_k"]) == (0.5, 0.9, 40)


def test_an_unsupported_sampling_field_is_dropped():
    assert dropped(top_k=40) == ["top_k"]


def test_stop_sequences_are_not_sent_to_the_backend():
    """Backends accept four at most and do not report the match, so this server searches the response."""
    done = translated(stop_sequences=list("abcdef"))
    assert "stop" not in done.fields
    assert done.dropped == ()


@pytest.mark.parametrize("legacy", [False, True])
def test_structured_output(legacy):
    form = {"type": "json_schema", "schema": CLOSED}
    fields = {"output_format": form} if legacy else {"output_config": {"format": form}}
    named = value(**fields)["response_format"]["json_schema"]
    assert named == {"name": "response", "schema": CLOSED, "strict": True}


def test_two_formats_are_refused():
    form = {"type": "json_schema", "schema": {}}
    assert refusal(output_format=form, output_config={"format": form}).message.startswith("output_format: ")


def test_a_long_user_id_is_hashed():
    """Claude Code sends JSON of 150 characters; the platform accepts 64."""
    long = json.dumps({"device_id": "d" * 64})
    assert value(metadata={"user_id": long})["user"] == hashlib.sha256(long.encode()).hexdigest()
    assert value(profile_for("remote::openai"), metadata={"user_id": "u"})["safety_identifier"] == "u"


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, None),
        ({"service_tier": "auto"}, "auto"),
        ({"service_tier": "standard_only"}, "default"),
        ({"speed": "fast"}, "priority"),
    ],
)
def test_service_tier_is_sent_to_openai_only(fields, tier):
    assert value(profile_for("remote::openai"), **fields).get("service_tier") == tier
    assert "service_tier" not in value(**fields)


def test_quality_settings_are_dropped_by_name():
    fields = {
        "speed": "fast",
        "output_config": {"task_budget": {"type": "tokens", "total": 9}},
        "safeguards": [{"type": "dangerous_tool_use"}],
        "fallbacks": [{"model": "x"}],
        "brand_new": 1,
    }
    assert set(dropped(**fields)) == {
        "speed", "output_config.task_budget", "safeguards", "fallbacks", "brand_new",
    }  # fmt: skip


def test_hints_are_ignored_without_a_record():
    fields = {
        "cache_control": {"type": "ephemeral"},
        "diagnostics": {},
        "fallbacks": "default",
        "inference_geo": "global",
    }
    assert dropped(**fields, container="c", mcp_servers=[], billing_policy={"type": "billing_policy"}) == []


def test_threads_are_refused_with_the_code_the_sdk_falls_back_on():
    """If it were ignored, the SDK's tool runner would send only a tool result and get a wrong response."""
    assert refusal(thread={"type": "create"}).details == {"error_code": "thread_unsupported_request"}


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("compaction", {"type": "summarize"}),
        ("inference_geo", "us"),
        ("container", {"skills": [{"type": "custom", "skill_id": "s"}]}),
        ("billing_policy", {"type": "billing_policy", "bill_to": "user_profile"}),
    ],
)
def test_guarantees_this_server_cannot_give_are_rejected_with_their_path(path, given):
    assert refusal(**{path: given}).message.startswith(path)


SCHEMA = '{"type": "object", "properties": {"a": {"type": "number", "enum": [1, NUMBER]}}}'


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ('"tools": [{"name": "e", "input_schema": {}}, {"name": "f", "input_schema": SCHEMA}]', "tools.1.input_schema"),
        ('"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}', "output_config.format.schema"),
        ('"output_format": {"type": "json_schema", "schema": SCHEMA}', "output_format.schema"),
    ],
)
@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400 + ".0"], ids=["1e999", "-1e999", "digits"])
@pytest.mark.parametrize("profile", [Profile(), Profile(context_window=1_000_000)], ids=["", "window"])
def test_a_number_in_a_schema_that_is_too_large_is_refused_with_its_path(fields, path, number, profile):
    """Parsers read it as infinity, which no JSON can hold; backends got none or a text."""
    schema = SCHEMA.replace("NUMBER", number)
    body = f'{{"model": "m", "max_tokens": 1, "messages": [{{"role": "user", "content": "x"}}], {fields}}}'
    asked = CreateMessageRequest.model_validate_json(body.replace("SCHEMA", schema))
    with pytest.raises(InvalidRequestError) as caught:
        translate_request(asked, TranslationContext(profile))
    assert caught.value.message == (f"{path}.properties.a.enum.1: the number is too large for JSON; send a smaller one")


def test_the_path_of_a_number_in_a_schema_is_shortened():
    """A name of megabytes is not copied for each value inside of it."""
    schema = {"x" * 5_000_000: [1] * 100_000 + [float("inf")]}
    with cpu_bound(0.5):
        error = refusal(tools=[{"name": "f", "input_schema": schema}])
    assert error.message.startswith("tools.0.input_schema.xxx")
    assert len(error.message) < 300


def test_a_large_number_in_a_schema_is_accepted():
    schema = json.loads(SCHEMA.replace("NUMBER", "1e308"))
    assert value(tools=[{"name": "f", "input_schema": schema}])["tools"][0]["function"]["parameters"] == schema
