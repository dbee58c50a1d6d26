"""Profiles of known backends, by preset name (``like`` in the configuration) and by the platform's provider type.

Preset names are for backends behind a provider of another type, such as OpenRouter through ``remote::openai``.
Fields without a known value keep their default, which suits the common form of chat completions. Sources are given in
comments; values without a source are assumed.

To add a backend, begin with a row of ``PRESETS`` and, if the platform has a provider type for it, one of
``PROVIDER_PRESETS``. Most need no more. Facts of one backend are in these places:

    features and limits              PRESETS, PROVIDER_PRESETS; a field that no profile has yet: profile.py
    models that differ               _FAMILIES, below
    a new way to switch thinking     Profile.thinking, SWITCHES in request/, SWITCH_FIELDS in adapt.py
    tokenizer                        Profile.tokenizer, COUNTING_METHODS in tokens.py
    errors that lead to a retry      the patterns of the rules in adapt.py
    errors about too long prompts    errors/overflow.py
    errors about images and policy   errors/body.py
    finish reasons and token counts  reply/stop_and_usage.py
    fields with reasoning            reply/reasoning.py
    native lane: provider types that are probed, and corrections of an endpoint   routing/lanes.py, native/repair/
    documentation                    the table of backends and the names for `like` in docs/backends.md

A wrong row costs little: a request with a rejected thinking switch is retried without it (adapt.py), and the
configuration can override each field.
"""

from collections.abc import Mapping
from typing import Any

from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile

_LEVELS = ("low", "medium", "high")

_TEMPLATE_SERVER = Profile(thinking="template", template_efforts=_LEVELS, top_k=True)

