"""Messages -> chat completions: a message and the form of the answer beside the completion and its chunks.

``--update-golden`` writes the outputs; read the diff before it is committed.
"""

import json
from pathlib import Path

import openai.types.chat as sdk
import pytest
from llama_stack_api.inference import OpenAIChatCompletion, OpenAIChatCompletionChunk

from llama_stack_provider_messages.sse import SSEDecoder
from llama_stack_provider_messages.translation.chat_to_messages import ChatForm, StreamTranslator, translate_response
from llama_stack_provider_messages.translation.chat_to_messages.response import fold_chunks
from support.message_events import events_of

CASES = Path(__file__).parent / "chat_to_messages" / "answer"
NAMES = sorted(path.name.removesuffix(".in.json") for path in CASES.glob("*.in.json"))
CREATED = 1_790_000_000
SETS = ("custom_tools", "wrapped_tools")


def load(name):
    case = json.loads((CASES / f"{name}.in.json").read_text())
    form = case.get("form", {})
    form |= {key: frozenset(form[key]) for key in SETS if key in form}
    return case["message"], ChatForm("asked", **form)


def stream(form):
    return StreamTranslator(form, created=CREATED, new_id=lambda: "made")


def chunks_of(message, form, size=3):
    translator = stream(form)
    chunks = [chunk for event in events_of(message, size) for chunk in translator.feed(event)]
    return [*chunks, *translator.finish()], translator


@pytest.mark.parametrize("name", NAMES)
def test_answer(name, golden):
    """Whole and as a stream, with what the client does not get to see."""
    message, form = load(name)
    chunks, translator = chunks_of(message, form, size=1_000)
    brief = [chunk["choices"][0]["delta"] if chunk["choices"] else chunk for chunk in chunks]
    result = {
        "completion": translate_response(message, form, created=CREATED),
        "deltas": brief,
        "dropped": [[entry.path, entry.feature] for entry in translator.dropped],
    }
    golden(CASES / f"{name}.out.json", json.dumps(result, indent=1) + "\n")


@pytest.mark.parametrize("size", [1, 3, 1_000])
@pytest.mark.parametrize("name", NAMES)
def test_a_stream_adds_up_to_the_whole_answer(name, size):
    """In pieces of any size."""
    message, form = load(name)
    chunks, translator = chunks_of(message, form, size)
    whole = translate_response(message, form, created=CREATED)
    assert fold_chunks(chunks) | {"usage": whole["usage"]} == whole
    assert translator.complete
    usages = [chunk["usage"] for chunk in chunks if "usage" in chunk]
    assert usages == ([None] * (len(chunks) - 1) + [whole["usage"]] if form.include_usage else [])


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("name", NAMES)
def test_any_partition_of_the_bytes_gives_the_same_chunks(name, size):
    """As they come over the wire."""
    message, form = load(name)
    wire = b"".join(b"event: x\ndata: " + json.dumps(event).encode() + b"\n\n" for event in events_of(message))
    decoder, translator, chunks = SSEDecoder(), stream(form), []
    for start in range(0, len(wire), size):
        for event in decoder.feed(wire[start : start + size]):
            chunks += translator.feed(json.loads(event.data))
    assert [*chunks, *translator.finish()] == chunks_of(message, form)[0]


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_what_clients_and_the_platform_read(name):
    """By the types of the openai SDK; and of the platform, but that those want a name in every piece of a call."""
    message, form = load(name)
    completion, chunks = translate_response(message, form, created=CREATED), chunks_of(message, form)[0]
    sdk.ChatCompletion.model_validate(completion, strict=True)
    if not form.custom_tools:  # which the SDK knows in whole answers only
        OpenAIChatCompletion.model_validate(completion)
        for chunk in chunks:
            sdk.ChatCompletionChunk.model_validate(chunk, strict=True)
            if not any("tool_calls" in choice["delta"] for choice in chunk["choices"]):
                OpenAIChatCompletionChunk.model_validate(chunk)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_json(name):
    """Whether or not a delta came."""
    message, form = load(name)
    said = translate_response(message, form, created=CREATED)["choices"][0]["message"]
    calls = [call["function"] for call in said.get("tool_calls", []) if call["type"] == "function"]
    for call in [*calls, *([said["function_call"]] if "function_call" in said else [])]:
        json.loads(call["arguments"])
