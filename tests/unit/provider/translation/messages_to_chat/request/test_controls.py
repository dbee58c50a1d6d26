"""Limits, cache keys, safeguards, refusals and token estimates."""

import pytest

from llama_stack_api_messages.errors import ApiError, InvalidRequestError
from llama_stack_provider_messages.errors.body import ContentPolicyError, translate_error
from llama_stack_provider_messages.headers import DROPPED_HEADER
from llama_stack_provider_messages.translation.dropped import Dropped, dropped_header, dropped_text
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    Profile,
    StreamTranslator,
    TranslationContext,
    profile_for,
    refused,
    translate_request,
    translate_response,
)
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_tokens
from support.grammar import check_stream
from support.streams import completion, delta_chunk, id_maker, reply_options, request, usage_chunk

OPENAI = profile_for("remote::openai")


def translated(profile=None, *, policy=None, headers=None, room=None, **fields):
    ctx = TranslationContext(profile or Profile(), policy or Policy(), headers=headers or {}, room=room)
    return translate_request(request(**fields), ctx)


def notes(done):
    return [(entry.path, entry.reason) for entry in done.dropped]


# --- limits ---


def test_a_missing_limit_is_filled_in():
    """The API requires it, but clients of other servers leave it out. Nothing is logged as dropped."""
    done = translated(max_tokens=None, policy=Policy(default_max_tokens=77))
    assert (done.fields["max_tokens"], done.dropped) == (77, ())


def test_a_limit_above_the_models_is_lowered_and_named():
    done = translated(Profile(max_output_tokens=50))
    assert done.fields["max_tokens"] == 50
    assert notes(done) == [("max_tokens", "lowered to 50, the model's output limit")]
    assert not done.options.limited_by_window


def test_lowering_the_default_limit_is_not_logged():
    assert notes(translated(Profile(max_output_tokens=50), max_tokens=None)) == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, []),
        ({"thinking": {"type": "adaptive"}}, ["thinking"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 9000}}, ["thinking"]),
        ({"output_config": {"effort": "high"}}, ["output_config.effort"]),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            ["thinking", "output_config.effort"],
        ),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, []),
    ],
)
@pytest.mark.parametrize("base", [OPENAI, Profile()], ids=["openai", "any"])
def test_tools_switch_thinking_off_for_models_that_require_it(base, fields, named):
    """The dropped setting is reported; a request without tools still thinks."""
    profile = base.but(tools_without_thinking=True)
    done = translated(profile, tools=[{"name": "f", "input_schema": {"type": "object"}}], **fields)
    assert done.fields["reasoning_effort"] == "none"
    assert [entry.path for entry in done.dropped] == named
    assert translated(profile, **fields) == translated(base, **fields)


@pytest.mark.parametrize(("room", "limit", "limited_by_window"), [(30, 30, True), (100, 100, True), (500, 100, False)])
def test_a_response_that_fills_the_context_window_reports_it(room, limit, limited_by_window):
    """If the limit was lowered to the room, the stop reason is that of the context window."""
    done = translated(room=room)
    assert (done.fields["max_tokens"], done.options.limited_by_window) == (limit, limited_by_window)


@pytest.mark.parametrize(
    ("window", "asked", "limit"), [(4096, 4096, 4096), (4096, 5000, 3831), (4096, 100, 100), (256, 300, 215)]
)
def test_a_limit_above_the_window_is_lowered_to_what_the_estimated_prompt_leaves(window, asked, limit):
    """The estimate times 1.5 and a reserve for the template are subtracted; lower limits are unchanged."""
    done = translated(Profile(context_window=window), max_tokens=asked)
    assert done.fields["max_tokens"] == limit
    reason = f"lowered to {limit}, the rest of the context window"
    assert notes(done) == ([("max_tokens", reason)] if limit < asked else [])
    assert done.options.limited_by_window == (limit < asked)


@pytest.mark.parametrize(("window", "least"), [(100, 6), (4096, 256), (1_000_000, 4096), (1, 1)])
def test_a_prompt_without_room_is_sent_with_a_small_limit(window, least):
    """The backend counts exactly and reports that the prompt is too long; an estimate must not decide that."""
    done = translated(
        Profile(context_window=window),
        max_tokens=2_000_000,
        messages=[{"role": "user", "content": "x" * 8 * window}],
    )
    assert done.fields["max_tokens"] == least


def test_lowering_the_default_to_the_window_is_not_logged():
    done = translated(Profile(context_window=1000), max_tokens=None)
    assert done.fields["max_tokens"] < 1000
    assert notes(done) == []


def test_reported_room_takes_precedence_over_the_window():
    done = translated(Profile(context_window=4096), room=30, max_tokens=5000)
    assert (done.fields["max_tokens"], done.options.limited_by_window) == (30, True)


