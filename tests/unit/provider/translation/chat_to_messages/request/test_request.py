"""Any JSON gives a body or a 400 with its path, and every history satisfies the Messages API's rules."""

import json
from copy import deepcopy

from hypothesis import given, settings
from hypothesis import strategies as st

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages import TranslationOptions, traits_of, translate_request
from llama_stack_provider_messages.translation.chat_to_messages.request.unsupported import KNOWN
from support.histories import assert_legal

MODELS = ["llama", "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-8", "claude-sonnet-5-5", "claude-fable-5"]
ids = st.sampled_from(["c1", "c2", "c3", "functions.x:0", "", "c1_2"])
names = st.sampled_from(["get", "put now", "x" * 200, "sh"])
texts = st.sampled_from(["", " ", "hi", "a\n", "\ud800", "Error: no", "\u2028"])

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(
    ["function", "custom", "text", "system", "user", "tool", "auto", "none", "json_schema", "image_url",
     "data:;base64,AA"]
)  # fmt: skip
keys = st.sampled_from(
    ["type", "text", "role", "content", "function", "name", "arguments", "id", "tool_call_id", "tool_calls", "schema",
     "json_schema", "properties", "items", "anyOf", "oneOf", "parameters", "url", "image_url", "file", "file_data",
     "allowed_tools", "mode", "tools", "format", "grammar", "custom", "ttl", "prompt_cache_breakpoint", "signature",
     "reasoning_details", "$ref", "$defs", "strict", "approximate", "user_location", "policy", "input"]
)  # fmt: skip
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=4)
)
all_options = st.builds(
    lambda model, strict: TranslationOptions(model, traits=traits_of(model), strict=strict),
    st.sampled_from(MODELS),
    st.booleans(),
)


def check(chat, options):
    """Assert that a request gives the same valid body twice, or a 400 with a path and a readable message."""
    before, message, translated = deepcopy(chat), "", None
    try:
        translated = translate_request(chat, options)
    except InvalidRequestError as error:
        message = error.message
    if translated is None:
        assert ": " in message
        assert message.isprintable()
        return None
    assert repr(chat) == repr(before), "the request is not changed"
    assert json.dumps(translate_request(chat, options).body) == json.dumps(translated.body)
    json.dumps(translated.body, allow_nan=False, ensure_ascii=False).encode()
    return translated


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(max_size=4), json_values, max_size=6), all_options)
def test_any_json_gives_a_body_or_a_400(chat, options):
    check(chat, options)


@settings(max_examples=300)
@given(st.lists(json_values, min_size=1, max_size=4), all_options)
def test_any_messages_give_a_body_or_a_400(messages, options):
    check({"model": "m", "messages": [{"role": "user", "content": "hi"}, *messages]}, options)


@settings(max_examples=300)
@given(st.sampled_from(sorted(KNOWN - {"messages"})), json_values, all_options)
def test_any_field_beside_a_valid_conversation_gives_a_body_or_a_400(name, value, options):
    check({"model": "m", "messages": [{"role": "user", "content": "hi"}], name: value}, options)


@settings(max_examples=200)
@given(st.sampled_from(["tools", "response_format"]), json_values, all_options)
def test_any_schema_gives_a_body_or_a_400(where, schema, options):
    function = {"name": "get", "parameters": schema, "strict": True}
    made = {
        "tools": [{"type": "function", "function": function}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    check({"model": "m", "messages": [{"role": "user", "content": "hi"}], where: made[where]}, options)


marked = st.sampled_from([{}, {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, {"cache_control": {}}])
parts = st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, texts, marked)
contents = st.none() | texts | st.lists(parts, max_size=3)
calls = st.builds(
    lambda call, name, arguments: {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}},
    ids,
    names,
    st.sampled_from(["{}", "", '{"a": 1}', "broken", "[1]"]),
)
reasonings = st.sampled_from(
    [
        {},
        {"reasoning_content": "x"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "x", "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}, {"type": "reasoning.text", "text": "x"}]},
    ]
)
assistant_messages = st.builds(
    lambda content, called, reasoning: {"role": "assistant", "content": content, "tool_calls": called, **reasoning},
    contents,
    st.none() | st.lists(calls, max_size=3),
    reasonings,
)
legacy = st.builds(
    lambda name: {"role": "assistant", "content": None, "function_call": {"name": name, "arguments": "{}"}}, names
)
results = st.builds(
    lambda call, content: {"role": "tool", "tool_call_id": call or "c1", "content": content}, ids, contents
)
functions = st.builds(lambda name, content: {"role": "function", "name": name, "content": content}, names, contents)
others = st.builds(
    lambda role, content: {"role": role, "content": content}, st.sampled_from(["system", "user"]), contents
)
conversations = st.lists(st.one_of(assistant_messages, legacy, results, functions, others), min_size=1, max_size=12)
declared = st.lists(names, unique=True, max_size=3).map(
    lambda found: [{"type": "function", "function": {"name": name}} for name in found]
)


@settings(max_examples=600)
@given(
    conversations,
    declared,
    st.sampled_from([None, "none", "minimal", "high"]),
    st.sampled_from([None, "auto", "none", "required"]),
    all_options,
)
def test_every_conversation_becomes_a_history_that_the_api_accepts(messages, tools, effort, choice, options):
    chat = {"model": "m", "messages": messages, "tools": tools, "reasoning_effort": effort, "tool_choice": choice}
    translated = check(chat, options)
    if translated is not None:
        assert_legal(translated.body)
        if not options.strict:
            assert_complete(messages, translated)


def assert_complete(messages, translated):
    """Assert that all texts, calls and results are in the body or logged as dropped."""
    body = json.dumps(translated.body["messages"]) + json.dumps(translated.body.get("system", []))
    for message in messages:
        if message["content"] == "Error: no":
            assert "Error: no" in body
    calls_count = sum(len(message.get("tool_calls") or ()) + ("function_call" in message) for message in messages)
    assert body.count('"tool_use"') == calls_count
    results_count = sum(message["role"] in ("tool", "function") for message in messages)
    orphans = sum(entry.feature == "tool result" for entry in translated.dropped)
    stubs = sum(entry.feature == "tool call" for entry in translated.dropped)
    assert body.count('"tool_result"') == results_count - orphans + stubs == calls_count
