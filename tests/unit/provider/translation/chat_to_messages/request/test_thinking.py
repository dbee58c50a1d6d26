"""Thinking and effort: what the golden cases do not show one by one."""

import pytest

from llama_stack_provider_messages.translation.chat_to_messages import Traits, TranslationOptions, traits_of

HI = {"role": "user", "content": "hi"}


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high", "xhigh", "max"])
@pytest.mark.parametrize("limit", [1, 1023, 1024, 4096, 4097, 16384, 32000, 64000])
def test_a_budget_is_always_below_the_limit(translate, effort, limit):
    done = translate(reasoning_effort=effort, max_tokens=limit)
    budget = done.body["thinking"]["budget_tokens"]
    assert budget + min(limit, 1024) <= done.body["max_tokens"]
    assert done.body["max_tokens"] >= limit
    raised = [(entry.path, entry.reason) for entry in done.dropped]
    more = f"raised to {done.body['max_tokens']}: thinking tokens count towards the limit"
    assert raised == ([("max_tokens", more)] if done.body["max_tokens"] > limit else [])


@pytest.mark.parametrize(("limit", "sent"), [(1025, 1025), (1024, 2048), (64001, 64000)])
def test_a_limit_above_the_clients_own_budget_is_kept(translate, limit, sent):
    """It has room for the budget, and the client limits the cost with it."""
    own = {"type": "enabled", "budget_tokens": 1024}
    done = translate(thinking=own, max_tokens=limit, options=TranslationOptions("m", max_output=64000))
    assert (done.body["max_tokens"], done.body["thinking"]) == (sent, own)


def test_an_effort_below_all_levels_of_the_model_gives_its_default(translate):
    traits = Traits(thinking="adaptive", efforts=("high",))
    done = translate(reasoning_effort="low", options=TranslationOptions("upstream", traits=traits))
    assert done.body["thinking"] == {"type": "adaptive"}
    assert "output_config" not in done.body
    assert [entry.path for entry in done.dropped] == ["reasoning_effort"]


def test_the_clients_own_thinking_is_sent_with_its_effort(translate):
    done = translate(
        thinking={"type": "adaptive"},
        reasoning_effort="max",
        options=TranslationOptions("m", traits=traits_of("claude-opus-5")),
    )
    assert (done.body["thinking"], done.body["output_config"]) == ({"type": "adaptive"}, {"effort": "max"})


@pytest.mark.parametrize("effort", ["none", "low"])
def test_the_clients_own_thinking_replaces_an_effort_that_cannot_be_combined(translate, effort):
    done = translate(thinking={"type": "disabled"}, reasoning_effort=effort)
    assert done.body["thinking"] == {"type": "disabled"}
    assert "output_config" not in done.body
    assert [entry.path for entry in done.dropped] == ["reasoning_effort"]


def test_the_effort_is_dropped_together_with_thinking(translate):
    options = TranslationOptions("m", traits=Traits(thinking="adaptive"))
    done = translate(HI, {"role": "assistant", "content": "So"}, reasoning_effort="max", options=options)
    assert done.body["thinking"] == {"type": "disabled"}
    assert "output_config" not in done.body


def test_thinking_is_dropped_before_a_prefill_even_if_it_cannot_be_switched_off(translate):
    traits = Traits(thinking="adaptive", always_on=True)
    done = translate(
        HI,
        {"role": "assistant", "content": "So"},
        reasoning_effort="high",
        options=TranslationOptions("m", traits=traits),
    )
    assert "thinking" not in done.body
    assert done.body["output_config"] == {"effort": "high"}


def test_calls_with_their_thinking_blocks_keep_thinking_on(translate):
    call = {"id": "a", "type": "function", "function": {"name": "get", "arguments": "{}"}}
    reasoning = [{"type": "reasoning.encrypted", "data": "d"}]
    assistant = {"role": "assistant", "tool_calls": [call], "reasoning_details": reasoning}
    done = translate(HI, assistant, {"role": "tool", "tool_call_id": "a", "content": "1"}, reasoning_effort="low")
    assert done.body["thinking"]["type"] == "enabled"
    assert not done.dropped
