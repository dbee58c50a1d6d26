"""Limits on edits and unknown fields, and what they cost a normal request and an attacker."""

import json
from typing import Any

import pytest

from llama_stack_api_messages import limits
from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.limits import MAX_EDITS, MAX_UNKNOWN_FIELDS, MAX_UNKNOWN_FIELDS_IN_ALL
from llama_stack_api_messages.models import CountTokensRequest, CreateMessageRequest
from llama_stack_api_messages.models.base import OpenModel
from llama_stack_api_messages.request_body import RequestBody
from support.attacks import ATTACKS, MANY, USER, body_of, cpu_bound
from support.stack_process import ROOT

CAPTURES = sorted((ROOT / "tests" / "data" / "captures").glob("*.json"))


def read(body, kind=CreateMessageRequest):
    return RequestBody(body, kind)


def fields(count):
    return {f"field_{number}": 1 for number in range(count)}


@pytest.mark.parametrize("kind", [CreateMessageRequest, CountTokensRequest])
@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_at_little_cost(name, kind):
    """Before the limits the largest of them took 5 s of CPU time to be read, and minutes to be translated."""
    attack, message = ATTACKS[name]
    body = body_of("m", attack)
    with cpu_bound(1.5), pytest.raises(InvalidRequestError) as refusal:
        read(body, kind)
    assert refusal.value.message.startswith(message)
    assert refusal.value.message.endswith(("remove them", "send fewer", "send every field once"))


@pytest.mark.parametrize(
    "accepted",
    [
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}] * MAX_EDITS}},
        fields(MAX_UNKNOWN_FIELDS),
        {"messages": [USER | fields(10)] * (MAX_UNKNOWN_FIELDS_IN_ALL // 10)},
    ],
)
def test_what_is_at_a_limit_is_accepted(accepted):
    read(body_of("m", accepted))


@pytest.mark.parametrize(
    "refused",
    [
        {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}] * (MAX_EDITS + 1)}},
        fields(MAX_UNKNOWN_FIELDS + 1),
        {"messages": [USER | fields(10)] * (MAX_UNKNOWN_FIELDS_IN_ALL // 10) + [USER | fields(1)]},
    ],
)
def test_what_is_one_over_a_limit_is_refused(refused):
    with pytest.raises(InvalidRequestError):
        read(body_of("m", refused))


CALL = {"type": "tool_use", "id": "a", "name": "f", "input": fields(5_000)}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": fields(5_000)}, "input_examples": [fields(2_000)]}


@pytest.mark.parametrize(
    "free",
    [
        {"messages": [USER, {"role": "assistant", "content": [CALL]}]},
        {"tools": [TOOL]},
        {"tools": [{"type": "mcp_toolset", "mcp_server_name": "a", "configs": fields(5_000)}]},
        {"output_config": {"format": {"type": "json_schema", "schema": fields(5_000)}}},
        {"later": {"inside": fields(5_000)}},
    ],
)
def test_free_form_json_has_any_number_of_names(free):
    """Also beside a field that only the exact count knows."""
    read(body_of("m", free))
    read(body_of("m", free | {"unknown": 1}))


def test_whitespace_and_escapes_in_names_change_nothing():
    """Neither hides a field from the count."""
    body = body_of("m", fields(MAX_UNKNOWN_FIELDS + 1))
    for changed in (body.replace(b'":', b'" \n:'), body.replace(b"field", b"\\u0066ield")):
        with pytest.raises(InvalidRequestError, match="more than 1000 fields"):
            read(changed)
    edits = body_of("m", ATTACKS["nine edits"][0])
    with pytest.raises(InvalidRequestError, match="more than 8 edits"):
        read(edits.replace(b"edits", b"\\u0065dits").replace(b"context_m", b"\\u0063ontext_m"))


@pytest.mark.parametrize("settings", [[], "edits, edits, edits, a, b, c, d, e, f", {"edits": {"a": list(range(9))}}])
def test_odd_settings_are_left_to_the_validation(settings):
    read(body_of("m", {"context_management": settings}))


def test_what_is_not_json_is_left_to_the_validation():
    """With the API's words for it."""
    broken = b'{"model": "m", "a": "\xff", ' + b'"b": 1, ' * 1_100 + b"}"
    with pytest.raises(InvalidRequestError, match="not valid JSON"):
        read(broken)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_requests_of_claude_code_are_recognised_without_a_count(path):
    """They would pay for it on every turn of a long session."""
    assert limits._is_common(json.dumps(json.loads(path.read_text())["body"]).encode())


def test_fields_outside_of_the_prompt_are_counted():
    """A common prompt says nothing of the other fields."""
    assert not limits._is_common(body_of("m", {"metadata": fields(MAX_UNKNOWN_FIELDS + 1)}))


def test_free_form_fields_are_those_of_the_models():
    """A field of a request that takes any object is in the table; no other is."""
    requests = {name for model in _models(CreateMessageRequest) for name in _free_form(model)}
    assert requests - {"trigger"} == limits.FREE_FORM  # a fallback block's trigger is small, and an edit's is a model


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
def test_half_a_million_wrong_items_are_one_error(name):
    """Every list stops at its first error; a million of them took 5 s and more."""
    body = (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"' + name.encode() + b'":[' + b"1," * 500_000 + b"1]}"
    )
    with cpu_bound(1.5), pytest.raises(InvalidRequestError, match=rf"^{name}\.0"):
        assert read(body).parsed


def test_many_unknown_fields_are_not_expensive_on_their_way_to_the_model():
    """A free-form value of the same size is read in a fraction of a second."""
    body = body_of("m", {"messages": [USER, {"role": "assistant", "content": [CALL | {"input": MANY}]}]})
    with cpu_bound(3):
        assert read(body).parsed.messages[1].content[0].input == MANY
