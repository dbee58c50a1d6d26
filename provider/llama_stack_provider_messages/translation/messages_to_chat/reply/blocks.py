"""Content blocks of a stream: accepts deltas in any order and emits events in the order the Messages API requires.

The Messages API never interleaves blocks: one block is open at a time, indexes are contiguous, and a block is start,
deltas, stop. Backends do interleave. So blocks are kept in a queue. Only its head is open; deltas of other blocks wait
until the head closes. Text and thinking close when another block follows. A tool call closes when its arguments are a
complete object, or at the end of the stream.

    head text      +  tool call      ->  stop text, start call
    head call      +  other call     ->  other waits; when the head is complete: stop head, start other
    head call      +  text           ->  the same
    end of stream                    ->  every block in turn: start, deltas, stop
    head blank text                  ->  waits for more text; dropped if another block follows or the stream ends

Blank text is dropped because the API rejects such a block in the history; vLLM streams a line break between thinking
and a call.
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
    """A text block with its citations at the end. It is ready once it holds more than white space.

    Args:
        cite: Returns the new citations.
    """

    kind = "text"
    complete = True

    def __init__(self, cite: Callable[[], list[dict[str, Any]]] = list) -> None:
        self.ready = False
        self._pieces: list[str] = []
        self._cite = cite

    def add(self, piece: str) -> None:
        """Add text."""
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
        """Return the deltas to send before the stop."""
        return [{"type": "citations_delta", "citation": citation} for citation in self._cite()]


class ToolUseBlock:
    """A tool call block. Its start waits for the name; it waits for the id only until there are arguments to send.

    Args:
        claim: Returns the client's id for the backend's id, which may be ``""``.
        form: Holds the tool names. A name that is a prefix of another may be incomplete (calls.py); the start then
            waits for arguments.
        extra: The backend's signature of the call.

    Attributes:
        repeat: A repetition of this call that arrived after the call was complete, see calls.py. The block stays open
            until the repetition is resolved.
    """

    kind = "tool_use"

    def __init__(self, claim: Callable[[str], str], form: ReplyOptions, extra: ReasoningPiece | None = None) -> None:
        self.upstream_id = ""
        self.name = ""
        self.input = ToolInput()
        self.extra = extra
        self.repeat: ToolUseBlock | None = None
        self.arguments: list[str] = []  # as received
        self._members: dict[str, str] = {}
        self._claim = claim
        self._form = form
        self._opened = self._closed = False
        self._released = ""

    def add(self, call_id: str, name: str, arguments: str) -> None:
        """Add one delta; the first id and the first name are kept."""
        self.upstream_id = self.upstream_id or call_id
        self.name = self.name or name
        self.arguments.append(arguments)
        self.input.add(arguments)

    def absorb(self, again: "ToolUseBlock") -> bool:
        """Adopt the input of a repetition with the same id; return False if it is another call (calls.py)."""
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
        """Return the members of the decoded input, each value as normalized JSON text; cached."""
        if not self._members:
            value = parse_tool_input("".join(self.arguments))
            self._members = {name: json.dumps(member, sort_keys=True) for name, member in value.items()}
        return self._members

    @property
    def latest(self) -> "ToolUseBlock":
        """The block that receives the next piece of arguments: the repetition if there is one."""
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
        """Whether the arguments are a complete object and no repetition is pending."""
        return bool(self.name) and self.input.complete and self.latest is self

    @property
    def empty(self) -> bool:
        """Whether the call is padding, without name and arguments."""
        return not self.name and self.input.blank

    def start(self) -> Event:
        """Return the empty block of ``content_block_start``."""
        return self._form.tool_use(self._claim(self.upstream_id), self.name, {})

    def deltas(self) -> list[Event]:
        """Return the new deltas since the last call; the first one is empty, as in the API."""
        text, self._released = self._released + self.input.take(), ""
        first = [] if self._opened else [""]
        self._opened = True
        return [{"type": "input_json_delta", "partial_json": piece} for piece in (*first, *([text] if text else ()))]

    def last_deltas(self, *, cut: bool) -> list[Event]:
        """Return the deltas to send before the stop."""
        self._closed = True
        text = self.input.rest(cut=cut)
        return [{"type": "input_json_delta", "partial_json": text}] if text else []


type Block = TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock


class BlockQueue:
    """The open block and the waiting ones; see the module's rules."""

    def __init__(self) -> None:
        self._blocks: deque[Block] = deque()
        self._open = False
        self._index = 0

    @property
    def tail(self) -> Block | None:
        """The last block, None if it is closed."""
        return self._blocks[-1] if self._blocks else None

    @property
    def text_index(self) -> int | None:
        """The index of the open block if it is text and no block waits: its text can be sent directly."""
        if self._open and len(self._blocks) == 1 and self._blocks[0].kind == "text":
            return self._index
        return None

    def append(self, block: Block) -> None:
        """Append a block to the queue."""
        self._blocks.append(block)

    def advance(self) -> list[Event]:
        """Return the events that can be sent now."""
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
            cut: The response was truncated: the last call keeps incomplete arguments.
            stopped: A stop sequence in the text ended it: every call keeps them, and calls without a name are dropped.
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
