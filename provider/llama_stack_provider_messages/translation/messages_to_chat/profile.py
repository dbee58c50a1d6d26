"""What a backend takes beyond, or short of, the common form of chat completions.

One table holds the settings by the platform's provider type, a second one presets by a name, for services that are
reached through a provider of another type (OpenRouter through ``remote::openai``). Configuration overrides single
fields of either.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Profile(BaseModel):
    """Settings of one kind of backend. The defaults suit a server nothing is known about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output_limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="Field that holds `max_tokens`."
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, description="Larger values of `max_tokens` are lowered to this one."
    )
    thinking: Literal["effort", "template", "none"] = Field(
        default="none",
        description="How reasoning is switched: `effort` by `reasoning_effort`, `template` by `chat_template_kwargs`, "
        "`none` not at all.",
    )
    efforts: tuple[str, ...] = Field(
        default=(), description="Values `reasoning_effort` may have, of `none` to `max`; empty when it is not taken."
    )
    template_efforts: tuple[str, ...] = Field(
        default=(), description="The same for a `reasoning_effort` inside `chat_template_kwargs`."
    )
    reasoning_field: Literal["reasoning_content", "reasoning", "reasoning_details"] | None = Field(
        default=None, description="Field of assistant messages that takes earlier reasoning back; none: it is left out."
    )
    inline_thinking: Literal["none", "tagged", "open"] = Field(
        default="none",
        description="Reasoning inside the text of an answer: `tagged` between `<think>` and `</think>` at its "
        "beginning, `open` from the first character up to `</think>`.",
    )
    images: Literal["parts", "reject", "placeholder"] = Field(
        default="parts",
        description="What becomes of images: `parts` the model sees them; `reject` a 400 (in tool results a note); "
        "`placeholder` a note to the model.",
    )
    tool_images: bool = Field(default=False, description="Tool messages may hold image parts.")
    documents: Literal["file", "text", "reject"] = Field(
        default="text",
        description="What becomes of PDF documents: `file` parts, their `text`, or a 400 (in tool results a note).",
    )
    top_k: bool = Field(default=False, description="`top_k` is taken.")
    forced_calls: bool = Field(
        default=True, description="`tool_choice` may name a function, and holds; so does `parallel_tool_calls`."
    )
    call_ids: Literal["any", "short", "nine"] = Field(
        default="any",
        description="Ids of calls: `any`; `short` up to 40 characters (OpenAI); `nine` letters and digits (Mistral).",
    )
    user_field: Literal["user", "safety_identifier"] = Field(default="user", description="Field for the end user's id.")
    service_tier: bool = Field(default=False, description="`service_tier` means something there.")
    prompt_cache_key: bool = Field(default=False, description="`prompt_cache_key` is taken.")
    cache_breakpoints: bool = Field(
        default=False, description="Content parts may hold `prompt_cache_breakpoint`, which `cache_control` becomes."
    )
    inline_system: Literal["system", "user", "first"] = Field(
        default="system",
        description="Where system messages inside the conversation go: they stay (`system`), become user text where "
        "they stand (`user`), or join the leading one (`first`), which costs the prefix cache whenever one is added.",
    )
    prefill: Literal["trailing", "continue", "reject"] = Field(
        default="trailing",
        description="A final assistant message: `trailing` it is continued anyway; `continue` it is with "
        "`continue_final_message`; `reject` it cannot be.",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="Fields added to every request to the backend."
    )

    def but(self, **changes: Any) -> "Profile":  # noqa: ANN401 - any field
        """Return a copy with other values, checked like the fields themselves."""
        return Profile.model_validate({**dict(self), **changes})


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
    "vllm": _TEMPLATE_SERVER.but(efforts=_LEVELS, template_efforts=(), prefill="continue"),
    # llama.cpp reads a named choice as "auto" (26535), and lets text without end come before a required call (27217).
    "llama_cpp": _TEMPLATE_SERVER.but(forced_calls=False),
    # Ollama answers 400 to a level when the model does not think or has no levels; models that think do so unasked.
    "ollama": Profile(thinking="effort", efforts=("none",)),
}
"""By a name that configuration may give with ``like``."""

# Azure answers 400 "Invalid Value: 'file'" to models that read files at OpenAI (azure-sdk-for-net 51873,
# openai-python 2826).
PRESETS["azure"] = PRESETS["openai"].but(documents="text")

PROVIDER_PRESETS: dict[str, str] = {
    "remote::openai": "openai",
    "remote::azure": "azure",
    "remote::vllm": "vllm",
    "remote::llama-cpp-server": "llama_cpp",
    "inline::llama-cpp": "llama_cpp",
    "remote::ollama": "ollama",
}
"""The platform's provider type -> preset; any other gets ``Profile()``."""

_OPENAI_EFFORTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("gpt-3.5", ()),
    ("gpt-4", ()),
    ("chatgpt-4o", ()),
    ("o1", _LEVELS),
    ("o3", _LEVELS),
    ("o4", _LEVELS),
    ("gpt-5-", ("minimal", *_LEVELS)),
)
"""OpenAI answers 400 to an effort a model does not have; families by the beginning of the model's name."""

_OPENAI_WITHOUT_FILES = ("gpt-3.5", "gpt-4-", "o1-mini", "o3-mini")
"""OpenAI's models read PDFs if they see; gpt-4o is the first (developers.openai.com/api/docs/guides/file-inputs)."""


def profile_for(provider_type: str, model: str = "", overrides: Mapping[str, Any] | None = None) -> Profile:
    """Return the profile of a provider.

    Args:
        provider_type: Of the platform, e.g. ``remote::vllm``.
        model: The backend's name of the model, where it is known; OpenAI's families differ.
        overrides: Fields of the profile, and ``like`` with the name of a preset.

    Raises:
        pydantic.ValidationError: The overrides hold a field or value that does not exist.
    """
    changes = dict(overrides or {})
    preset = changes.pop("like", None) or PROVIDER_PRESETS.get(provider_type)
    profile = PRESETS[preset] if preset else Profile()
    if preset in ("openai", "azure"):
        profile = _openai_family(profile, model)
    return profile.but(**changes) if changes else profile


def _openai_family(profile: Profile, model: str) -> Profile:
    if model == "gpt-4" or model.startswith(_OPENAI_WITHOUT_FILES):
        profile = profile.but(documents="text")
    for prefix, efforts in _OPENAI_EFFORTS:
        if model.startswith(prefix):
            return profile.but(efforts=efforts, thinking="effort" if efforts else "none")
    return profile.but(efforts=("minimal", *_LEVELS)) if model == "gpt-5" else profile
