"""The words of an answer: text and reasoning of a message or of a delta, whatever field a server uses."""

from .record import field, list_field, text_field

_ALIASES = ("reasoning_content", "reasoning")
"""DeepSeek, SGLang and llama.cpp; vLLM since 0.11, Ollama, OpenRouter. Both at once hold the same text."""


def reasoning_text(record: object) -> str:
    """Return the reasoning of a message or delta, from the first field that holds any."""
    extra = getattr(record, "model_extra", None)  # where SDK objects keep it; an attribute they lack is slow to miss
    source = record if extra is None else extra
    for name in _ALIASES:
        if text := text_field(source, name):
            return text
    details = list_field(source, "reasoning_details")
    text = "".join(text_field(part, "text") or text_field(part, "summary") for part in details)
    return text or _parts(record, "thinking")


def content_text(record: object) -> str:
    """Return the visible text of a message or delta; a refusal is text too, so that plain clients show it."""
    return (text_field(record, "content") or _parts(record, "text")) + text_field(record, "refusal")


def _parts(record: object, kind: str) -> str:
    """Return the joined parts of one kind of a content list (Mistral's form)."""
    return "".join(_part_text(part, kind) for part in list_field(record, "content") if field(part, "type") == kind)


def _part_text(part: object, kind: str) -> str:
    inner = list_field(part, kind)
    return "".join(text_field(piece, "text") for piece in inner) or text_field(part, kind)


def argument_text(function: object) -> str:
    """Return the arguments of a call or of a piece of one, as text of about their length; some send an object."""
    arguments = field(function, "arguments")
    return arguments if isinstance(arguments, str) else "" if arguments is None else str(arguments)
