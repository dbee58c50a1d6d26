"""Retry rules: how to change a request that the backend rejected.

    error of the backend             change to the request                         kept for later requests

    output limit of the model        lower max_tokens to the limit                 yes, per model
    max_tokens above context window  lower it to the window minus the estimate     yes: the window
    prompt and output do not fit     lower max_tokens to the rest of the window    no: prompts differ
    system prompt must come first    later system messages become user text        yes
    no image input                   replace images in tool results by a note      yes; a user's images are a 400
    tools only without thinking      send reasoning_effort "none" with tools       yes
    no thinking switch               omit the switch                               yes, if the model never thinks
    optional field rejected          omit the field (optional.py)                  yes

Each rule applies once per request, and no other error is retried: a retry must be able to succeed. A change is kept
only after the retry succeeded: error messages quote the request, so matched text may come from the client. The rules
exist because no table of profiles covers every model, and a backend's own error is more reliable than a table.
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.errors.body import NO_VISION, ContentPolicyError
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile

from .optional import OPTIONAL
from .output_limit import MARGIN, least_room, refused_window
from .tokens import estimate_tokens

_STATUSES = frozenset({400, 404, 413, 422, 500})
"""Statuses of rejected requests: MLX servers send 404, FastAPI 422; llama.cpp sends 500 when a template raises
(mistral-vibe 1006)."""


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
    found = (rule(failure.message, fields, profile) for rule in RULES)
    return next((adaptation for adaptation in found if adaptation and adaptation.kind not in tried), None)


_OUTPUT_LIMITS = tuple(
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


def _asked(fields: Mapping[str, Any], profile: Profile) -> int:
    asked = fields.get(profile.output_limit)
    return asked if isinstance(asked, int) else 0


def output_limit(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Adopt the output limit in a backend's error for the model."""
    for found in filter(None, (pattern.search(refusal) for pattern in _OUTPUT_LIMITS)):
        numbers = found.groupdict()
        limit = int(numbers["limit"]) if numbers.get("limit") else int(numbers["end"]) - 1
        if 0 < limit < _asked(fields, profile):
            return Adaptation("output limit", {"max_output_tokens": limit}, lasting=True)
    return None


_SUM = re.compile(r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+)")
"""The common form into which errors/overflow.py rewrites every backend's error message."""


