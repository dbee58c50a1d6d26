"""Every field and value of the openai SDK's requests is in a table."""

from typing import get_args

import pytest
from openai.types import ReasoningEffort
from openai.types.chat import ChatCompletionMessageParam, completion_create_params
from openai.types.chat.chat_completion_content_part_param import ChatCompletionContentPartParam

from llama_stack_provider_messages.translation.chat_to_messages.models import EFFORTS as LEVELS
from llama_stack_provider_messages.translation.chat_to_messages.request import (
    content,
    messages,
    settings,
    tools,
    unsupported,
)
from llama_stack_provider_messages.translation.chat_to_messages.request.thinking import BUDGETS, EFFORTS
from support.sdk_types import bare, fields, literals, structures

SDK = fields(completion_create_params.CompletionCreateParamsStreaming)


def test_every_field_of_the_sdk_is_known():
    assert set(SDK) <= unsupported.KNOWN
    assert set(SDK) >= unsupported.TRANSLATED  # from the oldest SDK on


def test_every_field_is_in_one_table():
    tables = [
        unsupported.TRANSLATED,
        unsupported.EXTENSIONS,
        unsupported.CHECKED,
        unsupported.WARNED.keys(),
        unsupported.HINTS.keys(),
    ]
    assert sum(map(len, tables)) == len(unsupported.KNOWN)


def test_every_role_of_the_sdk_is_read():
    roles = {role for kind in structures(ChatCompletionMessageParam) for role in literals(fields(kind)["role"])}
    assert roles == messages.ROLES.keys() == messages.FIELDS.keys()


@pytest.mark.parametrize("kind", structures(ChatCompletionMessageParam), ids=lambda kind: kind.__name__)
def test_every_field_of_a_message_is_read(kind):
    (role,) = literals(fields(kind)["role"])
    assert set(fields(kind)) <= messages.FIELDS[role]


def test_every_part_of_the_sdk_has_a_translation():
    kinds = {kind for part in structures(ChatCompletionContentPartParam) for kind in literals(fields(part)["type"])}
    assert kinds == content.USER_PARTS.keys()
    assert {name for part in structures(ChatCompletionContentPartParam) for name in fields(part)} <= {
        *content.PART_FIELDS,
        "input_audio",
    }


def test_every_effort_of_the_sdk_has_a_level_and_a_budget():
    efforts = literals(ReasoningEffort) - {"none"}
    assert efforts <= EFFORTS.keys() == BUDGETS.keys()
    assert set(EFFORTS.values()) == set(LEVELS)
    assert list(BUDGETS.values()) == sorted(BUDGETS.values())


def test_every_service_tier_of_the_sdk_has_an_equivalent():
    assert literals(SDK["service_tier"]) <= settings.TIER_FIELDS.keys()


def test_every_mode_of_the_tool_choice_has_an_equivalent():
    modes = {value for part in get_args(bare(SDK["tool_choice"])) for value in literals(part)}
    assert {mode for mode in modes if isinstance(mode, str)} >= tools.CHOICE_TYPES.keys()
