"""Compaction and context management edits: which messages the backend gets, and which edits the response reports."""

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    StreamTranslator,
    TranslationContext,
    translate_request,
    translate_response,
)
from support.attacks import cpu_bound
from support.streams import completion, delta_chunk, id_maker, message_of, request

SUMMARY = "This conversation began earlier. What was said until here:\n<summary>\nso far\n</summary>"
COMPACTION = {"type": "compaction", "content": "so far", "encrypted_content": "x"}
TEXT = {"type": "text", "text": "a"}


def translated(*turns, policy=None, edits=None, **fields):
    asked = {"messages": [{"role": role, "content": content} for role, content in turns]} | fields
    if edits is not None:
        asked["context_management"] = {"edits": edits}
    profile = Profile(reasoning_field="reasoning_content")
    return translate_request(request(**asked), TranslationContext(profile, policy or Policy()))


def chat(*turns, **fields):
    return [(turn["role"], turn["content"]) for turn in translated(*turns, **fields).fields["messages"]]


def applied(done):
    return dict(done.options.extras)["context_management"]["applied_edits"]


def dropped(done):
    return [(entry.path, entry.feature) for entry in done.dropped]


# --- compaction ---


def test_a_summary_takes_the_place_of_what_came_before_it():
    turns = ("user", "old"), ("assistant", [{"type": "text", "text": "older"}, COMPACTION, TEXT]), ("user", "new")
    assert chat(*turns, system="s") == [("system", "s"), ("user", SUMMARY), ("assistant", "a"), ("user", "new")]


def test_a_summary_alone_is_joined_by_the_next_question():
    assert chat(("user", "old"), ("assistant", [COMPACTION]), ("user", "new")) == [("user", f"{SUMMARY}\n\nnew")]


def test_a_conversation_may_begin_or_end_with_its_summary():
    assert chat(("assistant", [COMPACTION])) == [("user", SUMMARY)]


def test_the_last_summary_counts():
    first = COMPACTION | {"content": "long ago"}
    turns = ("assistant", [first]), ("user", "old"), ("assistant", [first, COMPACTION]), ("user", "new")
    assert chat(*turns) == [("user", f"{SUMMARY}\n\nnew")]


@pytest.mark.parametrize("content", [None, "", " "])
def test_a_failed_compaction_is_ignored(content):
    turns = ("user", "old"), ("assistant", [COMPACTION | {"content": content}, TEXT]), ("user", "new")
    assert chat(*turns) == [("user", "old"), ("assistant", "a"), ("user", "new")]


def test_messages_before_a_compaction_are_not_translated():
    """It is neither rejected nor logged, because the backend does not get it."""
    turns = ("user", [{"type": "brand_new"}]), ("assistant", [{"type": "brand_new"}, COMPACTION]), ("user", "new")
    assert translated(*turns).dropped == ()


def test_paths_after_a_compaction_refer_to_the_request():
    turns = ("user", "old"), ("assistant", [TEXT, COMPACTION, {"type": "brand_new"}]), ("user", [TEXT])
    assert dropped(translated(*turns)) == [("messages.1.content.2", "brand_new")]
    with pytest.raises(InvalidRequestError, match=r"^messages\.2\.content\.1: "):
        translated(*turns[:2], ("user", [TEXT, {"type": "brand_new"}]))


def test_a_result_whose_call_was_compacted_becomes_user_text():
    turns = ("assistant", [COMPACTION]), ("user", [result("a", "data")])
    assert chat(*turns) == [("user", f"{SUMMARY}\n\n[result of tool call a] data")]


# --- clear_tool_uses ---

CLEARED = "[The result of this tool call was cleared to save space]"


def use(call_id, name="f", **fields):
    return {"type": "tool_use", "id": call_id, "name": name, "input": {"path": call_id * 20}} | fields


def result(call_id, content="x" * 400, **fields):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content} | fields


