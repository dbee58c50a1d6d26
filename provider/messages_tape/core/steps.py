"""Steps: what an adapter has to do with a request, as decided by the session."""

from dataclasses import dataclass

from messages_tape.format.model import Exchange

from .recording import Recording


@dataclass(frozen=True, slots=True)
class Play:
    """Respond with this exchange.

    Args:
        exchange: A recorded exchange, or a generated one for a request that is not on the tape.
        place: Its display name, such as ``exchange 2``.
    """

    exchange: Exchange
    place: str


@dataclass(frozen=True, slots=True)
class Record:
    """Send the request to the upstream and pass the response to the recording."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class Compare:
    """Record a live response, pass it to ``Session.compared``, then play the recorded exchange."""

    recording: Recording
    play: Play

    @property
    def enough(self) -> bool:
        """Whether enough chunks arrived: if the recorded client disconnected early, as many as it received."""
        recorded = self.play.exchange
        pieces = len(recorded.response.chunks) if recorded.response else 0
        return recorded.end.how == "client_closed" and self.recording.pieces >= pieces


@dataclass(frozen=True, slots=True)
class Relay:
    """Send the request to the upstream, without playing or recording."""


type Step = Play | Record | Compare | Relay
