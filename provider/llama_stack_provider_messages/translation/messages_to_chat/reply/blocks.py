"""Content blocks of a stream: pieces go in as they come, events come out in the one legal order.

The Messages API never interleaves: one block is open at a time, indexes are contiguous, a block is
start, deltas, stop. Backends do interleave. So blocks stand in a queue; only its head is open, and what belongs to
another block waits until the head can close. Text and thinking close when anything follows them; a tool
call closes when its arguments are a complete object, or at the end of the stream.

    head text      +  tool call      ->  stop text, start call
    head call      +  other call     ->  other waits; when the head is complete: stop head, start other
    head call      +  text           ->  the same
    end of stream                    ->  every block in turn: start, deltas, stop
    head blank text                  ->  waits for more text; anything else behind it, or the end: left out

Text of white space alone is left out because the API refuses such a block when it comes back in the history; vLLM
streams a line break between thinking and a call.
"""

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from llama_stack_provider_messages.translation.tool_arguments import ToolInput, parse_tool_input

from .options import ReplyOptions
from .reasoning import ReasoningPiece
from .thinking_blocks import RedactedBlock, ThinkingBlock

type Event = dict[str, Any]


class TextBlock:
    """Text as it comes, and at its end what it cites. It is ready once there is more than white space.

    Args:
        cite: Returns the citations that are due.
    """

    kind = "text"
    complete = True

    def __init__(self, cite: Callable[[], list[dict[str, Any]]] = list) -> None:
        self.ready = False
        self._pieces: list[str] = []
        self._cite = cite

    def add(self, piece: str) -> None:
        """Take more text."""
        self._pieces.append(piece)
        self.ready = self.ready or not piece.isspace()

    def start(self) -> Event:
        """Return the empty block of ``content_block_start``."""
        return {"type": "text", "text": ""}

    def deltas(self) -> list[Event]:
        """Return what came since the last call."""
        pieces, self._pieces = self._pieces, []
        return [{"type": "text_delta", "text": piece} for piece in pieces]

    def last_deltas(self, *, cut: bool) -> list[Event]:  # noqa: ARG002 - text is text, cut or not
        """Return what is due before the stop."""
        return [{"type": "citations_delta", "citation": citation} for citation in self._cite()]


