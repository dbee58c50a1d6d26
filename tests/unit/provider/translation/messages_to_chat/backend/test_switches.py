"""What makes backends think, and what else they take: the presets."""

import pytest
from llama_stack.core.distribution import get_provider_registry
from llama_stack_api import Api

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.messages_to_chat import (
    PRESETS,
    PROVIDER_PRESETS,
    Policy,
    Profile,
    TranslationContext,
    profile_for,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.backend.adapt import SWITCH_FIELDS, without_switches
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile as Settings
from llama_stack_provider_messages.translation.messages_to_chat.request.thinking import SWITCHES
from support.streams import request

ENABLED = {"type": "enabled", "budget_tokens": 5000}
PREFILL = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "{"}]


def translated(like, asked, model=""):
    ctx = TranslationContext(profile_for("", model, {"like": like}), Policy())
    return translate_request(asked, ctx)


def switches(like, model="", **fields):
    chat = translated(like, request(**fields), model).fields
    return {
        name: value for name, value in chat.items() if name not in ("messages", "max_tokens", "max_completion_tokens")
    }


def test_every_provider_type_exists():
    """In the installed platform, or in this package; all of its remote ones were thought about."""
    remote = {name for name in get_provider_registry()[Api.inference] if name.startswith("remote::")}
    ours = {"inline::llama-cpp", "remote::messages"}
    assert {*PROVIDER_PRESETS} - ours <= remote
    assert remote - {*PROVIDER_PRESETS} == {
        "remote::databricks",
        "remote::llama-openai-compat",
        "remote::oci",
        "remote::passthrough",
    }
    assert {*PROVIDER_PRESETS.values()} <= {*PRESETS}


def test_every_value_has_a_switch():
    """And every field of every switch is left out when a backend refuses it."""
    assert {*Settings.model_fields["thinking"].annotation.__args__} == {*SWITCHES}
    for like, profile in PRESETS.items():
        for thinking in ({"type": "disabled"}, {"type": "adaptive"}, ENABLED):
            fields = translated(like, request(thinking=thinking, output_config={"effort": "high"})).fields
            left = without_switches(fields, "thinking is not supported", profile) or fields
            assert {*left} == {"messages", profile.output_limit}


