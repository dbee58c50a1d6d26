"""Chat completions over the scripted upstream: requests, responses, streams, continuations, retries."""

import asyncio
import json

import httpx
import pytest

from llama_stack_api_messages.error_response import CompletionError
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.remote.client import MessagesClient
from llama_stack_provider_messages.translation.chat_to_messages import events_of
from llama_stack_provider_messages.upstream import client
from support.native_upstream import error_body, frame, message, text_events, text_frames

MESSAGE = json.dumps(message("x")).encode()


def sent(upstream, number=-1):
    return json.loads(upstream.requests[number].content)


async def test_a_request_and_its_response_are_translated(upstream, provider, chat_request):
    """Fields that the platform does not know are kept; fields that it does not set are absent."""
    upstream.answer(200, MESSAGE)
    answer = await (await provider(api_key="k")).openai_chat_completion(chat_request(top_k=3, temperature=0.5))
    assert str(upstream.requests[0].url) == "http://host/prefix/v1/messages"
    assert sent(upstream) == {
        "model": "m",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "temperature": 0.5,
        "top_k": 3,
    }
    assert answer.choices[0].message.content == "Hello"
    assert answer.usage.total_tokens == 8


async def test_plain_messages_are_used_unchanged(upstream, provider, chat_request):
    """The Messages API assigns them after the platform's validation."""
    upstream.answer(200, MESSAGE)
    request = chat_request()
    request.messages = [{"role": "user", "content": [{"type": "text", "text": "A"}]}]
    await (await provider()).openai_chat_completion(request)
    assert sent(upstream)["messages"][0]["content"] == [{"type": "text", "text": "A"}]


async def test_betas_of_a_request_follow_those_of_the_configuration(upstream, provider, chat_request):
    """Each once."""
    upstream.answer(200, MESSAGE)
    one = await provider(anthropic_beta=["a"])
    request = chat_request()
    request.service_tier = "fast"
    await one.openai_chat_completion(request)
    assert upstream.requests[0].headers["anthropic-beta"].startswith("a,fast-mode-")


async def test_the_listed_limit_of_a_model_is_its_default(upstream, provider, chat_request):
    """For a request without a limit."""
    listed = {"data": [{"id": "m", "max_tokens": 64}]}
    upstream.answer(200, json.dumps(listed).encode())
    upstream.answer(200, MESSAGE)
    one = await provider()
    await one.list_models()
    await one.openai_chat_completion(chat_request())
    assert sent(upstream)["max_tokens"] == 64


async def test_strict_rejects_fields_without_an_equivalent(upstream, provider, chat_request):
    """Such a request is rejected before anything is sent."""
    with pytest.raises(CompletionError, match="seed") as caught:
        await (await provider(strict=True)).openai_chat_completion(chat_request(seed=5))
    assert caught.value.status_code == 400
    assert upstream.requests == []


async def test_a_model_that_is_not_allowed_is_rejected(upstream, provider, chat_request):
    """With a ``ValueError``, which callers expect, that has status and body."""
    with pytest.raises(ValueError, match="allowed_models") as caught:
        await (await provider(allowed_models=["other"])).openai_chat_completion(chat_request())
    assert caught.value.status_code == 400
    assert upstream.requests == []


@pytest.mark.parametrize("call", ["openai_completion", "openai_embeddings", "rerank"])
async def test_calls_without_an_equivalent_are_rejected(provider, call):
    """With a ``NotImplementedError`` that has status and body."""
    with pytest.raises(NotImplementedError, match="does not offer") as caught:
        await getattr(await provider(), call)(None)
    assert caught.value.status_code == 501
    assert caught.value.body["error"]["code"] == "not_implemented"


async def test_an_error_of_the_upstream_is_in_openais_form(upstream, provider, chat_request):
    """Status, envelope and headers; without a cause that would be logged."""
    upstream.answer(529, error_body("overloaded_error", "Later"), retry_after="3")
    with pytest.raises(CompletionError, match="Later") as caught:
        await (await provider()).openai_chat_completion(chat_request())
    failure = caught.value
    assert (failure.status_code, failure.headers["retry-after"]) == (503, "3")
    assert failure.body["error"]["type"] == "overloaded_error"
    assert failure.__suppress_context__
    assert len(upstream.requests) == 1


