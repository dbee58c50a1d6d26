"""Strict validation: rejects what the Messages API itself rejects with 400, with the API's error messages where known.

The problem: real clients send requests that the API would reject, such as empty texts, unknown fields, or calls without
results after an interruption. Lenient mode (the default) repairs or ignores all of this, so that the clients work.
Whoever develops a client for the API wants to see its errors here, too. That is strict mode (``Policy.strict``).

The rules:

- Each check below covers one topic and yields an error message for each violation. The checks run in the API's order
  (headers, fields, conversation), and the first message is the response.
- Consecutive messages of one role count as one turn, as in the API.
- Rules that depend on the model are not checked (thinking that is always on, temperature with top_p, limits of JSON
  schemas), because the models here differ. Neither are unknown values of ``anthropic-beta``, because Claude Code adds
  betas with every release, and what cannot be determined: whether thinking was changed, and whether all tools called in
  the history are declared.
- Unknown fields are checked in settings only, because clients echo blocks of responses.

Example: ``temperature: 1.5`` is passed to the backend in lenient mode, because most backends accept it. Strict mode
answers ``temperature: Input should be less than or equal to 1``.

Some checks of the API are repeated for both modes elsewhere: unique tool names in tools.py, empty conversations in
messages.py.
"""

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.fields import field, list_field
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

from .context_edits import compacted
from .messages import empty_message
from .thinking import THINKING_BLOCKS
from .tools import FORCED_CHOICES

VERSIONS = ("2023-06-01", "2026-10-21")
"""Valid values of ``anthropic-version``; the second one has no sampling parameters."""