class ToolUseBlock:
    """A tool call. Its start waits for the name, and for the id until arguments can be sent.

    Args:
        claim: Returns the id to use for the backend's, which may be ``""``.
        form: Knows the names of the tools. A name that is the beginning of another may still grow (calls.py), and
            holds the start until there are arguments.
        extra: What the backend signed the call with.

    Attributes:
        repeat: What came with the name of this call again, once it was complete, see calls.py. The block stays open
            until it is decided what the repetition's arguments mean.
    """

    kind = "tool_use"

    def __init__(self, claim: Callable[[str], str], form: ReplyOptions, extra: ReasoningPiece | None = None) -> None:
        self.upstream_id = ""
        self.name = ""
        self.input = ToolInput()
        self.extra = extra
        self.repeat: ToolUseBlock | None = None
        self.arguments: list[str] = []  # as they came
        self._members: dict[str, str] = {}
        self._claim = claim
        self._form = form
        self._opened = self._closed = False
        self._released = ""

    def add(self, call_id: str, name: str, arguments: str) -> None:
        """Take one delta; the first id and the first name stay."""
        self.upstream_id = self.upstream_id or call_id
        self.name = self.name or name
        self.arguments.append(arguments)
        self.input.add(arguments)

    def absorb(self, again: "ToolUseBlock") -> bool:
        """Take the input of a repetition with the same id; return False where it is another call (calls.py)."""
        first, second = self.comparable(), again.comparable()
        if not second or first == second:
            return True
        if not first:
            if not self._closed:
                self.input, self.arguments, self._members = again.input, again.arguments, second
            return not self._closed
        if not first.items() <= second.items():
            return False
        if not self._closed:
            value = parse_tool_input("".join(again.arguments))
            self.input.extend({name: value[name] for name in value if name not in first})
            self._members = second
        return True

    def comparable(self) -> dict[str, str]:
        """Return the members of the decoded input, each value as text in one form; decoded once."""
        if not self._members:
            value = parse_tool_input("".join(self.arguments))
            self._members = {name: json.dumps(member, sort_keys=True) for name, member in value.items()}
        return self._members

    @property
    def latest(self) -> "ToolUseBlock":
        """What the next piece of arguments belongs to."""
        return self.repeat if self.repeat and not self.repeat.input.blank else self

    @property
    def ready(self) -> bool:
        """Whether the start can be sent."""
        self._released += self.input.take()
        return bool(self.name and (self._released or (self.upstream_id and not self._may_grow)))

    @property
    def _may_grow(self) -> bool:
        longer = (tool for tool in self._form.tools if tool != self.name and tool.startswith(self.name))
        return self.input.blank and any(longer)

    @property
    def complete(self) -> bool:
        """Whether the arguments are an object and nothing more can belong to it."""
        return bool(self.name) and self.input.complete and self.latest is self

    @property
    def empty(self) -> bool:
        """Whether this is padding: no name and no arguments ever came."""
        return not self.name and self.input.blank

    def start(self) -> Event:
        """Return the empty block of ``content_block_start``."""
        return self._form.tool_use(self._claim(self.upstream_id), self.name, {})

    def deltas(self) -> list[Event]:
        """Return what came since the last call; the first delta is empty, as the API's own is."""
        text, self._released = self._released + self.input.take(), ""
        first = [] if self._opened else [""]
        self._opened = True
        return [{"type": "input_json_delta", "partial_json": piece} for piece in (*first, *([text] if text else ()))]

    def last_deltas(self, *, cut: bool) -> list[Event]:
        """Return what is due before the stop."""
        self._closed = True
        text = self.input.rest(cut=cut)
        return [{"type": "input_json_delta", "partial_json": text}] if text else []


type Block = TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock


class BlockQueue:
    """The blocks that are open or waiting; see the module's rules."""

    def __init__(self) -> None:
        self._blocks: deque[Block] = deque()
        self._open = False
        self._index = 0

    @property
    def tail(self) -> Block | None:
        """The block that came last, unless it is closed."""
        return self._blocks[-1] if self._blocks else None

    @property
    def text_index(self) -> int | None:
        """The index of the open block if it is text and nothing waits: its pieces need no queue."""
        if self._open and len(self._blocks) == 1 and self._blocks[0].kind == "text":
            return self._index
        return None

    def append(self, block: Block) -> None:
        """Put a block behind the others."""
        self._blocks.append(block)

    def advance(self) -> list[Event]:
        """Return the events that are due now."""
        events: list[Event] = []
        while self._blocks:
            head = self._blocks[0]
            if head.ready:
                events += self._deltas(head)
            if len(self._blocks) == 1 or not head.complete:
                break
            events += self._close(head, cut=False)
        return events

    def finish(self, *, cut: bool, stopped: bool = False) -> list[Event]:
        """Return the events that close every block.

        Args:
            cut: The answer was cut off: the last call keeps incomplete arguments.
            stopped: It was stopped at text: every call keeps them, and one that is not known by name is none.
        """
        events: list[Event] = []
        while self._blocks:
            events += self._close(self._blocks[0], cut=stopped or (cut and len(self._blocks) == 1))
        return events

    def _deltas(self, head: Block) -> list[Event]:
        events: list[Event] = []
        if not self._open:
            self._open = True
            events.append({"type": "content_block_start", "index": self._index, "content_block": head.start()})
        return events + [self._delta(delta) for delta in head.deltas()]

    def _close(self, head: Block, *, cut: bool) -> list[Event]:
        self._blocks.popleft()
        if isinstance(head, ToolUseBlock) and not head.name:
            return []
        if isinstance(head, TextBlock) and not head.ready:
            return []
        events = self._deltas(head)
        events += [self._delta(delta) for delta in head.last_deltas(cut=cut)]
        events.append({"type": "content_block_stop", "index": self._index})
        self._open = False
        self._index += 1
        return events

    def _delta(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}
