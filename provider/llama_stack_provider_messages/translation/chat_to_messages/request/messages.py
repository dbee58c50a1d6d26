"""Reads the messages of a chat request: the leading system prompt, then the conversation (history.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from llama_stack_api_messages.errors import InvalidRequestError
from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext
from llama_stack_provider_messages.translation.chat_to_messages.read import (
    Record,
    name_at,
    quoted,
    record_at,
    records_at,
    text_at,
)

from .content import ASSISTANT_PARTS, SYSTEM_PARTS, TOOL_PARTS, USER_PARTS, blocks_of, merge_breakpoints, text_blocks
from .history import ConversationCallIds, History, placeholder, tool_calls
from .thinking import thinking_blocks


def conversation(chat: Record, ctx: TranslationContext) -> tuple[list[Block], list[Block]]:
    """Return the system prompt's blocks and the messages of a request.

    Raises:
        InvalidRequestError: A message does not match the schema, or all messages are empty.
    """
    reader = MessageReader(ctx, History(ctx))
    for message, path in records_at(chat.get("messages"), "messages"):
        role = text_at(message.get("role"), f"{path}.role")
        read = ROLES.get(role)
        if read is None:
            raise InvalidRequestError(f"{path}.role: {quoted(role)} is not a valid role; send {', '.join(ROLES)}")
        read(reader, message, path)
        ctx.hint_unknown(message, FIELDS[role], path)
    messages = reader.history.messages()
    if not messages and not reader.system:
        raise InvalidRequestError("messages: at least one message with content is required")
    messages = messages or [{"role": "user", "content": [placeholder()]}]
    if messages[-1]["role"] == "assistant":
        _prepare_prefill(messages, chat["messages"], ctx)
    return reader.system, messages


def _prepare_prefill(messages: list[Block], chat: list[Record], ctx: TranslationContext) -> None:
    """Prepare the final assistant message as a prefill. A blank message after it is rejected.

    ``final assistant content cannot end with trailing whitespace`` is an error of the API.
    """
    last = len(chat) - 1
    if chat[last]["role"] != "assistant":
        raise InvalidRequestError(f"messages.{last}: the message is empty; add content, or remove the message")
    if not ctx.traits.prefill:
        raise InvalidRequestError(
            f"messages.{last}: This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    block = messages[-1]["content"][-1]
    stripped = block["text"].rstrip()
    if stripped != block["text"]:
        reason = "the Messages API rejects trailing white space in a prefilled response"
        ctx.hint(f"messages.{last}.content", "text", reason)
    block["text"] = stripped


@dataclass(frozen=True, slots=True)
class MessageReader:
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
    ids: ConversationCallIds = field(default_factory=ConversationCallIds)

    def system_message(self, message: Record, path: str) -> None:
        """Add a system or developer message: to the system prompt before any other message, else to the history."""
        self._drop_name(message, path)
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, SYSTEM_PARTS)
        if self.history.begun:
            self.history.add_system(blocks)
        else:
            self.system.extend(blocks)

    def user_message(self, message: Record, path: str) -> None:
        """Add a user message; its ``name`` becomes a prefix of the text, so that the model knows the speaker."""
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, USER_PARTS)
        if name := text_at(message.get("name"), f"{path}.name"):
            text = next((block for block in blocks if block["type"] == "text"), None)
            if text is not None:
                text["text"] = f"{name}: {text['text']}"
            elif blocks:
                blocks.insert(0, {"type": "text", "text": f"{name}:"})
        self.history.add_user(blocks)

    def assistant_message(self, message: Record, path: str) -> None:
        """Add an assistant message; the transcript of an audio response stands in for missing content."""
        self._drop_name(message, path)
        thinking = thinking_blocks(message, path, self.ctx)
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, ASSISTANT_PARTS)
        refusal_path = f"{path}.refusal"
        blocks += text_blocks(text_at(message.get("refusal"), refusal_path), refusal_path, self.ctx)
        calls = list(tool_calls(message, path, self.ids, self.ctx))
        if not blocks and message.get("audio") is not None:
            audio_path = f"{path}.audio"
            audio, transcript_path = record_at(message["audio"], audio_path), f"{audio_path}.transcript"
            blocks = text_blocks(text_at(audio.get("transcript"), transcript_path), transcript_path, self.ctx)
            if not blocks:
                reason = "the Messages API does not store audio; send the transcript as content"
                self.ctx.drop(audio_path, "audio", reason)
        self.history.add_assistant(thinking, blocks, calls, path)

    def tool_message(self, message: Record, path: str) -> None:
        """Add a tool result."""
        self._add_result(("id", name_at(message.get("tool_call_id"), f"{path}.tool_call_id")), message, path)

    def function_message(self, message: Record, path: str) -> None:
        """Add the result of a legacy function call, which refers to its call by function name."""
        self._add_result(("name", name_at(message.get("name"), f"{path}.name")), message, path)

    def _add_result(self, key: tuple[str, str], message: Record, path: str) -> None:
        start = len(self.ctx.breakpoints)
        blocks = blocks_of(message.get("content"), f"{path}.content", self.ctx, TOOL_PARTS)
        if (result := self.history.add_result(key, blocks, path)) is not None:
            merge_breakpoints(result, start, self.ctx)

    def _drop_name(self, message: Record, path: str) -> None:
        """Drop and log a ``name``: as a prefix in assistant messages, the model would imitate it."""
        if message.get("name"):
            reason = "the Messages API has no message names; only the names of users are kept, as a prefix of the text"
            self.ctx.hint(f"{path}.name", "name", reason)


ROLES: Mapping[str, Callable[[MessageReader, Record, str], None]] = {
    "system": MessageReader.system_message,
    "developer": MessageReader.system_message,
    "user": MessageReader.user_message,
    "assistant": MessageReader.assistant_message,
    "tool": MessageReader.tool_message,
    "function": MessageReader.function_message,
}
"""Role of a message -> its method."""

_ALL_ROLES = frozenset({"role", "content", "name"})
FIELDS: Mapping[str, frozenset[str]] = {
    "system": _ALL_ROLES,
    "developer": _ALL_ROLES,
    "user": _ALL_ROLES,
    "assistant": _ALL_ROLES
    | {"refusal", "tool_calls", "function_call", "audio", "reasoning", "reasoning_content", "reasoning_details"},
    "tool": _ALL_ROLES | {"tool_call_id"},
    "function": _ALL_ROLES,
}
"""Role -> known fields of its messages."""