VALUES: dict[str, tuple[str, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard", "fast"),
    "output_config.effort": ("low", "medium", "high", "xhigh", "max"),
}
"""Closed sets of values, by path."""

_MAX_CACHE_BREAKPOINTS = 4
_MIN_BUDGET_TOKENS = 1024
_MIN_TOP_P_WITH_THINKING = 0.95
_INTERLEAVED_BETA = "interleaved-thinking"
_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")
_VALID_ID = re.compile(r"[a-zA-Z0-9_-]+")

type Check = Callable[[CreateMessageRequest, TranslationContext], Iterator[str]]


def check_strict(request: CreateMessageRequest, ctx: TranslationContext) -> None:
    """Reject a request that the API would reject.

    Raises:
        InvalidRequestError: A rule is broken; the message is that of the first one.
    """
    for check in STRICT_CHECKS:
        for message in check(request, ctx):
            raise InvalidRequestError(message)


def unknown_keys(request: CreateMessageRequest) -> Iterator[str]:
    """Yield the paths of unknown settings. Blocks and messages are not checked, because clients echo responses."""
    yield from request.model_extra or ()
    for owner in ("output_config", "tool_choice", "metadata"):
        yield from (f"{owner}.{name}" for name in field(field(request, owner), "model_extra") or ())


# --- headers and fields ---


def version_header(_request: CreateMessageRequest, ctx: TranslationContext) -> Iterator[str]:
    """Require a valid ``anthropic-version``, except in library-client mode, which has no headers."""
    version = ctx.headers.get("anthropic-version")
    if ctx.headers and version is None:
        yield "anthropic-version: header is required"
    elif ctx.headers and version not in VERSIONS:
        yield f'anthropic-version: "{version}" is not a valid version'


def top_level_fields(request: CreateMessageRequest, ctx: TranslationContext) -> Iterator[str]:
    """Require ``max_tokens``; reject unknown settings, and the fields and blocks that version 2026-10-21 removed."""
    if request.max_tokens is None:
        yield "max_tokens: Field required"
    for path in unknown_keys(request):
        yield f"{path}: Extra inputs are not permitted"
    if ctx.headers.get("anthropic-version") != VERSIONS[-1]:
        return
    for name in ("temperature", "top_p", "top_k"):  # even at their defaults
        if name in request.model_fields_set:
            yield f"{name}: Extra inputs are not permitted"
    for path, message, block in _blocks(request):
        if message.role == "assistant" and block.type == "document":
            yield f"{path}: document blocks are not permitted in assistant messages; send them in a user message"
        texts = [block, *list_field(block, "content")] if message.role == "user" else []
        if any(field(text, "type") == "text" and field(text, "citations") for text in texts):
            yield f"{path}: citations are not permitted on text of user messages; leave them out"


def values(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Reject values outside the API's ranges."""
    if request.temperature is not None and request.temperature > 1:
        yield "temperature: Input should be less than or equal to 1"
    stops = request.stop_sequences or ()
    if "" in stops:
        yield "stop_sequences: each stop sequence must be non-empty"
    if any(stop.isspace() for stop in stops):
        yield "stop_sequences: each stop sequence must contain non-whitespace"
    for path, allowed in VALUES.items():
        value: object = request
        for name in path.split("."):
            value = field(value, name)
        if value is not None and value not in allowed:
            quoted = [f"'{name}'" for name in allowed]
            yield f"{path}: Input should be {', '.join(quoted[:-1])} or {quoted[-1]}"


def thinking_budget(request: CreateMessageRequest, ctx: TranslationContext) -> Iterator[str]:
    """Require a budget below ``max_tokens``, unless the client interleaves thinking and tool calls."""
    budget = field(request.thinking, "budget_tokens")
    if budget is None:
        return
    if budget < _MIN_BUDGET_TOKENS:
        yield f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_MIN_BUDGET_TOKENS}"
    if budget >= (request.max_tokens or 0) and _INTERLEAVED_BETA not in ctx.headers.get("anthropic-beta", ""):
        yield "`max_tokens` must be greater than `thinking.budget_tokens`"


def thinking_settings(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Reject what cannot be combined with thinking: sampling parameters and a forced tool call."""
    mode = field(request.thinking, "type")
    if mode in ("enabled", "adaptive"):
        if request.temperature not in (None, 1):
            condition = "when thinking is enabled" + (" or in adaptive mode" if mode == "adaptive" else "")
            yield f"`temperature` may only be set to 1 {condition}"
        if request.top_p is not None and request.top_p < _MIN_TOP_P_WITH_THINKING:
            yield f"`top_p` must be greater than or equal to {_MIN_TOP_P_WITH_THINKING} when thinking is enabled"
        if request.top_k is not None:
            yield "`top_k` must be unset when thinking is enabled"
    if mode in ("disabled", "between_tools"):
        for name in field(request.thinking, "model_extra") or ():
            yield f"thinking.{mode}.{name}: Extra inputs are not permitted"
    if mode == "enabled" and field(request.tool_choice, "type") in FORCED_CHOICES:
        yield "Thinking may not be enabled when tool_choice forces tool use."


def prewarming(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Reject ``max_tokens: 0`` with streaming, thinking, structured output or a forced tool call."""
    if request.max_tokens != 0:
        return
    conflicts = {
        "stream": request.stream,
        "thinking": field(request.thinking, "type") == "enabled",
        "output_config.format": field(request.output_config, "format") or request.output_format,
        "tool_choice": field(request.tool_choice, "type") in FORCED_CHOICES,
    }
    yield from (f"max_tokens: 0 cannot be combined with {name}" for name, is_set in conflicts.items() if is_set)


def tool_definitions(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Require unique tool names, and schemas without alternatives at the top level."""
    names = [name for tool in request.tools or () if (name := field(tool, "name")) is not None]
    if len(set(names)) < len(names):
        yield "tools: Tool names must be unique."
    for index, tool in enumerate(request.tools or ()):
        schema = field(tool, "input_schema")
        if isinstance(schema, dict) and not {"oneOf", "allOf", "anyOf"}.isdisjoint(schema):
            path = f"tools.{index}.custom.input_schema"
            yield f"{path}: input_schema does not support oneOf, allOf, or anyOf at the top level"


def cache_control(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Limit the cache breakpoints, in prompt order and including nested ones."""
    system = [] if isinstance(request.system, str) else request.system or ()
    inner = (part for _, _, block in _blocks(request) for part in (*list_field(block, "content"), block))
    owners = (*(request.tools or ()), *system, *inner, request)
    controls = [control for owner in owners if (control := field(owner, "cache_control")) is not None]
    ttls = [field(control, "ttl") or "5m" for control in controls]
    if len(ttls) > _MAX_CACHE_BREAKPOINTS:
        yield f"A maximum of {_MAX_CACHE_BREAKPOINTS} blocks with cache_control may be provided. Found {len(ttls)}."
    if "5m" in ttls and "1h" in ttls[ttls.index("5m") :]:
        yield "cache_control: a block with ttl='1h' must not come after a block with ttl='5m'"
    for path, _, block in _blocks(request):
        if block.type in THINKING_BLOCKS and field(block, "cache_control") is not None:
            yield f"{path}.{block.type}.cache_control: Extra inputs are not permitted"


def structured_output(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Reject citations with structured output."""
    if field(request.output_config, "format") is None:
        return
    for path, _, block in _blocks(request):
        sources = (block, *list_field(block, "content"))
        if any(field(field(source, "citations"), "enabled") for source in sources):
            yield f"output_config.format: cannot be combined with citations, which {path} enables"


def output_limit(request: CreateMessageRequest, ctx: TranslationContext) -> Iterator[str]:
    """Reject ``max_tokens`` above the model's output limit."""
    limit = ctx.profile.max_output_tokens
    if limit is not None and (request.max_tokens or 0) > limit:
        yield (
            f"max_tokens: {request.max_tokens} > {limit}, which is the maximum allowed number of output tokens for "
            f"{request.model}"
        )


# --- the conversation ---


def roles(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Require a user message first, and system messages after a user turn and before an assistant turn or the end.

    A compaction replaces all earlier messages, so a conversation may begin with it.
    """
    _, first_message = compacted(request)[0]
    if first_message.role == "assistant":
        yield "messages: first message must use the 'user' role"
    message_roles = [message.role for message in request.messages]
    if message_roles[0] == "system":
        yield (
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role."
        )
    for role, section in groupby(enumerate(message_roles), key=lambda numbered: numbered[1]):
        indexes = [index for index, _ in section]
        first, after = indexes[0], indexes[-1] + 1
        if role != "system" or not first:
            continue
        previous = list_field(request.messages[first - 1], "content")
        ends_in_server_result = bool(previous) and previous[-1].type.endswith("_tool_result")
        if message_roles[first - 1] == "assistant" and not ends_in_server_result:
            yield f"messages.{first}: role 'system' must follow a 'user' message"
        if message_roles[after : after + 1] == ["user"]:
            yield f"messages.{first}: role 'system' must precede an 'assistant' message or end the array"


def empty_content(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Reject empty messages and empty or blank texts."""
    last = len(request.messages) - 1
    for index, message in enumerate(request.messages):
        optional = (index == last and message.role == "assistant") or message.output_config is not None
        if not message.content and not optional:
            yield empty_message(index).message
    system = [("system", block) for block in list_field(request, "system")]
    for place, block in (*system, *(("messages", block) for _, _, block in _blocks(request))):
        if block.type != "text":
            continue
        if not block.text and block.cache_control is not None:
            yield f"{place}: cache_control cannot be set for empty text blocks"
        if not block.text:
            yield f"{place}: text content blocks must be non-empty"
        if block.text.isspace():
            yield f"{place}: text content blocks must contain non-whitespace text"


def call_ids(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Require unique and valid ids of tool calls."""
    seen: set[str] = set()
    for path, _, block in _blocks(request):
        if block.type != "tool_use":
            continue
        if block.id in seen:
            yield f"{path}: `tool_use` ids must be unique"
        if not _VALID_ID.fullmatch(block.id):
            yield f"{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        seen.add(block.id)


def tool_results(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Require the results of calls at the start of the next turn, and no other results."""
    calls: dict[str, None] = {}  # in their order
    caller = 0
    for index, role, blocks in [*_turns(request), (len(request.messages), "", [])]:
        answered: set[str] = set()
        for _, block in blocks:
            if field(block, "type") != "tool_result":
                break
            answered.add(block.tool_use_id)
        if missing := [call for call in calls if call not in answered]:
            yield (
                f"messages.{caller}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        for path, block in blocks:
            if field(block, "type") == "tool_result" and block.tool_use_id not in calls:
                yield (
                    f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: {block.tool_use_id}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        called = [block.id for _, block in blocks if field(block, "type") == "tool_use"]
        calls = dict.fromkeys(called) if role == "assistant" else {}
        caller = index


def server_results(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Require the call of a server tool before its result, in the same message."""
    for index, message in enumerate(request.messages):
        calls: set[str] = set()
        for place, block in enumerate(list_field(message, "content")):
            if block.type in _SERVER_CALLS:
                calls.add(field(block, "id"))
            elif block.type.endswith("_tool_result") and message.role == "assistant":
                call_id, call_type = field(block, "tool_use_id"), _SERVER_CALLS[block.type == "mcp_tool_result"]
                if call_id not in calls:
                    yield (
                        f"messages.{index}.content.{place}: unexpected `tool_use_id` found in `{block.type}` blocks: "
                        f"{call_id}. Each `{block.type}` block must have a corresponding `{call_type}` block before it."
                    )


def prefill(request: CreateMessageRequest, _ctx: TranslationContext) -> Iterator[str]:
    """Reject a prefill with thinking, with structured output, or with trailing whitespace."""
    message = request.messages[-1]
    blocks = list_field(message, "content")
    if message.role != "assistant" or (blocks and blocks[-1].type != "text"):
        return
    conflicts = {
        "thinking": field(request.thinking, "type") in ("enabled", "adaptive"),
        "output_config.format": field(request.output_config, "format") or request.output_format,
    }
    for name, is_set in conflicts.items():
        if is_set:
            yield f"{name}: cannot be combined with a prefill. The conversation must end with a user message."
    text = blocks[-1].text if blocks else str(message.content)
    if text != text.rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


def _blocks(request: CreateMessageRequest) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path, the message and the block for each block of the messages."""
    for index, message in enumerate(request.messages):
        for place, block in enumerate(list_field(message, "content")):
            yield f"messages.{index}.content.{place}", message, block


def _turns(request: CreateMessageRequest) -> Iterator[tuple[int, str, list[tuple[str, Any]]]]:
    """Yield the index of the last message, the role and the blocks, with their paths, of each turn."""
    for role, turn in groupby(enumerate(request.messages), key=lambda numbered: numbered[1].role):
        blocks: list[tuple[str, Any]] = []
        index = 0
        for index, message in turn:
            content = [message.content] if isinstance(message.content, str) else message.content
            blocks += [(f"messages.{index}.content.{place}", block) for place, block in enumerate(content)]
        yield index, role, blocks


STRICT_CHECKS: tuple[Check, ...] = (
    version_header,
    top_level_fields,
    values,
    thinking_budget,
    thinking_settings,
    prewarming,
    tool_definitions,
    cache_control,
    structured_output,
    output_limit,
    roles,
    empty_content,
    call_ids,
    tool_results,
    server_results,
    prefill,
)
"""The checks, in the API's order."""