async def test_a_key_is_redacted(upstream, provider, chat_request):
    """From an error with status 200, and from an error event."""
    one = await provider(api_key="very-odd-key")
    body = json.dumps({"error": {"message": "no very-odd-key"}}).encode()
    upstream.answer(200, body)
    with pytest.raises(CompletionError) as caught:
        await one.openai_chat_completion(chat_request())
    assert "very-odd-key" not in str(caught.value)
    upstream.answers.clear()
    upstream.stream(frame({"type": "error", "error": {"type": "api_error", "message": "no very-odd-key"}}))
    stream = await one.openai_chat_completion(chat_request(stream=True))
    with pytest.raises(CompletionError) as caught:
        await text_of(stream)
    assert "very-odd-key" not in str(caught.value)


async def text_of(stream):
    """Return the text of a stream."""
    pieces = [piece async for piece in stream]
    return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_stream_may_be_split_anywhere(upstream, provider, chat_request, size):
    """Bytes are decoded to events, events are translated to chunks."""
    data = b"".join(text_frames("x", "Hel", "lo"))
    upstream.stream(*(data[at : at + size] for at in range(0, len(data), size)))
    assert await text_of(await (await provider()).openai_chat_completion(chat_request(stream=True))) == "Hello"


async def test_a_stream_without_its_last_blank_line_is_complete(upstream, provider, chat_request):
    """Servers omit it."""
    data = b"".join(text_frames("x", "Hello"))
    upstream.stream(data.rstrip(b"\n"))
    assert await text_of(await (await provider()).openai_chat_completion(chat_request(stream=True))) == "Hello"


async def test_a_connection_that_breaks_after_the_end_is_not_an_error(upstream, provider, chat_request):
    """The message was complete."""
    upstream.stream(*text_frames("x", "Hello"), httpx.ReadError("cut"))
    assert await text_of(await (await provider()).openai_chat_completion(chat_request(stream=True))) == "Hello"


@pytest.mark.parametrize("end", [httpx.ReadError("cut"), b"", frame({"type": "error", "error": {}}), b"data: 5\n\n"])
async def test_a_stream_that_ends_too_early_is_an_error(upstream, provider, chat_request, end):
    """After the chunks before it."""
    upstream.stream(*text_frames("x", "Hel")[:3], end)
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True))
    assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == ["", "Hel"]
    with pytest.raises(CompletionError) as caught:
        await anext(stream)
    assert caught.value.status_code in (500, 502)


async def test_a_body_that_is_not_a_stream_is_an_error_before_the_first_chunk(upstream, provider, chat_request, pauses):
    """So that the client gets a status; it is not retried."""
    upstream.answer(200, b"<html>Welcome</html>", content_type="text/html")
    with pytest.raises(CompletionError) as caught:
        await (await provider(max_retries=2)).openai_chat_completion(chat_request(stream=True))
    assert caught.value.status_code == 502
    assert (len(upstream.requests), pauses) == (1, [])


