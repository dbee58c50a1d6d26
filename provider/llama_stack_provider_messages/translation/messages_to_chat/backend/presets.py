"""Profiles of backends: by a name that configuration may give with ``like``, and by the platform's provider type.

A name serves whatever is reached through a provider of another type, as OpenRouter is through ``remote::openai``.
Where nothing is known of a backend the field keeps its default, which suits a server of the common form. What has a
source has it beside it; what has none is assumed. Model families differ, so a refusal of a switch is answered by
asking again without it (thinking.py), and configuration overrides single fields.
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
    # vLLM reads `reasoning` of earlier messages and hands it to the template under both names (chat_utils.py).
    # `thinking_token_budget` is a 400 unless the server has a reasoning parser or --reasoning-config: no default.
    "vllm": _TEMPLATE_SERVER.but(
        efforts=_LEVELS, template_efforts=(), prefill="continue", reasoning_field="reasoning", tokenizer="vllm"
    ),
    # docs.sglang.io, "Thinking Budget": `reasoning_effort` goes to the template, a budget of the template is a hint.
    "sglang": _TEMPLATE_SERVER.but(
        efforts=_LEVELS, template_efforts=(), prefill="continue", reasoning_field="reasoning_content"
    ),
    # llama.cpp reads a named choice as "auto" (26535), and lets text without end come before a required call (27217).
    # A budget in the request counts unless the server was started with one (23673).
    "llama_cpp": _TEMPLATE_SERVER.but(
        forced_calls=False,
        budget_field="thinking_budget_tokens",
        reasoning_field="reasoning_content",
        tokenizer="llama_cpp",
    ),
    # Ollama answers 400 to a level when the model does not think or has no levels; models that think do so unasked.
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
    # Every field it does not know is a 422: `stream_options` (yetone/avante.nvim 2347), `max_completion_tokens`
    # (editor-code-assistant/eca 231), `reasoning_content` (charmbracelet/crush 1590); usage comes unasked.
    "mistral": Profile(stream_usage=False, user_field=None, call_ids="nine", prefill="prefix"),
    # console.groq.com/docs/reasoning: without tools reasoning comes raw, inside <think>.
    "groq": Profile(output_limit="max_completion_tokens", inline_thinking="tagged"),
    # inference-docs.cerebras.ai/capabilities/reasoning: Qwen's reasoning comes raw.
    "cerebras": Profile(
        output_limit="max_completion_tokens", thinking="effort", efforts=_LEVELS, inline_thinking="tagged"
    ),
    # Level and budget together are a 400, so is an effort the model lacks (discuss.ai.google.dev 112648). Assumed: the
    # place of the budget.
    "gemini": Profile(
        thinking="effort",
        efforts=("none", "minimal", *_LEVELS),
        budget_field="extra_body.google.thinking_config.thinking_budget",
    ),
    # The platform talks to Gemini itself here, and passes unknown fields to a class that refuses most of them.
    "vertexai": Profile(thinking="effort", efforts=("none", "minimal", *_LEVELS, "xhigh"), top_k=True),
    "xai": Profile(prefill="reject"),
    # docs.anthropic.com/en/api/openai-sdk: `thinking` is taken, system messages move to the front, efforts are ignored.
    "anthropic": Profile(thinking="messages", budget_field="thinking.budget_tokens", inline_system="user"),
    # Our own other direction (translation/chat_to_messages), where the native lane is off.
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
    # Assumed, as are the efforts of Bedrock.
    "fireworks": Profile(thinking="effort", efforts=("none", *_LEVELS), top_k=True),
    # Assumed: DeepSeek R1 writes its tags into the text there. The rule is harmless for text without them.
    "together": Profile(top_k=True, inline_thinking="tagged"),
    "sambanova": Profile(top_k=True, inline_thinking="tagged"),
    # Assumed: NIM serves templates as vLLM does.
    "nvidia": Profile(thinking="template"),
    # The platform's adapter: "WatsonX does not support stream_options".
    "watsonx": Profile(stream_usage=False),
}
"""By a name that configuration may give with ``like``."""

# Azure answers 400 "Invalid Value: 'file'" to models that read files at OpenAI (azure-sdk-for-net 51873,
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

So do four of its own: what is behind ``remote::passthrough`` is not known (and its client refuses fields beyond
OpenAI's), nor is anything special of ``remote::databricks``, ``remote::llama-openai-compat`` and ``remote::oci``.
"""

_UNSIGNED_CALLS = {"call_extra": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
"""What Gemini 3 takes in place of a signature (ai.google.dev/gemini-api/docs/thought-signatures)."""

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
"""OpenAI's models read PDFs if they see; gpt-4o is the first (developers.openai.com/api/docs/guides/file-inputs)."""

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
"""Preset -> beginning of the backend's name of a model (``$`` marks its end) -> what differs.

A service that answers 400 to an effort the model does not have would get every request twice.
"""


def profile_for(provider_type: str, model: str = "", overrides: Mapping[str, Any] | None = None) -> Profile:
    """Return the profile of a provider.

    Args:
        provider_type: Of the platform, e.g. ``remote::vllm``.
        model: The backend's name of the model, where it is known; the families of some services differ.
        overrides: Fields of the profile, and ``like`` with the name of a preset.

    Raises:
        pydantic.ValidationError: The overrides hold a field or value that does not exist.
    """
    changes = dict(overrides or {})
    preset = changes.pop("like", None) or PROVIDER_PRESETS.get(provider_type)
    profile = PRESETS[preset] if preset else Profile()
    changes = _family(preset, model) | changes
    return profile.but(**changes) if changes else profile


def _family(preset: str | None, model: str) -> dict[str, Any]:
    families = _FAMILIES.get(preset or "", ())
    return next((changes for start, changes in families if f"{model}$".startswith(start)), {})
