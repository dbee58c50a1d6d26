"""Renders a tape as readable text: the requests, and the folded replies instead of their chunks."""

from textwrap import indent
from typing import Any

from messages_tape.format.file import emit
from messages_tape.format.model import Exchange, Tape

from .responses import folded_reply

_MARGIN = "    "


def render(tape: Tape, name: str, *, raw: bool = False, only: int | None = None) -> str:
    """Return a tape as readable text.

    Args:
        tape: The tape.
        name: Its display name.
        raw: Show the chunks of responses as recorded.
        only: Number of the only exchange to show, from 1.
    """
    if only is not None:
        return _exchange(f"[{only}]", tape.exchanges[only - 1], raw=raw)
    upstream = tape.upstream
    facts = [
        counted(len(tape.exchanges), "exchange"),
        *filter(None, [upstream.kind, upstream.model and f"model {upstream.model}", upstream.version]),
        *([f"recorded {upstream.date}"] if upstream.date else []),
    ]
    head = [f"{name}: {', '.join(facts)}"]
    ignored = [*(f"query {name}" for name in tape.ignore.query), *(f"body {path}" for path in tape.ignore.body)]
    if ignored:
        head.append(f"ignored: {', '.join(ignored)}")
    blocks = ["".join(f"{_printable(line)}\n" for line in head)]
    blocks += [_exchange(f"[{number}]", exchange, raw=raw) for number, exchange in enumerate(tape.exchanges, 1)]
    blocks += [_exchange("[ambient]", exchange, raw=raw) for exchange in tape.ambient]
    return "\n".join(blocks)


def _exchange(mark: str, exchange: Exchange, *, raw: bool) -> str:
    """Return the request line and body, then the outcome and the reply."""
    request, response = exchange.request, exchange.response
    query = f"?{request.query}" if request.query else ""
    parts = [f"{_printable(f'{mark} {request.method} {request.path}{query}')}\n"]
    if request.body and request.body.form == "base64":
        parts.append(f"{_MARGIN}{counted(len(request.body.value), 'byte')}, not text\n")
    elif request.body:
        parts.append(_value(request.body.value))
    parts.append(f"\n{_MARGIN}{_printable(_outcome(exchange))}\n")
    if response and response.chunks:
        reply = None if raw else folded_reply(response)
        if reply is None:
            parts.append(_value({"chunks": response.model_dump()["chunks"]}))
        elif reply.folded:
            parts.append(f"{_MARGIN}folded:\n{indent(_value(reply.value), '  ')}")
        else:
            parts.append(_value(reply.value))
    return "".join(parts)


def _outcome(exchange: Exchange) -> str:
    """Return the status, timing and end of an exchange."""
    response, end = exchange.response, exchange.end
    facts = []
    if response:
        kind = response.headers.get("content-type", "").partition(";")[0]
        seconds = sum(chunk.seconds for chunk in response.chunks)
        facts = [
            f"-> {response.status} {kind}".rstrip(),
            f"after {response.after:g} s",
            f"{counted(len(response.chunks), 'chunk')} in {seconds:.3g} s",
        ]
    ends = {
        "complete": "complete",
        "client_closed": f"the client disconnected after {end.after:g} s more",
        "reset": f"the connection failed after {end.after:g} s more: {end.error} {end.message}".rstrip(),
    }
    return ", ".join([*facts, ends[end.how]]) if facts else f"-> {ends[end.how]}"


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a value as indented YAML, with unprintable characters escaped."""
    return indent(emit(value if isinstance(value, dict) and value else {"body": value}), _MARGIN)


def _printable(line: str) -> str:
    return line if line.isprintable() else ascii(line)[1:-1]


def counted(number: int, what: str) -> str:
    """Return ``1 exchange`` or ``2 exchanges``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