async def test_a_message_in_place_of_a_stream_is_streamed(upstream, provider, chat_request):
    """Some gateways do not stream."""
    whole = message("x", "Let me look. ")
    whole["content"].append({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1]}})
    upstream.answer(200, json.dumps(whole | {"stop_reason": "tool_use"}).encode())
    options = {"include_usage": True}
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True, stream_options=options))
    pieces = [piece async for piece in stream]
    deltas = [choice.delta for piece in pieces for choice in piece.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Let me look. "
    calls = [call.function for delta in deltas for call in delta.tool_calls or ()]
    assert (calls[0].name, "".join(call.arguments for call in calls)) == ("f", '{"a":[1]}')
    assert pieces[-2].choices[0].finish_reason == "tool_calls"
    assert pieces[-1].usage.total_tokens == 8


async def test_a_stream_is_recognized_by_its_content_type_in_any_case(upstream, provider, chat_request):
    """Media types are case-insensitive."""
    head = {"content-type": "Text/Event-Stream; charset=utf-8"}
    upstream.answers.append(lambda: httpx.Response(200, content=b"".join(text_frames("x", "Hello")), headers=head))
    assert await text_of(await (await provider()).openai_chat_completion(chat_request(stream=True))) == "Hello"


SECRET = "very/secret+key-0123456789"
ESCAPED = json.dumps(f"Go away with {SECRET}").replace("/", "\\/")
FAILURES = {
    "an error": f'{{"type":"error","error":{{"type":"api_error","message":{ESCAPED}}}}}',
    "an error without its object": f'{{"type":"error","message":{ESCAPED}}}',
    "an error of llama.cpp": f'{{"code":500,"message":{ESCAPED}}}',
    "an error of no known form": f'{{"error":{ESCAPED}}}',
}


@pytest.mark.parametrize("place", ["refused", "whole", "stream", "instead of a stream"])
@pytest.mark.parametrize("case", FAILURES)
async def test_a_key_in_an_error_is_redacted(upstream, provider, chat_request, caplog, case, place):
    """However it is written: in a body with status 200, in an event; neither the error nor the log has it."""
    body = FAILURES[case].encode()
    if place == "stream":
        upstream.stream(*text_frames("x", "Hel")[:3], b"event: error\ndata: %s\n\n" % body)
    else:
        upstream.answer(500 if place == "refused" else 200, body)
    one = await provider(api_key=SECRET)
    with pytest.raises(CompletionError) as caught:
        await text_of(await one.openai_chat_completion(chat_request(stream="stream" in place)))
    assert "Go away with [redacted]" in str(caught.value.body)
    assert SECRET not in str(caught.value.body) + str(caught.value) + caplog.text


@pytest.mark.parametrize("data", [b'{"message": "Not today"}', b"Not today", b'"Not today"'])
async def test_an_event_named_error_is_an_error(upstream, provider, chat_request, data):
    """Whatever its data; the message is the upstream's."""
    upstream.stream(*text_frames("x", "Hel")[:3], b"event: error\ndata: %s\n\n" % data)
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True))
    with pytest.raises(CompletionError, match="Not today") as caught:
        await text_of(stream)
    assert caught.value.status_code == 500


@pytest.mark.parametrize(
    ("value", "sent_text", "shown"),
    [
        (f"Bearer {SECRET}", f"No way with {SECRET}", "No way with [redacted]"),
        (f"{SECRET}-and-more", f"No way with {SECRET}-and-more", "No way with [redacted]"),
        ("ntoken-12345", "No\ntoken-12345", "No\ntoken-12345"),
        ("messages", "messages: at least one", "messages: at least one"),
    ],
    ids=["a key", "around the key", "not in it", "a word"],
)
@pytest.mark.parametrize("status", [403, 200])
async def test_a_credential_in_the_configured_headers_is_redacted(
    upstream, provider, chat_request, caplog, status, value, sent_text, shown
):
    """From an error that repeats it; a word is not a credential."""
    upstream.answer(status, error_body("permission_error", sent_text))
    one = await provider(api_key=SECRET, headers={"X-Other": value})
    with pytest.raises(CompletionError) as caught:
        await one.openai_chat_completion(chat_request())
    assert (caught.value.status_code, caught.value.body["error"]["message"]) == (403, shown)
    assert SECRET not in caplog.text


STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 503,
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", STATUSES)
async def test_an_error_without_a_status_has_that_of_its_type(upstream, provider, chat_request, kind, stream):
    """In a stream, and in a body with status 200 even if it has content."""
    failed = json.loads(error_body(kind, "Not today"))
    if stream:
        upstream.stream(*text_frames("x", "Hel")[:3], frame(failed))
    else:
        upstream.answer(200, json.dumps({**failed, "content": []}).encode())
    answer = (await provider()).openai_chat_completion(chat_request(stream=stream))
    with pytest.raises(CompletionError, match="Not today") as caught:
        await text_of(await answer)
    assert (caught.value.status_code, caught.value.body["error"]["type"]) == (STATUSES[kind], kind)


