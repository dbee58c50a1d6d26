"""What a backend takes beyond, or short of, the common form of chat completions."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, slots=True)
class Profile:
    """Settings of one kind of backend. The defaults suit a server nothing is known about.

    Args:
        output_limit: Field that holds ``max_tokens``.
        thinking: How reasoning is switched: ``effort`` by ``reasoning_effort``; ``template`` by
            ``chat_template_kwargs``; ``none`` not at all.
        efforts: Values ``reasoning_effort`` may have, of ``none`` to ``max``; empty when it is not taken.
        template_efforts: The same for a ``reasoning_effort`` inside ``chat_template_kwargs``.
        reasoning_field: Field of assistant messages that takes earlier reasoning back; None: leave it out.
        images: The model reads images. It is not known of any backend, so nothing but a caller's own profile says no.
        tool_images: Tool messages may hold image parts.
        top_k: ``top_k`` is taken.
        forced_calls: ``tool_choice`` may name a function, and holds; so does ``parallel_tool_calls``.
        user_field: Field for the end user's id.
        service_tier: ``service_tier`` means something there.
        inline_system: A system message may stand anywhere (``system``), or its template wants it first and
            later ones become user text (``user``).
        prefill: What a final assistant message means: ``trailing`` it is continued anyway; ``continue`` it is with
            ``continue_final_message``; ``reject`` it cannot be.
    """

    output_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    thinking: Literal["effort", "template", "none"] = "none"
    efforts: tuple[str, ...] = ()
    template_efforts: tuple[str, ...] = ()
    reasoning_field: Literal["reasoning_content", "reasoning"] | None = None
    images: bool = True
    tool_images: bool = False
    top_k: bool = False
    forced_calls: bool = True
    user_field: Literal["user", "safety_identifier"] = "user"
    service_tier: bool = False
    inline_system: Literal["system", "user"] = "system"
    prefill: Literal["trailing", "continue", "reject"] = "trailing"


_LEVELS = ("low", "medium", "high")

OPENAI = Profile(
    output_limit="max_completion_tokens",
    thinking="effort",
    efforts=("none", "minimal", *_LEVELS, "xhigh"),
    user_field="safety_identifier",
    service_tier=True,
    prefill="reject",
)
TEMPLATE_SERVER = Profile(thinking="template", template_efforts=_LEVELS, top_k=True)
# llama.cpp reads a named choice as "auto" (26535), and lets text without end come before a required call (27217).
LLAMA_CPP = replace(TEMPLATE_SERVER, forced_calls=False)

PROFILES: dict[str, Profile] = {
    "remote::openai": OPENAI,
    "remote::azure": OPENAI,
    "remote::vllm": replace(TEMPLATE_SERVER, efforts=_LEVELS, template_efforts=(), prefill="continue"),
    "remote::llama-cpp-server": LLAMA_CPP,
    "inline::llama-cpp": LLAMA_CPP,
    # Ollama answers 400 to a level when the model does not think or has no levels; models that think do so unasked.
    "remote::ollama": Profile(thinking="effort", efforts=("none",)),
}
"""By the platform's provider type; any other gets ``Profile()``."""

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


def profile_for(provider_type: str, model: str = "") -> Profile:
    """Return the profile of a provider type of the platform.

    Args:
        provider_type: E.g. ``remote::vllm``.
        model: The backend's name of the model, where it is known; OpenAI's families differ.
    """
    profile = PROFILES.get(provider_type, Profile())
    if profile is not OPENAI:
        return profile
    for prefix, efforts in _OPENAI_EFFORTS:
        if model.startswith(prefix):
            return replace(profile, efforts=efforts, thinking="effort" if efforts else "none")
    return replace(profile, efforts=("minimal", *_LEVELS)) if model == "gpt-5" else profile
