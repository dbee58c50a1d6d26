"""Short constructors for tapes, exchanges, requests and responses."""

import json

from messages_tape.format.model import Body, Chunk, End, Exchange, Request, Response, Tape
from messages_tape.secrets.scrub import RawRequest

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}


def raw_request(body=None, path="/v1/messages", method="POST", query="", **headers):
    """Return a raw request, as a client sends it; a body that is not bytes is encoded as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return RawRequest(method, path, query, pairs, raw)


def request(body=None, path="/v1/messages", method="POST", query="", **headers):
    """Return a recorded request."""
    value = body if isinstance(body, Body) or body is None else Body("json", body)
    return Request(method=method, path=path, query=query, headers=headers, body=value)


def response(*pieces, status=200, headers=SSE, seconds=0.0):
    """Return a recorded response with these chunks."""
    data = [piece if isinstance(piece, bytes) else piece.encode() for piece in pieces]
    return Response(status=status, headers=headers, chunks=tuple(Chunk(seconds, piece) for piece in data))


def reply(value, status=200):
    """Return a recorded JSON response."""
    return response(json.dumps(value), status=status, headers=JSON)


def events(*values):
    """Return the chunks of an SSE stream, one event each; a pair is the event's name and data."""
    named = [value if isinstance(value, tuple) else (None, value) for value in values]
    return [
        f"{f'event: {name}\n' if name else ''}data: {value if isinstance(value, str) else json.dumps(value)}\n\n"
        for name, value in named
    ]


def exchange(body=None, answer=None, how="complete", error="", **fields):
    """Return an exchange; by default with an empty response if it is complete, otherwise without a response."""
    answer = response(headers={}) if answer is None and how == "complete" else answer
    return Exchange(request=request(body, **fields), response=answer, end=End(how=how, error=error))


def tape(*exchanges, **fields):
    """Return a tape."""
    return Tape(exchanges=exchanges, **fields)