async def test_a_refused_key_keeps_its_status_in_any_form(upstream, provider, chat_request):
    """llama.cpp has it as a number."""
    upstream.answer(200, b'{"code": 401, "message": "Invalid API Key"}')
    with pytest.raises(CompletionError, match="Invalid API Key") as caught:
        await (await provider()).openai_chat_completion(chat_request())
    assert (caught.value.status_code, caught.value.body["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("stream", [False, True])
async def test_lone_surrogates_do_not_fail(upstream, provider, chat_request, stream):
    """Two deltas with one half each make a character; a single half is replaced."""
    whole = message("x", "")
    if stream:
        upstream.stream(*map(encode_event, text_events("x", "A\ud83d", "\ude00B\ud83d")))
        text = await text_of(await (await provider()).openai_chat_completion(chat_request(stream=True)))
    else:
        whole["content"] = [{"type": "text", "text": "A\ud83d\ude00B\ud83d"}]
        upstream.answer(200, json.dumps(whole).encode())
        text = (await (await provider()).openai_chat_completion(chat_request())).choices[0].message.content
    assert text == "A\N{GRINNING FACE}B\ufffd"


async def test_a_stream_that_stays_open_after_its_end_is_closed(upstream, provider, chat_request, monkeypatch):
    """The client waits for its end, too."""
    monkeypatch.setattr(client, "STREAM_END_SECONDS", 0.01)
    closed = asyncio.Event()
    head = {"content-type": "text/event-stream"}
    body = Closing(closed, *text_frames("x", "Hello"))
    upstream.answers.append(lambda: httpx.Response(200, stream=body, headers=head))
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True))
    assert await asyncio.wait_for(text_of(stream), 5) == "Hello"
    assert closed.is_set()


async def test_usage_is_streamed_if_requested(upstream, provider, chat_request):
    """In a last chunk without choices."""
    upstream.stream(*text_frames("x", "Hello"))
    options = {"include_usage": True}
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True, stream_options=options))
    last = [piece async for piece in stream][-1]
    assert (last.choices, last.usage.total_tokens) == ([], 8)


async def test_a_stream_that_is_closed_unread_closes_the_response(upstream, provider, chat_request):
    """Closing the stream closes the upstream response, also before the first chunk."""
    closed = asyncio.Event()

    head = {"content-type": "text/event-stream"}
    upstream.answers.append(lambda: httpx.Response(200, stream=Closing(closed), headers=head))
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True))
    await stream.aclose()
    assert closed.is_set()


class Closing(httpx.AsyncByteStream):
    """Yields its parts and then waits until it is closed."""

    def __init__(self, closed, *parts):
        self.closed = closed
        self.parts = parts or text_frames("x", "Hello")[:1]

    async def __aiter__(self):
        for part in self.parts:
            yield part
        await asyncio.Event().wait()

    async def aclose(self):
        await asyncio.sleep(0)  # a place to be cancelled at
        self.closed.set()


async def test_a_stream_that_is_cancelled_again_and_again_closes_the_response(upstream, provider, chat_request):
    """As the platform's server does until the stream has ended."""
    closed = asyncio.Event()
    head = {"content-type": "text/event-stream"}
    upstream.answers.append(lambda: httpx.Response(200, stream=Closing(closed), headers=head))
    stream = await (await provider()).openai_chat_completion(chat_request(stream=True))
    await anext(stream)
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    while not reading.done():
        reading.cancel()
        await asyncio.sleep(0)
    await asyncio.wait_for(closed.wait(), 5)


SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
PAUSED = message("x", "Let me look. ") | {"stop_reason": "pause_turn"}
PAUSED["content"].append(SEARCH)


async def test_a_paused_response_is_continued(upstream, provider, chat_request, caplog):
    """With the request and the content so far; the result is one completion, and what it omits is logged."""
    caplog.set_level("INFO")
    upstream.answer(200, json.dumps(PAUSED).encode())
    upstream.answer(200, json.dumps(message("x", "Found.")).encode())
    answer = await (await provider()).openai_chat_completion(chat_request(web_search_options={}))
    assert answer.choices[0].message.content == "Let me look. Found."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 10
    assert "content.1 (a chat completion has no place for it)" in caplog.text
    assert sent(upstream)["messages"] == [
        *sent(upstream, 0)["messages"],
        {"role": "assistant", "content": PAUSED["content"]},
    ]


