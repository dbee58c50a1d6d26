"""Responses that depend on the request: ``controls/<behaviour>.in.json`` -> the message and the events of a stream.

Each case is a request and the backend's response, unary and in chunks; both have to give the same message.
"""

import json
from pathlib import Path

import pytest

from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.events import fold
from llama_stack_provider_messages.translation.messages_to_chat import (
    StreamTranslator,
    TranslationContext,
    profile_for,
    translate_request,
    translate_response,
)
from support.grammar import check_stream
from support.streams import check_bytes, chunk, completion, id_maker

HERE = Path(__file__).parent / "controls"
NAMES = sorted(path.name.removesuffix(".in.json") for path in HERE.glob("*.in.json") if "strict" not in path.name)


@pytest.mark.parametrize("name", NAMES)
def test_response(name, pytestconfig):
    case = json.loads((HERE / f"{name}.in.json").read_text())
    ctx = TranslationContext(profile_for(""), room=case.get("room"))
    options = translate_request(CreateMessageRequest.model_validate(case["request"]), ctx).options
    message = translate_response(completion(case["completion"]), options, id_maker())
    translator = StreamTranslator(options, id_maker())
    events = [event for value in case["chunks"] for event in translator.feed(chunk(value))] + translator.finish()
    check_stream(events)
    check_bytes(events)
    assert fold(events) == message
    path = HERE / f"{name}.out.json"
    output = json.dumps({"message": message, "events": events}, indent=1) + "\n"
    if pytestconfig.getoption("--update-golden", default=False):
        path.write_text(output)
    assert path.read_text() == output
