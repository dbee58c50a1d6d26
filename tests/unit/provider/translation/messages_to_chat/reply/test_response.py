"""Unary response -> message: the cases that golden files do not show."""

import pytest

from llama_stack_api_messages.errors import ApiError, BadGatewayError, MessagesError, OverloadedError
from llama_stack_provider_messages.translation.messages_to_chat import StreamTranslator, translate_response
from support.streams import completion, delta_chunk, id_maker, plain_objects, reply_options, request


def message_of(finish="stop", req=None, sign=lambda _: "", **message):
    value = {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    return translate_response(completion(value), reply_options(req), id_maker(), sign=sign)


def tool(call_id="a", name="f", arguments="{}"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_every_documented_key_is_present():
    """Litellm 24176, new-api 7175, vllm 45367: strict clients reject a response that lacks one."""
    message = message_of(content="hi")
    assert message.keys() == {
        "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "stop_details", "container", "usage",
    }  # fmt: skip
    assert message["usage"]["service_tier"] == "standard"


def test_text_only():
    assert message_of(content="hi")["content"] == [{"type": "text", "text": "hi"}]


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_content_gives_no_block(empty):
    assert message_of(content=empty)["content"] == []


def test_thinking_comes_first_and_is_signed():
    message = message_of(content="hi", reasoning_content="hm", sign=lambda text: text[::-1])
    assert message["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "mh"}


def test_omitted_thinking_keeps_the_signature():
    req = request(thinking={"type": "enabled", "budget_tokens": 5, "display": "omitted"})
    message = message_of(content="hi", reasoning="hm", req=req, sign=lambda text: text[::-1])
    assert message["content"][0] == {"type": "thinking", "thinking": "", "signature": "mh"}


def test_disabled_thinking_is_hidden():
    assert len(message_of(content="hi", reasoning="hm", req=request(thinking={"type": "disabled"}))["content"]) == 1


def test_updates_display_shows_thinking():
    """Claude Code sends display "updates"."""
    req = request(thinking={"type": "adaptive", "display": "updates"})
    assert message_of(reasoning="hm", req=req)["content"][0]["thinking"] == "hm"


def test_calls_with_stop_are_tool_use():
    """Bifrost 6123."""
    message = message_of(tool_calls=[tool()])
    assert message["stop_reason"] == "tool_use"
    assert message["content"] == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "direct"}}
    ]


def test_only_the_last_call_can_be_cut():
    message = message_of("length", tool_calls=[tool(arguments='{"x": '), tool("b", arguments='{"y": 1, "z": ')])
    assert [block["input"] for block in message["content"]] == [{"INVALID_JSON": '{"x":'}, {"y": 1}]
    assert message["stop_reason"] == "max_tokens"


def test_legacy_function_call():
    message = message_of("function_call", function_call={"name": "f", "arguments": '{"x": 1}'})
    assert message["content"][0]["input"] == {"x": 1}


def test_a_nameless_call_is_an_error():
    with pytest.raises(BadGatewayError, match="name of the tool"):
        message_of(tool_calls=[tool(name="")])


def test_a_call_without_name_and_arguments_is_ignored():
    assert message_of("tool_calls", content="x", tool_calls=[tool(name="", arguments="")])["stop_reason"] == "end_turn"


def test_content_filter_is_a_refusal():
    message = message_of("content_filter", content="")
    assert (message["stop_reason"], message["content"]) == ("refusal", [])
    assert message["stop_details"] == {"type": "refusal", "category": None, "explanation": None}