def paused_frames():
    started, block, delta, stopped, _end, last = text_frames("x", "Let me look. ")
    call = {"type": "content_block_start", "index": 1, "content_block": {**SEARCH, "input": {}}}
    words = {"type": "input_json_delta", "partial_json": '{"query": "x"}'}
    more = [
        call,
        {"type": "content_block_delta", "index": 1, "delta": words},
        {"type": "content_block_stop", "index": 1},
    ]
    end = {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 5}}
    return [started, block, delta, stopped, *map(frame, more), frame(end), last]


async def test_a_paused_stream_is_continued(upstream, provider, chat_request):
    """In the same stream, whose id stays."""
    upstream.stream(*paused_frames())
    upstream.stream(*text_frames("x", "Found."))
    request = chat_request(stream=True, stream_options={"include_usage": True}, web_search_options={})
    pieces = [piece async for piece in await (await provider()).openai_chat_completion(request)]
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == "Let me look. Found."
    assert len({piece.id for piece in pieces}) == 1
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "stop"
    assert pieces[-1].usage.completion_tokens == 10
    assert sent(upstream)["messages"][-1] == {"role": "assistant", "content": PAUSED["content"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_continuations_are_limited(upstream, provider, chat_request, stream):
    """The configuration limits the number of continuations."""
    one = await provider(max_continuations=2)
    if stream:
        for _ in range(3):
            upstream.stream(*paused_frames())
        pieces = [
            piece async for piece in await one.openai_chat_completion(chat_request(stream=True, web_search_options={}))
        ]
        reason = pieces[-1].choices[0].finish_reason
    else:
        upstream.answer(200, json.dumps(PAUSED).encode())
        reason = (await one.openai_chat_completion(chat_request(web_search_options={}))).choices[0].finish_reason
    assert reason == "length"
    assert len(upstream.requests) == 3
    assert [block["content"] for block in sent(upstream)["messages"][-2:]] == [PAUSED["content"]] * 2


BLANK, WORDS, TRAILING = ({"type": "text", "text": text} for text in (" ", "Words", "Words "))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("content", "kept", "requests"),
    [([BLANK, SEARCH], [SEARCH], 2), ([SEARCH, TRAILING], [SEARCH, WORDS], 2), ([BLANK], [], 1), ([], [], 1)],
)
async def test_a_continuation_has_no_blank_text(upstream, provider, chat_request, stream, content, kept, requests):
    """Nor white space at its end: both are rejected. Without any content the response ends there."""
    paused = {**message("x", ""), "content": content, "stop_reason": "pause_turn"}
    for whole in (paused, message("x", "Found.")):
        frames = map(frame, events_of(whole))
        if stream:
            upstream.stream(*frames)
        else:
            upstream.answer(200, json.dumps(whole).encode())
    answer = await (await provider()).openai_chat_completion(chat_request(stream=stream, web_search_options={}))
    text = await text_of(answer) if stream else answer.choices[0].message.content
    assert text.strip() == ({1: "", 2: "Found."}[requests] if TRAILING not in content else "Words Found.")
    assert len(upstream.requests) == requests
    if requests == 2:
        assert sent(upstream)["messages"][-1]["content"] == kept


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pause_without_server_tools_ends_the_response(upstream, provider, chat_request, stream):
    """It cannot go on by itself; the same if streamed."""
    if stream:
        upstream.stream(*paused_frames())
        pieces = [piece async for piece in await (await provider()).openai_chat_completion(chat_request(stream=True))]
        reason = pieces[-1].choices[0].finish_reason
    else:
        upstream.answer(200, json.dumps(PAUSED).encode())
        reason = (await (await provider()).openai_chat_completion(chat_request())).choices[0].finish_reason
    assert (reason, len(upstream.requests)) == ("length", 1)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses before retries, in seconds, without waiting."""
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(MessagesClient.__init__, "__defaults__", (sleep,))
    return waited


@pytest.mark.parametrize("stream", [False, True])
async def test_temporary_errors_are_retried(upstream, provider, chat_request, pauses, stream):
    """After the upstream's ``retry-after``, else after doubling pauses."""
    upstream.answer(529, b"")
    upstream.answer(429, b"", retry_after="7")
    upstream.fail(httpx.ConnectError("down"))
    if stream:
        upstream.stream(*text_frames("x", "Hello"))
    else:
        upstream.answer(200, MESSAGE)
    answer = await (await provider(max_retries=3)).openai_chat_completion(chat_request(stream=stream))
    assert (await text_of(answer) if stream else answer.choices[0].message.content) == "Hello"
    assert pauses == [0.5, 7.0, 2.0]


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (400, {}),
        (401, {}),
        (529, {"x_should_retry": "false"}),
        (429, {"retry_after": "3600"}),
        (429, {"retry_after": "Thu, 01 Jan 2026 00:00:00 GMT"}),
    ],
)
async def test_other_errors_are_not_retried(upstream, provider, chat_request, pauses, status, headers):
    """A rejected request, ``x-should-retry: false``, a long ``retry-after``."""
    upstream.answer(status, b"", **headers)
    with pytest.raises(CompletionError):
        await (await provider(max_retries=3)).openai_chat_completion(chat_request())
    assert len(upstream.requests) == 1
    assert pauses == []


