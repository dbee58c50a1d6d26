"""Limits on values, unknown fields and edits, and what they cost a normal request and an attacker."""

import base64
import json
import re
import tracemalloc
from random import Random
from typing import Any

import pytest

from llama_stack_api_messages import limits
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.limits import (
    MAX_EDITS,
    MAX_UNKNOWN_FIELDS_PER_OBJECT,
    MAX_UNKNOWN_FIELDS_PER_REQUEST,
    MAX_VALUES,
)
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_api_messages.models.base import OpenModel
from llama_stack_api_messages.request_body import RequestBody
from support.attacks import ATTACKS, MANY, TOOLSET, USER, body_of, cpu_bound
from support.stack_process import ROOT

IMAGE = base64.b64encode(Random(1).randbytes(1_250_000)).decode()
CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))
REMEDIES = (
    "; (remove them|send fewer|send every field once|shorten it|shorten the conversation)"
    "(, or raise max_[a-z_]+ of the server)?$"
)


def read(body, kind=CreateMessageRequest):
    return RequestBody(body, kind)


def fields(count):
    return {f"field_{number}": 1 for number in range(count)}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_rejected_at_little_cost(name):
    """Without the limits the largest of them took 16 s of CPU time, or 4 GB of memory."""
    attack, message = ATTACKS[name]
    body = body_of("m", attack)
    with cpu_bound(0.5), pytest.raises(InvalidRequestError) as refusal:
        read(body)
    assert refusal.value.message.startswith(message)
    assert re.search(REMEDIES, refusal.value.message)


@pytest.mark.parametrize("name", [name for name in ATTACKS if name.startswith(("empty", "a long name", "names"))])
def test_an_attack_takes_little_memory(name):
    """A few copies of the body; it was hundreds of megabytes, and 4 GB for a name of 31 MB."""
    body = body_of("m", ATTACKS[name][0])
    tracemalloc.start()
    with pytest.raises(InvalidRequestError):
        read(body, CountTokensRequest)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000


@pytest.mark.parametrize(
    "accepted",
    [
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}] * MAX_EDITS}},
        fields(MAX_UNKNOWN_FIELDS_PER_OBJECT),
        {"messages": [USER | fields(10)] * (MAX_UNKNOWN_FIELDS_PER_REQUEST // 10)},
        {"x": [1] * (MAX_VALUES - 8)},
        {"x": [[], {}] * (MAX_VALUES // 4 - 50)},
        {"x": [{"a": "[,{"}] * (MAX_VALUES // 2 - 4)},
        {"x": '\\",[{' * 1_000_000},
        {"a" * 998: 1},
    ],
)
def test_a_request_at_a_limit_is_accepted(accepted):
    read(body_of("m", accepted))


@pytest.mark.parametrize(
    "refused",
    [
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}] * (MAX_EDITS + 1)}},
        fields(MAX_UNKNOWN_FIELDS_PER_OBJECT + 1),
        {"messages": [USER | fields(10)] * (MAX_UNKNOWN_FIELDS_PER_REQUEST // 10) + [USER | fields(1)]},
        {"x": [1] * MAX_VALUES},
        {"x": [[], {}] * (MAX_VALUES // 2)},
        {"x": [{"a": "\\"}] * (MAX_VALUES // 2)},
        {"tools": [TOOLSET | {"configs": fields(MAX_UNKNOWN_FIELDS_PER_OBJECT + 1)}]},
        {"a" * 999: 1},
    ],
)
def test_a_request_over_a_limit_is_rejected(refused):
    with pytest.raises(InvalidRequestError):
        read(body_of("m", refused))


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        (
            {"messages": [USER] * 4},
            "messages: more than 3 messages are not accepted; shorten the conversation, or raise",
        ),
        ({"tools": [{"name": "f"}] * 6}, "tools: more than 5 tools are not accepted; send fewer, or raise max_tools"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 3}] * 2},
            "messages.1.content: the request has more than 4 content blocks, up to here; shorten the conversation, or",
        ),
        (
            {"system": [{"type": "text", "text": "x"}] * 2, "messages": [{"role": "user", "content": [{"a": 1}] * 3}]},
            "messages.0.content: the request has more than 4 content blocks",
        ),
    ],
)
def test_an_operator_can_lower_the_limits(fields, path):
    """Text is not counted, and neither are the arguments of calls."""
    chosen = limits.RequestLimits(messages=3, blocks=4, tools=5)
    free = {"role": "assistant", "content": [{"type": "tool_use", "input": {"content": [{"tools": [1] * 9}] * 9}}]}
    text = {"role": "user", "content": '{"content":[{},{},{},{},{}]}'}
    order = sorted(fields | {"model": "m"}, reverse=True)  # the system prompt first
    body = json.dumps({name: (fields | {"model": "m"})[name] for name in order}).encode()
    with pytest.raises(InvalidRequestError, match=f"^{re.escape(path)}"):
        RequestBody(body, CreateMessageRequest, chosen)
    RequestBody(body_of("m", {"messages": [free, text], "tools": [{"name": "f"}] * 5}), CreateMessageRequest, chosen)


def test_a_conversation_of_twenty_thousand_turns_is_accepted():
    """With calls and results; the cost grows with its length."""
    turn = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
    ]
    body = body_of("m", {"messages": [USER, *turn * 10_000]})
    with cpu_bound(1):
        assert len(read(body).parsed.messages) == 20_001


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}] * 3,
        'A quoted "word", a list [1, 2] and {braces}: a line of text.\n' * 80_000,
    ],
    ids=["images", "text"],
)
def test_a_large_request_is_checked_at_little_cost(content):
    """It is looked through, but not decoded: 5 MB with images take a few milliseconds."""
    body = body_of("m", {"messages": [{"role": "user", "content": content}]})
    with cpu_bound(0.5):
        for _ in range(10):
            read(body)


