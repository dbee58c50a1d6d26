"""Records one exchange while it happens. Sans-IO: an adapter passes in each chunk and its time."""

from collections.abc import Sequence
from itertools import takewhile

from messages_tape.format.model import STATUS, Chunk, End, Exchange, Request, Response, length_fault
from messages_tape.reading.responses import Document, documents
from messages_tape.secrets.known import SecretValues
from messages_tape.secrets.scrub import HeaderPairs, RawRequest, Rules, blank_chunks

_DIGITS = 3
"""Decimal places of recorded seconds; network timings are not reproducible beyond that."""
_LAST_WORDS = {"[DONE]"}
_LAST_TYPES = {"message_stop", "error", "response.completed", "response.failed", "response.incomplete"}


class Recording:
    """Collects the parts of one exchange.

    Args:
        asked: The request.
        at: When it was sent, in seconds of a monotonic clock; all other times are of the same clock.
    """

    def __init__(self, asked: RawRequest, at: float) -> None:
        self.asked = asked
        self._last = at
        self._status = 0
        self._after = 0.0
        self._headers: HeaderPairs = ()
        self._chunks: list[Chunk] = []
        self._end: End | None = None

    def head(self, status: int, headers: HeaderPairs, at: float) -> None:
        """Record the status and the headers of the response."""
        self._status, self._headers, self._after = status, headers, self._since(at)

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
            self.leave(at)

    def leave(self, at: float) -> None:
        """Record that the client disconnected; does nothing if the exchange has ended."""
        self._end = self._end or End(how="client_closed", after=self._since(at))

    @property
    def pieces(self) -> int:
        """The number of chunks recorded so far."""
        return len(self._chunks)

    def exchange(self, rules: Rules, known: SecretValues, number: int) -> Exchange:
        """Return the scrubbed exchange; one that is still in progress ends with ``client_closed``.

        Args:
            rules: Which headers and fields are kept.
            known: Secret values to blank.
            number: Number of the exchange, from 1.
        """
        request = rules.request(self.asked, known)
        if self._status and self._status not in STATUS:
            message = f"the upstream answered with status {self._status}, which is none of an answer"
            return Exchange(request=request, end=End(how="reset", error="RemoteProtocolError", message=message))
        end, response = self._end or End(how="client_closed"), None
        if self._status:
            headers = rules.response_fields(self._headers, known, number)
            chunks = blank_chunks(self._chunks, known)
            response = Response(status=self._status, after=self._after, headers=headers, chunks=chunks)
            if end.how == "client_closed" and _is_whole(response, documents(response)):
                end = End(how="complete", after=end.after)
            response = _fitting(request, response, complete=end.how == "complete")
        end = end.model_copy(update={"message": known.blank(end.message)})
        return Exchange(request=request, response=response, end=end)

    def _since(self, at: float) -> float:
        seconds = max(round(at - self._last, _DIGITS), 0.0)
        self._last = at
        return seconds


def _fitting(request: Request, response: Response, *, complete: bool) -> Response:
    """Return a response without a content-length that does not fit its body; some transports do not check it."""
    if not length_fault(request, response, complete=complete):
        return response
    kept = {name: value for name, value in response.headers.items() if name != "content-length"}
    return response.model_copy(update={"headers": kept})


def left_early(response: Response, taken: int) -> bool:
    """Return whether a client that read ``taken`` chunks missed more than the end marker and blank lines."""
    part = response.model_copy(update={"chunks": response.chunks[:taken]})
    had, whole = documents(part), documents(response)
    both = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(had, whole, strict=False)))
    missed = [one.value for one in whole[both:] if one.value != ""]
    return not _is_whole(part, had) and not all(map(_is_last, missed))


def _is_last(value: object) -> bool:
    """Return whether an event is the last one of its stream."""
    if isinstance(value, dict):
        return value.get("type") in _LAST_TYPES or value.get("done") is True
    return value in _LAST_WORDS


def _is_whole(response: Response, said: Sequence[Document]) -> bool:
    """Return whether the response was complete when the client disconnected.

    Some SDK versions close a stream at its last event, others read to the end of the body.
    """
    length = response.headers.get("content-length", "")
    if length.isdigit():
        return sum(len(chunk.data) for chunk in response.chunks) == int(length)
    return _is_last(said[-1].value if said else None)
