"""Finish reasons, token counts and service tiers of chat completions, and sums of token counts."""

import pytest

from llama_stack_provider_messages.translation.chat_to_messages.reply.finish import (
    added,
    service_tier,
    translate_usage,
    updated,
)


def test_prompt_tokens_include_cached_tokens():
    usage = {
        "input_tokens": 1,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 300,
        "output_tokens": 4000,
    }
    assert translate_usage(usage | {"output_tokens_details": {"thinking_tokens": 7}}) == {
        "prompt_tokens": 321,
        "completion_tokens": 4000,
        "total_tokens": 4321,
        "prompt_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }


@pytest.mark.parametrize("value", [None, -1, "5", 2.5, [1]])
def test_an_invalid_count_is_zero(value):
    usage = dict.fromkeys(("input_tokens", "cache_read_input_tokens", "output_tokens"), value)
    assert translate_usage(usage)["total_tokens"] == 0


def test_whole_floats_are_counts():
    assert translate_usage({"input_tokens": 5.0})["prompt_tokens"] == 5


def test_reasoning_tokens_are_omitted_if_the_upstream_does_not_report_them():
    assert "completion_tokens_details" not in translate_usage({"output_tokens": 3, "output_tokens_details": None})


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"service_tier": "standard"}, "default"),
        ({"service_tier": "standard", "speed": "fast"}, "priority"),
        ({"service_tier": "batch", "speed": "standard"}, "flex"),
        ({"service_tier": "novel"}, None),
        ({"service_tier": ["standard"]}, None),
        ({}, None),
    ],
)
def test_an_unknown_service_tier_is_omitted(usage, tier):
    assert service_tier(usage).get("service_tier") == tier


def test_later_counts_replace_earlier_ones_and_null_is_ignored():
    assert updated({"input_tokens": 3, "output_tokens": 1}, {"output_tokens": 9, "input_tokens": None}) == {
        "input_tokens": 3,
        "output_tokens": 9,
    }
    assert updated({"a": 1}, "garbage") == {"a": 1}


def test_counts_of_two_requests_are_added_at_every_level():
    first = {"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 2}, "iterations": [1], "speed": None}
    second = {"input_tokens": 3, "cache_creation": {"ephemeral_5m_input_tokens": 4}, "iterations": [2], "speed": "fast"}
    assert added(first, second | {"output_tokens": 5}) == {
        "input_tokens": 4,
        "cache_creation": {"ephemeral_5m_input_tokens": 6},
        "iterations": [1, 2],
        "speed": "fast",
        "output_tokens": 5,
    }
    assert added({"server_tool_use": {"web_search_requests": 1}}, {"server_tool_use": None}) == {
        "server_tool_use": {"web_search_requests": 1}
    }