PRESETS: dict[str, Profile] = {
    "openai": Profile(
        output_limit="max_completion_tokens",
        thinking="effort",
        efforts=("none", "minimal", *_LEVELS, "xhigh"),
        user_field="safety_identifier",
        service_tier=True,
        prompt_cache_key=True,
        call_ids="short",
        documents="file",
        prefill="reject",
    ),
    # vLLM reads `reasoning` of earlier messages and passes it to the template under both names (chat_utils.py).
    # `thinking_token_budget` is a 400 unless the server has a reasoning parser or --reasoning-config: no default.
    "vllm": _TEMPLATE_SERVER.but(
        efforts=_LEVELS, template_efforts=(), prefill="continue", reasoning_field="reasoning", tokenizer="vllm"
    ),
    # docs.sglang.io, "Thinking Budget": `reasoning_effort` goes to the template, a budget in the template is a hint.
    "sglang": _TEMPLATE_SERVER.but(
        efforts=_LEVELS, template_efforts=(), prefill="continue", reasoning_field="reasoning_content"
    ),
    # llama.cpp treats a named choice as "auto" (26535), and allows unlimited text before a required call (27217).
    # A budget in the request applies unless the server was started with one (23673).
    "llama_cpp": _TEMPLATE_SERVER.but(
        forced_calls=False,
        budget_field="thinking_budget_tokens",
        reasoning_field="reasoning_content",
        tokenizer="llama_cpp",
    ),
    # Ollama answers 400 to a level if the model does not think or has no levels; thinking models think by default.
    # The platform's own adapter: "Ollama's CC endpoint expects 'reasoning' on assistant messages".
    "ollama": Profile(thinking="effort", efforts=("none",), reasoning_field="reasoning"),
    "lmstudio": Profile(top_k=True, inline_thinking="tagged"),
    # api-docs.deepseek.com/guides/thinking_mode: on by default, `low` and `medium` count as high, `xhigh` as max.
    # Without reasoning in a tool loop it answers 400, V4 also to "" (NousResearch/hermes-agent 17341) and to plain
    # turns without it (diegosouzapw/OmniRoute 3632). Prefill needs the provider's base_url to end in /beta.
    "deepseek": Profile(
        thinking="type",
        efforts=(*_LEVELS, "xhigh"),
        reasoning_field="reasoning_content",
        reasoning_required=True,
        prefill="prefix",
    ),
    # "thinking is enabled but reasoning_content is missing in assistant tool call message" (QuantumNous/new-api 3121).
    "moonshot": Profile(
        thinking="type", reasoning_field="reasoning_content", reasoning_required=True, prefill="partial"
    ),
    "zhipu": Profile(thinking="type", reasoning_field="reasoning_content"),
    "dashscope": Profile(thinking="enable_thinking", budget_field="thinking_budget", top_k=True, prefill="partial"),
    # openrouter.ai/docs/use-cases/reasoning-tokens: an effort or a budget, not both; details go back unchanged.
    "openrouter": Profile(
        thinking="reasoning",
        efforts=("none", "minimal", *_LEVELS, "xhigh"),
        budget_field="reasoning.max_tokens",
        reasoning_field="reasoning_details",
        top_k=True,
        documents="file",
    ),
    # Every unknown field is a 422: `stream_options` (yetone/avante.nvim 2347), `max_completion_tokens`
    # (editor-code-assistant/eca 231), `reasoning_content` (charmbracelet/crush 1590); usage is always sent.
    "mistral": Profile(stream_usage=False, user_field=None, call_ids="nine", prefill="prefix"),
    # console.groq.com/docs/reasoning: without tools, reasoning is in the text, inside <think>.
    "groq": Profile(output_limit="max_completion_tokens", inline_thinking="tagged"),
    # inference-docs.cerebras.ai/capabilities/reasoning: Qwen's reasoning is in the text.
    "cerebras": Profile(
        output_limit="max_completion_tokens", thinking="effort", efforts=_LEVELS, inline_thinking="tagged"
    ),
    # 400 for level and budget together, and for an effort the model does not support (discuss.ai.google.dev 112648).
    # Assumed: the field of the budget.
    "gemini": Profile(
        thinking="effort",
        efforts=("none", "minimal", *_LEVELS),
        budget_field="extra_body.google.thinking_config.thinking_budget",
    ),
    # The platform calls Gemini's own API here, and passes unknown fields to a class that rejects most of them.
    "vertexai": Profile(thinking="effort", efforts=("none", "minimal", *_LEVELS, "xhigh"), top_k=True),
    "xai": Profile(prefill="reject"),
    # docs.anthropic.com/en/api/openai-sdk: accepts `thinking`, moves system messages to the front, ignores efforts.
    "anthropic": Profile(thinking="messages", budget_field="thinking.budget_tokens", inline_system="user"),
    # Our own chat completions API (translation/chat_to_messages), if the native lane (pass-through) is off.
    "messages": Profile(
        thinking="messages",
        budget_field="thinking.budget_tokens",
        efforts=(*_LEVELS, "xhigh"),
        reasoning_field="reasoning_details",
        top_k=True,
        documents="file",
        tool_images=True,
        service_tier=True,
        cache_breakpoints=True,
    ),
    # The platform's own adapter: "Bedrock's CC endpoint expects 'reasoning' on assistant messages".
    "bedrock": Profile(thinking="effort", efforts=_LEVELS, reasoning_field="reasoning"),
    # Assumed, like the efforts of Bedrock.
    "fireworks": Profile(thinking="effort", efforts=("none", *_LEVELS), top_k=True),
    # Assumed: DeepSeek R1 writes its tags into the text there. Text without tags is not affected.
    "together": Profile(top_k=True, inline_thinking="tagged"),
    "sambanova": Profile(top_k=True, inline_thinking="tagged"),
    # Assumed: NIM uses chat templates like vLLM.
    "nvidia": Profile(thinking="template"),
    # The platform's adapter: "WatsonX does not support stream_options".
    "watsonx": Profile(stream_usage=False),
}
"""Preset name (``like`` in the configuration) -> profile."""

# Azure answers 400 "Invalid Value: 'file'" for models that read files at OpenAI (azure-sdk-for-net 51873,
# openai-python 2826).
PRESETS["azure"] = PRESETS["openai"].but(documents="text")

