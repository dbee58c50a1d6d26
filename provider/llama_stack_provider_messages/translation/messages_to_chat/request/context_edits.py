"""Selects the messages for the backend: those after the last compaction, with the requested context edits applied.

    messages  ->  compaction: earlier messages are removed, its summary is the first message
              ->  context_management.edits, in their order

Messages and blocks keep their index: a removed block is replaced by an empty text, so that every JSON path still refers
to the client's request. The request itself is not changed.

Rules and defaults are those of the API's page on context editing (docs: build-with-claude/context-editing).
"""

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_api_messages.models.content import TextBlock
from llama_stack_api_messages.models.context import ClearThinkingEdit, ClearToolUsesEdit
from llama_stack_api_messages.models.request import InputMessage, PromptRequest
from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.backend.estimate import estimate_blocks
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext

from .thinking_history import THINKING_BLOCKS

type Numbered = tuple[int, InputMessage]
"""A message with its index in the request."""

_GONE = TextBlock(type="text", text="")
_CLEARED = "[The result of this tool call was cleared to save space]"
_CALLS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def history(request: PromptRequest, ctx: TranslationContext) -> list[Numbered]:
    """Return the messages to translate; the edits that cleared something are in ``ctx.edits``.

    Raises:
        InvalidRequestError: The policy is strict, and the API rejects the order of the edits.
    """
    messages = compacted(request)
    for index, edit in enumerate(list_field(request.context_management, "edits")):
        path = f"context_management.edits.{index}"
        if edit.type not in EDITS:
            ctx.drop(path, edit.type, UNKNOWN_EDITS.get(edit.type, "this server does not know the edit"))
            continue
        if ctx.policy.strict and index and edit.type == "clear_thinking_20251015":
            raise InvalidRequestError(f"{path}: clear_thinking_20251015 must be the first edit; move it to the front")
        if (amount := _odd_amount(edit)) is not None:
            ctx.drop(
                f"{path}.{amount}",
                edit.type,
                "the setting does not accept an amount of this type; the edit is not applied",
            )
            continue
        messages = EDITS[edit.type](messages, edit, request, ctx)
    return messages


def compacted(request: PromptRequest) -> list[Numbered]:
    """Return the summary of the last compaction as a user message, and the messages after it.

    A failed compaction has no content and is ignored.
    """
    messages = list(enumerate(request.messages))
    for at in range(len(messages) - 1, -1, -1):
        number, message = messages[at]
        content = list_field(message, "content") if message.role == "assistant" else []
        for place in range(len(content) - 1, -1, -1):
            if content[place].type == "compaction" and (summary := (content[place].content or "").strip()):
                kept = _with(message, [_GONE] * (place + 1) + content[place + 1 :])
                return [(number, _summary(summary)), (number, kept), *messages[at + 1 :]]
    return messages


def _summary(text: str) -> InputMessage:
    framed = f"This conversation began earlier. What was said until here:\n<summary>\n{text}\n</summary>"
    return InputMessage(role="user", content=framed)


def _with(message: InputMessage, content: Sequence[Any]) -> InputMessage:
    return message.model_copy(update={"content": content})


_AMOUNTS: dict[str, dict[str, tuple[str, ...]]] = {
    "clear_tool_uses_20250919": {
        "trigger": ("input_tokens", "tool_uses"),
        "keep": ("tool_uses",),
        "clear_at_least": ("input_tokens",),
    },
    "clear_thinking_20251015": {"keep": ("thinking_turns", "all")},
}
"""Edit -> its settings with amounts -> the allowed types of the amount."""


def _odd_amount(edit: Any) -> str | None:  # noqa: ANN401 - any edit
    """Return the name of a setting whose amount has a type that is not allowed there, None if all are valid."""
    kinds = ((name, field(field(edit, name), "type"), taken) for name, taken in _AMOUNTS[edit.type].items())
    return next((name for name, kind, taken in kinds if kind is not None and kind not in taken), None)


# --- clear_thinking ---


def _clear_thinking(
    messages: list[Numbered], edit: ClearThinkingEdit, _request: PromptRequest, ctx: TranslationContext
) -> list[Numbered]:
    """Clear the thinking of all turns except the last ``keep`` ones (default: one)."""
    if edit.keep == "all" or field(edit.keep, "type") == "all":
        return messages
    turns = _turns_that_think(messages)
    old = turns[: max(0, len(turns) - max(0, _amount(edit.keep, 1)))]
    if not old:
        return messages
    places = {at for turn in old for at in turn}
    cleared = 0
    edited = list(messages)
    for at in places:
        number, message = messages[at]
        content = list_field(message, "content")
        cleared += estimate_blocks([block for block in content if block.type in THINKING_BLOCKS])
        edited[at] = (number, _with(message, [_GONE if block.type in THINKING_BLOCKS else block for block in content]))
    ctx.edits.append({"type": edit.type, "cleared_thinking_turns": len(old), "cleared_input_tokens": cleared})
    return edited


