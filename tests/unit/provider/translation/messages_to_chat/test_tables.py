"""Every mapping of an enum covers exactly the enum (and so do the tables of request fields)."""

from typing import get_args, get_type_hints

import pytest
from anthropic.types import OutputConfigParam, StopReason
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.shared import ReasoningEffort

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models import CreateMessageRequest, ThinkingConfig, ToolChoice, response
from llama_stack_api_messages.models.base import Unknown, type_tags
from llama_stack_api_messages.models.tools import Tool
from llama_stack_provider_messages.translation.messages_to_chat import Profile, TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.backend import presets
from llama_stack_provider_messages.translation.messages_to_chat.reply import stop_and_usage
from llama_stack_provider_messages.translation.messages_to_chat.request import request, thinking, tool_functions, tools


def literals(annotation):
    """Return the strings of a literal, however deeply it is wrapped."""
    args = get_args(annotation)
    return {arg for arg in args if isinstance(arg, str)} | {text for arg in args for text in literals(arg)}


def tags(union):
    """Return the types of a union's known members."""
    members = [member for member in get_args(get_args(union.__value__)[0]) if not issubclass(member, Unknown)]
    return {tag for member in members for tag in type_tags(member)}


@pytest.mark.parametrize("choice", [Choice, ChunkChoice], ids=["unary", "stream"])
def test_finish_reasons(choice):
    assert stop_and_usage.STOP_REASONS.keys() == literals(choice.model_fields["finish_reason"].annotation)


@pytest.mark.parametrize("known", [response.STOP_REASONS, get_args(StopReason)], ids=["models", "sdk"])
def test_stop_reasons_exist(known):
    table = {
        *stop_and_usage.STOP_REASONS.values(),
        *stop_and_usage.DIALECT_STOP_REASONS.values(),
        "tool_use",
        "stop_sequence",
    }
    assert table <= set(known)


def test_dialects_add_to_the_schema():
    assert not stop_and_usage.DIALECT_STOP_REASONS.keys() & stop_and_usage.STOP_REASONS.keys()
    assert not stop_and_usage.FAILURES & {*stop_and_usage.DIALECT_STOP_REASONS, *stop_and_usage.STOP_REASONS}


def test_service_tiers():
    assert literals(ChatCompletion.model_fields["service_tier"].annotation) <= stop_and_usage.SERVICE_TIERS.keys()
    assert set(stop_and_usage.SERVICE_TIERS.values()) <= {"standard", "priority", "batch"}


def test_efforts():
    stated = literals(get_type_hints(OutputConfigParam)["effort"])
    assert thinking.EFFORTS.keys() == stated | {"none"}
    values = {value for chain in thinking.EFFORTS.values() for value in chain}
    assert values <= literals(ReasoningEffort)


def test_thinking_modes():
    assert thinking.THINKING.keys() == tags(ThinkingConfig)


def test_tool_choices():
    assert {*tools.TOOL_CHOICES, "tool"} == tags(ToolChoice)


def test_every_kind_of_tool_is_in_exactly_one_table():
    tables = [*tool_functions.TOOLS, *tool_functions.TOOLSETS, *tool_functions.REMOVED_TOOLS]
    assert sorted(tables) == sorted({tool_functions.kind_of(tag) for tag in tags(Tool)})


def test_every_request_field_has_a_place():
    tables = [request.TRANSLATED, request.HINTS, request.CHECKED]
    assert set.union(*map(set, tables)) == set(CreateMessageRequest.model_fields)
    assert sum(map(len, tables)) == len(CreateMessageRequest.model_fields)


CHECKED_VALUES = {
    "thread": {"type": "create"},
    "compaction": {"type": "summarize"},
    "mcp_servers": [{"type": "url", "name": "a", "url": "https://a.example"}],
    "inference_geo": "us",
    "container": {"skills": [{"type": "custom", "skill_id": "a"}]},
    "billing_policy": {"type": "billing_policy", "bill_to": "user_profile"},
    "fallbacks": [{"model": "b"}],
    "safeguards": [{"type": "dangerous_tool_use"}],
}
"""A value of each checked field that is rejected or dropped."""


def test_every_checked_field_is_rejected_or_dropped():
    assert CHECKED_VALUES.keys() == request.CHECKED
    for name, value in CHECKED_VALUES.items():
        body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], name: value}
        try:
            dropped = request.translate_request(
                CreateMessageRequest.model_validate(body), TranslationContext(Profile())
            ).dropped
        except InvalidRequestError as error:
            assert error.message.startswith(name)  # noqa: PT017 - either outcome is right
        else:
            assert [entry.path for entry in dropped] == [name]


def test_profiles_ask_for_efforts_that_exist():
    for settings in presets.PRESETS.values():
        assert {*settings.efforts, *settings.template_efforts} <= literals(ReasoningEffort) - {"max"}
