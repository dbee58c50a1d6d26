"""Thinking and redacted thinking blocks, for unary responses and streams.

    text, with or without an entry      thinking; the signature carries the text and the entries
    an entry without text (encrypted)   redacted_thinking, whose data carries the entry

Blocks keep the order of the entries, so the list can be rebuilt from the blocks that a client sends back.
"""

from typing import Any

from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Detail, Sign, unsigned

from .reasoning import DetailRun, ReasoningPiece, is_worded


class ThinkingBlock:
    """A thinking block, with exactly one signature, right before the stop.

    Args:
        sign: Makes the signature of the whole text.
        omit: Do not send the text to the client.
    """

    kind = "thinking"
    ready = True
    complete = True

    def __init__(self, sign: Sign, *, omit: bool) -> None:
        self._sign = sign
        self._omit = omit
        self._text: list[str] = []
        self._sent = 0
        self._details = DetailRun()

    def add(self, thought: ReasoningPiece) -> None:
        """Add reasoning."""
        if thought.text:
            self._text.append(thought.text)
        if thought.detail is not None:
            self._details.add(thought.detail)

    def start(self) -> dict[str, Any]:
        """Return the empty block of ``content_block_start``."""
        return {"type": "thinking", "thinking": "", "signature": ""}

    def whole(self) -> dict[str, Any]:
        """Return the complete block."""
        text = "" if self._omit else "".join(self._text)
        return {"type": "thinking", "thinking": text, "signature": self._signature()}

    def deltas(self) -> list[dict[str, Any]]:
        """Return what came since the last call."""
        pieces = self._text[self._sent :]
        self._sent = len(self._text)
        return [] if self._omit else [{"type": "thinking_delta", "thinking": piece} for piece in pieces]

    def last_deltas(self, *, cut: bool) -> list[dict[str, Any]]:  # noqa: ARG002 - text is text, cut or not
        """Return the deltas to send before the stop."""
        return [{"type": "signature_delta", "signature": self._signature()}]

    def _signature(self) -> str:
        text, details = "".join(self._text), self._details.entries
        return self._sign(text, details) if details else self._sign(text)


class RedactedBlock:
    """A redacted thinking block, only for the backend. It is sent complete at its start, when another block follows.

    Args:
        sign: Packs the entry.
    """

    kind = "redacted_thinking"
    ready = False
    complete = True

    def __init__(self, sign: Sign) -> None:
        self._sign = sign
        self._details = DetailRun()

    def takes(self, piece: Detail) -> bool:
        """Whether a piece belongs to this block's entry."""
        return self._details.takes(piece)

    def add(self, piece: Detail) -> None:
        """Add a piece of the entry."""
        self._details.add(piece)

    def start(self) -> dict[str, Any]:
        """Return the complete block."""
        return {"type": "redacted_thinking", "data": self._sign("", self._details.entries)}

    def whole(self) -> dict[str, Any]:
        """Return the complete block."""
        return self.start()

    def deltas(self) -> list[dict[str, Any]]:
        """Return nothing: this block has no deltas."""
        return []

    def last_deltas(self, *, cut: bool) -> list[dict[str, Any]]:  # noqa: ARG002 - as above
        """Return nothing, likewise."""
        return []


def block_for(thought: ReasoningPiece, tail: object, sign: Sign, *, omit: bool) -> ThinkingBlock | RedactedBlock | None:
    """Add a piece of reasoning to the last block, or return a new block for it.

    Args:
        thought: The piece.
        tail: The last block, None if it is closed.
        sign: Makes signatures; if they are empty, an encrypted entry cannot be packed and is dropped.
        omit: Do not send the text to the client.
    """
    if thought.detail is None or is_worded(thought.detail):
        block = tail if isinstance(tail, ThinkingBlock) else ThinkingBlock(sign, omit=omit)
        block.add(thought)
        return None if block is tail else block
    if sign is unsigned:
        return None
    redacted = tail if isinstance(tail, RedactedBlock) and tail.takes(thought.detail) else RedactedBlock(sign)
    redacted.add(thought.detail)
    return None if redacted is tail else redacted
