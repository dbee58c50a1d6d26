"""What of an answer's text is shown: not the prefill, and nothing from a stop sequence on.

Backends strip a stop sequence without naming it, and take few of them; so none is sent to them, and the text is
searched here. The stop sequence that is complete first wins, as it would in a server that looks at every character;
of two that end at the same place it is the longer one. Text is held back only while it may be the beginning of a
stop sequence, which is less than the longest of them; a stop sequence does not reach across blocks.

Some backends repeat the prefill in front of what they continue (llama.cpp: the whole answer does, its stream does
not). Text that begins with the prefill loses it, once.
"""

from collections.abc import Iterable


class TextFilter:
    """Text goes in as it comes, what may be shown comes out. However the text is cut, the outcome is the same.

    Args:
        stops: The request's stop sequences.
        prefill: The final assistant message the backend was to continue.

    Attributes:
        fired: The stop sequence that ended the text; nothing more is shown.
    """

    def __init__(self, stops: Iterable[str] = (), prefill: str = "") -> None:
        self.fired: str | None = None
        self._stops = tuple(filter(None, stops))
        self._prefill = prefill
        self._held = ""

    @property
    def idle(self) -> bool:
        """Whether all text passes from now on."""
        return not (self._stops or self._prefill)

    def add(self, text: str) -> str:
        """Take more text; return what may be shown now."""
        if self.fired:
            return ""
        text, self._held = self._held + text, ""
        if len(text) < len(self._prefill) and self._prefill.startswith(text):
            self._held = text
            return ""
        prefill, self._prefill = self._prefill, ""
        return self._before_stop(text.removeprefix(prefill))

    def rest(self) -> str:
        """Return what is still held back: the text ends here."""
        shown = ""
        if self._prefill and self._held:  # it was the beginning of the prefill, and nothing more
            self._prefill = ""
            shown = self.add("")
        held, self._held = self._held, ""
        return shown + held

    def _before_stop(self, text: str) -> str:
        found = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            _, end, self.fired = min(found)
            return text[:end]
        end = min((_beginning(stop, text) for stop in self._stops), default=len(text))
        self._held = text[end:]
        return text[:end]


def _beginning(stop: str, text: str) -> int:
    """Return where the text ends in a beginning of the stop sequence; the text's length when it does not."""
    at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while at >= 0 and not stop.startswith(text[at:]):
        at = text.find(stop[0], at + 1)
    return at if at >= 0 else len(text)
