"""The conversation of a chat request -> alternating turns that satisfy the Messages API's rules.

    first turn                    a user turn; a placeholder is inserted if the conversation starts with the assistant
    consecutive turns, same role  merged into one turn
    tool results                  first in the user turn after their calls, in the order of the calls
    a call without a result       gets an error result
    a result without a call       becomes text in place
    system messages               stay between a user turn and an assistant turn; elsewhere they become user text
    thinking without text, calls  moved to the next assistant message, or dropped: no turn may end with thinking

The API answers 400 where one of these rules is broken, for example ``messages.63: `tool_use` ids were found without
`tool_result` blocks immediately after``. A client that was interrupted between a call and its result sends the same
history with every later request, so its session would fail forever (letta 3308, claude-code 14075). Example:

    chat request                Messages request
    assistant: calls a and b    assistant: tool_use a, tool_use b
    user: "stop"                user: tool_result a, tool_result b (error: no result), text "stop"
    tool: result of a

Results refer to their calls by id, those of legacy functions by name. Many backends count calls from 0 in every
response, so ids repeat; the Messages API requires unique ids. A repeated id gets a number, which depends on the
client's request alone, so the prompt stays the same from turn to turn. A result belongs to the first call with its id
in the turn before that has no result yet.

The messages are processed in one pass, because a conversation may have a hundred thousand of them.
"""

from collections import deque
from collections.abc import Iterator
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
from llama_stack_provider_messages.translation.names import client_id
from llama_stack_provider_messages.translation.system_prompt import system_reminder
from llama_stack_provider_messages.translation.tool_arguments import mark_count, parse_tool_input

from .content import text_blocks
from .schemas import WRAPPER
from .tools import upstream_name

PLACEHOLDER = "Begin."
"""First user message, where the conversation starts with the assistant."""

NO_RESULT = "No result was provided for this call."

_CALL_FIELDS = frozenset({"id", "type", "index", "function", "custom"})