def test_our_own_other_direction_keeps_what_a_request_for_messages_says():
    """An effort goes along with adaptive thinking only, for alone it would switch it on, and a budget says it all."""
    found = switches("messages", thinking={"type": "adaptive"}, output_config={"effort": "high"}, top_k=5)
    assert found == {"thinking": {"type": "adaptive"}, "reasoning_effort": "high", "top_k": 5}
    assert switches("messages", thinking=ENABLED) == {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    for thinking in (None, ENABLED):
        chat = translated("messages", request(thinking=thinking, output_config={"effort": "high"}))
        assert "reasoning_effort" not in chat.fields
        assert [entry.path for entry in chat.dropped] == ["output_config.effort"]


def test_the_budget_of_a_profile_is_left_out_too():
    """It is a switch like the others."""
    profile = Profile(budget_field="thinking_token_budget", thinking="template")
    asked = {"messages": [], "thinking_token_budget": 5, "chat_template_kwargs": {}}
    assert without_switches(asked, "thinking_token_budget is set but", profile) == {"messages": []}
    assert "thinking_token_budget" not in SWITCH_FIELDS


def test_deepseek_is_switched_by_type():
    assert switches("deepseek", thinking={"type": "disabled"}) == {"thinking": {"type": "disabled"}}
    found = switches("deepseek", thinking={"type": "adaptive"}, output_config={"effort": "max"})
    assert found == {"thinking": {"type": "enabled"}, "reasoning_effort": "xhigh"}
    assert switches("deepseek") == {}


def test_openrouter_takes_a_budget_or_an_effort():
    """Both at once are refused; the loss is noted."""
    chat = translated("openrouter", request(thinking=ENABLED, output_config={"effort": "high"}))
    assert chat.fields["reasoning"] == {"max_tokens": 5000}
    assert [entry.path for entry in chat.dropped] == ["output_config.effort"]
    assert switches("openrouter", output_config={"effort": "low"}) == {"reasoning": {"effort": "low"}}
    assert switches("openrouter", thinking={"type": "adaptive"}) == {"reasoning": {"enabled": True}}
    assert switches("openrouter", thinking={"type": "disabled"}) == {"reasoning": {"enabled": False}}
    assert switches("openrouter") == {}


def test_gemini_takes_the_budget_where_its_documentation_has_it():
    """An object called ``extra_body`` in the body."""
    found = switches("gemini", thinking=ENABLED)
    assert found == {"extra_body": {"google": {"thinking_config": {"thinking_budget": 5000}}}}


def test_a_template_takes_a_budget_beside_its_switch():
    assert switches("llama_cpp", thinking=ENABLED) == {
        "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
        "thinking_budget_tokens": 5000,
    }


def test_a_budget_of_a_switched_off_mode_counts_for_nothing():
    """Clients leave it behind."""
    found = switches("llama_cpp", thinking={"type": "disabled", "budget_tokens": 5000})
    assert found == {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}


def test_qwen_takes_a_flag_and_a_budget():
    assert switches("dashscope", thinking=ENABLED) == {"enable_thinking": True, "thinking_budget": 5000}
    assert switches("dashscope") == {}


def test_anthropic_behind_chat_completions_keeps_the_mode():
    """``between_tools`` is off there."""
    assert switches("anthropic", thinking=ENABLED) == {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    assert switches("anthropic", thinking={"type": "adaptive"}) == {"thinking": {"type": "adaptive"}}
    assert switches("anthropic", thinking={"type": "between_tools"}) == {"thinking": {"type": "disabled"}}
    chat = translated("anthropic", request(output_config={"effort": "high"}))
    assert "thinking" not in chat.fields
    assert [entry.path for entry in chat.dropped] == ["output_config.effort"]


def test_any_budget_is_taken():
    """Also one below the API's own minimum (bifrost 1479)."""
    assert switches("openrouter", thinking={"type": "enabled", "budget_tokens": 1}) == {"reasoning": {"max_tokens": 1}}


@pytest.mark.parametrize(
    ("like", "model", "efforts"),
    [
        ("openai", "gpt-5", ("minimal", "low", "medium", "high")),
        ("openai", "gpt-5.4", ("none", "minimal", "low", "medium", "high", "xhigh")),
        ("openai", "gpt-4o", ()),
        ("groq", "openai/gpt-oss-120b", ("low", "medium", "high")),
        ("groq", "llama-3.3", ()),
        ("gemini", "models/gemini-3-pro-preview", ("low", "high")),
        ("mistral", "mistral-small-latest", ("none", "high")),
    ],
)
def test_families_differ(like, model, efforts):
    """By the backend's name of the model."""
    assert profile_for("", model, {"like": like}).efforts == efforts


def test_configuration_wins_over_the_family():
    assert profile_for("remote::openai", "gpt-4o", {"efforts": ("low",)}).efforts == ("low",)


def test_mistral_gets_no_field_it_does_not_know():
    """Every one is a 422 (yetone/avante.nvim 2347)."""
    asked = request(stream=True, metadata={"user_id": "u"})
    assert switches("mistral", stream=True, metadata={"user_id": "u"}) == {"stream": True}
    assert translated("openrouter", asked).fields["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("like", "mark"), [("mistral", "prefix"), ("deepseek", "prefix"), ("moonshot", "partial")])
def test_a_prefill_is_marked_in_the_message(like, mark):
    """Its continuation cannot begin with thinking."""
    chat = translated(like, request(messages=PREFILL, thinking={"type": "adaptive"}))
    assert chat.fields["messages"][-1] == {"role": "assistant", "content": "{", mark: True}
    if like != "mistral":
        assert chat.fields["thinking"] == {"type": "disabled"}
    assert [entry.path for entry in chat.dropped] == ["thinking"]


def test_a_prefilled_answer_is_not_searched_for_tags():
    """Its beginning is not the answer's."""
    assert translated("groq", request()).options.inline == "tagged"
    assert translated("groq", request(messages=PREFILL)).options.inline == "none"


def test_a_backend_without_prefill_says_so():
    with pytest.raises(InvalidRequestError, match=r"^messages\.1: "):
        translated("xai", request(messages=PREFILL))
