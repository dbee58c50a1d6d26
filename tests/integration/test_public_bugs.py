"""Public bugs of other Messages API servers: each test states the correct behaviour.

The docstrings name the reports. Behaviour on the wire is tested on a running stack, the rest on the translation alone.
"""

import json

import httpx
import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.errors.body import translate_error
from llama_stack_provider_messages.translation.messages_to_chat import (
    Profile,
    TranslationContext,
    profile_for,
    translate_request,
    translate_response,
)
from support.chat_upstream import WINDOW
from support.streams import (
    call,
    completion,
    delta_chunk,
    id_maker,
    message_of,
    reply_options,
    request,
    translate,
    usage_chunk,
)

pytestmark = pytest.mark.integration

STOP, CALLS = delta_chunk("stop"), delta_chunk("tool_calls")
TOOL = {"name": "f", "input_schema": {"type": "object"}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAA="}}
BILLING = "x-anthropic-billing-header: cc_version=2.1; cch="


def translated(profile=None, **fields):
    return translate_request(request(**fields), TranslationContext(profile or Profile()))


def chat_messages(*turns, profile=None, **fields):
    turns = [{"role": role, "content": content} for role, content in turns]
    return translated(profile, messages=turns, **fields).fields["messages"]


def tool_use(call_id="a", **fields):
    return {"type": "tool_use", "id": call_id, "name": "f", "input": {}} | fields


def tool_result(call_id="a", **fields):
    return {"type": "tool_result", "tool_use_id": call_id} | fields


def blocks_of(message, kind):
    return [block for block in message["content"] if block["type"] == kind]


def types_of(events):
    return [event["type"] for event in events]


def post(client, model, **fields):
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return client.post("/v1/messages", json=body)


def events_of(client, model):
    body = {"model": model, "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    reply = client.post("/v1/messages", json=body)
    return [json.loads(line.removeprefix("data: ")) for line in reply.text.splitlines() if line.startswith("data: ")]


@pytest.mark.parametrize("kind", [{}, {"type": ""}, {"type": None}, {"type": "custom"}])
def test_01_a_tool_without_a_type_is_a_custom_tool(kind):
    """envoyproxy/ai-gateway 1843 and 1953, agentgateway 2272: Claude Code's first request failed."""
    assert translated(tools=[TOOL | kind]).fields["tools"][0]["function"]["name"] == "f"


def test_02_a_server_tool_is_dropped_without_failing_the_request():
    """Agentgateway 2804: one web_search failed the request; it is reported as dropped, and other tools are kept."""
    done = translated(tools=[{"type": "web_search_20250305", "name": "web_search"}, TOOL])
    assert [tool["function"]["name"] for tool in done.fields["tools"]] == ["f"]
    assert [entry.path for entry in done.dropped] == ["tools.0"]


def test_03_a_system_message_between_others_keeps_its_position():
    """anthropics/claude-code 63469, GLM-5 74, one-api 350, smg 1795, grok2api 595: a 400 since Claude Code 2.1.154."""
    turns = chat_messages(("user", "a"), ("assistant", "b"), ("user", "c"), ("system", "d"))
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user", "system"]


def test_04_a_system_message_becomes_user_text_if_the_template_requires_system_first():
    """Qwen's template rejects a later system message (vLLM, llama.cpp 27107); nothing is moved to the beginning."""
    turns = chat_messages(("user", "a"), ("system", "b"), profile=Profile(inline_system="user"), system="s")
    assert [turn["role"] for turn in turns] == ["system", "user"]
    assert turns[0]["content"] == "s"
    assert "b" in turns[1]["content"]


def test_05_a_system_message_changes_neither_the_system_prompt_nor_the_request():
    """Envoyproxy 2488: a promoted system message overwrote the system prompt, and retries doubled it."""
    body = request(system=[{"type": "text", "text": "top"}], messages=[
        {"role": "system", "content": "first"},
        {"role": "user", "content": "a"},
        {"role": "system", "content": "later"},
    ])  # fmt: skip
    before = body.model_dump_json()
    once, twice = (translate_request(body, TranslationContext(Profile())).fields for _ in range(2))
    assert once == twice
    assert body.model_dump_json() == before
    assert "top" in once["messages"][0]["content"]
    assert "first" in once["messages"][0]["content"]


def test_06_the_billing_header_does_not_reach_the_prompt():
    """Vllm 36829, sglang 21064, llama.cpp 21793, ollama 14918, vllm-mlx 277: no turn used the prefix cache."""
    prompts = [
        translated(system=[{"type": "text", "text": BILLING + value}, {"type": "text", "text": "x"}]) for value in "ab"
    ]
    assert prompts[0] == prompts[1]
    assert prompts[0].fields["messages"][0]["content"] == "x"


def test_07_tool_input_keeps_the_order_of_its_keys():
    """Ollama ac83ac20c: a different key order of arguments invalidated the prefix cache."""
    turns = chat_messages(
        ("user", "x"), ("assistant", [tool_use(input={"z": 1, "a": {"y": 2, "b": 3}})]), ("user", [tool_result()])
    )
    assert turns[1]["tool_calls"][0]["function"]["arguments"].replace(" ", "") == '{"z":1,"a":{"y":2,"b":3}}'


def test_08_usage_after_the_finish_reason_is_in_the_message_delta():
    """any-llm 1180 and 1151, envoyproxy 2350, sglang 20678, litellm 31069: streamed usage was 0."""
    assert translated(stream=True).fields["stream_options"] == {"include_usage": True}
    last = translate([delta_chunk(content="a"), STOP, usage_chunk(prompt_tokens=30, completion_tokens=7)])[-2]
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (30, 7)


def test_09_cached_tokens_are_counted_once():
    """any-llm 1233, sglang 25876, new-api 6821, envoyproxy 2236 and 2239: OpenAI's prompt count includes them."""
    counts = {"prompt_tokens": 30, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 10}}
    usage = message_of([delta_chunk(content="a"), STOP, usage_chunk(**counts)])["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (20, 10)
    counts["prompt_tokens_details"] = {"cached_tokens": 40}
    assert message_of([delta_chunk(content="a"), STOP, usage_chunk(**counts)])["usage"]["input_tokens"] == 0


def test_10_several_usage_records_are_merged_by_field():
    """Envoyproxy 2292, agentgateway 2977, rust-genai 258: the cache count was in a different record than the rest."""
    early = delta_chunk(content="a", usage={"prompt_tokens": 30, "prompt_tokens_details": {"cached_tokens": 10}})
    usage = message_of([early, STOP, usage_chunk(prompt_tokens=0, completion_tokens=7)])["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (20, 10, 7)


def test_11_interleaved_arguments_of_parallel_calls_reach_their_own_blocks():
    """any-llm 1305, praxis-proxy/ai 266, headroom 2890, KBR-226: calls got the JSON of other calls."""
    chunks = [delta_chunk(tool_calls=[call(0, "a", "f", '{"x":'), call(1, "b", "g", '{"y":')])]
    chunks += [
        delta_chunk(tool_calls=[call(1, arguments="2}")]),
        delta_chunk(tool_calls=[call(0, arguments="1}")]),
        CALLS,
    ]
    found = {block["id"]: block["input"] for block in blocks_of(message_of(chunks), "tool_use")}
    assert found == {"a": {"x": 1}, "b": {"y": 2}}


def test_12_a_new_id_at_a_used_index_is_a_new_call():
    """CcNexus 89: a server sends every call with index 0."""
    chunks = [delta_chunk(tool_calls=[call(0, name, name, "{}")]) for name in ("a", "b")]
    assert [block["id"] for block in blocks_of(message_of([*chunks, CALLS]), "tool_use")] == ["a", "b"]


def test_13_a_response_with_a_call_has_the_stop_reason_tool_use():
    """Bifrost 6123: the finish_reason ``stop`` of a response with a call ended the agent's turn."""
    assert message_of([delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), STOP])["stop_reason"] == "tool_use"


def test_14_arguments_in_the_first_chunk_of_a_call_are_kept():
    """Litellm 25321, 25561, 29491: every call had an empty input."""
    message = message_of([delta_chunk(tool_calls=[call(0, "a", "f", '{"x": 1}')]), CALLS])
    assert blocks_of(message, "tool_use")[0]["input"] == {"x": 1}


def test_15_text_in_the_chunk_of_the_role_is_kept():
    """Litellm 30014, APISIX 20: the first token was missing."""
    assert message_of([delta_chunk(role="assistant", content="A"), delta_chunk(content="b"), STOP])["content"] == [
        {"type": "text", "text": "Ab"}
    ]


def test_16_empty_deltas_neither_open_nor_split_a_block():
    """Litellm 29286, agentgateway 2148: they became empty tool input or split a call."""
    empty = [delta_chunk(tool_calls=[]), delta_chunk(content=""), delta_chunk(content=None)]
    text = message_of([delta_chunk(content="a"), *empty, delta_chunk(content="b"), *empty, STOP])
    assert text["content"] == [{"type": "text", "text": "ab"}]
    parts = [
        delta_chunk(tool_calls=[call(0, "a", "f", '{"x"')]),
        *empty,
        delta_chunk(tool_calls=[call(0, arguments=":1}")]),
    ]
    assert [block["input"] for block in message_of([*parts, CALLS])["content"]] == [{"x": 1}]


def test_17_reasoning_is_a_thinking_block_and_the_message_starts_once():
    """Litellm 32357: thinking deltas inside a text block, two message_starts."""
    events = translate(
        [delta_chunk(role="assistant"), delta_chunk(reasoning_content="r"), delta_chunk(content="t"), STOP]
    )
    assert types_of(events).count("message_start") == 1
    starts = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert starts == ["thinking", "text"]


def test_18_a_thinking_block_ends_before_a_tool_call_starts():
    """Ollama 14825, 14816 and 17225: index 0 was used twice."""
    chunks = [delta_chunk(reasoning="r"), delta_chunk(tool_calls=[call(0, "a", "f", "{}")]), CALLS]
    events = [event for event in translate(chunks) if event["type"].startswith("content_block_st")]
    assert [(event["type"][14:], event["index"]) for event in events] == [
        ("start", 0), ("stop", 0), ("start", 1), ("stop", 1)
    ]  # fmt: skip


def test_19_every_stream_ends_and_one_without_content_ends_in_an_error():
    """APISIX 13583, new-api 4697: the client waited for a message_stop that never came."""
    assert types_of(translate([delta_chunk(content="a")]))[-1] == "message_stop"
    assert types_of(translate([delta_chunk(role="assistant")]))[-1] == "error"
    assert types_of(translate([])) == ["error"]


def test_20_null_or_repeated_finish_reasons_and_null_usage_are_accepted():
    """APISIX 14, 16 and 18 (DeepSeek, OpenRouter): a crash, or two message_stops."""
    chunks = [delta_chunk("null", content="a"), delta_chunk("stop"), delta_chunk("stop"), delta_chunk(usage=None)]
    events = translate(chunks)
    assert types_of(events).count("message_stop") == types_of(events).count("message_delta") == 1
    assert events[-2]["delta"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize("arguments", ["{oops", "[1]", "plain"])
def test_21_arguments_that_are_not_an_object_do_not_fail_the_response(arguments):
    """APISIX 13599: a decoding error lost the response. The text is kept, and the input is an object."""
    message = message_of([delta_chunk(content="t"), delta_chunk(tool_calls=[call(0, "a", "f", arguments)]), CALLS])
    assert blocks_of(message, "text") == [{"type": "text", "text": "t"}]
    assert isinstance(blocks_of(message, "tool_use")[0]["input"], dict)


def test_22_a_call_without_arguments_has_an_empty_object_in_both_directions():
    """Agentgateway 3002: an empty string as arguments failed all later requests."""
    message = message_of([delta_chunk(tool_calls=[call(0, "a", "f", "")]), CALLS])
    assert blocks_of(message, "tool_use")[0]["input"] == {}
    turns = chat_messages(("user", "x"), ("assistant", [tool_use(input=None)]), ("user", [tool_result()]))
    assert turns[1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_23_images_of_tool_results_are_sent_after_all_tool_messages():
    """llama.cpp 22536, raine/claude-code-proxy 59, CliRelay 850: the model did not get the images."""
    results = [tool_result("a", content=[IMAGE]), tool_result("b", content="text")]
    turns = chat_messages(("user", "x"), ("assistant", [tool_use("a"), tool_use("b")]), ("user", results))
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "user"]
    assert [part["type"] for part in turns[-1]["content"]].count("image_url") == 1


def test_24_an_interrupted_turn_does_not_fail_later_requests():
    """cc-switch 6044, letta 3308, claude-code 14075: an orphan call or result made every later request a 400."""
    turns = chat_messages(
        ("user", "x"),
        ("assistant", [tool_use("a")]),
        ("user", "go on"),
        ("assistant", "b"),
        ("user", [tool_result("z", content="late")]),
    )
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "user", "assistant", "user"]
    assert "interrupted" in turns[2]["content"]
    assert "late" in turns[-1]["content"]


@pytest.mark.parametrize("signature", ["", "EuYBCkYIChgCKkD", "not base64 at all"])
def test_25_signatures_of_other_servers_are_not_an_error(signature):
    """CLIProxyAPI 2172, 1584 and 5422, codex2api 613, qwen-code 6893: sessions failed after a change of model."""
    old = {"type": "thinking", "thinking": "r", "signature": signature}
    turns = chat_messages(("user", "x"), ("assistant", [old, {"type": "text", "text": "b"}]), ("user", "c"))
    assert turns[1]["content"] == "b"


@pytest.mark.parametrize("kind", ["remote::openai", "remote::vllm", "remote::ollama", "remote::any"])
def test_26_thinking_fields_are_sent_only_if_requested(kind):
    """Bifrost 5185: a default ``display`` of the gateway made agents two to three times slower."""
    fields = translated(profile_for(kind)).fields
    assert fields.keys() <= {"messages", "max_tokens", "max_completion_tokens"}


def test_27_a_thinking_budget_of_any_size_is_accepted():
    """Bifrost 1479: background requests with a budget of 500 failed."""
    for kind in ("remote::openai", "remote::vllm", "remote::any"):
        assert translated(profile_for(kind), thinking={"type": "enabled", "budget_tokens": 500}).fields["messages"]


def test_28_a_prompt_that_does_not_fit_has_the_message_that_clients_look_for(client):
    """claude-code-proxy 29, litellm 36546, oh-my-claudecode 3574, omlx 26: /compact did not start."""
    reply = post(client, "up/overflow")
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "prompt is too long: 9000 tokens > 8192 maximum"


def test_29_pings_keep_a_silent_stream_alive(stack, upstream):
    """Litellm 36024, bitrouter 422, llmtrim 221, OmniRoute 5063, sub2api 937, ollama 14902: clients timed out."""
    body = {"model": "up/late", "max_tokens": 50, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with httpx.Client(base_url=stack.url, timeout=30) as http, http.stream("POST", "/v1/messages", json=body) as reply:
        lines = reply.iter_lines()
        assert next(line for line in lines if line.startswith("event: ")) == "event: ping"
        upstream.open_gate("late")
        assert "event: message_stop" in list(lines)


def test_30_an_overload_in_the_middle_of_a_stream_is_an_overloaded_error(client):
    """Litellm 24004, 38153 and 39037, envoyproxy 2161 and 2513: shown as success, in another envelope, or as a 500."""
    events = events_of(client, "up/error-chunk")
    assert types_of(events)[-1] == "error"
    assert events[-1]["error"]["type"] == "overloaded_error"
    assert post(client, "up/status-400").json()["error"]["type"] == "invalid_request_error"
    assert translate_error(None, {"error": {"message": "m", "code": 400}}).status_code == 400


def test_31_every_documented_key_is_present_even_if_null():
    """new-api 7175, vllm 45367, litellm 24176: strict clients rejected missing keys."""
    start = translate([delta_chunk(content="a"), STOP])[0]["message"]
    unary = translate_response(
        completion({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "a"}}]}),
        reply_options(),
        id_maker(),
    )
    for message in (start, unary):
        assert (message["type"], message["role"]) == ("message", "assistant")
        assert {"id", "model", "content", "stop_reason", "stop_sequence", "usage"} <= message.keys()
        assert {"input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"} <= message[
            "usage"
        ].keys()
    assert isinstance(unary["content"], list)


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_32_empty_text_is_not_sent_to_the_backend(empty):
    """NousResearch/hermes-agent 11929, anthropic-sdk 461, agentgateway 3005: empty text blocks are rejected."""
    turns = chat_messages(
        ("user", [{"type": "text", "text": empty}, {"type": "text", "text": "a"}]), ("assistant", empty), ("user", "b")
    )
    assert turns == [{"role": "user", "content": "a\n\nb"}]
    with pytest.raises(InvalidRequestError):
        chat_messages(("user", empty))


