"""Splits reasoning from the text of a response: ``<think>`` reasoning ``</think>`` text.

    tagged   text that starts with <think>, after white space   reasoning up to </think>; any other text is all text
    open     any text                                           reasoning up to </think>, with or without <think>

``open`` is for templates that put ``<think>`` into the prompt, so that the response holds only the end tag. White space
next to the tags is removed. Without an end tag, as after a token limit, everything is reasoning. A second pair of tags
is text.
"""

from collections.abc import Iterator
from typing import Literal

_OPEN, _CLOSE = "<think>", "</think>"

type Inline = Literal["none", "tagged", "open"]
type Piece = tuple[Literal["thinking", "text"], str]


class ThinkSplitter:
    """Splits streamed text into reasoning and text. The joined result does not depend on the chunks.

    Args:
        mode: Where reasoning may be.
    """

    def __init__(self, mode: Inline) -> None:
        self._open = mode == "open"
        self._state = "text" if mode == "none" else "begin"
        self._held = ""

    def add(self, text: str) -> list[Piece]:
        """Add text; return the pieces that are certain now."""
        if self._state == "text":
            return [("text", text)] if text else []
        self._held += text
        return [piece for piece in self._pieces() if piece[1]]

    def rest(self) -> list[Piece]:
        """Return the held pieces at the end of the text, or of its part before a call."""
        held, self._held = self._held, ""
        if self._state == "begin":
            seen = held.strip()
            thinks = self._open or seen.startswith(_OPEN)
            self._state = "inside" if thinks else "text"
            held = seen.removeprefix(_OPEN) if thinks else held
        kind: Literal["thinking", "text"] = "thinking" if self._state == "inside" else "text"
        words = held.rstrip() if kind == "thinking" or self._state == "behind" else held
        return [(kind, words)] if words else []

    def _pieces(self) -> Iterator[Piece]:
        if self._state == "begin":
            self._begin()
        if self._state == "inside":
            yield ("thinking", self._inside())
        if self._state == "behind" and (text := self._held.lstrip()):
            self._state, self._held = "text", text
        if self._state == "text":
            text, self._held = self._held, ""
            yield ("text", text)

    def _begin(self) -> None:
        """Leave the start state once it is certain whether the text starts with reasoning."""
        seen = self._held.lstrip()
        if _OPEN.startswith(seen):
            return
        tagged = seen.startswith(_OPEN)
        if not (tagged or self._open):
            self._state = "text"
        elif words := seen.removeprefix(_OPEN).lstrip():
            self._state, self._held = "inside", words

    def _inside(self) -> str:
        """Return the certain reasoning; a possible end tag, and white space before it, are held."""
        words, end, behind = self._held.partition(_CLOSE)
        if end:
            self._state, self._held = "behind", behind
            return words.rstrip()
        partial = next((size for size in range(len(_CLOSE) - 1, 0, -1) if words.endswith(_CLOSE[:size])), 0)
        certain = words[: len(words) - partial].rstrip()
        self._held = words[len(certain) :]
        return certain