def calls(*ids, name="f", **fields):
    """Return a turn of calls and one of their results for each id."""
    return [turn for i in ids for turn in (("assistant", [use(i, name)]), ("user", [result(i, **fields)]))]


def clearing(**settings):
    return [{"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 1}} | settings]


def keep(value):
    return {"type": "tool_uses", "value": value}


def results(done):
    return [turn["content"] == CLEARED for turn in done.fields["messages"] if turn["role"] == "tool"]


def test_old_results_are_cleared_and_the_last_three_stay():
    done = translated(("user", "q"), *calls(*"abcde"), edits=clearing())
    assert results(done) == [True, True, False, False, False]
    assert applied(done) == [
        {"type": "clear_tool_uses_20250919", "cleared_tool_uses": 2, "cleared_input_tokens": 172},
    ]
    assert done.dropped == ()


@pytest.mark.parametrize("ids", ["010", "000", "001"])
def test_a_result_that_is_kept_is_not_cleared_for_an_older_call_of_its_id(ids):
    """Servers that count calls from 0 in every response repeat ids."""
    done = translated(("user", "q"), *calls(*ids), edits=clearing(keep=keep(1), clear_tool_inputs=True))
    assert results(done) == [True, True, False]
    inputs = [
        turn["tool_calls"][0]["function"]["arguments"] for turn in done.fields["messages"] if turn.get("tool_calls")
    ]
    assert [text == "{}" for text in inputs] == [True, True, False]


@pytest.mark.parametrize(
    ("trigger", "fires"),
    [
        (None, False),
        ({"type": "tool_uses", "value": 4}, False),
        ({"type": "tool_uses", "value": 3}, True),
        ({"type": "input_tokens", "value": 10_000}, False),
        ({"type": "input_tokens", "value": 300}, True),
    ],
)
def test_nothing_is_cleared_until_the_trigger_is_exceeded(trigger, fires):
    done = translated(("user", "q"), *calls(*"abcd"), edits=clearing(trigger=trigger, keep=keep(1)))
    assert any(results(done)) is fires
    assert bool(applied(done)) is fires


def test_the_trigger_counts_the_whole_prompt():
    """The default is 100,000 tokens, including the system prompt and the tools."""
    turns = [("user", "q"), *calls("a", "b")]
    assert not any(results(translated(*turns, edits=clearing(trigger=None, keep=keep(0)))))
    long = translated(*turns, edits=clearing(trigger=None, keep=keep(0)), system="s" * 400_000)
    assert results(long) == [True, True]
    tool = {"name": "f", "description": "d" * 400_000, "input_schema": {"type": "object"}}
    assert results(translated(*turns, edits=clearing(trigger=None, keep=keep(0)), tools=[tool])) == [True, True]


def test_excluded_tools_keep_their_results():
    turns = [("user", "q"), *calls("a"), *calls("b", name="g"), *calls("c")]
    done = translated(*turns, edits=clearing(keep=keep(0), exclude_tools=["g"]))
    assert results(done) == [True, False, True]
    assert applied(done)[0]["cleared_tool_uses"] == 2


@pytest.mark.parametrize(("least", "fires"), [(80, True), (10_000, False)])
def test_nothing_is_cleared_below_clear_at_least(least, fires):
    edits = clearing(keep=keep(1), clear_at_least={"type": "input_tokens", "value": least})
    assert any(results(translated(("user", "q"), *calls("a", "b"), edits=edits))) is fires


@pytest.mark.parametrize(
    ("chosen", "arguments"), [(True, ["{}", "{}"]), (["g"], ['{"path": "aaaaaaaaaaaaaaaaaaaa"}', "{}"]), (False, None)]
)
def test_inputs_are_cleared_when_asked_for(chosen, arguments):
    done = translated(
        ("user", "q"), *calls("a"), *calls("b", name="g"), edits=clearing(keep=keep(0), clear_tool_inputs=chosen)
    )
    sent = [turn["tool_calls"][0]["function"]["arguments"] for turn in done.fields["messages"] if "tool_calls" in turn]
    assert sent == arguments if arguments else all("path" in text for text in sent)


def test_results_without_calls_and_calls_without_results_are_left_alone():
    turns = ("user", [result("gone", "data")]), ("assistant", [use("a"), use("")]), ("user", "go on")
    done = translated(*turns, edits=clearing(keep=keep(0)))
    assert done.fields["messages"][0]["content"] == "[result of tool call gone] data"
    assert applied(done) == []


def test_a_cleared_error_result_loses_is_error_and_its_images():
    image = {"type": "image", "source": {"type": "url", "url": "u"}}
    turns = [("user", "q"), *calls("a", content=[image], is_error=True), *calls("b")]
    done = translated(*turns, edits=clearing(keep=keep(1)))
    assert results(done) == [True, False]
    assert applied(done)[0]["cleared_input_tokens"] > 1_400
    assert all(isinstance(turn["content"], str | None) for turn in done.fields["messages"])


def test_results_of_server_tools_are_cleared_too():
    work = [
        {"type": "server_tool_use", "id": "s", "name": "web_fetch", "input": {}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s",
            "content": [{"type": "web_search_result", "url": "u" * 400, "title": "t", "encrypted_content": "E"}],
        },
        {"type": "text", "text": "a"},
    ]
    done = translated(("user", "q"), ("assistant", work), *calls("a"), edits=clearing(keep=keep(1)))
    assert f"[result of web_search]\n{CLEARED}\n\na" in done.fields["messages"][1]["content"]
    assert done.dropped == ()


def test_what_is_cleared_stays_cleared():
    """Results that the client has already cleared are not counted."""
    done = translated(("user", "q"), *calls("a", content=CLEARED), *calls("b"), edits=clearing(keep=keep(1)))
    assert applied(done) == []


def test_a_request_is_not_changed_by_its_edits():
    """A retry translates the same request again."""
    asked = request(
        messages=[{"role": role, "content": said} for role, said in [("user", "q"), *calls(*"ab")]],
        context_management={"edits": clearing(keep=keep(0), clear_tool_inputs=True)},
    )
    before = asked.model_dump_json()
    first, second = (translate_request(asked, TranslationContext(Profile())) for _ in range(2))
    assert asked.model_dump_json() == before
    assert first == second


# --- clear_thinking ---


def thought(text, signature=""):
    return {"type": "thinking", "thinking": text, "signature": signature}


THINKING = [
    ("user", "q"),
    ("assistant", [thought("one"), use("a")]),
    ("user", [result("a", "r")]),
    ("system", "s"),
    ("assistant", [thought("more"), {"type": "redacted_thinking", "data": "x"}, TEXT]),
    ("user", "q2"),
    ("assistant", [thought("two"), TEXT]),
    ("user", [{"type": "text", "text": "q3"}]),
    ("assistant", [thought("three"), TEXT]),
    ("user", "q4"),
]


def thoughts(done):
    return [turn.get("reasoning_content") for turn in done.fields["messages"] if turn["role"] == "assistant"]


def clear_thinking(**settings):
    return [{"type": "clear_thinking_20251015"} | settings]


@pytest.mark.parametrize(
    ("settings", "kept", "cleared"),
    [
        ({}, [None, None, None, "three"], 2),
        ({"keep": {"type": "thinking_turns", "value": 1}}, [None, None, None, "three"], 2),
        ({"keep": {"type": "thinking_turns", "value": 2}}, [None, None, "two", "three"], 1),
        ({"keep": {"type": "thinking_turns", "value": 9}}, ["one", "more", "two", "three"], 0),
        ({"keep": {"type": "all"}}, ["one", "more", "two", "three"], 0),
        ({"keep": "all"}, ["one", "more", "two", "three"], 0),
    ],
)
def test_thinking_of_the_last_turns_is_kept(settings, kept, cleared):
    """A turn with its tool loop counts once; only an edit that cleared something is reported."""
    done = translated(*THINKING, edits=clear_thinking(**settings))
    assert thoughts(done) == kept
    assert [edit["cleared_thinking_turns"] for edit in applied(done)] == ([cleared] if cleared else [])


def test_cleared_thinking_is_counted_without_its_signature():
    old = [("user", "q"), ("assistant", [thought("one", "s" * 1000), TEXT])]
    edit = applied(translated(*old, *THINKING, edits=clear_thinking()))[0]
    assert edit["type"] == "clear_thinking_20251015"
    assert 0 < edit["cleared_input_tokens"] < 60


# --- all edits ---


def test_edits_are_made_in_their_order():
    edits = [*clear_thinking(), *clearing(trigger={"type": "tool_uses", "value": 0}, keep=keep(0))]
    done = translated(*THINKING, edits=edits)
    assert [edit["type"] for edit in applied(done)] == ["clear_thinking_20251015", "clear_tool_uses_20250919"]


@pytest.mark.parametrize("strict", [False, True])
def test_strict_mode_requires_clear_thinking_first(strict):
    edits = [*clearing(), *clear_thinking()]
    if not strict:
        assert applied(translated(*THINKING, edits=edits))
        return
    with pytest.raises(InvalidRequestError, match=r"^context_management\.edits\.1: .* must be the first edit"):
        translated(*THINKING, edits=edits, policy=Policy(strict=True))


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        ({"type": "compact_20260112"}, ""),
        ({"type": "brand_new"}, ""),
        ({"type": "clear_tool_uses_20250919", "trigger": {"type": "thinking_turns", "value": 0}}, ".trigger"),
        ({"type": "clear_tool_uses_20250919", "keep": {"type": "all"}}, ".keep"),
        ({"type": "clear_tool_uses_20250919", "clear_at_least": {"type": "tool_uses", "value": 0}}, ".clear_at_least"),
        ({"type": "clear_thinking_20251015", "keep": {"type": "tool_uses", "value": 0}}, ".keep"),
        ({"type": "clear_thinking_20251015", "keep": {"type": "brand_new"}}, ".keep"),
    ],
)
def test_an_edit_that_is_not_applied_is_dropped_with_a_reason(edit, path):
    done = translated(*THINKING, edits=[edit])
    assert dropped(done) == [(f"context_management.edits.0{path}", edit["type"])]
    assert applied(done) == []
    assert thoughts(done) == ["one", "more", "two", "three"]


