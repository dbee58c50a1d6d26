"""Filters the text of a response: removes a repeated prefill, and everything from a stop sequence on.

Backends strip a stop sequence without reporting it, and accept only a few of them. So stop sequences are not sent to
the backend; the text is searched here. The stop sequence that is completed first wins, as in a server that checks every
character; of two that end at the same position, the longer one wins. Text is held back only while it may be the
beginning of a stop sequence, so less than the longest one. Stop sequences do not match across blocks.

Some backends repeat the prefill before the continuation (llama.cpp: in unary responses, not in streams). A prefill at
the beginning of the text is removed once.
"""

from collections.abc import Iterable


class TextFilter:
    """Filters streamed text. The result does not depend on how the text is split into chunks.

    Args:
        stops: The request's stop sequences.
        prefill: The final assistant message that the backend continues.

    Attributes:
        fired: The stop sequence that ended the text; all later text is dropped.
    """

    def __init__(self, stops: Iterable[str] = (), prefill: str = "") -> None:
        self.fired: str | None = None
        self._stops = tuple(filter(None, stops))
        self._prefill = prefill
        self._held = ""

    @property
    def idle(self) -> bool:
        """Whether all later text passes unchanged."""
        return not (self._stops or self._prefill)

    def add(self, text: str) -> str:
        """Add text; return the text that can be sent now."""
        if self.fired:
            return ""
        text, self._held = self._held + text, ""
        if len(text) < len(self._prefill) and self._prefill.startswith(text):
            self._held = text
            return ""
        prefill, self._prefill = self._prefill, ""
        return self._before_stop(text.removeprefix(prefill))

    def rest(self) -> str:
        """Return the held text at the end of the text."""
        shown = ""
        if self._prefill and self._held:  # only a prefix of the prefill arrived
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
    """Return the position of the longest suffix that is a prefix of ``stop``; the text's length if there is none."""
    at = text.find(stop[0], max(0, len(text) - len(stop) + 1))
    while at >= 0 and not stop.startswith(text[at:]):
        at = text.find(stop[0], at + 1)
    return at if at >= 0 else len(text)
