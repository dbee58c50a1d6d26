"""Reads the messages of a chat request: the leading system prompt, then the history (history.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.names import CallIds
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    name_at,
    record_at,
    records_at,
    shown,
    text_at,
)

from .breakpoints import gather
from .calls import calls_of
from .content import ASSISTANT_PARTS, SYSTEM_PARTS, TOOL_PARTS, USER_PARTS, blocks_of, text_block
from .history import History, opening
from .thinking_history import thoughts_of


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the messages of a request, one method per role.

    Args:
        ctx: State of the translation.
        history: The turns so far.
        system: The system prompt so far.
        ids: The call ids so far.
    """

    ctx: TranslationContext
    history: History
    system: list[Block] = field(default_factory=list)
    ids: CallIds = field(default_factory=CallIds)

    def instructions(self, message: Record, path: str) -> None:
        """Add a system or developer message."""
        self.no_name(message, path)
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, SYSTEM_PARTS)
        if self.history.begun:
            self.history.instructed(blocks)
        else:
            self.system.extend(blocks)

    def question(self, message: Record, path: str) -> None:
        """Add a user message; its ``name`` becomes a prefix of the text, so that the model knows the speaker."""
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, USER_PARTS)
        if name := text_at(message.get("name"), f"{path}.name"):
            _sign(blocks, name)
        self.history.said(blocks)

    def answer(self, message: Record, path: str) -> None:
        """Add an assistant message."""
        self.no_name(message, path)
        thoughts = thoughts_of(message, path, self.ctx)
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, ASSISTANT_PARTS)
        refusal = text_block(text_at(message.get("refusal"), f"{path}.refusal"), f"{path}.refusal", self.ctx)
        blocks += [refusal] if refusal else []
        calls = list(calls_of(message, path, self.ids, self.ctx))
        self.history.answered(thoughts, blocks or _spoken(message, f"{path}.audio", self.ctx), calls, path)

    def tool_result(self, message: Record, path: str) -> None:
        """Add a tool result."""
        self._result(("id", name_at(message.get("tool_call_id"), f"{path}.tool_call_id")), message, path)

    def function_result(self, message: Record, path: str) -> None:
        """Add the result of a legacy function call, which refers to its call by function name."""
        self._result(("name", name_at(message.get("name"), f"{path}.name")), message, path)

    def _result(self, key: tuple[str, str], message: Record, path: str) -> None:
        start = len(self.ctx.marks)
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, TOOL_PARTS)
        if (result := self.history.resulted(key, blocks, path)) is not None:
            gather(result, start, self.ctx)

    def no_name(self, message: Record, path: str) -> None:
        """Drop and log a ``name``: as a prefix in assistant messages, the model would imitate it."""
        if message.get("name"):
            self.ctx.hint(f"{path}.name", "name", "the Messages API has no names; only those of users are told")


def _sign(blocks: list[Block], name: str) -> None:
    first = next((block for block in blocks if block["type"] == "text"), None)
    if first is not None:
        first["text"] = f"{name}: {first['text']}"
    elif blocks:
        blocks.insert(0, {"type": "text", "text": f"{name}:"})


def _spoken(message: Record, path: str, ctx: TranslationContext) -> list[Block]:
    """Return the transcript of an audio response, if the client sent it."""
    if message.get("audio") is None:
        return []
    transcript = text_at(record_at(message["audio"], path).get("transcript"), f"{path}.transcript")
    block = text_block(transcript, f"{path}.transcript", ctx)
    if block is None:
        ctx.drop(path, "audio", "the Messages API keeps no audio; send what was said as content")
    return [block] if block else []


ROLES: Mapping[str, Callable[[Reader, Record, str], None]] = {
    "system": Reader.instructions,
    "developer": Reader.instructions,
    "user": Reader.question,
    "assistant": Reader.answer,
    "tool": Reader.tool_result,
    "function": Reader.function_result,
}
"""Role of a message -> its method."""

_SHARED = frozenset({"role", "content", "name"})
_ANSWER = {"refusal", "tool_calls", "function_call", "audio", "reasoning", "reasoning_content", "reasoning_details"}
FIELDS: Mapping[str, frozenset[str]] = {
    "system": _SHARED,
    "developer": _SHARED,
    "user": _SHARED,
    "assistant": _SHARED | _ANSWER,
    "tool": _SHARED | {"tool_call_id"},
    "function": _SHARED,
}
"""Role -> known fields of its messages."""


def conversation(chat: Record, ctx: TranslationContext) -> tuple[list[Block], list[Block]]:
    """Return the system prompt's blocks and the messages of a request.

    Raises:
        InvalidRequestError: A message does not match the schema, or all messages are empty.
    """
    reader = Reader(ctx, History(ctx))
    for message, path in records_at(chat.get("messages"), "messages"):
        role = text_at(message.get("role"), f"{path}.role")
        read = ROLES.get(role)
        if read is None:
            raise InvalidRequestError(f"{path}.role: {shown(role)} is none of {', '.join(ROLES)}")
        read(reader, message, path)
        ctx.unknown(message, FIELDS[role], path)
    messages = reader.history.messages()
    if not messages and not reader.system:
        raise InvalidRequestError("messages: at least one message that says something is required")
    messages = messages or [{"role": "user", "content": [opening()]}]
    if messages[-1]["role"] == "assistant":
        _prefill(messages, chat["messages"], ctx)
    return reader.system, messages


def _prefill(messages: list[Block], chat: list[Record], ctx: TranslationContext) -> None:
    """Prepare the final assistant message as a prefill. A blank message after it is rejected.

    ``final assistant content cannot end with trailing whitespace`` is an error of the API.
    """
    last = len(chat) - 1
    if chat[last]["role"] != "assistant":
        raise InvalidRequestError(f"messages.{last}: the message says nothing; say something, or leave it out")
    if not ctx.traits.prefill:
        raise InvalidRequestError(
            f"messages.{last}: This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    block = messages[-1]["content"][-1]
    kept = block["text"].rstrip()
    if kept != block["text"]:
        ctx.hint(f"messages.{last}.content", "text", "blanks at the end of an answer that is continued are refused")
    block["text"] = kept
