"""Retry rules: how to change a request that the backend rejected. And the limits of a backend, learned or configured.

No table of profiles covers every model, and a backend's own error is more reliable than a table. So some rejections
lead to a retry, at most one for each kind, and what was learned is kept in the profile of the model:

    error of the backend             change to the request                         kept for later requests

    output limit of the model        lower max_tokens to the limit                 yes, per model
    max_tokens above context window  lower it to the window minus the estimate     yes: the window
    prompt and output do not fit     lower max_tokens to the rest of the window    no: prompts differ
    system prompt must come first    later system messages become user text        yes
    no image input                   replace images in tool results by a note      yes; a user's images are a 400
    tools only without thinking      send reasoning_effort "none" with tools       yes
    no thinking switch               omit the switch                               yes, if the model never thinks
    optional field rejected          omit the field                                yes

Each rule applies once per request (the last one once for each field), and no other error is retried: a retry must be
able to succeed. A change is kept only after the retry succeeded: error messages quote the request, so matched text may
come from the client.

Example: OpenAI rejects ``max_tokens: 32000`` with "max_tokens is too large: 32000. This model supports at most 16384
completion tokens". The request is sent once more with 16384, and from then on every request to this model is lowered
before it is sent.

vLLM rejects a ``max_tokens`` above its context window, as Claude Code's 32,000 often is, and reports only the window:

    max_tokens=5000 cannot be greater than max_model_len=4096. Please request fewer output tokens.      0.32
    max_tokens=38000 cannot be greater than max_model_len=max_total_tokens=32768. Please ...            0.20
    max_tokens=38000cannot be greater than max_model_len=max_total_tokens=32768. Please ...             0.19
    max_completion_tokens=131072 cannot be greater than max_model_len=128000                            NVIDIA NIM

(vllm/renderers/params.py, vllm 40324.) Older versions also reject a request whose prompt and output together exceed
the window (0.20: vllm 42474), so sending the window as limit would not help. Instead the prompt is estimated with a
margin and subtracted. If the estimate leaves hardly any room, a small limit is sent anyway, and the backend, which
counts exactly, decides whether the prompt is too long.

On the native lane, where a client sees the backend's own errors, ``retry_max_tokens`` (native/request.py) uses
``reported_window`` and ``window_room`` of this module, with less freedom:

                             translated lane                    native lane

    statuses                 400, 404, 413, 422, 500            400
    errors                   every rule                         max_tokens above the context window; signatures
    retries                  one per rule                       one
    hardly any room left     a small limit is sent              no retry: the client gets the error and compacts
    kept for later requests  yes                                no: the request stays as the client wrote it
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError, MessagesError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.errors.body import NO_VISION, ContentPolicyError
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile

from .tokens import estimate_tokens

_STATUSES = frozenset({400, 404, 413, 422, 500})
"""Statuses of rejected requests: MLX servers send 404, FastAPI 422; llama.cpp sends 500 when a template raises
(mistral-vibe 1006)."""

OPTIONAL_FIELDS: dict[str, str] = {
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
"""Field of the chat request that may be omitted -> its path in the Messages request; ``""`` if it is a hint or was
added by this server."""

SWITCH_FIELDS = frozenset({"reasoning_effort", "chat_template_kwargs", "thinking", "reasoning", "enable_thinking"})
"""Fields of the chat request that switch thinking; the field of a budget is named by the profile."""

_PROMPT_MARGIN = 1.5
"""Safety factor for the estimated prompt tokens."""
_MIN_ROOM_SHARE = 16
_MIN_ROOM_TOKENS = 4096
_TEMPLATE_TOKENS = 256
_TEMPLATE_SHARE = 8
"""Reserve in tokens for text that a chat template adds, e.g. about tools, and its limit: an 8th of the window."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A change to a rejected request.

    Args:
        kind: Name of the rule.
        changes: Changed fields of the profile.
        lasting: The changes apply to every later request to this model.
        room: Tokens left for the response in the context window.
    """

    kind: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = False
    room: int | None = None


type Rule = Callable[[str, Mapping[str, Any], Profile], Adaptation | None]
"""Arguments: the backend's error message, the rejected chat request, the profile it was translated with."""