@dataclass(slots=True)
class ConversationCallIds:
    """Gives each call of a conversation a unique id; a repeated one gets a number."""

    _taken: set[str] = field(default_factory=set)
    _copies: dict[str, int] = field(default_factory=dict)

    def unique(self, requested: str, path: str) -> str:
        """Return the id for a call: the client's, if it is valid and not in use.

        Args:
            requested: The client's id, ``""`` for none.
            path: JSON path of the call, from which a missing id is derived.
        """
        base = client_id(requested) or f"call_{path.replace('.', '_')}"
        unique = base
        while unique in self._taken:
            self._copies[base] = self._copies.get(base, 1) + 1
            unique = f"{base}_{self._copies[base]}"
        self._taken.add(unique)
        return unique


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of an earlier assistant message.

    Args:
        block: Its ``tool_use`` block.
        key: How a result refers to it: ``id`` and the client's id, or ``name`` and the function of a legacy call.
        path: Its JSON path in the request.
    """

    block: Block
    key: tuple[str, str]
    path: str


def tool_calls(message: Record, path: str, ids: ConversationCallIds, ctx: TranslationContext) -> Iterator[ToolCall]:
    """Yield the calls of an assistant message.

    Raises:
        InvalidRequestError: A call does not match the schema.
    """
    for call, where in records_at(message.get("tool_calls"), f"{path}.tool_calls"):
        requested_id = text_at(call.get("id"), f"{where}.id")
        kind = call.get("type")
        if kind == "custom":
            custom_path = f"{where}.custom"
            custom = record_at(call.get("custom"), custom_path)
            tool_input: Block = {WRAPPER: text_at(custom.get("input"), f"{custom_path}.input")}
            name = name_at(custom.get("name"), f"{custom_path}.name")
        elif kind in (None, "", "function"):  # some servers omit the type
            name, tool_input = _function_call(call.get("function"), f"{where}.function", ctx)
        else:
            raise InvalidRequestError(f"{where}.type: {quoted(kind)} is not a valid call type; send function or custom")
        ctx.hint_unknown(call, _CALL_FIELDS, where)
        yield ToolCall(_tool_use(ids.unique(requested_id, where), name, tool_input, ctx), ("id", requested_id), where)
    if message.get("function_call") is not None:
        where = f"{path}.function_call"
        name, tool_input = _function_call(message["function_call"], where, ctx)
        yield ToolCall(_tool_use(ids.unique("", where), name, tool_input, ctx), ("name", name), where)


def _function_call(value: object, path: str, ctx: TranslationContext) -> tuple[str, Block]:
    """Return the client's name of a function and the input of its call."""
    function = record_at(value, path)
    name = name_at(function.get("name"), f"{path}.name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        ctx.count_argument_marks(mark_count(arguments), f"{path}.arguments")
    tool_input = parse_tool_input(arguments)
    return name, {WRAPPER: tool_input} if name in ctx.wrapped_tools else tool_input


def _tool_use(call_id: str, name: str, tool_input: Block, ctx: TranslationContext) -> Block:
    return {"type": "tool_use", "id": call_id, "name": upstream_name(name, ctx), "input": tool_input}


@dataclass(slots=True)
class UserTurn:
    """A user turn: tool results, the user's blocks, and system messages after them."""

    results: dict[str, Block] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    system: list[Block] = field(default_factory=list)

    def add(self, blocks: list[Block]) -> None:
        """Append user blocks; system messages before them become user text."""
        self.system_to_user_text()
        self.blocks += blocks

    def system_to_user_text(self) -> None:
        """Turn the system messages into user text."""
        for block in self.system:
            block["text"] = system_reminder(block["text"])
        self.blocks += self.system
        self.system = []


@dataclass(slots=True)
class AssistantTurn:
    """An assistant turn: thinking and text, then tool calls. ``unanswered`` holds the calls without a result by key."""

    blocks: list[Block] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    unanswered: dict[tuple[str, str], deque[ToolCall]] = field(default_factory=dict)


class History:
    """Collects the turns of one conversation."""

    def __init__(self, ctx: TranslationContext) -> None:
        self._ctx = ctx
        self._turns: list[UserTurn | AssistantTurn] = []
        self._thinking: list[Block] = []  # of assistant messages without text and calls
        self._thinking_path = ""

    @property
    def begun(self) -> bool:
        """Whether there is any message except system messages."""
        return bool(self._turns or self._thinking)

    def add_assistant(self, thinking: list[Block], blocks: list[Block], calls: list[ToolCall], path: str) -> None:
        """Add an assistant message."""
        if not blocks and not calls:
            self._thinking += thinking
            self._thinking_path = path if thinking else self._thinking_path
            return
        turn = self._turns[-1] if self._turns else None
        if not isinstance(turn, AssistantTurn):
            self._turns.append(turn := AssistantTurn())
        turn.blocks += [*self._thinking, *thinking, *blocks]
        turn.calls += calls
        for call in calls:
            turn.unanswered.setdefault(call.key, deque()).append(call)
        self._thinking = []

    def add_user(self, blocks: list[Block]) -> None:
        """Add a user message."""
        if blocks:
            self._user_turn().add(blocks)

    def add_system(self, blocks: list[Block]) -> None:
        """Add a system message inside the conversation."""
        if blocks:
            self._user_turn().system += blocks

    def add_result(self, key: tuple[str, str], blocks: list[Block], path: str) -> Block | None:
        """Add a tool result.

        Args:
            key: How the result refers to its call, see ``ToolCall.key``.
            blocks: Its content.
            path: Its JSON path.

        Returns:
            The ``tool_result`` block, None if the result became text.
        """
        turn = self._user_turn()
        before = self._turns[-2] if len(self._turns) > 1 else None
        calls = before.unanswered.get(key) if isinstance(before, AssistantTurn) else None
        if not calls:
            self._ctx.drop(path, "tool result", "no unanswered tool call matches this result; it becomes text")
            head = f"Result of the call {key[1]}:" if blocks else f"Result of the call {key[1]}: nothing."
            turn.add([*text_blocks(head, path, self._ctx), *blocks])
            return None
        call_id = calls.popleft().block["id"]
        result: Block = {"type": "tool_result", "tool_use_id": call_id}
        if blocks:
            only_text = len(blocks) == 1 and blocks[0]["type"] == "text"
            result["content"] = blocks[0]["text"] if only_text else blocks
        turn.results[call_id] = result
        return result

    def _user_turn(self) -> UserTurn:
        """Return the last turn if it is a user turn, otherwise a new one."""
        self._drop_thinking()
        turn = self._turns[-1] if self._turns else None
        if not isinstance(turn, UserTurn):
            self._turns.append(turn := UserTurn())
        return turn

    def _drop_thinking(self) -> None:
        if self._thinking:
            reason = "the message has no text and no tool call"
            self._ctx.hint(self._thinking_path, "reasoning_details", reason)
            self._thinking = []

    def messages(self) -> list[Block]:
        """Return the messages for the upstream, ``[]`` if the conversation is empty."""
        self._drop_thinking()
        if self._turns and isinstance(self._turns[0], AssistantTurn):
            reason = "the Messages API requires a user message first; a placeholder is inserted"
            self._ctx.drop("messages", "messages", reason)
            self._turns.insert(0, UserTurn(blocks=[placeholder()]))
        if isinstance(last := self._turns[-1] if self._turns else None, AssistantTurn) and last.calls:
            self._turns.append(UserTurn())
        messages: list[Block] = []
        calls: list[ToolCall] = []
        for turn in self._turns:
            if isinstance(turn, AssistantTurn):
                calls = turn.calls
                messages.append({"role": "assistant", "content": [*turn.blocks, *(call.block for call in calls)]})
            else:
                results = [turn.results.get(call.block["id"]) or self._missing_result(call) for call in calls]
                if not self._ctx.traits.mid_system or not (results or turn.blocks):
                    turn.system_to_user_text()
                messages.append({"role": "user", "content": [*results, *turn.blocks]})
                if turn.system:
                    messages.append({"role": "system", "content": turn.system})
        return messages

    def _missing_result(self, call: ToolCall) -> Block:
        self._ctx.drop(call.path, "tool call", "no result follows it; an error result is inserted")
        return {"type": "tool_result", "tool_use_id": call.block["id"], "content": NO_RESULT, "is_error": True}


def placeholder() -> Block:
    """Return the placeholder block for a missing first user message."""
    return {"type": "text", "text": PLACEHOLDER}
