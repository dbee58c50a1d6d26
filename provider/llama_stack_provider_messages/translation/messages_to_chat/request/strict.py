"""Strict validation: rejects what the API itself rejects with 400, with the API's error messages where known.

Lenient mode repairs or ignores all of this, because real clients send it. Each check covers one rule and returns the
error message, or None. Not checked in either mode: rules that depend on the model (thinking that is always on,
temperature with top_p) and limits of JSON schemas, because the models here differ, and unknown values of
``anthropic-beta``, because Claude Code adds betas with every release. History: strict_history.py.
"""

from collections.abc import Callable, Iterator
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

from .strict_history import HISTORY_CHECKS
from .thinking import THINKING_BLOCKS
from .tools import FORCED_CHOICES

VERSIONS = ("2023-06-01", "2026-10-21")
"""Valid values of ``anthropic-version``; the second one has no sampling parameters."""

_MOST_MARKERS = 4
_LEAST_BUDGET = 1024
_LEAST_TOP_P = 0.95
_INTERLEAVED = "interleaved-thinking"


def check_strict(request: CreateMessageRequest, ctx: TranslationContext) -> None:
    """Reject a request that the API would reject.

    Raises:
        InvalidRequestError: A rule is broken; the message is that of the first one.
    """
    for check in STRICT_CHECKS:
        if message := check(request, ctx):
            raise InvalidRequestError(message)


def _version(_request: CreateMessageRequest, ctx: TranslationContext) -> str | None:
    if not ctx.headers:  # library-client mode
        return None
    version = ctx.headers.get("anthropic-version")
    if version is None:
        return "anthropic-version: header is required"
    return None if version in VERSIONS else f'anthropic-version: "{version}" is not a valid version'


