"""Usage of a reply: token counts and service tier. For stop reasons see test_response.py and test_stream.py."""

import pytest

from llama_stack_provider_messages.translation.messages_to_chat.reply.stop_and_usage import (
    token_counts,
    usage_fields,
)


def translated(usage):
    return usage_fields(token_counts(usage))


def counts(**usage):
    fields = translated(usage)
    return tuple(fields[f"{name}_tokens"] for name in ("input", "cache_creation_input", "cache_read_input", "output"))


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10}},
        {"prompt_tokens_details": {"cached_tokens": 60, "created_cache_tokens": 10}},
        {"prompt_cache_hit_tokens": 60, "cache_creation_input_tokens": 10},
        {
            "prompt_tokens_details": {"cached_tokens": 60, "cache_creation_input_tokens": 10},
            "cache_creation_tokens": 10,
        },
    ],
    ids=["OpenAI", "vLLM", "DeepSeek", "DashScope"],
)
def test_cached_tokens_are_counted_once(usage):
    """any-llm 1233, sglang 25876, envoyproxy 2236: cached tokens were counted in both places."""
    assert counts(prompt_tokens=100, completion_tokens=5, **usage) == (30, 10, 60, 5)


@pytest.mark.parametrize(
    ("read", "write", "expected"), [(9, 0, (0, 0, 5, 0)), (3, 9, (0, 2, 3, 0)), (9, 9, (0, 0, 5, 0))]
)
def test_cached_tokens_are_at_most_the_prompt(read, write, expected):
    """Input, cache reads and cache writes add up to the prompt, and none of them is negative."""
    details = {"cached_tokens": read, "created_cache_tokens": write}
    assert counts(prompt_tokens=5, prompt_tokens_details=details) == expected


def test_cached_tokens_of_an_unknown_prompt_are_kept():
    assert counts(prompt_tokens_details={"cached_tokens": 9}) == (0, 0, 9, 0)


def test_booleans_are_not_counts():
    details = {"cached_tokens": True, "created_cache_tokens": True}
    assert counts(prompt_tokens=True, completion_tokens=True, prompt_tokens_details=details) == (0, 0, 0, 0)


def test_cache_creation_is_broken_down():
    usage = translated({"prompt_tokens_details": {"cache_write_tokens": 7}})
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 0}


def test_reasoning_is_part_of_the_output():
    usage = translated({"completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 40}})
    assert (usage["output_tokens"], usage["output_tokens_details"]) == (50, {"thinking_tokens": 40})


@pytest.mark.parametrize("usage", [None, {}, "junk", {"prompt_tokens": "9", "completion_tokens": -1}])
def test_unknown_counts_are_zero_and_present(usage):
    assert translated(usage)["input_tokens"] == translated(usage)["output_tokens"] == 0


@pytest.mark.parametrize(("value", "expected"), [(5.0, 5), (5.5, 0), (float("inf"), 0), (float("nan"), 0)])
def test_integral_floats_count(value, expected):
    """Servers written in dynamic languages send them."""
    assert counts(completion_tokens=value)[3] == expected


@pytest.mark.parametrize(("tier", "expected"), [("default", "standard"), ("priority", "priority"), (None, "standard")])
def test_service_tier(tier, expected):
    assert usage_fields({}, tier)["service_tier"] == expected
