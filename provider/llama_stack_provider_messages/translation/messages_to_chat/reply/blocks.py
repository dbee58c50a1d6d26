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

from collections import deque
from collections.abc import Callable
from typing import Any

from .calls import ToolUseBlock
from .reasoning import RedactedBlock, ThinkingBlock

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
        """Return the deltas added since the last call."""
        pieces, self._pieces = self._pieces, []
        return [{"type": "text_delta", "text": piece} for piece in pieces]

    def last_deltas(self, *, cut: bool) -> list[Event]:  # noqa: ARG002 - only calls depend on cut
        """Return the deltas to send before the stop."""
        return [{"type": "citations_delta", "citation": citation} for citation in self._cite()]


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