def adapt(
    failure: MessagesError, fields: Mapping[str, Any], profile: Profile, tried: Container[str]
) -> Adaptation | None:
    """Return the change for a retry, None if the error is not to be retried.

    Args:
        failure: The backend's error, in the form sent to the client.
        fields: The rejected chat request.
        profile: The backend's profile when the request was translated.
        tried: The rules already tried for this request.
    """
    if failure.status_code not in _STATUSES or isinstance(failure, ContentPolicyError):
        return None
    adaptations = (rule(failure.message, fields, profile) for rule in RULES)
    return next((adaptation for adaptation in adaptations if adaptation and adaptation.kind not in tried), None)


_OUTPUT_LIMIT_ERRORS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI and compatible servers (optillm 4, opencode-ai/opencode 140)
        r"max_(?:completion_)?tokens['`\"]? is too large: \d+.{0,20}? supports at most (?P<limit>\d+)",
        # DeepSeek and DashScope
        r"range of max_(?:completion_)?tokens (?:is|should be) \[\d+, ?(?P<limit>\d+)\]",
        # Groq (Roo-Code 5136, opencode 1000), Zhipu, Cohere, FastAPI servers
        (
            r"max[_ ](?:completion_)?tokens['`\"]?:?(?: input)? (?:must|should) be "
            r"(?:less than or equal to|<=|at most) `?(?P<limit>\d+)"
        ),
        # Anthropic
        r"max_tokens: \d+ > (?P<limit>\d+), which is the maximum allowed number of output tokens",
        # Gemini on Vertex: the upper end is exclusive
        r"maxOutputTokens value of \d+ but the supported range is from 1 \(inclusive\) to (?P<end>\d+) \(exclusive\)",
        # Bedrock
        r"maximum tokens you requested exceeds the model limit of (?P<limit>\d+)",
    )
)  # fmt: skip


