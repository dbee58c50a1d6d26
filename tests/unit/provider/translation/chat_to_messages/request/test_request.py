"""Whatever JSON a client sends, it gets a body or a 400 that says where; and every history is one the API takes."""

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
options = st.builds(
    lambda model, strict: TranslationOptions(model, traits=traits_of(model), strict=strict),
    st.sampled_from(MODELS),
    st.booleans(),
)


def check(chat, how):
    """Assert that a request becomes the same legal body twice, or a 400 with a place and words."""
    before, message, done = deepcopy(chat), "", None
    try:
        done = translate_request(chat, how)
    except InvalidRequestError as error:
        message = error.message
    if done is None:
        assert ": " in message
        assert message.isprintable()
        return None
    assert repr(chat) == repr(before), "the request stays as it was"
    assert json.dumps(translate_request(chat, how).body) == json.dumps(done.body)
    json.dumps(done.body, allow_nan=False, ensure_ascii=False).encode()
    return done


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(max_size=4), json_values, max_size=6), options)
def test_any_json_is_a_body_or_a_400(chat, how):
    check(chat, how)


@settings(deadline=None, max_examples=300)
@given(st.lists(json_values, min_size=1, max_size=4), options)
def test_any_messages_are_a_body_or_a_400(messages, how):
    check({"model": "m", "messages": [{"role": "user", "content": "hi"}, *messages]}, how)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(sorted(KNOWN - {"messages"})), json_values, options)
def test_any_field_beside_a_fine_conversation_is_a_body_or_a_400(name, value, how):
    check({"model": "m", "messages": [{"role": "user", "content": "hi"}], name: value}, how)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["tools", "response_format"]), json_values, options)
def test_any_schema_is_a_body_or_a_400(where, schema, how):
    function = {"name": "get", "parameters": schema, "strict": True}
    made = {
        "tools": [{"type": "function", "function": function}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    check({"model": "m", "messages": [{"role": "user", "content": "hi"}], where: made[where]}, how)


marked = st.sampled_from([{}, {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, {"cache_control": {}}])
parts = st.builds(lambda text, mark: {"type": "text", "text": text, **mark}, texts, marked)
contents = st.none() | texts | st.lists(parts, max_size=3)
calls = st.builds(
    lambda call, name, arguments: {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}},
    ids,
    names,
    st.sampled_from(["{}", "", '{"a": 1}', "broken", "[1]"]),
)
thoughts = st.sampled_from(
    [
        {},
        {"reasoning_content": "x"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "x", "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}, {"type": "reasoning.text", "text": "x"}]},
    ]
)
answers = st.builds(
    lambda content, called, thought: {"role": "assistant", "content": content, "tool_calls": called, **thought},
    contents,
    st.none() | st.lists(calls, max_size=3),
    thoughts,
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
conversations = st.lists(st.one_of(answers, legacy, results, functions, others), min_size=1, max_size=12)
declared = st.lists(names, unique=True, max_size=3).map(
    lambda found: [{"type": "function", "function": {"name": name}} for name in found]
)


@settings(deadline=None, max_examples=600)
@given(
    conversations,
    declared,
    st.sampled_from([None, "none", "minimal", "high"]),
    st.sampled_from([None, "auto", "none", "required"]),
    options,
)
def test_every_conversation_becomes_a_history_the_api_takes(messages, tools, effort, choice, how):
    chat = {"model": "m", "messages": messages, "tools": tools, "reasoning_effort": effort, "tool_choice": choice}
    done = check(chat, how)
    if done is not None:
        assert_legal(done.body)
        if not how.strict:
            assert_told(messages, done)


def assert_told(messages, done):
    """Assert that what was said is in the body or among what was dropped: texts, calls, and results."""
    body = json.dumps(done.body["messages"]) + json.dumps(done.body.get("system", []))
    for message in messages:
        if message["content"] == "Error: no":
            assert "Error: no" in body
    asked = sum(len(message.get("tool_calls") or ()) + ("function_call" in message) for message in messages)
    assert body.count('"tool_use"') == asked
    answered = sum(message["role"] in ("tool", "function") for message in messages)
    orphans = sum(entry.feature == "tool result" for entry in done.dropped)
    stubs = sum(entry.feature == "tool call" for entry in done.dropped)
    assert body.count('"tool_result"') == answered - orphans + stubs == asked
