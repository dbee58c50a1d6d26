"""Optional fields of a chat request, which are omitted if a backend or one of its models rejects them."""

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
"""Field -> its path in the Messages request; ``""`` if it is a hint or was added by this server."""


def without_refused(fields: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return a chat request without the fields that the backend rejects by its profile; dropped ones are logged."""
    for name in ctx.profile.without:
        if name in fields and OPTIONAL.get(name, name):
            ctx.drop(OPTIONAL.get(name, name), name, "the backend refuses the setting")
    return {name: value for name, value in fields.items() if name not in ctx.profile.without}
