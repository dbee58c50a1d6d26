"""Messages -> turns: sorts blocks into the fields of chat messages, and merges consecutive messages of one role.

Chat completions requires tool results right after the calls, in separate messages; in the Messages API they are user
blocks. So a user turn keeps results and parts separate, and user turns are merged only after their results are taken
out (messages.py).
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_stack_api_messages.models.content import ToolResultBlock, ToolUseBlock
from llama_stack_api_messages.models.request import InputMessage, PromptRequest
from llama_stack_provider_messages.translation.messages_to_chat.context import TranslationContext
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import SignedReasoning
from llama_stack_provider_messages.translation.names import backend_id, backend_name
from llama_stack_provider_messages.translation.system_prompt import without_billing
from llama_stack_provider_messages.translation.tool_arguments import dump_json

from .content import (
    IGNORED_BLOCKS,
    RESULT_BLOCKS,
    SERVER_BLOCKS,
    SYSTEM_BLOCKS,
    USER_BLOCKS,
    AnyBlock,
    PartHandler,
    assistant_text,
    parts_of,
)
from .context_edits import edited_messages
from .parts import Part, breakpoint_of, last_breakpoint, text_part
from .thinking import THINKING_BLOCKS, reasoning_of, take_call_extra


@dataclass(slots=True)
class Result:
    """One tool result.

    Args:
        call_id: The backend's id of the call.
        text: Text of the tool message, with a mark in place of each moved image or file.
        media: Images of the tool message.
        moved: Parts for the following user message, each after its mark.
        marker: Its cache breakpoint, see parts.py.
    """

    call_id: str
    text: str
    media: Sequence[Part] = ()
    moved: Sequence[Part] = ()
    marker: Part = dataclasses.field(default_factory=dict)


@dataclass(slots=True)
class UserTurn:
    """A user turn: tool results and parts."""

    results: list[Result] = dataclasses.field(default_factory=list)
    parts: list[Part] = dataclasses.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.results or self.parts)


@dataclass(slots=True)
class AssistantTurn:
    """An assistant turn: texts (one per message), reasoning and calls.

    ``paused`` if it ends inside a server tool call.
    """

    texts: list[str] = dataclasses.field(default_factory=list)
    reasoning: list[SignedReasoning] = dataclasses.field(default_factory=list)
    calls: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    paused: bool = False

    @property
    def text(self) -> str:
        """All messages as one text."""
        return "\n\n".join(self.texts)

    def extend(self, other: "AssistantTurn") -> None:
        """Append the next message of the same role."""
        self.texts += other.texts
        self.reasoning += other.reasoning
        self.calls += other.calls
        self.paused = other.paused

    def __bool__(self) -> bool:
        return bool(self.texts or self.calls)


@dataclass(slots=True)
class SystemTurn:
    """System messages inside the conversation."""

    texts: list[str]

    @property
    def text(self) -> str:
        """All messages as one text."""
        return "\n\n".join(self.texts)

    def extend(self, other: "SystemTurn") -> None:
        """Append the next message of the same role."""
        self.texts += other.texts

    def __bool__(self) -> bool:
        return bool(self.texts)


type Content = str | Sequence[AnyBlock] | None
type Turn = UserTurn | AssistantTurn | SystemTurn


def turns_of(request: PromptRequest, ctx: TranslationContext) -> list[Turn]:
    """Return the turns of a request, without empty messages."""
    turns: list[Turn] = []
    messages = edited_messages(request, ctx)
    last_user = next((index for index, message in reversed(messages) if message.role == "user"), -1)
    for index, message in messages:
        if message.clear_at == "next_user_message":
            if message.role != "system":
                ctx.drop(f"messages.{index}.clear_at", "clear_at", "only system messages are cleared")
            elif index < last_user:
                continue
        append_turn(turns, turn_of(message, f"messages.{index}.content", ctx))
    return turns


def append_turn(turns: list[Turn], turn: Turn) -> None:
    """Append a non-empty turn; merge it into the last one if both are assistant or both are system turns."""
    last = turns[-1] if turns else None
    if not isinstance(turn, UserTurn) and type(last) is type(turn) and turn:
        last.extend(turn)  # type: ignore[arg-type]
    elif turn:
        turns.append(turn)


def turn_of(message: InputMessage, path: str, ctx: TranslationContext) -> Turn:
    """Return the turn for one message; it is falsy if the message is empty.

    Args:
        message: The message.
        path: JSON path of its content.
        ctx: State of the translation.
    """
    if message.role == "system":
        return SystemTurn(_unless_blank(system_text(message.content, path, ctx)))
    if message.role == "assistant":
        return _assistant_turn(message.content, path, ctx)
    return _user_turn(message.content, path, ctx)


def _user_turn(content: str | Sequence[Any], path: str, ctx: TranslationContext) -> UserTurn:
    if isinstance(content, str):
        return UserTurn(parts=_parts(content, path, ctx, USER_BLOCKS))
    results: list[Result] = []
    parts: list[Part] = []
    for index, block in enumerate(content):
        if block.type == "tool_result":
            results.append(_result(block, f"{path}.{index}.content", ctx))
        elif block.type == "mcp_tool_result":
            parts.append(text_part(assistant_text(block, f"{path}.{index}", ctx)))
        else:
            parts += parts_of(block, f"{path}.{index}", ctx, USER_BLOCKS)
    return UserTurn(results, parts)


_MEDIA = {"image_url": "image", "file": "document"}
"""Types of media parts -> their name in marks."""


def _result(block: ToolResultBlock, path: str, ctx: TranslationContext) -> Result:
    """Return a tool result. Images stay if the backend accepts them in tool messages; files are always moved."""
    call_id, marker = backend_id(block.tool_use_id, ctx.profile.call_ids), breakpoint_of(block, ctx)
    media: list[Part] = []
    moved: list[Part] = []
    if isinstance(block.content, str):
        text = block.content  # white space is kept: tool output is data
    else:
        parts = _parts(block.content, path, ctx, RESULT_BLOCKS)
        marker = marker or last_breakpoint(parts)
        texts: list[str] = []
        numbers: Counter[str] = Counter()
        for part in parts:
            kind = _MEDIA.get(part["type"])
            if kind is None:
                texts.append(part["text"])
            elif kind == "image" and ctx.profile.tool_images:
                media.append(part)
            else:
                numbers[kind] += 1
                mark = f"{kind} {numbers[kind]} of tool result {call_id}"
                texts.append(f"[{mark}: see next message]")
                moved += [text_part(f"[{mark}]"), part]
        text = "\n".join(texts)
    if block.is_error and not text.startswith("Error"):
        text = f"Error: {text}"
    return Result(call_id, text, media, moved, marker)


_CONTINUED_BLOCKS = IGNORED_BLOCKS | {"text", "thinking"}
"""Blocks that do not interrupt a text: the model continues it after them."""


def _assistant_turn(content: str | Sequence[Any], path: str, ctx: TranslationContext) -> AssistantTurn:
    """Return the turn for an assistant message.

    Text before and after thinking is joined without a break; after a tool call it starts a new paragraph.
    """
    if isinstance(content, str):
        return AssistantTurn(_unless_blank(content))
    reasoning: list[SignedReasoning] = []
    calls: list[dict[str, Any]] = []
    pieces: list[str] = []
    separator, paused = "", False
    for index, block in enumerate(content):
        kind, text = block.type, ""
        if kind == "text":
            text = block.text
        elif kind == "tool_use":
            calls.append(_tool_call(block, f"{path}.{index}", ctx) | take_call_extra(reasoning))
        elif kind in THINKING_BLOCKS:
            reasoning += reasoning_of(block, f"{path}.{index}", ctx)
        else:
            text = assistant_text(block, f"{path}.{index}", ctx)
        if text:
            paused = kind in SERVER_BLOCKS
            pieces += [separator if kind == "text" or not pieces else "\n\n", text]
        if text or (pieces and kind not in _CONTINUED_BLOCKS):
            separator = "" if kind == "text" else "\n\n"
    return AssistantTurn(_unless_blank("".join(pieces)), reasoning, calls, paused)


def _tool_call(block: ToolUseBlock, path: str, ctx: TranslationContext) -> dict[str, Any]:
    """Return a call, its arguments in the model's key order; a missing id is made from the call's position."""
    call_id = backend_id(block.id or "call_" + path.replace(".", "_"), ctx.profile.call_ids)
    function = {"name": backend_name(block.name, block.toolset_name), "arguments": dump_json(block.input)}
    return {"id": call_id, "type": "function", "function": function}


def system_text(content: Content, path: str, ctx: TranslationContext) -> str:
    """Return a system prompt as one text."""
    return "\n\n".join(part["text"] for part in system_parts(content, path, ctx))


def system_parts(content: Content, path: str, ctx: TranslationContext) -> list[Part]:
    """Return a system prompt as text parts, without Claude Code's attribution block."""
    parts = _parts(content, path, ctx, SYSTEM_BLOCKS)
    return [part | {"text": text} for part in parts if (text := without_billing(part["text"]))]


def _parts(content: Content, path: str, ctx: TranslationContext, handlers: dict[str, PartHandler]) -> list[Part]:
    """Return the parts of a string or of a list of blocks."""
    if content is None or isinstance(content, str):
        return [text_part(content)] if content and content.strip() else []
    return [part for index, block in enumerate(content) for part in parts_of(block, f"{path}.{index}", ctx, handlers)]


def _unless_blank(text: str) -> list[str]:
    """Return ``[text]``, ``[]`` if it is blank, because upstreams reject blank texts."""
    return [text] if text.strip() else []
