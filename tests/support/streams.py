"""Builds chat chunks as the openai SDK does, and translates them to Messages events with all checks."""

import itertools
import json
from dataclasses import replace
from types import SimpleNamespace

import anthropic
import httpx2
from openai._models import construct_type
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_api_messages.streaming.sse import encode_event
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import ReplyOptions, StreamTranslator
from llama_stack_provider_messages.upstream.sse import SSEDecoder

from .grammar import check_stream


def request(**fields):
    """Return a minimal request with these fields set."""
    base = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}
    return CreateMessageRequest.model_validate(base | fields)


def id_maker():
    """Return a function that generates predictable ids."""
    numbers = itertools.count(1)
    return lambda prefix: f"{prefix}{next(numbers):02d}"


def chunk(value):
    """Return a chunk built as the SDK does: without validation, so that malformed values are kept."""
    return construct_type(type_=ChatCompletionChunk, value=value)


def completion(value):
    """Return a non-streaming completion built as the SDK does."""
    return construct_type(type_=ChatCompletion, value=value)


def delta_chunk(finish=None, usage=None, choice=None, **delta):
    """Return a chunk with one choice."""
    value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "up"}
    value["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish, **(choice or {})}]
    return chunk(value | ({"usage": usage} if usage else {}))


def usage_chunk(**counts):
    """Return the last chunk of a stream: usage and no choices."""
    return chunk({"id": "c", "choices": [], "usage": counts})


def call(index=0, call_id=None, name=None, arguments=None):
    """Return one entry of ``tool_calls``."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    entry = {"index": index, "id": call_id, "type": "function", "function": function}
    return {key: value for key, value in entry.items() if value is not None}


def reply_options(create_request=None, prefill=""):
    """Return the ``ReplyOptions`` of a request; if it is a ``ReplyOptions`` itself, return it."""
    if isinstance(create_request, ReplyOptions):
        return create_request
    create_request = create_request or request()
    tools = frozenset(tool.name for tool in create_request.tools or ())
    return replace(ReplyOptions.of(create_request), tools=tools, prefill=prefill)


def translate(chunks, create_request=None, prefill="", **options):
    """Translate the chunks of a response to this request (or ``ReplyOptions``); check the events and return them."""
    translator = StreamTranslator(reply_options(create_request, prefill), id_maker(), **options)
    events = [event for piece in chunks for event in translator.feed(piece)] + translator.finish()
    check_stream(events)
    assert translator.feed(delta_chunk(content="late")) == translator.finish() == []
    check_bytes(events)
    return events


def message_of(chunks, create_request=None, **options):
    """Translate chunks and fold the events into a message."""
    return fold(translate(chunks, create_request, **options))


def check_bytes(events):
    """Assert that the encoded events decode to the same events, however split, and that the official SDK agrees."""
    raw = b"".join(map(encode_event, events))
    for size in (1, 7, len(raw)):
        decoder = SSEDecoder()
        pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
        seen = [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()
        assert [json.loads(event.data) for event in seen] == events
        assert [event.event for event in seen] == [event["type"] for event in events]
    if events[-1]["type"] != "error":
        check_sdk(raw, fold(events))


def check_sdk(raw, folded):
    """Assert that the official SDK accumulates the bytes to the same message."""
    seen = sdk_message(raw)
    for name in ("id", "model", "role", "stop_reason", "stop_sequence", "stop_details", "content"):
        assert seen[name] == folded[name], name
    for name in ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"):
        assert seen["usage"][name] == folded["usage"][name], name


def sdk_message(raw):
    """Return the message that the official SDK's stream helper accumulates from the bytes."""

    def answer(_request):
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        anthropic.Anthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        message = stream.get_final_message().to_dict()
    for block in message["content"]:
        if block.get("citations") is None:
            block.pop("citations", None)
        block.pop("parsed_output", None)
    return message


def plain_objects(value):
    """Return JSON values as plain attribute objects, which are not instances of SDK classes."""
    if isinstance(value, dict):
        return SimpleNamespace(**{name: plain_objects(inner) for name, inner in value.items()})
    return [plain_objects(inner) for inner in value] if isinstance(value, list) else value
