"""Messages of a chat -> turns of the Messages API, in a form it takes.

    first turn                   the user's; a stand-in goes before an answer that begins the conversation
    turns of one role            one turn
    results                      in the user turn behind their calls, first in it and in the order of the calls
    a call without a result      gets an error in its place
    a result without a call      becomes text where it stands
    system messages              stay, between a user turn and an answer; elsewhere they become text of the user
    thoughts of a silent answer  join the next answer, or are left out: no turn may end with them

Each rule is one the API answers 400 to; see the errors on ``tool_use`` ids, roles and final blocks. The walk over the
messages is one pass: a conversation may have a hundred thousand of them.
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
    """What the user and the user's tools said, and what the system said behind it."""

    results: dict[str, Block] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    system: list[Block] = field(default_factory=list)

    def say(self, blocks: list[Block]) -> None:
        """Take more of the user's words in; system messages before them lose their place."""
        self.remind()
        self.blocks += blocks

    def remind(self) -> None:
        """Make the system's words the user's."""
        for block in self.system:
            block["text"] = f"<system-reminder>\n{block['text']}\n</system-reminder>"
        self.blocks += self.system
        self.system = []


@dataclass(slots=True)
class AssistantTurn:
    """What the model thought, said and called."""

    blocks: list[Block] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    open: OpenCalls = field(default_factory=OpenCalls)


class History:
    """Collects the turns of one conversation."""

    def __init__(self, ctx: TranslationContext) -> None:
        self._ctx = ctx
        self._turns: list[UserTurn | AssistantTurn] = []
        self._thoughts: list[Block] = []  # of an answer that said nothing yet
        self._thoughts_path = ""

    @property
    def begun(self) -> bool:
        """Whether anybody but the system has said something."""
        return bool(self._turns or self._thoughts)

    def answered(self, thoughts: list[Block], blocks: list[Block], calls: list[Call], path: str) -> None:
        """Add an answer of the model."""
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
        """Add a message of the user."""
        if blocks:
            self._user().say(blocks)

    def instructed(self, blocks: list[Block]) -> None:
        """Add a system message inside the conversation."""
        if blocks:
            self._user().system += blocks

    def resulted(self, key: tuple[str, str], blocks: list[Block], path: str) -> Block | None:
        """Add the result of a call.

        Args:
            key: How the result names its call, see ``Call.key``.
            blocks: What it says.
            path: Where it stands.

        Returns:
            The block that holds it, None where it became text.
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
        """Return the answer before the user's turn."""
        before = self._turns[-2] if len(self._turns) > 1 else None
        return before if isinstance(before, AssistantTurn) else None

    def _forget_thoughts(self) -> None:
        if self._thoughts:
            self._ctx.hint(self._thoughts_path, "reasoning_details", "the message says and calls nothing")
            self._thoughts = []

    def messages(self) -> list[Block]:
        """Return the messages for the upstream, none if nobody said anything."""
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
    """Return the block that stands in for a user who has not said anything."""
    return {"type": "text", "text": OPENING}


def _plain(blocks: list[Block]) -> str | list[Block]:
    """Return a result's blocks, a single text as a string."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks
