"""What becomes of a request: what a session tells an adapter to do."""

from dataclasses import dataclass

from messages_tape.format.model import Exchange

from .recording import Recording


@dataclass(frozen=True, slots=True)
class Play:
    """Answer with this exchange.

    Args:
        exchange: Recorded, or made up for what is not on the tape.
        place: How people call it, such as ``exchange 2``.
    """

    exchange: Exchange
    place: str


@dataclass(frozen=True, slots=True)
class Record:
    """Ask the upstream and tell the recording what comes."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class Compare:
    """Ask the upstream as for ``Record``, report it to ``Session.compared``, then play the recorded exchange."""

    recording: Recording
    play: Play

    @property
    def enough(self) -> bool:
        """Whether as much has come as there is to compare with: the recorded client may have left early."""
        recorded = self.play.exchange
        pieces = len(recorded.response.chunks) if recorded.response else 0
        return recorded.end.how == "client_closed" and self.recording.pieces >= pieces


@dataclass(frozen=True, slots=True)
class Relay:
    """Ask the upstream; the tape has no part in it."""


type Step = Play | Record | Compare | Relay