def _turns_that_think(messages: list[Numbered]) -> list[list[int]]:
    """Return the indexes of messages with thinking, grouped by turn; tool results do not end a turn."""
    turns: list[list[int]] = [[]]
    for at, (_, message) in enumerate(messages):
        if message.role == "user" and not _only_results(message):
            turns.append([])
        if any(block.type in THINKING_BLOCKS for block in list_field(message, "content")):
            turns[-1].append(at)
    return [turn for turn in turns if turn]


def _only_results(message: InputMessage) -> bool:
    blocks = list_field(message, "content")
    return bool(blocks) and all(block.type == "tool_result" for block in blocks)


# --- clear_tool_uses ---


def _clear_tool_uses(
    messages: list[Numbered], edit: ClearToolUsesEdit, request: PromptRequest, ctx: TranslationContext
) -> list[Numbered]:
    """Clear the results of all tool uses except the last ones, if the trigger (uses or tokens) is reached."""
    calls = [block for block in _blocks(messages) if block.type in _CALLS]
    if not _triggered(messages, edit, request, len(calls)):
        return messages
    keep = max(0, _amount(edit.keep, 3))
    excluded = frozenset(edit.exclude_tools or ())
    old = {id(call) for call in calls[: max(0, len(calls) - keep)] if call.name not in excluded}
    edited, cleared, uses = _without_results(messages, old, _cleared_inputs(edit))
    if not uses or cleared < _amount(edit.clear_at_least, 0):
        return messages
    ctx.edits.append({"type": edit.type, "cleared_tool_uses": uses, "cleared_input_tokens": cleared})
    return edited


def _triggered(messages: list[Numbered], edit: ClearToolUsesEdit, request: PromptRequest, uses: int) -> bool:
    limit = _amount(edit.trigger, 100_000)
    if field(edit.trigger, "type") == "tool_uses":
        return uses > limit
    size = estimate_blocks(request.system) + estimate_blocks(request.tools)
    return size + sum(estimate_blocks(message.content) for _, message in messages) > limit


def _cleared_inputs(edit: ClearToolUsesEdit) -> Callable[[str], bool]:
    if not isinstance(edit.clear_tool_inputs, list):
        return lambda _name: bool(edit.clear_tool_inputs)
    return frozenset(edit.clear_tool_inputs).__contains__


def _without_results(
    messages: list[Numbered], old: Container[int], clears_input: Callable[[str], bool]
) -> tuple[list[Numbered], int, int]:
    """Return the messages with the results of old calls cleared, the saved tokens, and the number of results.

    Servers that count calls from 0 in every response repeat ids: a result belongs to the last call with its id. So
    ``old`` holds the identities of the call objects.
    """
    saved = uses = 0
    gone: set[str] = set()
    edited = list(messages)
    for at, (number, message) in enumerate(messages):
        content = list_field(message, "content")
        changed = []
        for block in content:
            if block.type in _CALLS and block.id:
                (gone.add if id(block) in old else gone.discard)(block.id)
            changed.append(_cleared(block, gone, clears_input))
        pairs = [(was, now) for was, now in zip(content, changed, strict=True) if was is not now]
        if pairs:
            edited[at] = (number, _with(message, changed))
            saved += sum(estimate_blocks(was) - estimate_blocks(now) for was, now in pairs)
            uses += sum(was.type not in _CALLS for was, _ in pairs)
    return edited, max(0, saved), uses


def _cleared(block: Any, gone: Container[str], clears_input: Callable[[str], bool]) -> Any:  # noqa: ANN401 - any block
    if text_field(block, "tool_use_id") in gone and field(block, "content") != _CLEARED:
        failed = {"is_error": None} if field(block, "is_error") else {}
        return block.model_copy(update={"content": _CLEARED} | failed)
    if block.type in _CALLS and block.id in gone and block.input and clears_input(block.name):
        return block.model_copy(update={"input": {}})
    return block


def _blocks(messages: list[Numbered]) -> Iterator[Any]:
    for _, message in messages:
        yield from list_field(message, "content")


def _amount(amount: object, default: int) -> int:
    value = field(amount, "value")
    return default if value is None else int(value)


EDITS: dict[str, Callable[[list[Numbered], Any, PromptRequest, TranslationContext], list[Numbered]]] = {
    "clear_tool_uses_20250919": _clear_tool_uses,
    "clear_thinking_20251015": _clear_thinking,
}
"""Supported edits."""

UNKNOWN_EDITS: dict[str, str] = {"compact_20260112": "this server does not summarise conversations"}
"""Unsupported edits, which are dropped -> why."""
