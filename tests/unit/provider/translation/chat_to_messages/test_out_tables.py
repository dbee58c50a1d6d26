"""Every mapping of the answers covers exactly its enum."""

from typing import get_args

import pytest
from anthropic.types import StopReason
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice

from llama_stack_api_messages.models import response
from llama_stack_provider_messages.translation.chat_to_messages.reply import open_blocks, stop_reason, usage
from llama_stack_provider_messages.translation.chat_to_messages.reply import response as answers


def literals(annotation):
    args = get_args(annotation)
    return {arg for arg in args if isinstance(arg, str)} | {text for arg in args for text in literals(arg)}


def test_every_stop_reason_of_the_api_has_a_finish_reason_that_exists():
    assert stop_reason.FINISH_REASONS.keys() == set(response.STOP_REASONS)
    assert set(get_args(StopReason)) <= stop_reason.FINISH_REASONS.keys()
    known = literals(Choice.model_fields["finish_reason"].annotation)
    assert {*stop_reason.FINISH_REASONS.values(), "function_call"} == known


def test_service_tiers_exist_on_both_sides():
    assert set(usage.SERVICE_TIERS) == {"standard", "priority", "batch"}
    assert set(usage.SERVICE_TIERS.values()) <= literals(ChatCompletion.model_fields["service_tier"].annotation)


def test_blocks_that_are_shown_are_the_same_in_streams():
    assert set(open_blocks.KIND_OF_DELTA.values()) | {"redacted_thinking"} == answers._STEPS.keys()


@pytest.mark.parametrize(
    ("reason", "calls", "legacy", "expected"),
    [
        ("tool_use", True, True, "function_call"),
        ("tool_use", False, False, "stop"),
        ("end_turn", True, False, "tool_calls"),
        ("max_tokens", True, False, "length"),
        ("refusal", True, True, "content_filter"),
        ("novel", False, False, "stop"),
        (None, True, False, "tool_calls"),
        (["x"], False, False, "stop"),
    ],
)
def test_a_finish_reason_and_the_calls_agree(reason, calls, legacy, expected):
    assert stop_reason.finish_reason(reason, calls=calls, legacy=legacy) == expected
