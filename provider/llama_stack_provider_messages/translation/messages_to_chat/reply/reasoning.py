"""Reasoning of a reply: reads it from a message or delta, and builds thinking and redacted thinking blocks of it.

Servers send reasoning in four places: ``reasoning_content``, ``reasoning``, parts of the content list (Mistral), and
``reasoning_details`` (OpenRouter, MiniMax). The last hold more than text: ids, formats, the model vendor's signatures,
and entries with only encrypted data. Backends require them back unchanged and in order
(openrouter.ai/docs/use-cases/reasoning-tokens). So each entry is kept complete, in a block that the client sends back:

    text, with or without an entry      thinking; the signature carries the text and the entries
    an entry without text (encrypted)   redacted_thinking, whose data carries the entry

Blocks keep the order of the entries, so the list can be rebuilt from the blocks of the history.
"""

from dataclasses import dataclass
from typing import Any

from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Detail, Sign, unsigned

from .text import content_parts

_TEXT_FIELDS = ("reasoning_content", "reasoning")
"""Fields of a message with reasoning text. First: DeepSeek, SGLang, llama.cpp. Second: vLLM since 0.11, Ollama,
OpenRouter. If both are sent, the text is the same."""

_ENTRY_TEXT_FIELDS = ("text", "summary")
"""Fields of an entry of ``reasoning_details`` that hold text, which is streamed in pieces."""

_TEXT_ENTRIES = frozenset({"reasoning.text", "reasoning.summary"})
"""Types of entries with text."""

CALL_EXTRA = "tool_call.extra_content"
"""Type of our own entry for fields that the backend requires back on the following tool call."""


@dataclass(slots=True)
class ReasoningPiece:
    """A piece of reasoning.

    Args:
        text: The reasoning text.
        detail: The entry it comes from; an entry without text is only for the backend.
    """

    text: str
    detail: Detail | None = None


def reasoning_pieces(record: object) -> list[ReasoningPiece]:
    """Return the reasoning of a message or delta; text that several fields repeat is returned once."""
    extra = getattr(record, "model_extra", None)  # SDK objects keep it here; looking up a missing attribute is slow
    source = record if extra is None else extra
    details = [entry for entry in list_field(source, "reasoning_details") if isinstance(entry, dict)]
    if not details:
        text = _first_text(source, _TEXT_FIELDS) or content_parts(record, "thinking")
        return [ReasoningPiece(text)] if text else []
    pieces = [ReasoningPiece(_first_text(entry, _ENTRY_TEXT_FIELDS), entry) for entry in details]
    if any(piece.text for piece in pieces) or not (text := _first_text(source, _TEXT_FIELDS)):
        return pieces
    return [ReasoningPiece(text), *pieces]


def _first_text(source: object, names: tuple[str, ...]) -> str:
    return next((text for name in names if (text := text_field(source, name))), "")


def call_extra(call: object) -> ReasoningPiece | None:
    """Return the fields of a call that are only for the backend: Gemini's thought signature.

    Gemini 3 answers 400 to a call sent back without it (discuss.ai.google.dev 109823, crmne/ruby_llm 588).
    """
    extra = field(call, "extra_content")
    if not (extra and isinstance(extra, dict)):
        return None
    return ReasoningPiece("", {"type": CALL_EXTRA, "extra_content": extra})


class EntryJoiner:
    """Joins streamed entries: pieces of one entry are consecutive and share type and index."""

    def __init__(self) -> None:
        self.entries: list[Detail] = []

    def continues(self, piece: Detail) -> bool:
        """Whether a piece belongs to the last entry."""
        if not self.entries or piece.get("index") is None:
            return False
        return all(piece.get(name) == self.entries[-1].get(name) for name in ("type", "index"))

    def add(self, piece: Detail) -> None:
        """Add a piece: text and data are appended, other fields are replaced."""
        if not self.continues(piece):
            self.entries.append(dict(piece))
            return
        entry = self.entries[-1]
        for name, value in piece.items():
            if name in (*_ENTRY_TEXT_FIELDS, "data") and isinstance(value, str) and isinstance(entry.get(name), str):
                entry[name] += value
            elif value is not None or name not in entry:
                entry[name] = value


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
        self._texts: list[str] = []
        self._sent = 0
        self._details = EntryJoiner()

    def add(self, piece: ReasoningPiece) -> None:
        """Add reasoning."""
        if piece.text:
            self._texts.append(piece.text)
        if piece.detail is not None:
            self._details.add(piece.detail)

    def start(self) -> dict[str, Any]:
        """Return the empty block of ``content_block_start``."""
        return {"type": "thinking", "thinking": "", "signature": ""}

    def complete_block(self) -> dict[str, Any]:
        """Return the complete block of a unary response."""
        text = "" if self._omit else "".join(self._texts)
        return {"type": "thinking", "thinking": text, "signature": self._signature()}

    def deltas(self) -> list[dict[str, Any]]:
        """Return the deltas added since the last call."""
        texts = self._texts[self._sent :]
        self._sent = len(self._texts)
        return [] if self._omit else [{"type": "thinking_delta", "thinking": text} for text in texts]

    def last_deltas(self, *, cut: bool) -> list[dict[str, Any]]:  # noqa: ARG002 - only calls depend on cut
        """Return the deltas to send before the stop."""
        return [{"type": "signature_delta", "signature": self._signature()}]

    def _signature(self) -> str:
        text, details = "".join(self._texts), self._details.entries
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
        self._details = EntryJoiner()

    def continues(self, piece: Detail) -> bool:
        """Whether a piece belongs to this block's entry."""
        return self._details.continues(piece)

    def add(self, piece: Detail) -> None:
        """Add a piece of the entry."""
        self._details.add(piece)

    def start(self) -> dict[str, Any]:
        """Return the complete block, also at ``content_block_start``."""
        return {"type": "redacted_thinking", "data": self._sign("", self._details.entries)}

    complete_block = start

    def deltas(self) -> list[dict[str, Any]]:
        """Return nothing: this block has no deltas."""
        return []

    def last_deltas(self, *, cut: bool) -> list[dict[str, Any]]:  # noqa: ARG002 - as above
        """Return nothing, likewise."""
        return []


def _has_text(entry: Detail) -> bool:
    """Whether an entry is part of a thinking block. A streamed piece of one may hold only the signature of its text."""
    return text_field(entry, "type") in _TEXT_ENTRIES or any(name in entry for name in _ENTRY_TEXT_FIELDS)


def add_reasoning(
    piece: ReasoningPiece, tail: object, sign: Sign, *, omit: bool
) -> ThinkingBlock | RedactedBlock | None:
    """Add a piece of reasoning to the last block if it belongs there; else return a new block that holds it.

    Args:
        piece: The piece.
        tail: The last block, None if it is closed.
        sign: Makes signatures; if they are empty, an encrypted entry cannot be packed and is dropped.
        omit: Do not send the text to the client.
    """
    detail = piece.detail
    if detail is None or _has_text(detail):
        block = tail if isinstance(tail, ThinkingBlock) else ThinkingBlock(sign, omit=omit)
        block.add(piece)
        return None if block is tail else block
    if sign is unsigned:
        return None
    redacted = tail if isinstance(tail, RedactedBlock) and tail.continues(detail) else RedactedBlock(sign)
    redacted.add(detail)
    return None if redacted is tail else redacted
