"""``max_tokens`` -> the backend's output limit, lowered to what the model and its context window allow.

vLLM refuses a ``max_tokens`` above its window, which Claude Code's 32,000 often is, and names nothing but the window:

    max_tokens=5000 cannot be greater than max_model_len=4096. Please request fewer output tokens.      0.32
    max_tokens=38000 cannot be greater than max_model_len=max_total_tokens=32768. Please ...            0.20
    max_tokens=38000cannot be greater than max_model_len=max_total_tokens=32768. Please ...             0.19
    max_completion_tokens=131072 cannot be greater than max_model_len=128000                            NVIDIA NIM

(vllm/renderers/params.py, vllm 40324.) Older versions also refuse prompt and output that are longer together (0.20:
vllm 42474), so that asking for the window itself would not help: the prompt is estimated, generously. Where the
estimate leaves hardly any room, a little is asked for all the same, and the backend, which counts, says whether the
prompt is too long.
"""

import re
from dataclasses import replace
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat.backend.estimate import estimate_tokens
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

_ABOVE_WINDOW = re.compile(
    r"max_(?:completion_)?tokens=(?P<asked>\d{1,18}) ?cannot be greater than "
    r"(?:max_model_len=|max_total_tokens=){1,2}(?P<window>\d{1,18})(?!\d)",
    re.IGNORECASE,
)
_LEAST_SHARE = 16
_LEAST_ROOM = 4096
MARGIN = 1.5
"""Our estimate of a prompt may be off by so much."""
_TEMPLATE_TOKENS = 256
_TEMPLATE_SHARE = 8
"""A chat template adds words of its own, about tools for instance: so many tokens, at most an 8th of the window."""


def output_limit(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the output limit, lowered to what the backend takes.

    ``max_tokens: 0`` only warms the prompt cache: one token is the least a backend makes; the answer drops it.
    """
    if request.max_tokens == 0 and request.stream:
        raise InvalidRequestError("max_tokens: 0 cannot be combined with stream")
    asked = ctx.policy.default_max_tokens if request.max_tokens is None else request.max_tokens
    limits = {"the model's output limit": ctx.profile.max_output_tokens, "what the context window leaves": ctx.room}
    for name, limit in limits.items():
        if limit is not None and limit < asked:
            asked = limit
            _note(request, limit, name, ctx)
    return {ctx.profile.output_limit: asked or 1}


def fit_window(request: CreateMessageRequest, fields: dict[str, Any], ctx: TranslationContext) -> TranslationContext:
    """Lower the output limit of a chat request if it is above the context window; return the walk with the room."""
    name, window = ctx.profile.output_limit, ctx.profile.context_window
    if window is None or fields[name] <= window:
        return ctx
    room = window_room(window, estimate_tokens(fields))
    fields[name] = room
    _note(request, room, "what the context window leaves", ctx)
    return replace(ctx, room=room)


def _note(request: CreateMessageRequest, limit: int, name: str, ctx: TranslationContext) -> None:
    if request.max_tokens is not None:
        ctx.drop("max_tokens", "max_tokens", f"lowered to {limit}, {name}")


def refused_window(refusal: str, asked: int) -> int | None:
    """Return the context window a refusal names because ``max_tokens`` is larger; None for any other refusal.

    Args:
        refusal: What the backend said, which may hold words of the client.
        asked: The ``max_tokens`` it was sent.
    """
    found = _ABOVE_WINDOW.search(refusal)
    if found is None or int(found["asked"]) != asked:
        return None
    window = int(found["window"])
    return window if 0 < window < asked else None


def window_room(window: int, prompt: int) -> int:
    """Return the tokens a window leaves for the answer to a prompt of about so many tokens."""
    template = min(_TEMPLATE_TOKENS, window // _TEMPLATE_SHARE)
    return max(window - int(prompt * MARGIN) - template, least_room(window))


def least_room(window: int) -> int:
    """Return the room below which a prompt counts as too long: a 16th of the window, at most 4096 tokens."""
    return max(1, min(window // _LEAST_SHARE, _LEAST_ROOM))
