"""Every table of the reply translation covers exactly its enum."""

from typing import get_args

import pytest
from anthropic.types import ContentBlock, StopReason
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice

from llama_stack_api_messages.models import response
from llama_stack_provider_messages.translation.chat_to_messages import dropped_blocks
from llama_stack_provider_messages.translation.chat_to_messages.reply import finish, open_blocks
from support.chat_answers import message, reply_options
from support.sdk_types import structures


def literals(annotation):
    args = get_args(annotation)
    return {arg for arg in args if isinstance(arg, str)} | {text for arg in args for text in literals(arg)}


def test_every_stop_reason_has_a_valid_finish_reason():
    assert finish.FINISH_REASONS.keys() == set(response.STOP_REASONS)
    assert set(get_args(StopReason)) <= finish.FINISH_REASONS.keys()
    known = literals(Choice.model_fields["finish_reason"].annotation)
    assert {*finish.FINISH_REASONS.values(), "function_call"} == known


def test_service_tiers_exist_in_both_apis():
    assert set(finish.CHAT_TIERS) == {"standard", "priority", "batch"}
    assert set(finish.CHAT_TIERS.values()) <= literals(ChatCompletion.model_fields["service_tier"].annotation)


def test_streams_and_unary_responses_show_the_same_block_types():
    kinds = {kind for block in structures(ContentBlock) for kind in literals(block.model_fields["type"].annotation)}
    blocks = [{"type": kind, "name": "look", "data": "d"} for kind in sorted(kinds)]
    dropped = {entry.feature for entry in dropped_blocks(message(*blocks), reply_options())}
    assert kinds - dropped == set(open_blocks.KIND_OF_DELTA.values()) | {"redacted_thinking"}


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
    assert finish.finish_reason(reason, calls=calls, legacy=legacy) == expected
