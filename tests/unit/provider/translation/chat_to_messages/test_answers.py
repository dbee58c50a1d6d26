"""Answers on their way to a client of chat completions: streams that fail, pause, or are none; errors; counts."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import (
    BadGatewayError,
    InvalidRequestError,
    MessagesError,
    OverloadedError,
    RateLimitError,
)
from llama_stack_api_messages.models.response import STOP_REASONS
from llama_stack_provider_messages.translation.chat_to_messages import (
    ChatForm,
    StreamTranslator,
    continued,
    needs_continuation,
    translate_error,
    translate_response,
)
from llama_stack_provider_messages.translation.chat_to_messages.response import fold_chunks
from llama_stack_provider_messages.translation.chat_to_messages.stop_reason import FINISH_REASONS
from llama_stack_provider_messages.translation.chat_to_messages.usage import SERVICE_TIERS
from support.message_events import events_of

CREATED = 1_790_000_000
CALL = {"type": "tool_use", "id": "t", "name": "add", "input": {"a": 1}}


def message(*content, reason="end_turn", usage=None, **more):
    usage = usage or {"input_tokens": 5, "output_tokens": 2, "cache_creation": {"ephemeral_5m_input_tokens": 1}}
    return {"id": "msg_1", "content": [*content], "stop_reason": reason, "usage": usage, **more}


def text(words):
    return {"type": "text", "text": words}


def translator(**form):
    return StreamTranslator(ChatForm("asked", **form), created=CREATED, new_id=lambda: "made")


def deltas(chunks):
    return [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]


def test_every_stop_reason_has_a_finish_reason():
    """And nothing else has one in the table."""
    assert set(FINISH_REASONS) == set(STOP_REASONS)


def test_every_tier_an_answer_may_name_has_one():
    """Of those that OpenAI's clients know."""
    assert set(SERVICE_TIERS) == {"standard", "priority", "batch"}


def test_an_answer_that_paused_goes_on_as_one():
    """Whole and as a stream: one id, one role, the counts of both."""
    first = message(text("One. "), reason="pause_turn")
    first["usage"]["inference_geo"] = "eu"
    second = message(text("Two."), CALL, reason="tool_use") | {"id": "msg_2"}
    second["usage"]["inference_geo"] = None
    assert needs_continuation(first)
    assert not needs_continuation(second)
    whole = translate_response(continued(first, second), ChatForm("asked"), created=CREATED)
    stream = translator(include_usage=True)
    chunks = [chunk for event in events_of(first) for chunk in stream.feed(event)]
    assert (stream.complete, stream.stop_reason) == (True, "pause_turn")
    chunks += stream.resume()
    assert not stream.complete
    chunks += [chunk for event in events_of(second) for chunk in stream.feed(event)] + stream.finish()
    assert fold_chunks(chunks) == whole
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-1"}
    assert sum("role" in delta for delta in deltas(chunks)) == 1
    assert whole["usage"]["prompt_tokens"] == 10
    assert stream.usage["cache_creation"] == {"ephemeral_5m_input_tokens": 2}


def test_the_counts_of_a_stream_are_those_of_its_last_report():
    """A null says nothing."""
    stream = translator()
    stream.feed({"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}})
    stream.feed({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4, "input_tokens": None}})
    assert stream.usage == {"input_tokens": 9, "output_tokens": 4}
    assert not stream.complete


def test_an_empty_piece_of_arguments_is_none():
    """The API sends one before the first; a call whose arguments never come has none."""
    stream = translator()
    chunks = stream.feed({"type": "content_block_start", "index": 0, "content_block": CALL | {"input": {}}})
    delta = {"type": "input_json_delta", "partial_json": ""}
    assert stream.feed({"type": "content_block_delta", "index": 0, "delta": delta}) == []
    assert deltas(stream.feed({"type": "content_block_stop", "index": 0}))[0]["tool_calls"][0]["function"] == {
        "arguments": "{}"
    }
    assert deltas(chunks)[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": ""}


@pytest.mark.parametrize("until", [0, 1, 4, -2])
def test_a_stream_that_breaks_off_is_a_failure(until):
    """It is complete with its stop reason and not before."""
    stream = translator(include_usage=True)
    for event in list(events_of(message(text("Hello"))))[:until]:
        stream.feed(event)
    (last,) = stream.finish()
    assert last["error"]["message"] == "The backend ended the stream before its answer was complete"
    assert stream.finish() == stream.feed({"type": "ping"}) == stream.fail(OverloadedError("x")) == []


def test_a_failure_is_the_last_there_is():
    """In OpenAI's form."""
    stream = translator()
    stream.feed({"type": "message_start", "message": {}})
    told = {"message": "later", "type": "overloaded_error", "param": None, "code": None}
    assert stream.fail(OverloadedError("later")) == [{"error": told}]
    assert [stream.feed(event) for event in events_of(message(text("a")))] == [[]] * 7
    assert stream.finish() == []


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "full"}}, "overloaded_error", "full"),
        ({"error": {"message": "full", "code": 500}}, "api_error", "full"),
        ({"code": 500, "message": "full", "type": "server_error"}, "api_error", "full"),
    ],
)
def test_an_error_event_is_a_failure(event, kind, words):
    """Also as llama.cpp writes it, whose name stands outside of the data."""
    (last,) = translator().feed(event)
    assert (last["error"]["type"], words in last["error"]["message"]) == (kind, True)


