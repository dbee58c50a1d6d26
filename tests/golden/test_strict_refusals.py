"""What strict validation refuses, in which words: ``strict_refusals.in.json`` -> ``strict_refusals.out.json``."""

import json
from pathlib import Path

import pytest

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat import (
    Policy,
    TranslationContext,
    profile_for,
    translate_request,
)

HERE = Path(__file__).parent / "controls"
BASE = {"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "Hi"}]}
HEADERS = {"anthropic-version": "2023-06-01"}
CASES = json.loads((HERE / "strict_refusals.in.json").read_text())


def translate(case, **policy):
    body = {name: value for name, value in {**BASE, **case["change"]}.items() if name not in case.get("without", ())}
    profile = profile_for("", overrides=case.get("profile"))
    headers = {name: text for name, text in (HEADERS | case.get("headers", {})).items() if text}
    ctx = TranslationContext(profile, Policy(**policy), headers={"accept": "*"} | headers)
    return translate_request(CreateMessageRequest.model_validate(body), ctx)


def refusal(case):
    with pytest.raises(InvalidRequestError) as caught:
        translate(case, strict=True)
    return caught.value.message


def test_strict_refusals(pytestconfig):
    """Each in the words of the API, where they are known."""
    path = HERE / "strict_refusals.out.json"
    seen = json.dumps({case["name"]: refusal(case) for case in CASES}, indent=1) + "\n"
    if pytestconfig.getoption("--update-golden", default=False):
        path.write_text(seen)
    assert path.read_text() == seen


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_lenient_reading_takes_it(case):
    """It repairs or ignores what strict validation refuses; what it cannot serve, it refuses as well."""
    if case.get("lenient", True):
        translate(case)
    else:
        with pytest.raises(InvalidRequestError):
            translate(case)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"temperature": 1.0, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"thinking": {"type": "adaptive", "display": "updates"}, "top_p": 0.99},
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "max", "format": {"type": "json_schema", "schema": {}}}},
        {"max_tokens": 0},
        {"stop_sequences": ["a"], "service_tier": "auto", "speed": "fast"},
        {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"anyOf": []}}}}]},
        {"cache_control": {"type": "ephemeral"}, "system": [{"type": "text", "text": "x"}]},
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "system", "content": "b"},
                {"role": "system", "output_config": {"effort": "low"}},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
                {"role": "user", "content": [{"type": "text", "text": "b"}]},
                {"role": "system", "content": "c"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "a"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
                    ],
                },
                {"role": "system", "content": "c"},
            ]
        },
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]},
        {
            "messages": [
                {"role": "assistant", "content": [{"type": "compaction", "content": "summary"}]},
                {"role": "user", "content": "a"},
            ]
        },
    ],
)
def test_what_the_api_takes_passes_strict_validation(change):
    """No rule catches more than it should."""
    translate({"change": change}, strict=True)


def test_the_newest_version_has_assistants_without_documents_and_users_without_citations():
    """Everything else is as before."""
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    user = [{"type": "text", "text": "a", "citations": []}, {"type": "document", "source": source}]
    assistant = [{"type": "text", "text": "b", "citations": [{"type": "x"}]}]
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    change = {"messages": turns, "output_config": {"effort": "low"}}
    translate({"change": change, "headers": {"anthropic-version": "2026-10-21"}}, strict=True)


def test_a_format_does_not_mind_documents_without_citations():
    """Only citing is out."""
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    turns = [{"role": "user", "content": [{"type": "document", "source": source}]}]
    output = {"format": {"type": "json_schema", "schema": {}}}
    translate({"change": {"messages": turns, "output_config": output}}, strict=True)


def test_a_budget_above_the_limit_is_fine_with_interleaved_thinking():
    """The budget spans several answers then."""
    case = {"change": {"thinking": {"type": "enabled", "budget_tokens": 20000}}}
    assert refusal(case).startswith("`max_tokens` must be greater")
    translate(case | {"headers": {"anthropic-beta": "a,interleaved-thinking-2025-05-14"}}, strict=True)


def test_without_an_http_call_no_header_is_missing():
    """A library client sends none."""
    translate_request(
        CreateMessageRequest.model_validate(BASE), TranslationContext(profile_for(""), Policy(strict=True))
    )
