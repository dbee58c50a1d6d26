"""Messages -> chat completions, input beside output: ``<kind>/<behaviour>.in.*`` -> ``<kind>/<behaviour>.out.*``.

A response and a stream of the same name have the same content, and have to give the same message. A request of that
name is their request.
``--update-golden`` writes the outputs; read the diff before you commit it.
"""

import json
from pathlib import Path

import pytest

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    Failed,
    LoadedFile,
    LoadedText,
    Policy,
    TranslationContext,
    profile_for,
    translate_request,
    translate_response,
)
from support.streams import chunk, completion, id_maker, reply_options, translate

CASES = Path(__file__).parent / "messages_to_chat"


def cases(kind, ending):
    names = sorted(path.name.removesuffix(f".in.{ending}") for path in (CASES / kind).glob(f"*.in.{ending}"))
    assert names, f"no golden files of {kind}"
    return names


def load(kind, name):
    return json.loads((CASES / kind / f"{name}.in.json").read_text())


def load_chunks(name):
    lines = (CASES / "stream" / f"{name}.in.jsonl").read_text().split("\n")
    return [chunk(json.loads(line)) for line in lines if line]


def pretty(value):
    return json.dumps(value, indent=1) + "\n"


def media_of(case):
    """Return the loaded media of a case, by path."""
    kinds = {"pages": lambda value: LoadedText(tuple(value["pages"])), "data": lambda value: LoadedFile(**value)}
    found = {}
    for path, value in case.get("media", {}).items():
        make = next((kinds[name] for name in kinds if name in value), lambda value: Failed(**value))
        found[path] = make(value)
    return found


def translated(name):
    case = load("request", name)
    profile = profile_for(case["provider_type"], overrides=case.get("profile"))
    ctx = TranslationContext(profile, Policy(**case.get("policy", {})), media_of(case))
    return translate_request(CreateMessageRequest.model_validate(case["request"]), ctx)


def form_of(name):
    return translated(name).options if name in cases("request", "json") else reply_options()


@pytest.mark.parametrize("name", cases("request", "json"))
def test_request(name, golden):
    result = translated(name)
    dropped = [f"{entry.path} ({entry.feature}): {entry.reason}" for entry in result.dropped]
    golden(CASES / "request" / f"{name}.out.json", pretty({"fields": result.fields, "dropped": dropped}))


@pytest.mark.parametrize("name", cases("response", "json"))
def test_response(name, golden):
    message = translate_response(completion(load("response", name)), form_of(name), id_maker())
    golden(CASES / "response" / f"{name}.out.json", pretty(message))


@pytest.mark.parametrize("name", cases("stream", "jsonl"))
def test_stream(name, golden):
    events = translate(load_chunks(name), form_of(name))
    golden(CASES / "stream" / f"{name}.out.jsonl", "".join(json.dumps(event) + "\n" for event in events))


@pytest.mark.parametrize("name", sorted({*cases("stream", "jsonl")} & {*cases("response", "json")}))
def test_a_stream_adds_up_to_the_unary_message(name):
    unary = translate_response(completion(load("response", name)), form_of(name), id_maker())
    assert fold(translate(load_chunks(name), form_of(name))) == unary
