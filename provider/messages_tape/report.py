"""The action of a session, and the report at its end."""

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What a session does with its tape, see ``session.py``."""

    REPLAY = "replay"
    RECORD = "record"
    VERIFY = "verify"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a session.

    Args:
        tape: Name of the tape.
        action: The action of the session.
        exchanges: Number of exchanges on the tape; when recording, number of recorded exchanges.
        unplayed: Exchanges that no request matched.
        unexpected: Requests that are not on the tape, each with the closest exchange and a diff.
        stayed: Exchanges whose recorded client disconnected early, while this one kept waiting.
        left: Exchanges that were recorded to the end, and whose client disconnected early now.
        notes: Like ``left``, for clients of a tape server, where the number of received chunks is not exact; these
            are not failures.
        differences: Differences in shape between live and recorded responses (``verify``).
        refused: Why the tape was not saved; empty if it was.
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
        """The texts that fail a test: everything except the differences and the notes."""
        return (*filter(None, [self.refused]), *self.unexpected, *self.stayed, *self.left, *self.unplayed)
