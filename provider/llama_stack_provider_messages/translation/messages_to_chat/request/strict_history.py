"""The API's rules for a conversation, with its error messages, for strict validation.

Consecutive messages of one role count as one turn, as in the API. Not checked, because it cannot be determined: whether
thinking was changed, and whether all tools called in the history are declared.
"""

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from llama_stack_api_messages.models.request import CreateMessageRequest
from llama_stack_provider_messages.translation.fields import field

from .context_edits import compacted
from .messages import empty_message

_SERVER_CALLS = ("server_tool_use", "mcp_tool_use")
_LEGAL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_LEADING_SYSTEM = (
    'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" as an '
    "input message role."
)


def _blocks(content: object) -> list[Any]:
    return content if isinstance(content, list) else []


def _system_place(request: CreateMessageRequest) -> str | None:
    """Require system messages to follow a user turn, and to precede an assistant turn or end the array."""
    roles = [message.role for message in request.messages]
    if roles[0] == "system":
        return _LEADING_SYSTEM
    for role, section in groupby(enumerate(roles), key=lambda placed: placed[1]):
        indexes = [index for index, _ in section]
        if role != "system":
            continue
        first, behind = indexes[0], indexes[-1] + 1
        if roles[first - 1] == "assistant" and not _ends_in_server_result(request, first):
            return f"messages.{first}: role 'system' must follow a 'user' message"
        if roles[behind : behind + 1] == ["user"]:
            return f"messages.{first}: role 'system' must precede an 'assistant' message or end the array"
    return None


def _ends_in_server_result(request: CreateMessageRequest, index: int) -> bool:
    blocks = _blocks(request.messages[index - 1].content)
    return bool(blocks) and blocks[-1].type.endswith("_tool_result")


def _first_role(request: CreateMessageRequest) -> str | None:
    """Require a user message first, except after a compaction, which replaces all earlier messages."""
    _, first = compacted(request)[0]
    return "messages: first message must use the 'user' role" if first.role == "assistant" else None


def _empty_messages(request: CreateMessageRequest) -> str | None:
    last = len(request.messages) - 1
    for index, message in enumerate(request.messages):
        optional = (index == last and message.role == "assistant") or message.output_config is not None
        if not message.content and not optional:
            return empty_message(index).message
    return None


def _empty_texts(request: CreateMessageRequest) -> str | None:
    places = [("system", _blocks(request.system)), *(("messages", _blocks(part.content)) for part in request.messages)]
    for place, block in ((place, block) for place, blocks in places for block in blocks if block.type == "text"):
        if not block.text:
            if block.cache_control is not None:
                return f"{place}: cache_control cannot be set for empty text blocks"
            return f"{place}: text content blocks must be non-empty"
        if block.text.isspace():
            return f"{place}: text content blocks must contain non-whitespace text"
    return None


def _prefill(request: CreateMessageRequest) -> str | None:
    message = request.messages[-1]
    blocks = _blocks(message.content)
    if message.role != "assistant" or (blocks and blocks[-1].type != "text"):
        return None
    for name, asked in (
        ("thinking", field(request.thinking, "type") in ("enabled", "adaptive")),
        ("output_config.format", field(request.output_config, "format") or request.output_format),
    ):
        if asked:
            return f"{name}: cannot be combined with a prefill. The conversation must end with a user message."
    text = blocks[-1].text if blocks else str(message.content)
    if text != text.rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None


def _call_ids(request: CreateMessageRequest) -> str | None:
    seen: set[str] = set()
    for index, message in enumerate(request.messages):
        for place, block in enumerate(_blocks(message.content)):
            if block.type != "tool_use":
                continue
            path = f"messages.{index}.content.{place}"
            if block.id in seen:
                return f"{path}: `tool_use` ids must be unique"
            if not _LEGAL_ID.fullmatch(block.id):
                return f"{path}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
            seen.add(block.id)
    return None


type _Placed = tuple[str, Any]


def _turns(request: CreateMessageRequest) -> Iterator[tuple[int, str, list[_Placed]]]:
    """Yield the index of the last message, the role and the blocks, with their paths, of each turn."""
    for role, turn in groupby(enumerate(request.messages), key=lambda placed: placed[1].role):
        blocks: list[_Placed] = []
        index = 0
        for index, message in turn:
            said = [message.content] if isinstance(message.content, str) else message.content
            blocks += [(f"messages.{index}.content.{place}", block) for place, block in enumerate(said)]
        yield index, role, blocks


def _pairs(request: CreateMessageRequest) -> str | None:
    """Require the results of calls at the start of the next turn."""
    calls: dict[str, None] = {}  # in their order
    caller = 0
    for index, role, blocks in [*_turns(request), (len(request.messages), "", [])]:
        leading = _leading_results(blocks)
        if missing := [call for call in calls if call not in leading]:
            return (
                f"messages.{caller}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        for path, block in _of_type(blocks, "tool_result"):
            if block.tool_use_id not in calls:
                return (
                    f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: {block.tool_use_id}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
        calls = dict.fromkeys(block.id for _, block in _of_type(blocks, "tool_use")) if role == "assistant" else {}
        caller = index
    return None


def _of_type(blocks: list[_Placed], kind: str) -> list[_Placed]:
    return [(path, block) for path, block in blocks if field(block, "type") == kind]


def _leading_results(blocks: list[_Placed]) -> set[str]:
    """Return the ids of the calls with a result before any other block."""
    answered: set[str] = set()
    for _, block in blocks:
        if field(block, "type") != "tool_result":
            break
        answered.add(block.tool_use_id)
    return answered


def _server_results(request: CreateMessageRequest) -> str | None:
    for index, message in enumerate(request.messages):
        begun: set[str] = set()
        for place, block in enumerate(_blocks(message.content)):
            if block.type in _SERVER_CALLS:
                begun.add(field(block, "id"))
            elif block.type.endswith("_tool_result"):
                call, kind = field(block, "tool_use_id"), _SERVER_CALLS[block.type == "mcp_tool_result"]
                if call not in begun and message.role == "assistant":
                    return (
                        f"messages.{index}.content.{place}: unexpected `tool_use_id` found in `{block.type}` blocks: "
                        f"{call}. Each `{block.type}` block must have a corresponding `{kind}` block before it."
                    )
    return None


HISTORY_CHECKS: tuple[Callable[[CreateMessageRequest], str | None], ...] = (
    _first_role,
    _system_place,
    _empty_messages,
    _empty_texts,
    _call_ids,
    _pairs,
    _server_results,
    _prefill,
)
"""The checks, in order."""
