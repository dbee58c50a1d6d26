"""Text of a reply: reads it, splits off inline reasoning, ends it at a stop sequence, and cites its sources.

Text of a backend passes two filters, in this order. Both hold text back only while it is ambiguous, and their result
does not depend on how the text is split into chunks.

``ThinkSplitter`` splits ``<think>`` reasoning ``</think>`` text, for servers that leave reasoning in the text. White
space next to the tags is removed. Without an end tag, as after a token limit, everything is reasoning. A second pair of
tags is text. Its modes:

    tagged   text that starts with <think>, after white space   reasoning up to </think>; any other text is all text
    open     any text                                           reasoning up to </think>, with or without <think>

``open`` is for chat templates that put ``<think>`` into the prompt, so that the response holds only the end tag.

``TextFilter`` ends the text at a stop sequence. Backends strip a stop sequence without reporting it, and accept only a
few of them, so stop sequences are not sent to the backend. The stop sequence that is completed first wins, as in a
server that checks every character; of two that end at the same position, the longer one wins. At most one character
less than the longest stop sequence is held back. Stop sequences do not match across blocks. With ``END``:

    chunks   "one E"  "N"  "Dless"      "one E"  "very"
    sent     "one "   ""   "" (matched)    "one "   "Every"

The filter also removes a repeated prefill at the beginning of the text, once: some backends repeat the prefill before
the continuation (llama.cpp: in unary responses, not in streams).
"""

from collections.abc import Iterable
from typing import Any, Literal

from llama_stack_provider_messages.translation.fields import field, list_field, text_field


def content_text(record: object) -> str:
    """Return the visible text of a message or delta. Includes a refusal, so that every client shows it."""
    return (text_field(record, "content") or content_parts(record, "text")) + text_field(record, "refusal")


def content_parts(record: object, kind: str) -> str:
    """Return the joined text of the parts of one kind in a content list (Mistral's form)."""
    texts = []
    for part in list_field(record, "content"):
        if field(part, "type") == kind:
            inner = "".join(text_field(piece, "text") for piece in list_field(part, kind))
            texts.append(inner or text_field(part, kind))
    return "".join(texts)


_OPEN_TAG, _CLOSE_TAG = "<think>", "</think>"
_MAX_HELD_CHARACTERS = 1_000
"""White space that is held back because a tag may follow; more of it is content, so that holding it stays cheap."""

type Inline = Literal["none", "tagged", "open"]
type Piece = tuple[Literal["thinking", "text"], str]


class ThinkSplitter:
    """Splits streamed text into reasoning and text.

    Args:
        mode: Where reasoning may be; see the table of the module.
    """

    def __init__(self, mode: Inline) -> None:
        self._open = mode == "open"
        self._state = "text" if mode == "none" else "begin"  # then "thinking", "after" (the end tag), "text"
        self._held = ""

    def add(self, text: str) -> list[Piece]:
        """Add text; return the pieces that are certain now."""
        if self._state == "text":
            return [("text", text)] if text else []
        self._held += text
        pieces: list[Piece] = []
        if self._state == "begin":
            self._begin()
        if self._state == "thinking":
            pieces.append(("thinking", self._take_reasoning()))
        if self._state == "after":
            self._held = self._held.lstrip()
            self._state = "text" if self._held else "after"
        if self._state == "text":
            pieces.append(("text", self._held))
            self._held = ""
        return [piece for piece in pieces if piece[1]]

    def rest(self) -> list[Piece]:
        """Return the held pieces at the end of the text, or of its part before a call."""
        held, self._held = self._held, ""
        if self._state == "begin":
            stripped = held.strip()
            thinks = self._open or stripped.startswith(_OPEN_TAG)
            self._state = "thinking" if thinks else "text"
            held = stripped.removeprefix(_OPEN_TAG) if thinks else held
        kind: Literal["thinking", "text"] = "thinking" if self._state == "thinking" else "text"
        text = held.rstrip() if self._state in ("thinking", "after") else held
        return [(kind, text)] if text else []

    def _begin(self) -> None:
        """Leave the start state once it is certain whether the text starts with reasoning."""
        text = self._held.lstrip()
        if len(self._held) - len(text) > _MAX_HELD_CHARACTERS:
            self._state = "thinking" if self._open else "text"
            return
        if _OPEN_TAG.startswith(text):
            return
        if not (text.startswith(_OPEN_TAG) or self._open):
            self._state = "text"
        elif reasoning := text.removeprefix(_OPEN_TAG).lstrip():
            self._state, self._held = "thinking", reasoning

    def _take_reasoning(self) -> str:
        """Return the certain reasoning; a possible end tag, and white space before it, are held."""
        reasoning, end, after = self._held.partition(_CLOSE_TAG)
        if end:
            self._state, self._held = "after", after
            return reasoning.rstrip()
        partial = next((size for size in range(len(_CLOSE_TAG) - 1, 0, -1) if reasoning.endswith(_CLOSE_TAG[:size])), 0)
        certain = reasoning[: len(reasoning) - partial].rstrip()
        if len(reasoning) - len(certain) > _MAX_HELD_CHARACTERS:
            certain = reasoning[: len(reasoning) - partial]
        self._held = reasoning[len(certain) :]
        return certain