def test_the_end_of_the_window_is_a_stop_reason_of_its_own():
    """Unary and streaming; a finished response is still reported as finished."""
    done = translated(room=30)
    for finish, reason in (("length", "model_context_window_exceeded"), ("stop", "end_turn")):
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": "a"}}
        assert translate_response(completion({"choices": [choice]}), done.options, id_maker())["stop_reason"] == reason
        translator = StreamTranslator(done.options, id_maker())
        events = translator.feed(delta_chunk(finish, content="a")) + translator.finish()
        assert events[-2]["delta"]["stop_reason"] == reason


# --- the prompt cache's key ---


@pytest.mark.parametrize(
    ("headers", "user", "key"),
    [
        ({"x-claude-code-session-id": "s1", "x-session-id": "s2"}, "u", "s1"),
        ({"x-session-id": "s2"}, None, "s2"),
        ({"x-session-affinity": "s3"}, None, "s3"),
        ({}, "u", "0bfe935e70c321c7ca3afc75ce0d0ca2f98b5422e008bb31c00c6d7f1f1c0ad6"),
        ({"x-session-id": "x" * 65}, None, "6b5e32bf09d8ea68a20ba40d7bb0f2e5ae6a9a4e1a4d4a5f8a3a3b1b7a4a4d52"),
        ({}, None, None),
    ],
)
def test_the_cache_key_is_what_a_session_shares(headers, user, key):
    """The session's header, else a hash of the user; never longer than the platform's limit."""
    sent = translated(OPENAI, headers=headers, metadata={"user_id": user}).fields.get("prompt_cache_key")
    assert sent == key or len(headers.get("x-session-id", "")) > len(sent) == 64
    assert "prompt_cache_key" not in translated(headers=headers, metadata={"user_id": user}).fields


# --- safeguards, speed, credit ---


def test_safeguards_are_answered_as_unavailable():
    """A made-up verdict would switch off the user's safety check."""
    asked = reply_options(request(safeguards=[{"type": "dangerous_tool_use"}, {"type": "x"}]))
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}
    message = translate_response(completion({"choices": [choice]}), asked, id_maker())
    status = {"type": "unavailable", "reason": "this server has no safety classifier"}
    results = [{"type": "dangerous_tool_use", "status": status}, {"type": "x", "status": status}]
    assert message["safeguard_results"] == results
    translator = StreamTranslator(asked, id_maker())
    events = translator.feed(delta_chunk("stop", content="a")) + translator.finish()
    assert events[-2]["delta"]["safeguard_results"] == results
    assert "safeguard_results" not in events[0]["message"]
    assert notes(translated(safeguards=[{"type": "x"}]))[0][0] == "safeguards"


def test_no_safeguards_no_results():
    assert notes(translated(safeguards=[])) == []
    assert reply_options(request(safeguards=[])).safeguard_results() == {}


@pytest.mark.parametrize(
    ("asked", "tier", "speed"), [("fast", "priority", "fast"), ("fast", "default", None), (None, "priority", None)]
)
def test_speed_is_reported_when_it_was_asked_and_delivered(asked, tier, speed):
    assert reply_options(request(speed=asked)).usage({}, tier)["speed"] == speed


def test_a_fallback_credit_is_not_applied():
    """The client must know that the credit was not used."""
    usage = reply_options(request(fallback_credit_token="t")).usage({}, None)
    assert usage["fallback_credit"] == {"status": {"type": "not_applied", "reason": "not_enabled"}}


# --- refusals by content policy ---


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "Your request was rejected", "code": "content_policy_violation"}),
        (
            400,
            {
                "message": (
                    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
                ),
                "code": "content_filter",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            },
        ),
        (400, {"message": "No", "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        (400, {"message": "Content Exists Risk", "type": "invalid_request_error"}),
        (400, {"message": "Input data may contain inappropriate content.", "code": "data_inspection_failed"}),
        (403, {"message": "Your chosen model requires moderation and your input was flagged"}),
        (None, {"message": "Filtered", "code": "content_filter"}),
        (400, {"message": "Your prompt was flagged as potentially violating our usage policy"}),
    ],
    ids=["OpenAI", "Azure", "Azure, inner", "DeepSeek", "DashScope", "OpenRouter", "in a stream", "words"],
)
def test_a_content_policy_error_is_recognized(status, error):
    failure = translate_error(status, {"error": error})
    assert isinstance(failure, ContentPolicyError)
    assert failure.message == error["message"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "content_filter is not a known field"}),
        (401, {"message": "x", "code": "content_filter"}),
        (403, {"message": "forbidden"}),
        (500, {"message": "content management policy"}),
        (400, {"message": None}),
    ],
)
def test_other_errors_are_not_content_policy_errors(status, error):
    assert not isinstance(translate_error(status, {"error": error}), ContentPolicyError)


