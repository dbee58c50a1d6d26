"""Retry rules: how to change a request that the backend rejected.

    it names its output limit        ask for no more than that                     remembered for the model
    max_tokens is above its window   ask for what the estimated prompt leaves of it remembered: the window
    prompt and output do not fit     ask for what the window leaves                not remembered: prompts differ
    it wants the system prompt first later system messages become user text        remembered
    it reads no images               tell the model of those in tool results       remembered; the user's are a 400
    it takes tools without thinking  send reasoning_effort "none" with tools       remembered
    it does not switch thinking      leave the switch out                          remembered if the model never thinks
    it refuses an optional field     leave that out (optional.py)                  remembered

Each kind once per request, and nothing else is ever asked again: a retry must be able to succeed. Only what did
succeed is remembered: error messages quote the request, so matched text may be the client's. No table of profiles
knows every model; what a backend says of itself is surer than what a table says.
"""

import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_stack_api_messages.errors import MessagesError
from llama_stack_provider_messages.errors.body import NO_VISION, ContentPolicyError
from llama_stack_provider_messages.translation.messages_to_chat.profile import Profile

from .estimate import estimate_tokens
from .optional import OPTIONAL
from .output_limit import MARGIN, least_room, refused_window

_STATUSES = frozenset({400, 404, 413, 422, 500})
"""404 is MLX servers', 422 FastAPI's; llama.cpp answers 500 when a template raises (mistral-vibe 1006)."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What to do otherwise.

    Args:
        kind: Name of the rule.
        changes: Fields of the profile.
        lasting: The changes hold for every request to this model.
        room: Tokens the context window leaves for the answer.
    """

    kind: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    lasting: bool = False
    room: int | None = None


type Rule = Callable[[str, Mapping[str, Any], Profile], Adaptation | None]


def adapt(
    failure: MessagesError, fields: Mapping[str, Any], profile: Profile, tried: Container[str]
) -> Adaptation | None:
    """Return how to ask again after a refusal, None when that is not to be done.

    Args:
        failure: The refusal, as the client would see it.
        fields: The chat request that was refused.
        profile: Of the backend, as it was when the request was made.
        tried: The kinds that were tried for this request.
    """
    if failure.status_code not in _STATUSES or isinstance(failure, ContentPolicyError):
        return None
    found = (rule(failure.message, fields, profile) for rule in RULES)
    return next((adaptation for adaptation in found if adaptation and adaptation.kind not in tried), None)


_OUTPUT_LIMITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # OpenAI and what copies it (optillm 4, opencode-ai/opencode 140)
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
    """Take the limit a backend names over for the model."""
    for found in filter(None, (pattern.search(refusal) for pattern in _OUTPUT_LIMITS)):
        numbers = found.groupdict()
        limit = int(numbers["limit"]) if numbers.get("limit") else int(numbers["end"]) - 1
        if 0 < limit < _asked(fields, profile):
            return Adaptation("output limit", {"max_output_tokens": limit}, lasting=True)
    return None


_SUM = re.compile(r"input length and `max_tokens` exceed context limit: (\d+) \+ (\d+) > (\d+)")
"""overflow.py's form of every backend's wording."""


def model_window(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Take the context window over that vLLM names; output_limit.py makes ``max_tokens`` fit into it."""
    window = refused_window(refusal, _asked(fields, profile))
    return None if window is None else Adaptation("model window", {"context_window": window}, lasting=True)


def context_window(refusal: str, fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Ask for what the window leaves, if that is a 16th of it or 4096 tokens; with less, the client has to compact.

    vLLM counts a prompt only as far as it would fit and says "at least" (vllm 42474): the sum is then one more
    than the window, and the length of the prompt has to be estimated: with a margin, but no longer than halfway from
    what was counted to the window.
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
    """Give later system messages as user text, where a template takes the system prompt first and nowhere else."""
    later = any(message["role"] == "system" for message in fields["messages"][1:])
    if later and profile.inline_system == "system" and _SYSTEM_FIRST.search(refusal):
        return Adaptation("system first", {"inline_system": "user"}, lasting=True)
    return None


def no_images(refusal: str, _fields: Mapping[str, Any], profile: Profile) -> Adaptation | None:
    """Read no images: one that a tool returned stays in the history, and would end the conversation."""
    if profile.images == "parts" and refusal.startswith(NO_VISION):
        return Adaptation("images", {"images": "reject"}, lasting=True)
    return None


_TOOLS_WITHOUT_THINKING = re.compile(r"function tools with reasoning_effort are not supported", re.IGNORECASE)


def tools_without_thinking(refusal: str, fields: Mapping[str, Any], _profile: Profile) -> Adaptation | None:
    """Switch thinking off beside tools, for GPT-5.4 and later on chat completions (openai-openapi 541, litellm 34569).

    5.5 and 5.6 refuse tools also without the field, because they think unless told otherwise; only "none" helps.
    "Please use /v1/responses instead", 5.6: "use /v1/responses or set reasoning_effort to 'none'".
    """
    thinks = fields.get("reasoning_effort") != "none"
    if fields.get("tools") and thinks and _TOOLS_WITHOUT_THINKING.search(refusal):
        return Adaptation("tools without thinking", {"tools_without_thinking": True}, lasting=True)
    return None


SWITCH_FIELDS = frozenset({"reasoning_effort", "chat_template_kwargs", "thinking", "reasoning", "enable_thinking"})
"""Fields of the chat request that the switches set; that of a budget is the profile's."""

_ABOUT_THINKING = re.compile(r"reasoning|think|chat_template_kwargs", re.IGNORECASE)


def without_switches(fields: Mapping[str, Any], refusal: str, profile: Profile | None = None) -> dict[str, Any] | None:
    """Return a chat request without what switches thinking, if that is what a backend refused; else None.

    No table knows every model, and a wish to think must never cost the answer.

    Args:
        fields: The chat request the backend refused with 400.
        refusal: What it said.
        profile: Of the backend, which names a field for the budget.
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
    """Leave out the switch; a refused value of it says nothing about the next request."""
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
    """Leave out a field that the answer can do without; reasoning models take no temperature, for instance."""
    found = _REFUSED_FIELD.search(refusal)
    name = next(filter(None, found.groups()), "") if found else ""
    if name not in OPTIONAL or name not in fields:
        return None
    return Adaptation(f"field {name}", {"without": (*profile.without, name)}, lasting=True)


RULES: tuple[Rule, ...] = (
    output_limit, model_window, context_window, system_first, no_images, tools_without_thinking, thinking_switch,
    refused_field,
)  # fmt: skip
"""What a refusal is looked through for, in this order."""