def model_window(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Adopt the context window in vLLM's error; output_limit.py lowers ``max_tokens`` to fit."""
    window = refused_window(refusal, _asked(fields, profile))
    return None if window is None else Adaptation("model window", {"context_window": window}, lasting=True)


def context_window(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Lower ``max_tokens`` to the rest of the context window.

    There is no retry if the rest is less than a 16th of the window and less than 4096 tokens: then the client has to
    compact the conversation.

    vLLM stops counting a prompt where it no longer fits and reports "at least" (vllm 42474): the sum is then the window
    plus one. In that case the prompt is estimated, with a margin, but at most halfway from the reported count to the
    window.
    """
    found = _SUM.search(refusal)
    if not found:
        return None
    prompt, output, window = map(int, found.groups())
    if prompt + output == window + 1:
        prompt = min(int(max(prompt, estimate_tokens(fields)) * MARGIN), (prompt + window) // 2)
    room = window - prompt
    if room < least_room(window) or room >= _asked(fields, profile):
        return None
    return Adaptation("context window", room=room)


_SYSTEM_FIRST = re.compile(
    r"system message (?:must|should|has to) be (?:at )?(?:the )?(?:very )?(?:beginning|first)"  # Qwen's (vllm 41114)
    r"|unexpected role 'system' after role"  # mistral-common
    r"|only user, assistant and tool roles are supported, got system"  # Ministral's (opencode 5034)
    r"|conversation roles must alternate",  # Mistral's, Gemma's (vllm 6862)
    re.IGNORECASE,
)


def system_first(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Turn later system messages into user text, for chat templates that allow only a leading system prompt."""
    later = any(message["role"] == "system" for message in fields["messages"][1:])
    if later and profile.inline_system == "system" and _SYSTEM_FIRST.search(refusal):
        return Adaptation("system first", {"inline_system": "user"}, lasting=True)
    return None


def no_images(refusal: str, _fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Send no images: an image in a tool result stays in the history, so every later request would fail."""
    if profile.images == "parts" and refusal.startswith(NO_VISION):
        return Adaptation("images", {"images": "reject"}, lasting=True)
    return None


_TOOLS_WITHOUT_THINKING = re.compile(r"function tools with reasoning_effort are not supported", re.IGNORECASE)


def tools_without_thinking(refusal: str, fields: Mapping[str, Any], _profile: Profile) -> Adaptation | None:
    """Switch thinking off with tools, for GPT-5.4 and later on chat completions (openai-openapi 541, litellm 34569).

    5.5 and 5.6 reject tools even without the field, because they think by default; only "none" helps.
    "Please use /v1/responses instead", 5.6: "use /v1/responses or set reasoning_effort to 'none'".
    """
    thinks = fields.get("reasoning_effort") != "none"
    if fields.get("tools") and thinks and _TOOLS_WITHOUT_THINKING.search(refusal):
        return Adaptation("tools without thinking", {"tools_without_thinking": True}, lasting=True)
    return None


SWITCH_FIELDS = frozenset({"reasoning_effort", "chat_template_kwargs", "thinking", "reasoning", "enable_thinking"})
"""Fields of the chat request that switch thinking; the field of a budget is named by the profile."""

_ABOUT_THINKING = re.compile(r"reasoning|think|chat_template_kwargs", re.IGNORECASE)


def without_switches(fields: Mapping[str, Any], refusal: str, profile: Profile | None = None) -> dict[str, Any] | None:
    """Return a chat request without its thinking fields, if the backend rejected one of them; else None.

    No table covers every model, and a thinking setting must never make a request fail.

    Args:
        fields: The chat request that the backend rejected with 400.
        refusal: The backend's error message.
        profile: The backend's profile, which names the field of the budget.
    """
    budget = (profile.budget_field or "").partition(".")[0] if profile else ""
    switches = SWITCH_FIELDS | {budget}
    if not _ABOUT_THINKING.search(refusal) or not any(name in fields for name in switches):
        return None
    return {name: value for name, value in fields.items() if name not in switches}


_NEVER_THINKS = re.compile(
    r"does(?: not|n't) support (?:thinking|reasoning)(?! \w)"  # Ollama (ollama 14212)
    r"|unrecognized request arguments? supplied: (?:reasoning_effort|chat_template_kwargs)"  # OpenAI
    r"|unsupported parameter: '?reasoning",
    re.IGNORECASE,
)


def thinking_switch(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Omit the thinking switch. A rejected value is not kept: the next request may have another value."""
    if without_switches(fields, refusal, profile) is None:
        return None
    changes = {"thinking": "none"} | ({"budget_field": None} if profile.budget_field else {})
    return Adaptation("thinking", changes, lasting=bool(_NEVER_THINKS.search(refusal)))


_REFUSED_FIELD = re.compile(
    r"unsupported (?:parameter|value): ['`\"](?P<a>\w+)"  # OpenAI (openai-python 2072)
    r"|unrecognized request arguments? supplied: (?P<b>\w+)"  # OpenAI, Azure
    r"|property ['`\"](?P<c>\w+)['`\"] is unsupported"  # Groq
    r"|(?:body\.|\A)(?P<d>\w+): extra inputs are not permitted",  # Mistral, FastAPI servers
    re.IGNORECASE,
)


def refused_field(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Omit an optional field; reasoning models do not accept ``temperature``, for instance."""
    found = _REFUSED_FIELD.search(refusal)
    name = next(filter(None, found.groups()), "") if found else ""
    if name not in OPTIONAL or name not in fields:
        return None
    return Adaptation(f"field {name}", {"without": (*profile.without, name)}, lasting=True)


RULES: tuple[Rule, ...] = (
    output_limit, model_window, context_window, system_first, no_images, tools_without_thinking, thinking_switch,
    refused_field,
)  # fmt: skip
"""The rules, in the order they are tried."""