def test_arguments_of_no_call_are_a_failure():
    """Nobody knows what they are for."""
    delta = {"type": "input_json_delta", "partial_json": "{}"}
    (last,) = translator().feed({"type": "content_block_delta", "index": 3, "delta": delta})
    assert "arguments of a call" in last["error"]["message"]


def test_words_without_a_beginning_are_words():
    """Some upstreams do not say where a block begins, nor where it ends."""
    stream = translator()
    chunks = []
    for kind, name in (("thinking_delta", "thinking"), ("text_delta", "text"), ("odd_delta", "text")):
        delta = {"type": kind, name: "a"}
        chunks += stream.feed({"type": "content_block_delta", "index": len(kind), "delta": delta})
    chunks += stream.feed({"type": "content_block_start", "index": 9, "content_block": CALL | {"input": {}}})
    chunks += stream.feed({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    said = fold_chunks([*chunks, *stream.finish()])["choices"][0]["message"]
    assert (said["content"], said["reasoning"], said["tool_calls"][0]["function"]["arguments"]) == ("a", "a", "{}")


def test_overlapping_calls_keep_their_arguments():
    """llama.cpp ends all blocks at the end."""
    stream, chunks = translator(), []
    for index in (0, 1):
        block = CALL | {"id": f"t{index}", "input": {}}
        chunks += stream.feed({"type": "content_block_start", "index": index, "content_block": block})
    for index in (1, 0):
        delta = {"type": "input_json_delta", "partial_json": f'{{"n":{index}}}'}
        chunks += stream.feed({"type": "content_block_delta", "index": index, "delta": delta})
    chunks += stream.feed({"type": "message_delta", "delta": {"stop_reason": "tool_use"}})
    calls = fold_chunks([*chunks, *stream.finish()])["choices"][0]["message"]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"n":0}', '{"n":1}']


@pytest.mark.parametrize("cut", ['{"input": "pri', '{"in', "[1]"])
@pytest.mark.parametrize("group", ["custom_tools", "wrapped_tools"])
def test_a_call_that_cannot_be_unpacked_is_as_the_model_wrote_it(cut, group):
    """It broke off, or is something else."""
    stream = translator(**{group: frozenset({"add"})})
    chunks = stream.feed({"type": "content_block_start", "index": 0, "content_block": CALL | {"input": {}}})
    delta = {"type": "input_json_delta", "partial_json": cut}
    chunks += stream.feed({"type": "content_block_delta", "index": 0, "delta": delta})
    chunks += stream.feed({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}})
    (call,) = fold_chunks([*chunks, *stream.finish()])["choices"][0]["message"]["tool_calls"]
    assert call.get("function", {}).get("arguments", call.get("custom", {}).get("input")) == cut


def test_a_message_without_id_gets_one():
    """Of ours."""
    chunk, *_ = translator().feed({"type": "message_start", "message": None})
    assert chunk["id"] == "chatcmpl-made"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "form of the Messages API"),
        ({"content": "text"}, "form of the Messages API"),
        ({"error": {"message": "no credit"}}, "no credit"),
    ],
)
def test_what_is_no_message_is_an_error(body, words):
    """An upstream may answer 200 with it."""
    with pytest.raises(MessagesError, match=words):
        translate_response(body, ChatForm("asked"), created=CREATED)