def test_a_refused_request_is_an_empty_message():
    """HTTP 200, no content, the upstream's message as the explanation; a stream adds up to the same."""
    asked = reply_options(request(safeguards=[{"type": "x"}]))
    message = refused(asked, id_maker(), "No.")
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": "No."}
    events = StreamTranslator(asked, id_maker()).fail(ContentPolicyError("No."))
    check_stream(events)
    assert fold(events) == message


def test_a_policy_that_steps_in_later_ends_the_message():
    """The text sent so far is kept; with content_policy: error it is an error."""
    policy = Policy(content_policy="error")
    for done, last in ((translated(), "message_stop"), (translated(policy=policy), "error")):
        translator = StreamTranslator(done.options, id_maker())
        events = translator.feed(delta_chunk(content="a")) + translator.fail(ContentPolicyError("No."))
        check_stream(events)
        assert events[-1]["type"] == last
        assert translator.fail(ApiError("x")) == []


# --- estimates ---


def test_an_estimate_counts_text_and_pictures():
    """About four bytes per token, 1500 tokens per image of any size, and a few per message."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    parts = [{"type": "text", "text": "\u00e4" * 40}, picture]
    assert estimate_tokens({"messages": [{"content": parts}]}) == 4 + 1500 + 20 + 1
    assert estimate_tokens({"messages": [], "tools": [{"a": "bcd"}]}) == 4
    assert estimate_tokens({"messages": [{"content": None, "n": 1}], "model": "x" * 99, "tools": []}) == 4


def test_unknown_usage_is_estimated():
    """any-llm 1180: with zeros the context meter never moves. Only the end has output tokens."""
    done = translated(messages=[{"role": "user", "content": "x" * 4000}])
    translator = StreamTranslator(done.options, id_maker())
    chunks = [
        delta_chunk(reasoning_content="r" * 40),
        delta_chunk(content="x" * 20),
        delta_chunk(content="x" * 20),
        delta_chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a":"bcd"}'}}]),
        delta_chunk("stop"),
    ]
    events = [event for piece in chunks for event in translator.feed(piece)] + translator.finish()
    assert events[0]["message"]["usage"]["input_tokens"] == 1005
    assert events[0]["message"]["usage"]["output_tokens"] == 0
    counts = events[-2]["usage"]
    assert (counts["input_tokens"], counts["output_tokens"]) == (1005, 23)


def test_counts_of_the_backend_take_precedence_over_estimates():
    """The last event corrects the first."""
    translator = StreamTranslator(translated().options, id_maker())
    events = translator.feed(delta_chunk("stop", content="a")) + translator.feed(
        usage_chunk(prompt_tokens=9, completion_tokens=3)
    )
    events += translator.finish()
    assert events[-2]["usage"]["input_tokens"] == 9
    assert events[-2]["usage"]["output_tokens"] == 3


def test_arguments_sent_as_an_object_count_too():
    record = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": {"a": "bcdef"}}}
    choice = {"index": 0, "finish_reason": "stop", "message": record}
    assert translate_response({"choices": [choice]}, reply_options(), id_maker())["usage"]["output_tokens"] == 4


# --- the header ---


def header(*paths):
    return dropped_header(Dropped(path, "x", "y") for path in paths).get(DROPPED_HEADER)


def test_the_header_names_each_path_once():
    assert header("tools.0", "top_k", "top_k") == "tools.0, top_k"
    assert dropped_header(()) == {}


def test_names_of_the_client_cannot_break_the_header():
    """A line feed, a comma and letters beyond ASCII are encoded."""
    assert header("a\r\nset-cookie: b, c\u00e9") == "a%0D%0Aset-cookie%3A%20b%2C%20c%C3%A9"
    assert header("\ud800") == "%3F"
    assert len(header("x" * 10_000, "\u00e9" * 300)) < 500


def test_a_long_header_is_cut_and_counted():
    value = header(*(f"messages.{number}.content.0" for number in range(1000)))
    assert len(value) < 1050
    shown = value.count("messages.")
    assert value.endswith(f", ... {1000 - shown} more")


def test_the_log_names_the_reasons_on_one_short_line():
    """Field names that looked like log lines forged entries; a megabyte of them stalled the server."""
    names = ["top_k", "evil\nERROR forged \x1b[31m", "x" * 1_000_000, *(f"k{number}" for number in range(9_000))]
    text = dropped_text(Dropped(name, "x", f"no {name[:9]}") for name in names)
    assert text.startswith("top_k (no top_k), evil%0AERROR%20forged%20%1B[31m (no evil?ERRO), x")
    assert text.isprintable()
    assert len(text) < 4_100
    assert text.endswith(f", ... {9_003 - text.count(' (no ')} more")


def test_a_stream_cannot_be_prewarmed():
    with pytest.raises(InvalidRequestError, match="max_tokens: 0 cannot be combined with stream"):
        translated(max_tokens=0, stream=True)