def _required(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    return "max_tokens: Field required" if request.max_tokens is None else None


def unknown_keys(request: CreateMessageRequest) -> Iterator[str]:
    """Yield the paths of unknown settings. Blocks and messages are not checked, because clients echo responses."""
    yield from request.model_extra or ()
    for owner in ("output_config", "tool_choice", "metadata"):
        yield from (f"{owner}.{name}" for name in field(field(request, owner), "model_extra") or ())


def _unknown_keys(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    return next((f"{path}: Extra inputs are not permitted" for path in unknown_keys(request)), None)


def _newest(ctx: TranslationContext) -> bool:
    return ctx.headers.get("anthropic-version") == VERSIONS[-1]


def _removed_sampling(request: CreateMessageRequest, ctx: TranslationContext) -> str | None:
    """Reject sampling parameters with version 2026-10-21, even at their defaults."""
    names = ("temperature", "top_p", "top_k") if _newest(ctx) else ()
    found = (name for name in names if name in request.model_fields_set)
    return next((f"{name}: Extra inputs are not permitted" for name in found), None)


def _removed_blocks(request: CreateMessageRequest, ctx: TranslationContext) -> str | None:
    if not _newest(ctx):
        return None
    for path, message, block in _blocks(request):
        if message.role == "assistant" and block.type == "document":
            return f"{path}: document blocks are not permitted in assistant messages; send them in a user message"
        texts = [block, *list_field(block, "content")] if message.role == "user" else []
        if any(field(text, "type") == "text" and field(text, "citations") for text in texts):
            return f"{path}: citations are not permitted on text of user messages; leave them out"
    return None


def _blocks(request: CreateMessageRequest) -> Iterator[tuple[str, Any, Any]]:
    for index, message in enumerate(request.messages):
        for place, block in enumerate(list_field(message, "content")):
            yield f"messages.{index}.content.{place}", message, block


def _temperature(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    if request.temperature is not None and request.temperature > 1:
        return "temperature: Input should be less than or equal to 1"
    return None


def _stop_sequences(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    stops = request.stop_sequences or ()
    if "" in stops:
        return "stop_sequences: each stop sequence must be non-empty"
    if any(stop.isspace() for stop in stops):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    return None


VALUES: dict[str, tuple[str, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard", "fast"),
    "output_config.effort": ("low", "medium", "high", "xhigh", "max"),
}
"""Closed sets of values, by path."""


def _values(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    for path, allowed in VALUES.items():
        value: object = request
        for name in path.split("."):
            value = field(value, name)
        if value is not None and value not in allowed:
            quoted = [f"'{name}'" for name in allowed]
            return f"{path}: Input should be {', '.join(quoted[:-1])} or {quoted[-1]}"
    return None


def _budget(request: CreateMessageRequest, ctx: TranslationContext) -> str | None:
    budget = field(request.thinking, "budget_tokens")
    if budget is None:
        return None
    if budget < _LEAST_BUDGET:
        return f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_LEAST_BUDGET}"
    if budget >= (request.max_tokens or 0) and _INTERLEAVED not in ctx.headers.get("anthropic-beta", ""):
        return "`max_tokens` must be greater than `thinking.budget_tokens`"
    return None


def _thinking_sampling(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    mode = field(request.thinking, "type")
    if mode not in ("enabled", "adaptive"):
        return None
    if request.temperature not in (None, 1):
        return (
            f"`temperature` may only be set to 1 when thinking is enabled{' or in adaptive mode' * (mode != 'enabled')}"
        )
    if request.top_p is not None and request.top_p < _LEAST_TOP_P:
        return f"`top_p` must be greater than or equal to {_LEAST_TOP_P} when thinking is enabled"
    return "`top_k` must be unset when thinking is enabled" if request.top_k is not None else None


def _thinking_form(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    mode = field(request.thinking, "type")
    if mode in ("disabled", "between_tools"):
        extra = next(iter(request.thinking.model_extra or ()), None) if request.thinking else None
        return f"thinking.{mode}.{extra}: Extra inputs are not permitted" if extra else None
    if mode == "enabled" and field(request.tool_choice, "type") in FORCED_CHOICES:
        return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def _prewarming(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    """Reject ``max_tokens: 0`` with streaming, thinking, structured output or a forced tool call."""
    if request.max_tokens != 0:
        return None
    clashes = {
        "stream": request.stream,
        "thinking": field(request.thinking, "type") == "enabled",
        "output_config.format": field(request.output_config, "format") or request.output_format,
        "tool_choice": field(request.tool_choice, "type") in FORCED_CHOICES,
    }
    return next((f"max_tokens: 0 cannot be combined with {name}" for name, found in clashes.items() if found), None)


def _tool_names(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    names = [name for tool in request.tools or () if (name := field(tool, "name")) is not None]
    return "tools: Tool names must be unique." if len(set(names)) < len(names) else None


def _tool_schemas(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    for index, tool in enumerate(request.tools or ()):
        schema = field(tool, "input_schema")
        if isinstance(schema, dict) and not {"oneOf", "allOf", "anyOf"}.isdisjoint(schema):
            path = f"tools.{index}.custom.input_schema"
            return f"{path}: input_schema does not support oneOf, allOf, or anyOf at the top level"
    return None


def _markers(request: CreateMessageRequest) -> Iterator[Any]:
    """Yield the cache breakpoints in prompt order, including nested ones."""
    system = [] if isinstance(request.system, str) else request.system or ()
    inner = (part for _, _, block in _blocks(request) for part in (*list_field(block, "content"), block))
    for part in (*(request.tools or ()), *system, *inner, request):
        if (marker := field(part, "cache_control")) is not None:
            yield marker


def _cache_control(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    ttls = [field(marker, "ttl") or "5m" for marker in _markers(request)]
    if len(ttls) > _MOST_MARKERS:
        return f"A maximum of {_MOST_MARKERS} blocks with cache_control may be provided. Found {len(ttls)}."
    if "5m" in ttls and "1h" in ttls[ttls.index("5m") :]:
        return "cache_control: a block with ttl='1h' must not come after a block with ttl='5m'"
    for path, _, block in _blocks(request):
        if block.type in THINKING_BLOCKS and field(block, "cache_control") is not None:
            return f"{path}.{block.type}.cache_control: Extra inputs are not permitted"
    return None


def _format(request: CreateMessageRequest, _ctx: TranslationContext) -> str | None:
    """Reject citations with structured output."""
    if field(request.output_config, "format") is None:
        return None
    for path, _, block in _blocks(request):
        sources = (block, *list_field(block, "content"))
        if any(field(field(source, "citations"), "enabled") for source in sources):
            return f"output_config.format: cannot be combined with citations, which {path} enables"
    return None


def _output_limit(request: CreateMessageRequest, ctx: TranslationContext) -> str | None:
    most = ctx.profile.max_output_tokens
    if most is None or (request.max_tokens or 0) <= most:
        return None
    return (
        f"max_tokens: {request.max_tokens} > {most}, which is the maximum allowed number of output tokens for "
        f"{request.model}"
    )


type Check = Callable[[CreateMessageRequest, TranslationContext], str | None]

STRICT_CHECKS: tuple[Check, ...] = (
    _version,
    _required,
    _unknown_keys,
    _removed_sampling,
    _removed_blocks,
    _temperature,
    _stop_sequences,
    _values,
    _budget,
    _thinking_sampling,
    _thinking_form,
    _prewarming,
    _tool_names,
    _tool_schemas,
    _cache_control,
    _format,
    _output_limit,
    *(lambda request, _ctx, check=check: check(request) for check in HISTORY_CHECKS),
)
"""The checks, in the API's order: headers, fields, conversation."""