async def test_retries_are_limited(upstream, provider, chat_request, pauses):
    """The last error is raised."""
    upstream.answer(500, b"")
    upstream.answer(529, b"")
    with pytest.raises(CompletionError) as caught:
        await (await provider(max_retries=1)).openai_chat_completion(chat_request())
    assert caught.value.status_code == 503
    assert len(pauses) == 1


THOUGHT = message("x") | {"content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]}


async def test_reasoning_is_returned_for_the_responses_api(upstream, provider, chat_request):
    """Complete and streamed, in the platform's wrappers."""
    upstream.answer(200, json.dumps(THOUGHT).encode())
    one = await provider()
    whole = await one.openai_chat_completions_with_reasoning(chat_request())
    assert whole.reasoning_content == "Hm."
    upstream.answers.clear()
    started, *rest = text_frames("x", "Hello")
    begun = {"type": "content_block_start", "index": 9, "content_block": {"type": "thinking", "thinking": "Hm."}}
    upstream.stream(started, frame(begun), *rest)
    pieces = [piece async for piece in await one.openai_chat_completions_with_reasoning(chat_request(stream=True))]
    assert [piece.reasoning_content for piece in pieces if piece.reasoning_content] == ["Hm."]
    assert "Hello" in [choice.delta.content for piece in pieces for choice in piece.chunk.choices]


async def test_the_upstream_is_declared_for_the_native_lane(provider):
    """With key, headers and betas; with the version only if configured, because clients send their own."""
    plain = await (await provider(api_key="k")).messages_upstream("m")
    assert (plain.base_url, plain.preferred) == ("http://host/prefix", True)
    assert plain.headers == {"x-api-key": "k"}
    one = await provider(api_key="k", auth="bearer", anthropic_version="2", anthropic_beta=["a"], headers={"X-T": "t"})
    assert (await one.messages_upstream("m")).headers == {
        "authorization": "Bearer k",
        "anthropic-version": "2",
        "anthropic-beta": "a",
        "x-t": "t",
    }


@pytest.mark.parametrize(
    ("config", "model", "anthropic"),
    [
        ({}, "claude-opus-4-8", True),
        ({}, "deployment", False),
        ({"models": [{"id": "deployment", "type": "claude-opus-4-8"}]}, "deployment", True),
        ({"anthropic": False}, "claude-opus-4-8", False),
        ({"anthropic": True}, "deployment", True),
    ],
)
async def test_which_models_are_anthropics_own(provider, config, model, anthropic):
    """Whether a model is Anthropic's follows from its name or from the configuration."""
    assert (await (await provider(**config)).messages_upstream(model)).anthropic is anthropic
