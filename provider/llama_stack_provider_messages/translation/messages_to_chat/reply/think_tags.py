"""Reasoning inside the text of an answer: ``<think>`` words ``</think>`` text.

    tagged   white space, then <think>   reasoning up to </think>; anything else is text, all of it
    open     from the first character    reasoning up to </think>, with a <think> in front or without

``open`` is for templates that put ``<think>`` into the prompt, so that the answer holds the end alone. White space
next to the tags belongs to neither side. A missing end leaves reasoning alone, as a token limit does. A second
pair of tags is text.
"""

from collections.abc import Iterator
from typing import Literal

_OPEN, _CLOSE = "<think>", "</think>"

type Inline = Literal["none", "tagged", "open"]
type Piece = tuple[Literal["thinking", "text"], str]


class ThinkSplitter:
    """Text goes in as it comes; pieces of reasoning and text come out, the same ones joined however it is cut.

    Args:
        mode: Where reasoning may be.
    """

    def __init__(self, mode: Inline) -> None:
        self._open = mode == "open"
        self._state = "text" if mode == "none" else "begin"
        self._held = ""

    def add(self, text: str) -> list[Piece]:
        """Take more text; return the pieces that are certain now."""
        if self._state == "text":
            return [("text", text)] if text else []
        self._held += text
        return [piece for piece in self._pieces() if piece[1]]

    def rest(self) -> list[Piece]:
        """Return what is still held back: the text, or its part before a call, ends here."""
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
        """Leave the beginning as soon as it is certain what it is."""
        seen = self._held.lstrip()
        if _OPEN.startswith(seen):
            return
        tagged = seen.startswith(_OPEN)
        if not (tagged or self._open):
            self._state = "text"
        elif words := seen.removeprefix(_OPEN).lstrip():
            self._state, self._held = "inside", words

    def _inside(self) -> str:
        """Return the reasoning that is certain; held is what may be the end, and white space in front of it."""
        words, end, behind = self._held.partition(_CLOSE)
        if end:
            self._state, self._held = "behind", behind
            return words.rstrip()
        partial = next((size for size in range(len(_CLOSE) - 1, 0, -1) if words.endswith(_CLOSE[:size])), 0)
        certain = words[: len(words) - partial].rstrip()
        self._held = words[len(certain) :]
        return certain