def bodies(upstream, model):
    return [exchange.json for exchange in upstream.exchanges if exchange.json["model"] == model]


@pytest.mark.parametrize("stream", [False, True])
def test_33_a_model_that_accepts_tools_only_without_thinking_is_remembered(client, upstream, stream):
    """openai-openapi 541, litellm 34569, crush 2913, LibreChat 14231, pipecat 4043: every request with tools failed."""
    fields = {"tools": [TOOL], "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}, "stream": stream}
    reply = post(client, "up/tools-without-thinking", **fields)
    assert reply.status_code == 200
    assert reply.headers["x-messages-dropped"] == "thinking, output_config.effort"
    before = len(bodies(upstream, "tools-without-thinking"))
    assert post(client, "up/tools-without-thinking", **fields).status_code == 200
    assert post(client, "up/tools-without-thinking", **fields | {"tools": []}).status_code == 200
    sent = bodies(upstream, "tools-without-thinking")
    assert [body.get("reasoning_effort") for body in sent[before - 1 :]] == ["none", "none", "high"]
    assert [body.get("reasoning_effort") for body in sent[:2]] == ["high", "none"]


def max_tokens_sent(client, upstream, model, prompt):
    """Send a request with max_tokens 32,000; return the max_tokens of the upstream requests until one succeeded."""
    before = len(bodies(upstream, model))
    reply = post(client, f"up/{model}", max_tokens=32000, messages=[{"role": "user", "content": "a " * prompt}])
    assert reply.json()["content"] == [{"type": "text", "text": "As far as"}]
    assert reply.headers["x-messages-dropped"] == "max_tokens"
    sent = [body["max_tokens"] for body in bodies(upstream, model)[before:]]
    assert WINDOW // 4 < sent[-1] <= WINDOW - prompt
    return sent


def test_34_max_tokens_above_the_window_of_vllm_is_lowered_and_the_window_is_remembered(client, upstream):
    """Vllm 0.32 rejects every request with a max_tokens of 32,000."""
    first, *rest = max_tokens_sent(client, upstream, "vllm-0-32", 10)
    assert (first, len(rest)) == (32000, 1)
    assert max_tokens_sent(client, upstream, "vllm-0-32", 10) == rest
    assert "x-messages-dropped" not in post(client, "up/vllm-0-32", max_tokens=WINDOW).headers


def test_34_a_prompt_longer_than_the_window_has_the_message_that_clients_look_for(client):
    """The estimate exceeds the window, but only the backend's count is exact: its error is translated."""
    reply = post(client, "up/vllm-0-32", max_tokens=32000, messages=[{"role": "user", "content": "a " * 5000}])
    assert reply.status_code == 400
    assert reply.json()["error"]["message"] == "prompt is too long: 4097 tokens > 4096 maximum"


def test_34_two_different_errors_of_an_older_vllm_are_both_handled(client, upstream):
    """First max_tokens exceeds the window, then the sum does, because the prompt is longer than its estimate."""
    first, *rest = max_tokens_sent(client, upstream, "vllm-0-20", 1500)
    assert (first, len(rest)) == (32000, 2)
    assert max_tokens_sent(client, upstream, "vllm-0-20", 1500) == rest


def test_37_two_calls_with_the_same_id_are_two_calls():
    """LiteLLM's test_parallel_tool_calls: both calls had index 0, and the second was lost."""
    sent = [call(0, "x", "f", f'{{"city": "{city}"}}') for city in ("Oslo", "Rome")]
    found = blocks_of(message_of([*(delta_chunk(tool_calls=[one]) for one in sent), CALLS]), "tool_use")
    choice = {"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": sent}}
    unary = translate_response(completion({"choices": [choice]}), reply_options(), id_maker())["content"]
    for calls in (found, unary):
        assert [block["input"] for block in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
        assert len({block["id"] for block in calls}) == 2


BLANK_TEXTS = [
    ([{"content": "\n\n"}, {"tool_calls": [call(0, "a", "f", "{}")]}], ["tool_use"]),
    ([{"reasoning": "r"}, {"content": "\n"}, {"tool_calls": [call(0, "a", "f", "{}")]}], ["thinking", "tool_use"]),
    ([{"tool_calls": [call(0, "a", "f", "{}")]}, {"content": " "}], ["tool_use"]),
    ([{"content": "\n"}, {"content": "\n"}], []),
]


@pytest.mark.parametrize(("deltas", "expected"), BLANK_TEXTS)
def test_38_a_text_of_only_white_space_is_not_a_block(deltas, expected):
    """Vllm streams a line break between thinking and a call; the API rejects such a block in the history."""
    message = message_of([*(delta_chunk(**delta) for delta in deltas), STOP])
    assert [block["type"] for block in message["content"]] == expected
    joined = {name: value for delta in deltas for name, value in delta.items()}
    choice = {"index": 0, "finish_reason": "stop", "message": joined}
    unary = translate_response(completion({"choices": [choice]}), reply_options(), id_maker())
    assert [block["type"] for block in unary["content"]] == expected


def test_38_white_space_before_text_is_kept():
    """It is sent together with the text."""
    message = message_of([*(delta_chunk(content=piece) for piece in ("\n", " ", "a", "\n")), STOP])
    assert message["content"] == [{"type": "text", "text": "\n a\n"}]


def test_39_cache_writes_of_vllm_are_counted_and_no_count_exceeds_the_prompt():
    """Vllm names them ``created_cache_tokens``; a ``true`` is not a number."""
    details = {"cached_tokens": 10, "created_cache_tokens": 5}
    counts = {"prompt_tokens": 30, "completion_tokens": 1, "prompt_tokens_details": details}
    usage = message_of([delta_chunk(content="a"), STOP, usage_chunk(**counts)])["usage"]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    assert tuple(usage[name] for name in names) == (15, 5, 10)
    counts["prompt_tokens_details"] = {"cached_tokens": 40, "created_cache_tokens": True}
    usage = message_of([delta_chunk(content="a"), STOP, usage_chunk(**counts)])["usage"]
    assert tuple(usage[name] for name in names) == (0, 0, 30)
