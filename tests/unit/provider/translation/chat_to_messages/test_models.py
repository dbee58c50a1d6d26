"""Traits of model families, by the ids that clouds and gateways give their models."""

import pytest

from llama_stack_provider_messages.translation.chat_to_messages import Traits, traits_of


@pytest.mark.parametrize(
    ("model", "thinking", "prefill", "sampling", "mid_system"),
    [
        ("claude-3-haiku-20240307", "none", True, True, False),
        ("claude-3-5-sonnet-20241022", "none", True, True, False),
        ("claude-2.1", "none", True, True, False),
        ("claude-instant-1.2", "none", True, True, False),
        ("claude-3-7-sonnet@20250219", "budget", True, True, False),
        ("claude-sonnet-4-20250514", "budget", True, True, False),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", "budget", True, True, False),
        ("anthropic/claude-sonnet-4-5-20250929", "budget", True, True, False),
        ("claude-haiku-4.5", "budget", True, True, False),
        ("claude-opus-4-6", "adaptive", False, True, False),
        ("claude-opus-4-7", "adaptive", False, False, False),
        ("claude-opus-4-8-20260528", "adaptive", False, False, True),
        ("claude-sonnet-5", "adaptive", False, False, True),
        ("Claude-Opus-5", "adaptive", False, False, True),
        ("claude-opus-latest", "adaptive", False, False, True),
        ("claude", "adaptive", False, False, True),
    ],
)
def test_a_claude_model_has_the_traits_of_its_generation(model, thinking, prefill, sampling, mid_system):
    traits = traits_of(model)
    assert (traits.thinking, traits.prefill, traits.sampling, traits.mid_system) == (
        thinking,
        prefill,
        sampling,
        mid_system,
    )


@pytest.mark.parametrize(
    ("model", "forced", "always_on", "off"),
    [
        ("claude-sonnet-5", True, False, "disabled"),
        ("claude-sonnet-5-5", False, False, "between_tools"),
        ("claude-opus-5.5", False, False, "between_tools"),
        ("claude-fable-5", True, True, "disabled"),
        ("claude-fable-5-1", False, True, "disabled"),
        ("claude-mythos-preview", False, True, "disabled"),
        ("claude-mythos-5", False, True, "disabled"),
    ],
)
def test_the_newest_models_reject_forced_calls_or_always_think(model, forced, always_on, off):
    traits = traits_of(model)
    assert (traits.forced_tools, traits.always_on, traits.off) == (forced, always_on, off)


@pytest.mark.parametrize("model", ["claude-sonnet-4-20250514", "claude-3-7-sonnet-latest", "claude-3-opus-20240229"])
def test_structured_outputs_exist_since_opus_4_1_and_the_4_5_models(model):
    assert not traits_of(model).structured
    assert traits_of("claude-opus-4-1").structured
    assert traits_of("claude-haiku-4-5").structured


@pytest.mark.parametrize("model", ["", "llama3.2:3b", "gpt-5", "vllm/claudette-7b", "tiny", "qwen3-4-5"])
def test_a_model_other_than_claude_has_all_traits(model):
    assert traits_of(model) == Traits()
