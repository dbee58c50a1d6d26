"""Chat messages -> alternating turns that satisfy the Messages API's rules.

    first turn                    a user turn; a placeholder is inserted if the conversation starts with the assistant
    consecutive turns, same role  merged into one turn
    tool results                  first in the user turn after their calls, in the order of the calls
    a call without a result       gets an error result
    a result without a call       becomes text in place
    system messages               stay between a user turn and an assistant turn; elsewhere they become user text
    thinking without text, calls  moved to the next assistant message, or dropped: no turn may end with thinking

The API answers 400 where one of these rules is broken; see its errors on ``tool_use`` ids, roles and final blocks. The
messages are processed in one pass, because a conversation may have a hundred thousand of them.
"""

from dataclasses import dataclass, field

from llama_stack_provider_messages.translation.chat_to_messages.context import Block, TranslationContext

from .calls import Call, OpenCalls
from .content import blocks_of

OPENING = "Begin."
"""Placeholder first user message, where the conversation starts with the assistant."""

NO_RESULT = "No result was provided for this call."


@dataclass(slots=True)
class UserTurn:
    """A user turn: tool results, the user's blocks, and system messages after them."""

    results: dict[str, Block] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    system: list[Block] = field(default_factory=list)

    def say(self, blocks: list[Block]) -> None:
        """Append user blocks; system messages before them become user text."""
        self.remind()
        self.blocks += blocks

    def remind(self) -> None:
        """Turn the system messages into user text."""
        for block in self.system:
            block["text"] = f"<system-reminder>\n{block['text']}\n</system-reminder>"
        self.blocks += self.system
        self.system = []


@dataclass(slots=True)
class AssistantTurn:
    """An assistant turn: thinking, text and tool calls."""

    blocks: list[Block] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    open: OpenCalls = field(default_factory=OpenCalls)


class History:
    """Collects the turns of one conversation."""

    def __init__(self, ctx: TranslationContext) -> None:
        self._ctx = ctx
        self._turns: list[UserTurn | AssistantTurn] = []
        self._thoughts: list[Block] = []  # of assistant messages without text and calls
        self._thoughts_path = ""

    @property
    def begun(self) -> bool:
        """Whether there is any message except system messages."""
        return bool(self._turns or self._thoughts)

    def answered(self, thoughts: list[Block], blocks: list[Block], calls: list[Call], path: str) -> None:
        """Add an assistant message."""
        if not blocks and not calls:
            self._thoughts += thoughts
            self._thoughts_path = path if thoughts else self._thoughts_path
            return
        last = self._turns[-1] if self._turns else None
        turn = last if isinstance(last, AssistantTurn) else AssistantTurn()
        if turn is not last:
            self._turns.append(turn)
        turn.blocks += [*self._thoughts, *thoughts, *blocks]
        turn.calls += calls
        for call in calls:
            turn.open.add(call)
        self._thoughts = []

    def said(self, blocks: list[Block]) -> None:
        """Add a user message."""
        if blocks:
            self._user().say(blocks)

    def instructed(self, blocks: list[Block]) -> None:
        """Add a system message inside the conversation."""
        if blocks:
            self._user().system += blocks

    def resulted(self, key: tuple[str, str], blocks: list[Block], path: str) -> Block | None:
        """Add a tool result.

        Args:
            key: How the result refers to its call, see ``Call.key``.
            blocks: Its content.
            path: Its JSON path.

        Returns:
            The ``tool_result`` block, None if the result became text.
        """
        turn = self._user()
        call = asked.open.answer(key) if (asked := self._asked()) else None
        if call is None:
            self._orphan(turn, key, blocks, path)
            return None
        result: Block = {"type": "tool_result", "tool_use_id": call.block["id"]}
        if blocks:
            result["content"] = _plain(blocks)
        turn.results[call.block["id"]] = result
        return result

    def _orphan(self, turn: UserTurn, key: tuple[str, str], blocks: list[Block], path: str) -> None:
        self._ctx.drop(path, "tool result", "no call before it has this id and no result yet; it became text")
        head = f"Result of the call {key[1]}:" if blocks else f"Result of the call {key[1]}: nothing."
        turn.say([*blocks_of(head, path, self._ctx, {}), *blocks])

    def _user(self) -> UserTurn:
        self._forget_thoughts()
        last = self._turns[-1] if self._turns else None
        if isinstance(last, UserTurn):
            return last
        self._turns.append(turn := UserTurn())
        return turn

    def _asked(self) -> AssistantTurn | None:
        """Return the assistant turn before the current user turn."""
        before = self._turns[-2] if len(self._turns) > 1 else None
        return before if isinstance(before, AssistantTurn) else None

    def _forget_thoughts(self) -> None:
        if self._thoughts:
            self._ctx.hint(self._thoughts_path, "reasoning_details", "the message says and calls nothing")
            self._thoughts = []

    def messages(self) -> list[Block]:
        """Return the messages for the upstream, ``[]`` if the conversation is empty."""
        self._forget_thoughts()
        if self._turns and isinstance(self._turns[0], AssistantTurn):
            reason = "the Messages API wants the user to begin; a stand-in does"
            self._ctx.drop("messages", "messages", reason)
            self._turns.insert(0, UserTurn(blocks=[opening()]))
        if isinstance(last := self._turns[-1] if self._turns else None, AssistantTurn) and last.calls:
            self._turns.append(UserTurn())
        found: list[Block] = []
        asked: list[Call] = []
        for turn in self._turns:
            if isinstance(turn, AssistantTurn):
                asked = turn.calls
                found.append({"role": "assistant", "content": [*turn.blocks, *(call.block for call in asked)]})
            else:
                found += self._user_messages(turn, asked)
        return found

    def _user_messages(self, turn: UserTurn, asked: list[Call]) -> list[Block]:
        results = [turn.results.get(call.block["id"]) or self._missing(call) for call in asked]
        if not self._ctx.traits.mid_system or not (results or turn.blocks):
            turn.remind()
        system = [{"role": "system", "content": turn.system}] if turn.system else []
        return [{"role": "user", "content": [*results, *turn.blocks]}, *system]

    def _missing(self, call: Call) -> Block:
        self._ctx.drop(call.path, "tool call", "no result follows it; an error stands in")
        return {"type": "tool_result", "tool_use_id": call.block["id"], "content": NO_RESULT, "is_error": True}


def opening() -> Block:
    """Return the placeholder block for a missing first user message."""
    return {"type": "text", "text": OPENING}


def _plain(blocks: list[Block]) -> str | list[Block]:
    """Return the content of a tool result; a single text becomes a string."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks
