"""``max_tokens`` -> the backend's output limit, lowered to the limits of the model and its context window.

vLLM rejects a ``max_tokens`` above its context window, as Claude Code's 32,000 often is, and reports only the window:

    max_tokens=5000 cannot be greater than max_model_len=4096. Please request fewer output tokens.      0.32
    max_tokens=38000 cannot be greater than max_model_len=max_total_tokens=32768. Please ...            0.20
    max_tokens=38000cannot be greater than max_model_len=max_total_tokens=32768. Please ...             0.19
    max_completion_tokens=131072 cannot be greater than max_model_len=128000                            NVIDIA NIM

(vllm/renderers/params.py, vllm 40324.) Older versions also reject a request whose prompt and output together exceed
the window (0.20: vllm 42474), so sending the window as limit would not help. Instead the prompt is estimated with a
margin and subtracted. If the estimate leaves hardly any room, a small limit is sent anyway, and the backend, which
counts exactly, decides whether the prompt is too long.
"""

import re
from dataclasses import replace
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import estimate_tokens
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

_ABOVE_WINDOW = re.compile(
    r"max_(?:completion_)?tokens=(?P<asked>\d{1,18}) ?cannot be greater than "
    r"(?:max_model_len=|max_total_tokens=){1,2}(?P<window>\d{1,18})(?!\d)",
    re.IGNORECASE,
)
_LEAST_SHARE = 16
_LEAST_ROOM = 4096
MARGIN = 1.5
"""Safety factor for the estimated prompt tokens."""
_TEMPLATE_TOKENS = 256
_TEMPLATE_SHARE = 8
"""Reserve in tokens for text that a chat template adds, e.g. about tools, and its limit: an 8th of the window."""


def output_limit(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the field of the output limit, lowered to the backend's maximum.

    ``max_tokens: 0`` only warms the prompt cache. Backends generate at least one token; the reply drops it.
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
    """Lower the output limit of a chat request that exceeds the context window; return a context with the room."""
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
    """Return the context window in an error about a larger ``max_tokens``; None for any other error.

    Args:
        refusal: The backend's error message, which may quote the request.
        asked: The ``max_tokens`` of the rejected request.
    """
    found = _ABOVE_WINDOW.search(refusal)
    if found is None or int(found["asked"]) != asked:
        return None
    window = int(found["window"])
    return window if 0 < window < asked else None


def window_room(window: int, prompt: int) -> int:
    """Return the tokens left for the response in a context window, given the estimated prompt tokens."""
    template = min(_TEMPLATE_TOKENS, window // _TEMPLATE_SHARE)
    return max(window - int(prompt * MARGIN) - template, least_room(window))


def least_room(window: int) -> int:
    """Return the room, in tokens, below which a prompt is too long: a 16th of the window, at most 4096."""
    return max(1, min(window // _LEAST_SHARE, _LEAST_ROOM))