PROVIDER_PRESETS: dict[str, str] = {
    "remote::anthropic": "anthropic",
    "remote::azure": "azure",
    "remote::bedrock": "bedrock",
    "remote::cerebras": "cerebras",
    "remote::fireworks": "fireworks",
    "remote::gemini": "gemini",
    "remote::groq": "groq",
    "remote::messages": "messages",
    "remote::llama-cpp-server": "llama_cpp",
    "inline::llama-cpp": "llama_cpp",
    "remote::nvidia": "nvidia",
    "remote::ollama": "ollama",
    "remote::openai": "openai",
    "remote::runpod": "vllm",
    "remote::sambanova": "sambanova",
    "remote::together": "together",
    "remote::vertexai": "vertexai",
    "remote::vllm": "vllm",
    "remote::watsonx": "watsonx",
}
"""The platform's provider type -> preset; any other gets ``Profile()``.

Four of the platform's own types also get it: the backend of ``remote::passthrough`` is unknown (and its client rejects
fields beyond OpenAI's), and no differences are known for ``remote::databricks``, ``remote::llama-openai-compat`` and
``remote::oci``.
"""

_UNSIGNED_CALLS = {"call_extra": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
"""Placeholder that Gemini 3 accepts for a missing signature (ai.google.dev/gemini-api/docs/thought-signatures)."""

_NO_THINKING: dict[str, Any] = {"efforts": (), "thinking": "none"}
_OPENAI_FAMILIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("gpt-3.5", {**_NO_THINKING, "documents": "text"}),
    ("gpt-4$", {**_NO_THINKING, "documents": "text"}),
    ("gpt-4-", {**_NO_THINKING, "documents": "text"}),
    ("gpt-4", _NO_THINKING),
    ("chatgpt-4o", _NO_THINKING),
    ("o1-mini", {"efforts": _LEVELS, "documents": "text"}),
    ("o3-mini", {"efforts": _LEVELS, "documents": "text"}),
    ("o1", {"efforts": _LEVELS}),
    ("o3", {"efforts": _LEVELS}),
    ("o4", {"efforts": _LEVELS}),
    ("gpt-5-", {"efforts": ("minimal", *_LEVELS)}),
    ("gpt-5$", {"efforts": ("minimal", *_LEVELS)}),
)
"""OpenAI's models with vision read PDFs, from gpt-4o on (developers.openai.com/api/docs/guides/file-inputs)."""

_FAMILIES: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "openai": _OPENAI_FAMILIES,
    "azure": _OPENAI_FAMILIES,
    "gemini": (
        ("gemini-3-pro", {"efforts": ("low", "high"), **_UNSIGNED_CALLS}),
        ("models/gemini-3-pro", {"efforts": ("low", "high"), **_UNSIGNED_CALLS}),
        ("gemini-3", _UNSIGNED_CALLS),
        ("models/gemini-3", _UNSIGNED_CALLS),
    ),
    "groq": (
        ("openai/gpt-oss", {"thinking": "effort", "efforts": _LEVELS}),
        ("qwen/", {"thinking": "effort", "efforts": ("none",)}),
    ),
    "mistral": (("mistral-small", {"thinking": "effort", "efforts": ("none", "high")}),),
    "xai": (("grok-3-mini", {"thinking": "effort", "efforts": ("low", "high")}),),
}
"""Preset -> prefix of the backend's model name (``$`` marks its end) -> fields that differ.

Without these rows, a service that answers 400 to an unsupported effort would get every request twice.
"""


def profile_for(provider_type: str, model: str = "", overrides: Mapping[str, Any] | None = None) -> Profile:
    """Return the profile of a provider.

    Args:
        provider_type: The platform's provider type, e.g. ``remote::vllm``.
        model: The backend's model name, if known; some services differ by model family.
        overrides: Fields of the profile, and ``like`` with a preset name.

    Raises:
        pydantic.ValidationError: The overrides hold an unknown field or an invalid value.
    """
    changes = dict(overrides or {})
    preset = changes.pop("like", None) or PROVIDER_PRESETS.get(provider_type)
    profile = PRESETS[preset] if preset else Profile()
    families = _FAMILIES.get(preset or "", ())
    family: dict[str, Any] = next((fields for prefix, fields in families if f"{model}$".startswith(prefix)), {})
    changes = family | changes
    return profile.but(**changes) if changes else profile