def test_the_response_to_a_cache_warming_request_is_empty():
    """Backends generate at least one token, which is discarded."""
    value = {
        "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
    message = translate_response(completion(value), reply_options(request(max_tokens=0)), id_maker())
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")
    assert (message["usage"]["input_tokens"], message["usage"]["output_tokens"]) == (9, 0)


@pytest.mark.parametrize("value", [{}, {"choices": []}, {"choices": None}, {"choices": "x"}])
def test_a_response_without_choices_is_an_error(value):
    with pytest.raises(BadGatewayError, match="no choices"):
        translate_response(completion(value), reply_options(), id_maker())


def test_an_error_with_status_200_is_an_error():
    """OpenRouter sends status 200 with an error object."""
    with pytest.raises(OverloadedError, match="busy"):
        translate_response(completion({"error": {"message": "busy", "code": 503}}), reply_options(), id_maker())


def test_an_aborted_response_is_an_error():
    """The same error in a unary response and in a stream."""
    with pytest.raises(ApiError, match="abort") as caught:
        message_of("abort", content="x")
    stream = StreamTranslator(reply_options(), id_maker())
    stream.feed(delta_chunk(finish="abort", content="x"))
    assert (caught.value.status_code, caught.value.message) == (stream.failure.status_code, stream.failure.message)


def test_unknown_finish_reasons_end_the_turn():
    assert message_of("brand_new", content="x")["stop_reason"] == "end_turn"


def test_the_stop_sequence_reported_by_vllm_and_sglang_is_used():
    for name in ("stop_reason", "matched_stop"):
        value = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop", name: "END"}]}
        req = reply_options(request(stop_sequences=["END"]))
        assert translate_response(completion(value), req, id_maker())["stop_sequence"] == "END"
        assert translate_response(completion(value), reply_options(), id_maker())["stop_reason"] == "end_turn"


def test_a_stop_token_is_not_a_stop_sequence():
    value = {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "stop_reason": 151645}]}
    assert translate_response(completion(value), reply_options(), id_maker())["stop_reason"] == "end_turn"


def test_records_of_any_class_are_read_by_field_name():
    value = {"choices": [{"message": {"content": "x", "reasoning": "hm"}, "finish_reason": "stop"}]}
    plain = translate_response(value, reply_options(), id_maker())
    assert plain == translate_response(plain_objects(value), reply_options(), id_maker())
    assert plain == translate_response(completion(value), reply_options(), id_maker())


def test_a_stop_sequence_ends_the_response():
    """Calls come after the text, so a stop sequence in the text drops them all, broken ones too."""
    message = message_of(
        content="one END two", tool_calls=[tool(), tool(name="")], req=request(stop_sequences=["two", "END"])
    )
    assert message["content"] == [{"type": "text", "text": "one "}]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_stop_sequence_in_a_refusal_is_a_stop_sequence():
    """The text after it is dropped, also in the details."""
    message = message_of(refusal="No END secret", req=request(stop_sequences=["END"]))
    assert (message["stop_reason"], message["stop_details"]) == ("stop_sequence", None)


def test_a_repeated_prefill_is_removed():
    """Llama.cpp repeats it in unary responses."""
    value = {"choices": [{"index": 0, "message": {"content": "1, 2, 3"}, "finish_reason": "stop"}]}
    message = translate_response(completion(value), reply_options(prefill="1, 2,"), id_maker())
    assert message["content"] == [{"type": "text", "text": " 3"}]


def test_hidden_reasoning_becomes_text_if_the_response_has_nothing_else():
    """A response with only reasoning was lost."""
    req = request(thinking={"type": "disabled"})
    assert message_of(reasoning="It is 4.", req=req)["content"] == [{"type": "text", "text": "It is 4."}]
    assert len(message_of(reasoning="hm", tool_calls=[tool()], req=req)["content"]) == 1


def test_repeated_empty_objects_and_numbers_beyond_floats_give_a_valid_response():
    """No recursion limit and no encoder error; 1e400 made the body invalid JSON."""
    message = message_of(tool_calls=[tool(arguments="{}" * 600), tool("b", arguments='{"a": 1e400}')])
    assert [block["input"] for block in message["content"]] == [{}, {"INVALID_JSON": '{"a": 1e400}'}]


def test_diagnostics_are_null_if_requested():
    message = message_of(content="x", req=request(diagnostics={}, context_management={"edits": []}))
    assert (message["diagnostics"], message["context_management"]) == (None, {"applied_edits": []})


@pytest.mark.parametrize("error", [{"message": "No capacity", "code": 503}, "boom", {"code": 500}])
@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls"])
def test_an_error_beside_an_answer_is_an_error_whole_and_streamed(error, finish):
    """Whatever the finish reason: half an answer must not look like a whole one."""
    choice = {"index": 0, "message": {"content": "Half"}, "delta": {"content": "Half"}, "finish_reason": finish}
    value = {"choices": [choice], "error": error}
    with pytest.raises(MessagesError) as caught:
        translate_response(completion(value), reply_options(), id_maker())
    translator = StreamTranslator(reply_options(), id_maker())
    assert [event["type"] for event in translator.feed(completion(value)) + translator.finish()][-1] == "error"
    assert (translator.failure.status_code, translator.failure.message) == (
        caught.value.status_code,
        caught.value.message,
    )