def test_a_field_that_is_too_deep_to_be_written_costs_no_answer():
    """Python's own JSON gives up at some depth."""
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    call = {**CALL, "input": deep}
    said = translate_response(message(call), ChatForm("asked"), created=CREATED)["choices"][0]["message"]
    assert said["tool_calls"][0]["function"]["arguments"] == "{}"
    while deep:
        deep = deep.pop("a")  # or Python's own deallocation would give up too


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["text", "tool_use", "a"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
FIELDS = {
    "type": st.sampled_from(
        ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "x"]
    ),
    "index": st.integers(0, 2) | JSON,
    "message": JSON | st.fixed_dictionaries({}, optional={"id": JSON, "usage": JSON}),
    "content_block": JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "odd"])},
        optional={"text": JSON, "input": JSON, "name": JSON, "citations": JSON, "thinking": JSON, "data": JSON},
    ),
    "delta": JSON
    | st.fixed_dictionaries(
        {"type": st.sampled_from(["text_delta", "input_json_delta", "thinking_delta", "citations_delta", "odd"])},
        optional={"text": JSON, "partial_json": JSON, "citation": JSON, "stop_reason": JSON, "stop_details": JSON},
    ),
    "usage": JSON | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "output_tokens_details"]), JSON),
}


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.lists(JSON | st.fixed_dictionaries({}, optional=FIELDS), max_size=8),
    st.sampled_from([{}, {"legacy_functions": True}, {"json_object": True, "include_usage": True}]),
)
def test_garbage_is_an_answer_or_one_error(events, form):
    """Never another exception; what comes out can be written, and nothing comes behind an error."""
    stream = translator(**form)
    chunks = [chunk for event in events for chunk in stream.feed(event)] + stream.resume() + stream.finish()
    json.dumps(chunks)
    assert [place for place, chunk in enumerate(chunks) if "error" in chunk] in ([], [len(chunks) - 1])
    assert stream.finish() == []


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(JSON | FIELDS["content_block"], max_size=4), JSON)
def test_garbage_in_a_message_is_a_completion(content, usage):
    """With as many blocks of it as can be read."""
    body = {"content": content, "usage": usage, "stop_reason": "tool_use"}
    json.dumps(translate_response(body, ChatForm("asked"), created=CREATED))


NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_error_has_openais_form_and_headers():
    """Each limit under OpenAI's name, until when it holds as how long."""
    headers = {
        "Retry-After": "3",
        "request-id": "req_1",
        "anthropic-ratelimit-requests-limit": "10",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:01:30Z",
        "anthropic-ratelimit-input-tokens-limit": "1000",
        "anthropic-ratelimit-input-tokens-reset": "2025-01-01T00:00:00",
        "anthropic-organization-id": "o",
    }
    seen = translate_error(RateLimitError("slow down", headers=headers, details={"error_code": "c"}), now=NOW)
    assert seen.status == 429
    told = {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "c"}
    assert seen.body == {"error": told}
    assert seen.headers == {
        "retry-after": "3",
        "x-request-id": "req_1",
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "90s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-reset-tokens": "0s",
    }


@pytest.mark.parametrize(("until", "now"), [("soon", NOW), ("2026-01-01T00:01:30Z", None)])
def test_a_time_that_cannot_be_told_is_left_out(until, now):
    """No header is better than a wrong one."""
    error = RateLimitError("x", headers={"anthropic-ratelimit-tokens-reset": until})
    assert translate_error(error, now=now).headers == {}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OverloadedError("full"), 503, None),
        (BadGatewayError("gone"), 502, None),
        (InvalidRequestError("Prompt is too long: 5 tokens > 4 maximum"), 400, "context_length_exceeded"),
    ],
)
def test_an_error_has_a_status_and_a_code_that_clients_know(error, status, code):
    """529 is none, and a prompt that is too long has a name."""
    seen = translate_error(error)
    assert (seen.status, seen.body["error"]["code"]) == (status, code)


@pytest.mark.parametrize("pieces", [["```", "json\n", '{"a"', ":1}\n``", "`\n"], ['{"a":1}'], ['`` `{"a":1}']])
def test_a_fence_around_json_is_taken_off_in_pieces(pieces):
    """What looks like one and is none stays."""
    stream, chunks = translator(json_object=True), []
    for piece in pieces:
        delta = {"type": "text_delta", "text": piece}
        chunks += stream.feed({"type": "content_block_delta", "index": 0, "delta": delta})
    chunks += stream.feed({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    said = fold_chunks([*chunks, *stream.finish()])["choices"][0]["message"]["content"]
    assert said == ('{"a":1}' if len(pieces) != 1 or "`" not in pieces[0] else pieces[0])