class TextFilter:
    """Ends streamed text at a stop sequence and removes a repeated prefill.

    Args:
        stops: The request's stop sequences.
        prefill: The final assistant message that the backend continues.

    Attributes:
        matched_stop: The stop sequence that ended the text; all later text is dropped.
    """

    def __init__(self, stops: Iterable[str] = (), prefill: str = "") -> None:
        self.matched_stop: str | None = None
        self._stops = tuple(filter(None, stops))
        self._prefill = prefill
        self._held = ""

    @property
    def idle(self) -> bool:
        """Whether all later text passes unchanged."""
        return not (self._stops or self._prefill)

    def add(self, text: str) -> str:
        """Add text; return the text that can be sent now."""
        if self.matched_stop:
            return ""
        text, self._held = self._held + text, ""
        if len(text) < len(self._prefill) and self._prefill.startswith(text):
            self._held = text
            return ""
        prefill, self._prefill = self._prefill, ""
        text = text.removeprefix(prefill)
        found = [(start + len(stop), start, stop) for stop in self._stops if (start := text.find(stop)) >= 0]
        if found:
            _, end, self.matched_stop = min(found)
            return text[:end]
        end = min((_partial_match(stop, text) for stop in self._stops), default=len(text))
        self._held = text[end:]
        return text[:end]

    def rest(self) -> str:
        """Return the held text at the end of the text."""
        sent = ""
        if self._prefill and self._held:  # only a prefix of the prefill arrived
            self._prefill = ""
            sent = self.add("")
        held, self._held = self._held, ""
        return sent + held


def _partial_match(stop: str, text: str) -> int:
    """Return the position of the longest suffix that is a prefix of ``stop``; by default the text's length."""
    start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while start >= 0 and not stop.startswith(text[start:]):
        start = text.find(stop[0], start + 1)
    return start if start >= 0 else len(text)


def url_citations(annotations: list[Any], text: str) -> list[dict[str, Any]]:
    """Return ``url_citation`` annotations as citations, in the form of the Messages API's web search.

    OpenAI's search models and OpenRouter's web plug-in annotate the text of a response with its sources. A stream may
    send an annotation before the text it covers, so the caller waits until the text is complete. Annotations without a
    URL are ignored.

    Args:
        annotations: Annotations of a message or of all deltas so far.
        text: The backend's text, to which their indexes refer.
    """
    citations = []
    for annotation in annotations:
        source = field(annotation, "url_citation") or annotation
        if url := text_field(source, "url"):
            start, end = field(source, "start_index"), field(source, "end_index")
            has_range = isinstance(start, int) and isinstance(end, int) and 0 <= start < end
            citations.append(
                {
                    "type": "web_search_result_location",
                    "cited_text": text_field(source, "content") or (text[start:end] if has_range else ""),
                    "url": url,
                    "title": text_field(source, "title") or None,
                    "encrypted_index": "",
                }
            )
    return citations
