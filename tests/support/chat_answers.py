"""Builds Messages responses and their events, translates them to chat chunks with all checks, and folds chunks."""

import itertools
import json
from copy import deepcopy

from llama_stack_api.inference import OpenAIChatCompletion, OpenAIChatCompletionChunk
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llama_stack_provider_messages.translation.chat_to_messages import ReplyOptions, StreamTranslator
from llama_stack_provider_messages.upstream.sse import SSEDecoder

CREATED = 1_700_000_000
USAGE = {"input_tokens": 11, "output_tokens": 5}


def reply_options(**fields):
    """Return reply options; sets may be given as lists."""
    sets = {name: frozenset(fields[name]) for name in ("custom_tools", "wrapped_tools") if name in fields}
    return ReplyOptions(**{"model": "claude", "include_usage": True, **fields, **sets})


def message(*content, stop_reason="end_turn", **fields):
    """Return a message with these content blocks."""
    base = {"id": "msg_01", "type": "message", "role": "assistant", "model": "up", "content": list(content)}
    ends = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": None, "usage": dict(USAGE)}
    return {**base, **ends, **fields}


def text(value, **fields):
    return {"type": "text", "text": value, **fields}


def thinking(value, signature="sig"):
    return {"type": "thinking", "thinking": value, "signature": signature}


def tool_use(name="look", tool_input=None, tool_id="toolu_1"):
    return {"type": "tool_use", "id": tool_id, "name": name, "input": {} if tool_input is None else tool_input}


def events_of(upstream_message, size=5):
    """Yield the stream events of a message, with its strings split into deltas of ``size`` characters."""
    start = {name: value for name, value in upstream_message.items() if name not in ("stop_reason", "stop_details")}
    yield {"type": "message_start", "message": start | {"content": [], "stop_reason": None}}
    yield {"type": "ping"}
    for index, block in enumerate(upstream_message["content"]):
        yield from block_events(index, block, size)
    end = {name: upstream_message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield {"type": "message_delta", "delta": end, "usage": upstream_message["usage"]}
    yield {"type": "message_stop"}


def block_events(index, block, size=5):
    """Yield the events of one content block."""
    shell, deltas = _parts(block, size)
    yield {"type": "content_block_start", "index": index, "content_block": shell}
    yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
    yield {"type": "content_block_stop", "index": index}


def _parts(block, size):
    def pieces(value):
        return [value[start : start + size] for start in range(0, len(value), size)]

    kind = block["type"]
    if kind == "text":
        deltas = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or []]
        deltas += [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        return {**block, "text": "", "citations": []}, deltas
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
        signature = [{"type": "signature_delta", "signature": block["signature"]}] if block["signature"] else []
        return {**block, "thinking": "", "signature": ""}, deltas + signature
    if kind in ("tool_use", "server_tool_use"):
        raw = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces(raw)]
    return block, []


def translator(options=None):
    numbers = itertools.count(1)
    return StreamTranslator(options or reply_options(), created=CREATED, new_id=lambda: f"new{next(numbers)}")


def chat(events, options=None):
    """Translate a complete stream of events; check the chunks and return them."""
    options, events = options or reply_options(), list(events)
    translated = translator(options)
    chunks = [chunk for event in events for chunk in translated.feed(deepcopy(event))] + translated.finish()
    assert translated.finished
    assert translated.feed({"type": "message_stop"}) == translated.finish() == translated.resume() == []
    check_chunks(chunks, options)
    check_bytes(events, options, chunks)
    return chunks


def check_bytes(events, options, chunks):
    """Assert that the upstream's bytes translate to these chunks, however the bytes are split."""
    raw = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    for size in (1, 7, len(raw)):
        decoder, translated, seen = SSEDecoder(), translator(options), []
        for start in range(0, len(raw), size):
            for event in decoder.feed(raw[start : start + size]):
                seen += translated.feed(json.loads(event.data))
        assert seen + translated.finish() == chunks


def check_chunks(chunks, options):
    """Assert the grammar of a stream: role first, one finish reason, usage last; an error ends it."""
    *body, last = chunks
    if "error" in last:
        assert last["error"]["message"].encode()
        check_types(body)
        return
    if options.include_usage:
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + last["usage"]["completion_tokens"]
        *body, last = body
    assert all(("usage" in chunk, chunk.get("usage")) == (options.include_usage, None) for chunk in [*body, last])
    assert body[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [chunk["choices"][0]["finish_reason"] is None for chunk in [*body, last]] == [True] * len(body) + [False]
    assert last["choices"][0]["delta"] == {}
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        (chunks[0]["id"], CREATED, options.model)
    }
    check_types(chunks)


def check_types(chunks):
    """Assert that each chunk can be serialized, and that the classes of the openai SDK and of the platform accept it.

    Neither class has custom tools in a stream; the SDK does not validate, and accepts them.
    """
    json.dumps(chunks, ensure_ascii=False).encode()
    for chunk in chunks:
        if not any("custom" in call for call in tool_deltas(chunk)):
            ChatCompletionChunk.model_validate(chunk)
            OpenAIChatCompletionChunk.model_validate(chunk)


def check_completion(completion):
    json.dumps(completion, ensure_ascii=False).encode()  # it can be sent
    ChatCompletion.model_validate(completion)
    OpenAIChatCompletion.model_validate(completion)


def tool_deltas(chunk):
    return [call for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", [])]


def sdk_completion(chunks):
    """Return the completion that the official SDK accumulates from the chunks."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(construct_type(type_=ChatCompletionChunk, value=deepcopy(chunk)))
    return state.current_completion_snapshot.to_dict()


def fold_chunks(chunks):
    """Fold chunks into a completion."""
    folded = {"object": "chat.completion", "usage": None}
    choice = {"index": 0, "message": {"refusal": None}, "logprobs": None}
    for chunk in chunks:
        assert "error" not in chunk, chunk
        folded |= {name: value for name, value in chunk.items() if name not in ("object", "choices")}
        for part in chunk["choices"]:
            choice |= {name: value for name, value in part.items() if name != "delta"}
            for name, value in part["delta"].items():
                _append(choice["message"], name, value)
    reply = choice["message"]
    if not reply["content"] and (reply["refusal"] or "tool_calls" in reply or "function_call" in reply):
        reply["content"] = None
    for call in reply.get("tool_calls", []):
        del call["index"]
    return folded | {"choices": [choice]}


def _append(owner, name, value):
    if name in ("type", "index", "id", "role") or owner.get(name) is None:
        owner[name] = [] if isinstance(value, list) else deepcopy(value)
        if not isinstance(value, list):
            return
    if isinstance(value, list):
        for part in value:
            if "index" not in part or part["index"] == len(owner[name]):
                owner[name].append(deepcopy(part))
            else:
                _append_all(owner[name][part["index"]], part)
    elif isinstance(value, dict):
        _append_all(owner[name], value)
    else:
        owner[name] += value


def _append_all(owner, record):
    for name, value in record.items():
        _append(owner, name, value)


def parsed(completion):
    """Return a completion with the tool call arguments parsed: streams keep the model's white space in them."""
    shown = deepcopy(completion)
    for choice in shown["choices"]:
        reply = choice["message"]
        functions = [call["function"] for call in reply.get("tool_calls", []) if "function" in call]
        for function in [*functions, *filter(None, [reply.get("function_call")])]:
            function["arguments"] = json.loads(function["arguments"])
            assert isinstance(function["arguments"], dict)
    return shown
