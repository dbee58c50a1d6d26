"""Selects the messages for the backend: those after the last compaction, with the requested context edits applied.

The problem: an agent's history outgrows the context window. The Messages API lets the client ask for old tool results
and old thinking to be left out (``context_management.edits``), and may replace the beginning of a conversation by a
summary (a ``compaction`` block). The client still sends the whole history. A chat completions backend knows neither, so
both are applied here:

    messages  ->  compaction: earlier messages are removed, its summary is the first message
              ->  context_management.edits, in their order

clear_tool_uses   Once the conversation has more than ``trigger`` tokens or tool uses, the results of all tool uses
                  except the last ``keep`` are replaced by a short note. Their inputs are kept, unless
                  ``clear_tool_inputs`` says otherwise. Nothing is cleared if it would save less than
                  ``clear_at_least`` tokens.
clear_thinking    The thinking of all turns except the last ``keep`` is removed.

Example: ``keep`` 1 with the calls a, b, c: the results of a and b become the note, and the reply reports
``{"cleared_tool_uses": 2, "cleared_input_tokens": ...}``.

Messages and blocks keep their index: a removed block is replaced by an empty text, so that every JSON path still refers
to the client's request. The request itself is not changed. Servers that count calls from 0 in every response repeat
ids, so calls are compared by identity, and a result belongs to the last call with its id.

Rules and defaults are those of the API's page on context editing (docs: build-with-claude/context-editing).
"""

from collections.abc import Callable, Container, Sequence
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.content import TextBlock
from llama_stack_api_messages.models.context import ClearThinkingEdit, ClearToolUsesEdit
from llama_stack_api_messages.models.request import InputMessage, PromptRequest
from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.backend.tokens import BlockSizes
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

from .thinking import THINKING_BLOCKS

type NumberedMessage = tuple[int, InputMessage]
"""A message with its index in the request."""

_REMOVED = TextBlock(type="text", text="")
_CLEARED_RESULT = "[The result of this tool call was cleared to save space]"
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})

_DEFAULT_TRIGGER_TOKENS = 100_000
_DEFAULT_KEPT_TOOL_USES = 3
_DEFAULT_KEPT_THINKING_TURNS = 1

_AMOUNTS: dict[str, dict[str, tuple[str, ...]]] = {
    "clear_tool_uses_20250919": {
        "trigger": ("input_tokens", "tool_uses"),
        "keep": ("tool_uses",),
        "clear_at_least": ("input_tokens",),
    },
    "clear_thinking_20251015": {"keep": ("thinking_turns", "all")},
}
"""Edit -> its settings with amounts -> the allowed types of the amount."""

UNKNOWN_EDITS: dict[str, str] = {"compact_20260112": "this server does not summarise conversations"}
"""Unsupported edits, which are dropped -> why."""


def edited_messages(request: PromptRequest, ctx: TranslationContext) -> list[NumberedMessage]:
    """Return the messages to translate; the edits that cleared something are in ``ctx.edits``.

    Raises:
        InvalidRequestError: The policy is strict, and the API rejects the order of the edits.
    """
    messages, sizes = compacted(request), BlockSizes()
    for index, edit in enumerate(list_field(request.context_management, "edits")):
        path = f"context_management.edits.{index}"
        if edit.type not in EDITS:
            ctx.drop(path, edit.type, UNKNOWN_EDITS.get(edit.type, "this server does not know the edit"))
            continue
        if ctx.policy.strict and index and edit.type == "clear_thinking_20251015":
            raise InvalidRequestError(f"{path}: clear_thinking_20251015 must be the first edit; move it to the front")
        kinds = {name: field(field(edit, name), "type") for name in _AMOUNTS[edit.type]}
        odd = [name for name, kind in kinds.items() if kind not in (None, *_AMOUNTS[edit.type][name])]
        if odd:
            reason = "the setting does not accept an amount of this type; the edit is not applied"
            ctx.drop(f"{path}.{odd[0]}", edit.type, reason)
            continue
        messages = EDITS[edit.type](messages, edit, request, ctx, sizes)
    return messages


def compacted(request: PromptRequest) -> list[NumberedMessage]:
    """Return the summary of the last compaction as a user message, and the messages after it.

    A failed compaction has no content and is ignored.
    """
    messages = list(enumerate(request.messages))
    for index, message in reversed(messages):
        if message.role != "assistant" or isinstance(message.content, str):
            continue
        found = [place for place, block in enumerate(message.content) if block.type == "compaction"]
        for place in reversed(found):
            if summary := text_field(message.content[place], "content").strip():
                text = f"This conversation began earlier. What was said until here:\n<summary>\n{summary}\n</summary>"
                kept = _with_content(message, [_REMOVED] * (place + 1) + message.content[place + 1 :])
                return [(index, InputMessage(role="user", content=text)), (index, kept), *messages[index + 1 :]]
    return messages


# --- clear_thinking ---


