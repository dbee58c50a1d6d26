"""Reads text and reasoning of a message or delta, whichever fields the server uses.

``reasoning_details`` (OpenRouter, MiniMax) hold more than text: ids, formats, the model vendor's signatures, and
entries with only encrypted data. Backends require them back unchanged and in order
(openrouter.ai/docs/use-cases/reasoning-tokens). So each entry is kept complete: in a thinking block, or in a redacted
block that only the backend can read.
"""

from dataclasses import dataclass

from llama_stack_provider_messages.translation.fields import field, list_field, text_field
from llama_stack_provider_messages.translation.messages_to_chat.thinking_signature import Detail

_ALIASES = ("reasoning_content", "reasoning")
"""First: DeepSeek, SGLang, llama.cpp. Second: vLLM since 0.11, Ollama, OpenRouter. If both are sent, the text is the
same."""


_WORDS = ("text", "summary")
"""Fields of an entry that hold text, which is streamed in pieces."""

_WORDED = frozenset({"reasoning.text", "reasoning.summary"})


@dataclass(slots=True)
class ReasoningPiece:
    """A piece of reasoning.

    Args:
        text: The reasoning text.
        detail: The entry it comes from; an entry without text is only for the backend.
    """

    text: str
    detail: Detail | None = None


def thoughts_of(record: object) -> list[ReasoningPiece]:
    """Return the reasoning of a message or delta; text that several fields repeat is returned once."""
    extra = getattr(record, "model_extra", None)  # SDK objects keep it here; looking up a missing attribute is slow
    source = record if extra is None else extra
    details = [entry for entry in list_field(source, "reasoning_details") if isinstance(entry, dict)]
    if not details:
        text = _alias_text(source) or _parts(record, "thinking")
        return [ReasoningPiece(text)] if text else []
    thoughts = [ReasoningPiece(_entry_text(entry), entry) for entry in details]
    if any(thought.text for thought in thoughts) or not (text := _alias_text(source)):
        return thoughts
    return [ReasoningPiece(text), *thoughts]


def _alias_text(source: object) -> str:
    return next((text for name in _ALIASES if (text := text_field(source, name))), "")


def _entry_text(entry: Detail) -> str:
    return next((text for name in _WORDS if (text := text_field(entry, name))), "")


CALL_EXTRA = "tool_call.extra_content"
"""Type of our own entry for fields that the backend requires back on the following tool call."""


def call_extra(call: object) -> ReasoningPiece | None:
    """Return the fields of a call that are only for the backend: Gemini's thought signature.

    Gemini 3 answers 400 to a call sent back without it (discuss.ai.google.dev 109823, crmne/ruby_llm 588).
    """
    extra = field(call, "extra_content")
    return (
        ReasoningPiece("", {"type": CALL_EXTRA, "extra_content": extra}) if extra and isinstance(extra, dict) else None
    )


def is_worded(entry: Detail) -> bool:
    """Whether an entry is part of a thinking block; others become redacted blocks.

    A streamed piece may hold only the signature of earlier text.
    """
    return text_field(entry, "type") in _WORDED or any(name in entry for name in _WORDS)


class DetailRun:
    """Joins streamed entries: pieces of one entry are consecutive and share type and index."""

    def __init__(self) -> None:
        self.entries: list[Detail] = []

    def takes(self, piece: Detail) -> bool:
        """Whether a piece belongs to the last entry."""
        if not self.entries or piece.get("index") is None:
            return False
        return all(piece.get(name) == self.entries[-1].get(name) for name in ("type", "index"))

    def add(self, piece: Detail) -> None:
        """Add a piece: text and data are appended, other fields are replaced."""
        if not self.takes(piece):
            self.entries.append(dict(piece))
            return
        entry = self.entries[-1]
        for name, value in piece.items():
            if name in (*_WORDS, "data") and isinstance(value, str) and isinstance(entry.get(name), str):
                entry[name] += value
            elif value is not None or name not in entry:
                entry[name] = value


def content_text(record: object) -> str:
    """Return the visible text of a message or delta. Includes a refusal, so that every client shows it."""
    return (text_field(record, "content") or _parts(record, "text")) + text_field(record, "refusal")


def _parts(record: object, kind: str) -> str:
    """Return the joined parts of one kind of a content list (Mistral's form)."""
    return "".join(_part_text(part, kind) for part in list_field(record, "content") if field(part, "type") == kind)


def _part_text(part: object, kind: str) -> str:
    inner = list_field(part, kind)
    return "".join(text_field(piece, "text") for piece in inner) or text_field(part, kind)


def argument_text(function: object) -> str:
    """Return the arguments of a call or delta as text, to measure their length; some servers send an object."""
    arguments = field(function, "arguments")
    return arguments if isinstance(arguments, str) else "" if arguments is None else str(arguments)
