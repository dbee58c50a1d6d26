"""What a tape is used for, and what is left to say when that is over."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What is done with a tape, see ``session.py``."""

    REPLAY = "replay"
    RECORD = "record"
    VERIFY = "verify"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to a tape.

    Args:
        tape: Its name.
        action: What was done with it.
        exchanges: How many it holds, or how many were recorded.
        unplayed: Exchanges no request came for.
        unexpected: Requests that are not on it, each with the closest exchange and a diff.
        stayed: Exchanges whose recorded client disconnected early, while this one kept waiting.
        left: Exchanges that were recorded whole, and whose client left before the end now.
        notes: The same of clients of a server, which may have sent more, or less, by then: no failure.
        differences: Of live answers in shape (``verify``).
        refused: Why it was not saved.
    """

    tape: str
    action: Action
    exchanges: int
    unplayed: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    stayed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    refused: str = ""

    @property
    def failures(self) -> tuple[str, ...]:
        """What has to fail a test: all but the differences and the notes, which are news and no failure."""
        return (*filter(None, [self.refused]), *self.unexpected, *self.stayed, *self.left, *self.unplayed)
