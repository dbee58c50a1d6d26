"""Fields of a chat request that an answer can do without, where a backend or one of its models refuses them."""

from typing import Any

from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

OPTIONAL: dict[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "service_tier": "service_tier",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "user": "",
    "safety_identifier": "",
    "prompt_cache_key": "",
    "stream_options": "",
}
"""Field -> its path in the Messages request; ``""`` where it is a hint, or of this server's own."""


def without_refused(fields: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return a chat request without the fields the profile says the backend refuses; losses are noted."""
    for name in ctx.profile.without:
        if name in fields and OPTIONAL.get(name, name):
            ctx.drop(OPTIONAL.get(name, name), name, "the backend refuses the setting")
    return {name: value for name, value in fields.items() if name not in ctx.profile.without}
