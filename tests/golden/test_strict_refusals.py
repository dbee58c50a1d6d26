"""Error messages of strict validation: ``strict_refusals.in.json`` -> ``strict_refusals.out.json``."""

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


def error_message(case):
    with pytest.raises(InvalidRequestError) as caught:
        translate(case, strict=True)
    return caught.value.message


def test_strict_validation_rejects_a_request(pytestconfig):
    """With the message of the API, if it is known."""
    path = HERE / "strict_refusals.out.json"
    output = json.dumps({case["name"]: error_message(case) for case in CASES}, indent=1) + "\n"
    if pytestconfig.getoption("--update-golden", default=False):
        path.write_text(output)
    assert path.read_text() == output


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_lenient_validation_accepts_what_it_can_serve(case):
    """It repairs or ignores most of what strict validation rejects."""
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
def test_strict_validation_accepts_what_the_api_accepts(change):
    """No rule is too broad."""
    translate({"change": change}, strict=True)


def test_the_newest_version_allows_citations_of_assistants_and_documents_of_users():
    """It only rejects documents of assistants and citations of users."""
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    user = [{"type": "text", "text": "a", "citations": []}, {"type": "document", "source": source}]
    assistant = [{"type": "text", "text": "b", "citations": [{"type": "x"}]}]
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    change = {"messages": turns, "output_config": {"effort": "low"}}
    translate({"change": change, "headers": {"anthropic-version": "2026-10-21"}}, strict=True)


def test_an_output_format_allows_documents_without_citations():
    """It only excludes citations."""
    source = {"type": "text", "media_type": "text/plain", "data": "x"}
    turns = [{"role": "user", "content": [{"type": "document", "source": source}]}]
    output = {"format": {"type": "json_schema", "schema": {}}}
    translate({"change": {"messages": turns, "output_config": output}}, strict=True)


def test_interleaved_thinking_allows_a_budget_above_max_tokens():
    """Because the budget is for several responses."""
    case = {"change": {"thinking": {"type": "enabled", "budget_tokens": 20000}}}
    assert error_message(case).startswith("`max_tokens` must be greater")
    translate(case | {"headers": {"anthropic-beta": "a,interleaved-thinking-2025-05-14"}}, strict=True)


def test_a_library_client_needs_no_headers():
    """Only an HTTP request needs a version header."""
    translate_request(
        CreateMessageRequest.model_validate(BASE), TranslationContext(profile_for(""), Policy(strict=True))
    )
