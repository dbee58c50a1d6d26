"""The text of an answer that was asked to be a JSON object, in words: without the fence models put around it."""

import re

_OPENING = re.compile(r"\s*(?:`{1,3}|```\w*\s*)?")
_FENCE = re.compile(r"\s*```\w*\s*")
_CLOSING = re.compile(r"\s*`*\s*\Z")


class JsonText:
    """Passes the text of an answer on, as it comes, without a fence.

    Args:
        fenced: Whether a fence has to be looked for; without, everything passes.
    """

    def __init__(self, *, fenced: bool) -> None:
        self._opening = fenced
        self._inside = False
        self._held = ""

    def add(self, text: str) -> str:
        """Take more text; return what can be shown."""
        if not (self._opening or self._inside):
            return text
        self._held += text
        if self._opening and not self._opened():
            return ""
        if not self._inside:
            return self.rest()
        end = _CLOSING.search(self._held)
        shown = self._held[: end.start()] if end else self._held
        self._held = self._held[len(shown) :]
        return shown

    def rest(self) -> str:
        """Return what was held, once nothing more comes; a fence that closes is none of it."""
        held, self._held = self._held, ""
        return "" if self._inside and "```" in held else held

    def _opened(self) -> bool:
        """Return whether it is known how the text begins; a fence is taken off."""
        if _OPENING.fullmatch(self._held):
            return False
        self._opening = False
        if fence := _FENCE.match(self._held):
            self._inside = True
            self._held = self._held[fence.end() :]
        return True