def output_limit(message: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Adopt the output limit in a backend's error for the model."""
    for found in filter(None, (pattern.search(message) for pattern in _OUTPUT_LIMIT_ERRORS)):
        numbers = found.groupdict()
        limit = int(numbers["limit"]) if numbers.get("limit") else int(numbers["end"]) - 1
        if 0 < limit < _max_tokens(fields, profile):
            return Adaptation("output limit", {"max_output_tokens": limit}, lasting=True)
    return None


def _max_tokens(fields: Mapping[str, Any], profile: Profile) -> int:
    """Return the output limit of a chat request, 0 without one: the configuration may remove the field."""
    limit = fields.get(profile.output_limit)
    return limit if isinstance(limit, int) else 0


_ABOVE_WINDOW = re.compile(
    r"max_(?:completion_)?tokens=(?P<asked>\d{1,18}) ?cannot be greater than "
    r"(?:max_model_len=|max_total_tokens=){1,2}(?P<window>\d{1,18})(?!\d)",
    re.IGNORECASE,
)


def window_below_max_tokens(message: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Store the context window of vLLM's error in the profile; then ``fit_window`` lowers ``max_tokens``."""
    window = reported_window(message, _max_tokens(fields, profile))
    return None if window is None else Adaptation("window below max_tokens", {"context_window": window}, lasting=True)


def reported_window(message: str, max_tokens: int) -> int | None:
    """Return the context window in an error about a larger ``max_tokens``; None for any other error.

    Args:
        message: The backend's error message, which may quote the request.
        max_tokens: The ``max_tokens`` of the rejected request.
    """
    found = _ABOVE_WINDOW.search(message)
    if found is None or int(found["asked"]) != max_tokens:
        return None
    window = int(found["window"])
    return window if 0 < window < max_tokens else None


_SUM_ABOVE_WINDOW = re.compile(r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+)")
"""The common form into which errors/overflow.py rewrites every backend's error message."""


def sum_above_window(message: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Lower ``max_tokens`` to the rest of the context window.

    There is no retry if the rest is less than a 16th of the window and less than 4096 tokens: then the client has to
    compact the conversation.

    vLLM stops counting a prompt where it no longer fits and reports "at least" (vllm 42474): the sum is then the window
    plus one. In that case the prompt is estimated, with a margin, but at most halfway from the reported count to the
    window.
    """
    found = _SUM_ABOVE_WINDOW.search(message)
    if not found:
        return None
    prompt, output, window = map(int, found.groups())
    if prompt + output == window + 1:
        prompt = min(int(max(prompt, estimate_tokens(fields)) * _PROMPT_MARGIN), (prompt + window) // 2)
    room = window - prompt
    if room < min_room(window) or room >= _max_tokens(fields, profile):
        return None
    return Adaptation("sum above window", room=room)


_SYSTEM_FIRST = re.compile(
    r"system message (?:must|should|has to) be (?:at )?(?:the )?(?:very )?(?:beginning|first)"  # Qwen's (vllm 41114)
    r"|unexpected role 'system' after role"  # mistral-common
    r"|only user, assistant and tool roles are supported, got system"  # Ministral's (opencode 5034)
    r"|conversation roles must alternate",  # Mistral's, Gemma's (vllm 6862)
    re.IGNORECASE,
)


def system_first(message: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Turn later system messages into user text, for chat templates that allow only a leading system prompt."""
    later = any(turn["role"] == "system" for turn in fields["messages"][1:])
    if later and profile.inline_system == "system" and _SYSTEM_FIRST.search(message):
        return Adaptation("system first", {"inline_system": "user"}, lasting=True)
    return None


def no_images(message: str, _fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Send no images: an image in a tool result stays in the history, so every later request would fail."""
    if profile.images == "parts" and message.startswith(NO_VISION):
        return Adaptation("images", {"images": "reject"}, lasting=True)
    return None


_TOOLS_WITHOUT_THINKING = re.compile(r"function tools with reasoning_effort are not supported", re.IGNORECASE)


def tools_without_thinking(message: str, fields: Mapping[str, Any], _profile: Profile) -> Adaptation | None:
    """Switch thinking off with tools, for GPT-5.4 and later on chat completions (openai-openapi 541, litellm 34569).

    5.5 and 5.6 reject tools even without the field, because they think by default; only "none" helps.
    "Please use /v1/responses instead", 5.6: "use /v1/responses or set reasoning_effort to 'none'".
    """
    thinks = fields.get("reasoning_effort") != "none"
    if fields.get("tools") and thinks and _TOOLS_WITHOUT_THINKING.search(message):
        return Adaptation("tools without thinking", {"tools_without_thinking": True}, lasting=True)
    return None


_ABOUT_THINKING = re.compile(r"reasoning|think|chat_template_kwargs", re.IGNORECASE)

_NEVER_THINKS = re.compile(
    r"does(?: not|n't) support (?:thinking|reasoning)(?! \w)"  # Ollama (ollama 14212)
    r"|unrecognized request arguments? supplied: (?:reasoning_effort|chat_template_kwargs)"  # OpenAI
    r"|unsupported parameter: '?reasoning",
    re.IGNORECASE,
)


def thinking_switch(message: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Omit the thinking switch: a thinking setting must never make a request fail.

    A rejected value is not kept: the next request may have another value.
    """
    switches = {*SWITCH_FIELDS, (profile.budget_field or "").partition(".")[0]}
    if not (_ABOUT_THINKING.search(message) and switches & fields.keys()):
        return None
    changes = {"thinking": "none"} | ({"budget_field": None} if profile.budget_field else {})
    return Adaptation("thinking", changes, lasting=bool(_NEVER_THINKS.search(message)))


_REJECTED_FIELD = re.compile(
    r"unsupported (?:parameter|value): ['`\"](?P<a>\w+)"  # OpenAI (openai-python 2072)
    r"|unrecognized request arguments? supplied: (?P<b>\w+)"  # OpenAI, Azure
    r"|property ['`\"](?P<c>\w+)['`\"] is unsupported"  # Groq
    r"|(?:body\.|\A)(?P<d>\w+): extra inputs are not permitted",  # Mistral, FastAPI servers
    re.IGNORECASE,
)


def rejected_field(message: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Omit an optional field; reasoning models do not accept ``temperature``, for instance."""
    found = _REJECTED_FIELD.search(message)
    name = next(filter(None, found.groups()), "") if found else ""
    if name not in OPTIONAL_FIELDS or name not in fields:
        return None
    return Adaptation(f"field {name}", {"without": (*profile.without, name)}, lasting=True)


RULES: tuple[Rule, ...] = (
    output_limit, window_below_max_tokens, sum_above_window, system_first, no_images, tools_without_thinking,
    thinking_switch, rejected_field,
)  # fmt: skip
"""The rules, in the order they are tried."""


def output_limit_fields(request: CreateMessageRequest, ctx: TranslationContext) -> dict[str, Any]:
    """Return the field of the output limit, lowered to the limits of the profile and of the context.

    ``max_tokens: 0`` only warms the prompt cache. Backends generate at least one token; the reply drops it.

    Raises:
        InvalidRequestError: ``max_tokens: 0`` in a streaming request.
    """
    if request.max_tokens == 0 and request.stream:
        raise InvalidRequestError("max_tokens: 0 cannot be combined with stream")
    max_tokens = ctx.policy.default_max_tokens if request.max_tokens is None else request.max_tokens
    limits = {"the model's output limit": ctx.profile.max_output_tokens, _ROOM: ctx.room}
    for name, limit in limits.items():
        if limit is not None and limit < max_tokens:
            max_tokens = limit
            _log_lowered(request, limit, name, ctx)
    return {ctx.profile.output_limit: max_tokens or 1}


_ROOM = "the rest of the context window"


def fit_window(request: CreateMessageRequest, fields: dict[str, Any], ctx: TranslationContext) -> TranslationContext:
    """Lower the output limit of a chat request that exceeds the context window; return a context with the room."""
    name, window = ctx.profile.output_limit, ctx.profile.context_window
    if window is None or fields[name] <= window:
        return ctx
    room = window_room(window, estimate_tokens(fields))
    fields[name] = room
    _log_lowered(request, room, _ROOM, ctx)
    return replace(ctx, room=room)


def _log_lowered(request: CreateMessageRequest, limit: int, name: str, ctx: TranslationContext) -> None:
    if request.max_tokens is not None:
        ctx.drop("max_tokens", "max_tokens", f"lowered to {limit}, {name}")


def window_room(window: int, prompt_tokens: int) -> int:
    """Return the tokens left for the response in a context window, given the estimated prompt tokens."""
    template = min(_TEMPLATE_TOKENS, window // _TEMPLATE_SHARE)
    return max(window - int(prompt_tokens * _PROMPT_MARGIN) - template, min_room(window))


def min_room(window: int) -> int:
    """Return the room, in tokens, below which a prompt is too long: a 16th of the window, at most 4096."""
    return max(1, min(window // _MIN_ROOM_SHARE, _MIN_ROOM_TOKENS))


def omit_rejected(fields: dict[str, Any], ctx: TranslationContext) -> dict[str, Any]:
    """Return a chat request without the fields that the backend rejects by its profile; dropped ones are logged."""
    for name in ctx.profile.without:
        path = OPTIONAL_FIELDS.get(name, name)
        if name in fields and path:
            ctx.drop(path, name, "the backend rejects this field")
    return {name: value for name, value in fields.items() if name not in ctx.profile.without}
