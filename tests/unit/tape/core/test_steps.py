"""The recording of one exchange."""

import pytest

from messages_tape.core.steps import Recording
from messages_tape.format.model import Chunk, End
from messages_tape.secrets.scrub import Rules
from messages_tape.secrets.secret_values import SecretValues
from support.tapes import raw_request

SSE = [("Content-Type", "text/event-stream")]


def recording(*pieces, headers=SSE):
    one = Recording(raw_request({"a": 1}), 100.0)
    one.head(200, headers, 100.25)
    for number, piece in enumerate(pieces):
        one.chunk(piece, 100.5 + number)
    return one


def exchange_of(one, secret_values=None):
    return one.exchange(Rules(), secret_values or SecretValues(), 3)


def test_times_are_since_the_previous_part_in_milliseconds():
    one = recording(b"a", b"b")
    one.stop(None, 101.6004)
    exchange = exchange_of(one)
    assert exchange.response.after == 0.25
    assert exchange.response.chunks == (Chunk(0.25, b"a"), Chunk(1.0, b"b"))
    assert exchange.end == End(how="complete", after=0.1)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (None, End(how="complete")),
        (ConnectionResetError("gone"), End(how="reset", error="ConnectionResetError", message="gone")),
        (GeneratorExit(), End(how="client_closed")),
        (KeyboardInterrupt(), End(how="client_closed")),
    ],
)
def test_connection_failures_are_resets_and_other_exceptions_disconnects(error, end):
    one = recording(b"a")
    one.stop(error, 100.5)
    assert exchange_of(one).end == end


def test_only_the_first_end_counts():
    one = recording(b"a")
    one.stop(ValueError("x"), 101.0)
    one.stop(None, 102.0)
    one.client_disconnected(103.0)
    assert exchange_of(one).end.how == "reset"
    other = recording(b"a")
    other.client_disconnected(101.0)
    other.stop(None, 102.0)
    assert exchange_of(other).end == End(how="client_closed", after=0.5)


def test_an_exchange_in_progress_ends_as_a_disconnect():
    assert exchange_of(recording(b"a")).end == End(how="client_closed")


def test_an_exchange_may_have_no_response():
    """A connection may be refused."""
    one = Recording(raw_request({"a": 1}), 1.0)
    one.stop(ConnectionError("refused"), 1.5)
    exchange = exchange_of(one)
    assert exchange.response is None
    assert exchange.end == End(how="reset", after=0.5, error="ConnectionError", message="refused")


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([b'data: {"a": 1}\n\n', b"data: [DONE]\n\n"], SSE),
        ([b'event: message_stop\ndata: {"type": "message_stop"}\n\n'], SSE),
        ([b'{"done": true}\n'], [("content-type", "application/x-ndjson")]),
        ([b"12", b"345"], [("content-length", "5")]),
    ],
)
def test_a_client_that_closes_after_the_last_event_is_complete(pieces, headers):
    """Some SDK versions close there, others read to the end of the body."""
    one = recording(*pieces, headers=headers)
    one.client_disconnected(103.0)
    assert exchange_of(one).end.how == "complete"


@pytest.mark.parametrize(
    ("pieces", "headers"),
    [
        ([], SSE),
        ([b'data: {"a": 1}\n\n'], SSE),
        ([b"data: [DON"], SSE),
        ([b"1234"], [("content-length", "5")]),
        ([b"1234"], [("content-length", "about four")]),
    ],
)
def test_a_client_that_closes_earlier_disconnected(pieces, headers):
    one = recording(*pieces, headers=headers)
    one.client_disconnected(103.0)
    assert exchange_of(one).end.how == "client_closed"


def test_secrets_in_the_response_and_the_error_are_blanked():
    one = recording(b"key abcd", b"efgh1!")
    one.stop(ValueError("no abcdefgh1 here"), 103.0)
    exchange = exchange_of(one, SecretValues.of(["abcdefgh1"]))
    assert [chunk.data for chunk in exchange.response.chunks] == [b"key ****", b"*****!"]
    assert exchange.end.message == "no REDACTED here"
