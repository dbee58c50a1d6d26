"""Presets: thinking switches and other features of the known backends."""

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
    adapt,
    profile_for,
    translate_request,
)
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile as Settings
from llama_stack_provider_messages.translation.messages_to_chat.request.thinking import SWITCHES
from support.streams import request

ENABLED = {"type": "enabled", "budget_tokens": 5000}
PREFILL = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "{"}]


def translated(like, req, model=""):
    ctx = TranslationContext(profile_for("", model, {"like": like}), Policy())
    return translate_request(req, ctx)


def switches(like, model="", **fields):
    chat = translated(like, request(**fields), model).fields
    return {
        name: value for name, value in chat.items() if name not in ("messages", "max_tokens", "max_completion_tokens")
    }


def test_every_provider_type_exists():
    """In the installed platform or in this package; each remote type of the platform has a preset or is listed here."""
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


def test_every_thinking_mode_of_a_profile_has_a_switch():
    assert {*Settings.model_fields["thinking"].annotation.__args__} == {*SWITCHES}


@pytest.mark.parametrize("like", PRESETS)
@pytest.mark.parametrize(
    "thinking", [{"type": "disabled"}, {"type": "adaptive"}, ENABLED], ids=lambda value: value["type"]
)
def test_a_rejected_switch_is_omitted_completely_in_the_retry(like, thinking):
    """Each field of each switch is recognized, and the retry sends none of them."""
    profile, req = PRESETS[like], request(thinking=thinking, output_config={"effort": "high"})
    fields = translate_request(req, TranslationContext(profile)).fields
    adaptation = adapt(InvalidRequestError("thinking is not supported"), fields, profile, ())
    retried = translate_request(req, TranslationContext(profile.but(**adaptation.changes if adaptation else {})))
    assert {*retried.fields} == {"messages", profile.output_limit}


def test_the_messages_preset_keeps_thinking_effort_and_top_k():
    """An effort is sent with adaptive thinking only: alone it would switch thinking on, and a budget is more exact."""
    found = switches("messages", thinking={"type": "adaptive"}, output_config={"effort": "high"}, top_k=5)
    assert found == {"thinking": {"type": "adaptive"}, "reasoning_effort": "high", "top_k": 5}
    assert switches("messages", thinking=ENABLED) == {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    for thinking in (None, ENABLED):
        chat = translated("messages", request(thinking=thinking, output_config={"effort": "high"}))
        assert "reasoning_effort" not in chat.fields
        assert [entry.path for entry in chat.dropped] == ["output_config.effort"]


def test_the_budget_field_of_a_profile_is_a_switch():
    """It is omitted like the others."""
    failure, fields = (
        InvalidRequestError("thinking_token_budget is set but"),
        {"messages": [], "thinking_token_budget": 5},
    )
    adaptation = adapt(failure, fields, Profile(budget_field="thinking_token_budget"), ())
    assert dict(adaptation.changes) == {"thinking": "none", "budget_field": None}
    assert adapt(failure, fields, Profile(), ()) is None


def test_deepseek_has_a_thinking_type():
    assert switches("deepseek", thinking={"type": "disabled"}) == {"thinking": {"type": "disabled"}}
    found = switches("deepseek", thinking={"type": "adaptive"}, output_config={"effort": "max"})
    assert found == {"thinking": {"type": "enabled"}, "reasoning_effort": "xhigh"}
    assert switches("deepseek") == {}


def test_openrouter_gets_a_budget_or_an_effort():
    """Both together are rejected; the effort is logged as dropped."""
    chat = translated("openrouter", request(thinking=ENABLED, output_config={"effort": "high"}))
    assert chat.fields["reasoning"] == {"max_tokens": 5000}
    assert [entry.path for entry in chat.dropped] == ["output_config.effort"]
    assert switches("openrouter", output_config={"effort": "low"}) == {"reasoning": {"effort": "low"}}
    assert switches("openrouter", thinking={"type": "adaptive"}) == {"reasoning": {"enabled": True}}
    assert switches("openrouter", thinking={"type": "disabled"}) == {"reasoning": {"enabled": False}}
    assert switches("openrouter") == {}


def test_gemini_gets_the_budget_in_its_documented_place():
    """Inside an object named ``extra_body`` in the body."""
    found = switches("gemini", thinking=ENABLED)
    assert found == {"extra_body": {"google": {"thinking_config": {"thinking_budget": 5000}}}}


def test_llama_cpp_gets_a_budget_beside_the_template_switch():
    assert switches("llama_cpp", thinking=ENABLED) == {
        "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
        "thinking_budget_tokens": 5000,
    }


def test_a_budget_of_disabled_thinking_is_ignored():
    """Clients keep it when they disable thinking."""
    found = switches("llama_cpp", thinking={"type": "disabled", "budget_tokens": 5000})
    assert found == {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}


def test_qwen_gets_a_flag_and_a_budget():
    assert switches("dashscope", thinking=ENABLED) == {"enable_thinking": True, "thinking_budget": 5000}
    assert switches("dashscope") == {}


def test_anthropic_on_chat_completions_keeps_the_mode():
    """``between_tools`` becomes ``disabled``."""
    assert switches("anthropic", thinking=ENABLED) == {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    assert switches("anthropic", thinking={"type": "adaptive"}) == {"thinking": {"type": "adaptive"}}
    assert switches("anthropic", thinking={"type": "between_tools"}) == {"thinking": {"type": "disabled"}}
    chat = translated("anthropic", request(output_config={"effort": "high"}))
    assert "thinking" not in chat.fields
    assert [entry.path for entry in chat.dropped] == ["output_config.effort"]


def test_any_budget_is_accepted():
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
    """Found by the backend's name of the model."""
    assert profile_for("", model, {"like": like}).efforts == efforts


def test_the_configuration_has_precedence_over_the_family():
    assert profile_for("remote::openai", "gpt-4o", {"efforts": ("low",)}).efforts == ("low",)


def test_mistral_gets_no_unknown_field():
    """Each unknown field is a 422 (yetone/avante.nvim 2347)."""
    req = request(stream=True, metadata={"user_id": "u"})
    assert switches("mistral", stream=True, metadata={"user_id": "u"}) == {"stream": True}
    assert translated("openrouter", req).fields["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("like", "mark"), [("mistral", "prefix"), ("deepseek", "prefix"), ("moonshot", "partial")])
def test_a_prefill_is_marked_in_the_message(like, mark):
    """The continuation cannot start with thinking."""
    chat = translated(like, request(messages=PREFILL, thinking={"type": "adaptive"}))
    assert chat.fields["messages"][-1] == {"role": "assistant", "content": "{", mark: True}
    if like != "mistral":
        assert chat.fields["thinking"] == {"type": "disabled"}
    assert [entry.path for entry in chat.dropped] == ["thinking"]


def test_the_continuation_of_a_prefill_is_not_searched_for_tags():
    """Its beginning is not the beginning of the text."""
    assert translated("groq", request()).options.inline == "tagged"
    assert translated("groq", request(messages=PREFILL)).options.inline == "none"


def test_a_prefill_is_an_error_for_a_backend_without_prefill():
    with pytest.raises(InvalidRequestError, match=r"^messages\.1: "):
        translated("xai", request(messages=PREFILL))
