"""Steps: what an adapter has to do with a request, as decided by the session; and the recording that a step fills.

The code is sans-IO: it neither sends nor waits. An adapter executes the step, and passes each chunk of a live response
to the ``Recording`` together with the time of its arrival.

A recording ends with ``complete``, ``reset`` (the connection failed) or ``client_closed``. The last one is decided
late: some SDK versions close a stream at its last event, others read to the end of the body. Therefore a client that
closes after the last event has received a complete response.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from messages_tape.format.model import STATUS, Chunk, End, Exchange, Response, length_fault
from messages_tape.reading.responses import WHOLE_RESPONSE_EVENTS, Document, documents
from messages_tape.secrets.scrub import HeaderPairs, RawRequest, Rules
from messages_tape.secrets.secret_values import SecretValues

_DECIMALS = 3
"""Decimal places of recorded seconds; network timings are not reproducible beyond that."""
_LAST_TEXTS = {"[DONE]"}
_LAST_TYPES = {"message_stop", "error", *WHOLE_RESPONSE_EVENTS}


class Recording:
    """Collects the parts of one exchange.

    Args:
        request: The request.
        at: When it was sent, in seconds of a monotonic clock; all other times are of the same clock.
    """

    def __init__(self, request: RawRequest, at: float) -> None:
        self.request = request
        self.status = 0
        self._last = at
        self._after = 0.0
        self._headers: HeaderPairs = ()
        self._chunks: list[Chunk] = []
        self._end: End | None = None

    def head(self, status: int, headers: HeaderPairs, at: float) -> None:
        """Record the status and the headers of the response."""
        self.status, self._headers, self._after = status, headers, self._since(at)

    def chunk(self, data: bytes, at: float) -> None:
        """Record a chunk of the response body."""
        self._chunks.append(Chunk(self._since(at), data))

    def stop(self, error: BaseException | None, at: float) -> None:
        """Record the end of the exchange; later calls are ignored.

        Args:
            error: None if the upstream completed the response. An ``Exception`` is a connection failure. Any other
                ``BaseException`` (a closed generator, a cancelled task, an interrupt) means the client disconnected.
            at: Time of the end.
        """
        if self._end:
            return
        if error is None:
            self._end = End(how="complete", after=self._since(at))
        elif isinstance(error, Exception):
            name, message = type(error).__name__, str(error)
            self._end = End(how="reset", after=self._since(at), error=name, message=message)
        else:
            self.client_disconnected(at)

    def client_disconnected(self, at: float) -> None:
        """Record that the client disconnected; does nothing if the exchange has ended."""
        self._end = self._end or End(how="client_closed", after=self._since(at))

    @property
    def chunk_count(self) -> int:
        """The number of chunks recorded so far."""
        return len(self._chunks)

    def exchange(self, rules: Rules, secret_values: SecretValues, number: int) -> Exchange:
        """Return the scrubbed exchange; one that is still in progress ends with ``client_closed``.

        What could not be played is left out: a status that is not that of a final response becomes a ``reset``, a
        content-length that does not fit the body, which some transports do not check, is dropped.

        Args:
            rules: Which headers and fields are kept.
            secret_values: Secret values to blank.
            number: Number of the exchange, from 1.
        """
        request = rules.request(self.request, secret_values)
        if self.status and self.status not in STATUS:
            message = f"the upstream sent status {self.status}, which is not the status of a final response"
            return Exchange(request=request, end=End(how="reset", error="RemoteProtocolError", message=message))
        end, response = self._end or End(how="client_closed"), None
        if self.status:
            headers = rules.response_headers_of(self._headers, secret_values, number)
            chunks = secret_values.blank_chunks(self._chunks)
            response = Response(status=self.status, after=self._after, headers=headers, chunks=chunks)
            if end.how == "client_closed" and _is_whole(response, documents(response)):
                end = End(how="complete", after=end.after)
            if length_fault(request, response, complete=end.how == "complete"):
                kept = {name: value for name, value in response.headers.items() if name != "content-length"}
                response = response.model_copy(update={"headers": kept})
        end = end.model_copy(update={"message": secret_values.blank(end.message)})
        return Exchange(request=request, response=response, end=end)

    def _since(self, at: float) -> float:
        seconds = max(round(at - self._last, _DECIMALS), 0.0)
        self._last = at
        return seconds


def left_early(response: Response, taken: int) -> bool:
    """Return whether a client that read ``taken`` chunks missed more than the end marker and blank lines."""
    if taken >= len(response.chunks):
        return False
    part = response.model_copy(update={"chunks": response.chunks[:taken]})
    received, whole = documents(part), documents(response)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(received, whole, strict=False)))
    missed = [document.value for document in whole[common:] if document.value != ""]
    return not _is_whole(part, received) and not all(map(_is_last, missed))


def _is_whole(response: Response, received: Sequence[Document]) -> bool:
    """Return whether the response was complete when the client disconnected."""
    length = response.headers.get("content-length", "")
    if length.isdigit():
        return sum(len(chunk.data) for chunk in response.chunks) == int(length)
    return _is_last(received[-1].value if received else None)


def _is_last(value: object) -> bool:
    """Return whether an event is the last one of its stream."""
    if isinstance(value, dict):
        return value.get("type") in _LAST_TYPES or value.get("done") is True
    return value in _LAST_TEXTS


@dataclass(frozen=True, slots=True)
class Replay:
    """Respond with this exchange.

    Args:
        exchange: A recorded exchange, or a generated one for a request that is not on the tape.
        label: Its name in reports, such as ``exchange 2``.
    """

    exchange: Exchange
    label: str


@dataclass(frozen=True, slots=True)
class Record:
    """Send the request to the upstream and pass the response to the recording."""

    recording: Recording


@dataclass(frozen=True, slots=True)
class Verify:
    """Record a live response, pass it to ``Session.add_differences``, then replay the recorded exchange."""

    recording: Recording
    replay: Replay

    @property
    def has_enough_chunks(self) -> bool:
        """Whether enough chunks arrived: if the recorded client disconnected early, as many as it received."""
        recorded = self.replay.exchange
        chunks = len(recorded.response.chunks) if recorded.response else 0
        return recorded.end.how == "client_closed" and self.recording.chunk_count >= chunks


@dataclass(frozen=True, slots=True)
class Live:
    """Send the request to the upstream, without playing or recording."""


type Step = Replay | Record | Verify | Live