CALL = {"type": "tool_use", "id": "a", "name": "f", "input": fields(5_000)}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": fields(5_000)}, "input_examples": [fields(2_000)]}


@pytest.mark.parametrize(
    "free",
    [
        {"messages": [USER, {"role": "assistant", "content": [CALL]}]},
        {"tools": [TOOL]},
        {"output_config": {"format": {"type": "json_schema", "schema": fields(5_000)}}},
        {"later": {"inside": fields(5_000)}},
    ],
)
def test_free_form_json_has_any_number_of_names(free):
    """Also beside a field for which the exact count is needed."""
    read(body_of("m", free))
    read(body_of("m", free | {"unknown": 1}))


def test_whitespace_and_escapes_in_names_change_nothing():
    """Neither hides a field from the count."""
    body = body_of("m", fields(MAX_UNKNOWN_FIELDS_PER_OBJECT + 1))
    for changed in (body.replace(b'":', b'" \n:'), body.replace(b"field", b"\\u0066ield")):
        with pytest.raises(InvalidRequestError, match="more than 1000 fields"):
            read(changed)
    edits = body_of("m", ATTACKS["nine edits"][0])
    with pytest.raises(InvalidRequestError, match="more than 8 edits"):
        read(edits.replace(b"edits", b"\\u0065dits").replace(b"context_m", b"\\u0063ontext_m"))


@pytest.mark.parametrize("settings", [[], "edits, edits, edits, a, b, c, d, e, f", {"edits": {"a": list(range(9))}}])
def test_odd_settings_are_left_to_the_validation(settings):
    read(body_of("m", {"context_management": settings}))


def test_invalid_json_is_left_to_the_validation():
    """It has the API's error message."""
    broken = b'{"model": "m", "a": "\xff", ' + b'"b": 1, ' * 1_100 + b"}"
    with pytest.raises(InvalidRequestError, match="not valid JSON"):
        read(broken)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_requests_of_claude_code_are_not_parsed_for_the_limits(path, monkeypatch):
    """That would cost time on every turn."""
    monkeypatch.setattr(limits, "_parsed", None)
    read(json.dumps(json.loads(path.read_text())["body"]).encode())


def test_free_form_fields_are_those_of_the_models():
    """The table has exactly the request fields that take any object."""
    requests = {name for model in _models(CreateMessageRequest) for name in _free_form(model)}
    assert requests - {"trigger", "configs"} == limits.FREE_FORM  # triggers are small, configs are validated one by one


def _models(model, found=None):
    found = set() if found is None else found
    if model not in found:
        found.add(model)
        for field in model.model_fields.values():
            for part in _parts(field.annotation):
                if isinstance(part, type) and issubclass(part, OpenModel):
                    _models(part, found)
    return found


def _free_form(model):
    for name, field in model.model_fields.items():
        if any(part in (dict, Any) for part in _parts(field.annotation)):
            yield field.alias or name


def _parts(annotation):
    yield annotation
    alias = getattr(annotation, "__value__", None)
    if alias is not None:
        yield from _parts(alias)
    origin = getattr(annotation, "__origin__", None)
    if origin is not None:
        yield origin
    for part in getattr(annotation, "__args__", ()):
        if not isinstance(part, str):
            yield from _parts(part)


LISTS = ("stop_sequences", "system", "mcp_servers", "safeguards", "fallbacks", "tools")


@pytest.mark.parametrize("name", LISTS)
def test_many_wrong_items_are_one_error(name):
    """Every list stops at its first error; half a million errors took 3 s and more."""
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"' + name.encode() + b'":[' + b"1," * 400_000 + b"1]}"
    )
    with cpu_bound(2.5), pytest.raises(InvalidRequestError, match=rf"^{name}\.0"):
        assert read(body).parsed


def test_the_largest_accepted_number_of_wrong_tool_names_is_described_at_little_cost():
    """Each is an error; a million took 12 s."""
    body = body_of("m", {"tools": [TOOLSET | {"configs": fields(MAX_UNKNOWN_FIELDS_PER_OBJECT)}] * 10})
    with cpu_bound(3), pytest.raises(InvalidRequestError, match=r"^tools\.0\.mcp_toolset\.configs\.field_0: "):
        assert read(body).parsed


def test_the_largest_accepted_number_of_unknown_fields_is_parsed_at_little_cost():
    """A free-form value of the same size is parsed in a fraction of a second."""
    body = body_of("m", {"messages": [USER, {"role": "assistant", "content": [CALL | {"input": MANY}]}]})
    with cpu_bound(3):
        assert read(body).parsed.messages[1].content[0].input == MANY