def clear_thinking(
    messages: list[NumberedMessage],
    edit: ClearThinkingEdit,
    _request: PromptRequest,
    ctx: TranslationContext,
    sizes: BlockSizes,
) -> list[NumberedMessage]:
    """Clear the thinking of all turns except the last ``keep`` ones."""
    if edit.keep == "all" or field(edit.keep, "type") == "all":
        return messages
    turns = _turns_with_thinking(messages)
    old_turns = turns[: max(0, len(turns) - max(0, _amount(edit.keep, _DEFAULT_KEPT_THINKING_TURNS)))]
    if not old_turns:
        return messages
    cleared_tokens = 0
    edited = list(messages)
    for at in {at for turn in old_turns for at in turn}:
        number, message = messages[at]
        content = list_field(message, "content")
        cleared_tokens += sizes.tokens([block for block in content if block.type in THINKING_BLOCKS])
        kept = [_REMOVED if block.type in THINKING_BLOCKS else block for block in content]
        edited[at] = (number, _with_content(message, kept))
    ctx.edits.append(
        {"type": edit.type, "cleared_thinking_turns": len(old_turns), "cleared_input_tokens": cleared_tokens}
    )
    return edited


def _turns_with_thinking(messages: list[NumberedMessage]) -> list[list[int]]:
    """Return the indexes of messages with thinking, grouped by turn; tool results do not end a turn."""
    turns: list[list[int]] = [[]]
    for at, (_, message) in enumerate(messages):
        blocks = list_field(message, "content")
        only_results = bool(blocks) and all(block.type == "tool_result" for block in blocks)
        if message.role == "user" and not only_results:
            turns.append([])
        if any(block.type in THINKING_BLOCKS for block in blocks):
            turns[-1].append(at)
    return [turn for turn in turns if turn]


# --- clear_tool_uses ---


def clear_tool_uses(
    messages: list[NumberedMessage],
    edit: ClearToolUsesEdit,
    request: PromptRequest,
    ctx: TranslationContext,
    sizes: BlockSizes,
) -> list[NumberedMessage]:
    """Clear the results of all tool uses except the last ones, if the trigger (uses or tokens) is exceeded."""
    blocks = (block for _, message in messages for block in list_field(message, "content"))
    calls = [block for block in blocks if block.type in _CALLS]
    if field(edit.trigger, "type") == "tool_uses":
        size = len(calls)
    else:
        size = sizes.tokens(request.system) + sizes.tokens(request.tools)
        size += sum(sizes.tokens(message.content) for _, message in messages)
    if size <= _amount(edit.trigger, _DEFAULT_TRIGGER_TOKENS):
        return messages
    kept = max(0, _amount(edit.keep, _DEFAULT_KEPT_TOOL_USES))
    excluded = frozenset(edit.exclude_tools or ())
    old = {id(call) for call in calls[: max(0, len(calls) - kept)] if call.name not in excluded}
    emptied = edit.clear_tool_inputs
    emptied_tools = frozenset(emptied if isinstance(emptied, list) else [call.name for call in calls if emptied])
    edited, cleared_tokens, uses = _without_results(messages, old, emptied_tools, sizes)
    if not uses or cleared_tokens < _amount(edit.clear_at_least, 0):
        return messages
    ctx.edits.append({"type": edit.type, "cleared_tool_uses": uses, "cleared_input_tokens": cleared_tokens})
    return edited


def _without_results(
    messages: list[NumberedMessage], old: Container[int], emptied_tools: Container[str], sizes: BlockSizes
) -> tuple[list[NumberedMessage], int, int]:
    """Return the messages with the results of old calls cleared, the saved tokens, and the number of results.

    Args:
        messages: The conversation.
        old: Identities (``id``) of the call objects to clear.
        emptied_tools: Names of the tools whose inputs are cleared, too.
        sizes: The sizes of the blocks.
    """
    saved_tokens = uses = 0
    cleared_ids: set[str] = set()
    edited = list(messages)
    for at, (number, message) in enumerate(messages):
        content = list_field(message, "content")
        changed = []
        for block in content:
            if block.type in _CALLS and block.id:
                (cleared_ids.add if id(block) in old else cleared_ids.discard)(block.id)
            changed.append(_cleared_block(block, cleared_ids, emptied_tools))
        pairs = [(before, after) for before, after in zip(content, changed, strict=True) if before is not after]
        if pairs:
            edited[at] = (number, _with_content(message, changed))
            saved_tokens += sum(sizes.tokens(before) - sizes.tokens(after) for before, after in pairs)
            uses += sum(before.type not in _CALLS for before, _ in pairs)
    return edited, max(0, saved_tokens), uses


def _cleared_block(block: Any, cleared_ids: Container[str], emptied_tools: Container[str]) -> Any:  # noqa: ANN401 - any block
    if text_field(block, "tool_use_id") in cleared_ids and field(block, "content") != _CLEARED_RESULT:
        failed = {"is_error": None} if field(block, "is_error") else {}
        return block.model_copy(update={"content": _CLEARED_RESULT} | failed)
    if block.type in _CALLS and block.id in cleared_ids and block.input and block.name in emptied_tools:
        return block.model_copy(update={"input": {}})
    return block


def _with_content(message: InputMessage, content: Sequence[Any]) -> InputMessage:
    return message.model_copy(update={"content": content})


def _amount(amount: object, default: int) -> int:
    value = field(amount, "value")
    return default if value is None else int(value)


type _Edit = Callable[
    [list[NumberedMessage], Any, PromptRequest, TranslationContext, BlockSizes], list[NumberedMessage]
]

EDITS: dict[str, _Edit] = {
    "clear_tool_uses_20250919": clear_tool_uses,
    "clear_thinking_20251015": clear_thinking,
}
"""Supported edits."""