def test_an_answer_reports_the_edits_whole_and_as_a_stream():
    asked = request(
        messages=[{"role": role, "content": said} for role, said in THINKING],
        context_management={"edits": clear_thinking()},
    )
    options = translate_request(asked, TranslationContext(Profile())).options
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    unary = translate_response(completion(answer), options, id_maker())
    translator = StreamTranslator(options, id_maker())
    events = [*translator.feed(delta_chunk("stop", content="x")), *translator.finish()]
    assert [edit["cleared_thinking_turns"] for edit in unary["context_management"]["applied_edits"]] == [2]
    assert [event["type"] for event in events if "context_management" in event] == ["message_delta"]
    assert fold(events)["context_management"] == unary["context_management"]


def test_a_response_reports_edits_only_if_requested():
    assert "context_management" not in dict(translated(("user", "a")).options.extras)
    assert "context_management" not in message_of([delta_chunk("stop", content="x")])


@pytest.mark.parametrize("inline", ["user", "first"])
def test_thousands_of_reminders_are_translated_in_time_that_grows_with_their_number(inline):
    """They are merged into the user's message in linear time."""
    turns = [{"role": role, "content": "x" * 2000} for _ in range(4_900) for role in ("user", "system")]
    asked = request(messages=turns)
    with cpu_bound(2):
        assert translate_request(asked, TranslationContext(Profile(inline_system=inline))).fields["messages"]
