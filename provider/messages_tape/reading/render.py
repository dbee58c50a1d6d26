"""Renders a tape as readable text: the requests, and the folded responses instead of their chunks."""

from collections.abc import Iterator
from textwrap import indent
from typing import Any

from messages_tape.format.file import emit
from messages_tape.format.model import Body, Exchange, Ignore, Request, Response, Tape

from .folded import final

_MARGIN = "    "


def render(tape: Tape, name: str, *, raw: bool = False, only: int | None = None) -> str:
    """Return a tape as readable text.

    Args:
        tape: The tape.
        name: Its display name.
        raw: Show the chunks of responses as recorded.
        only: Number of the only exchange to show, from 1.
    """
    blocks = [_head(tape, name)] if only is None else []
    for number, exchange in enumerate(tape.exchanges, 1):
        if only in (None, number):
            blocks.append(_exchange(f"[{number}]", exchange, raw=raw))
    if only is None:
        blocks += [_exchange("[ambient]", exchange, raw=raw) for exchange in tape.ambient]
    return "\n".join(blocks)


def _head(tape: Tape, name: str) -> str:
    upstream = tape.upstream
    facts = [
        counted(len(tape.exchanges), "exchange"),
        *filter(None, [upstream.kind, upstream.model and f"model {upstream.model}", upstream.version]),
        *([f"recorded {upstream.date}"] if upstream.date else []),
    ]
    return "".join(f"{_printable(line)}\n" for line in (f"{name}: {', '.join(facts)}", *_ignored(tape.ignore)))


def _ignored(ignore: Ignore) -> Iterator[str]:
    names = [*(f"query {name}" for name in ignore.query), *(f"body {path}" for path in ignore.body)]
    if names:
        yield f"ignored: {', '.join(names)}"


def _exchange(mark: str, exchange: Exchange, *, raw: bool) -> str:
    request, response = exchange.request, exchange.response
    shown = [_request_line(mark, request), _body(request.body), "\n", _MARGIN + _outcome(exchange)]
    if response and response.chunks:
        shown.append(_answer(response, raw=raw))
    return "".join(shown)


def _request_line(mark: str, request: Request) -> str:
    query = f"?{request.query}" if request.query else ""
    return f"{_printable(f'{mark} {request.method} {request.path}{query}')}\n"


def _body(body: Body | None) -> str:
    if body is None:
        return ""
    return _value(body.value) if body.form != "base64" else f"{_MARGIN}{counted(len(body.value), 'byte')}, not text\n"


def _outcome(exchange: Exchange) -> str:
    """Return the line with status, timing and end of an exchange."""
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
        "client_closed": f"the client left after {end.after:g} s more",
        "reset": f"the connection failed after {end.after:g} s more: {end.error} {end.message}".rstrip(),
    }
    return f"{_printable(', '.join([*facts, ends[end.how]]) if facts else f'-> {ends[end.how]}')}\n"


def _answer(response: Response, *, raw: bool) -> str:
    found = None if raw else final(response)
    if found is None:
        return _chunks(response)
    return f"{_MARGIN}folded:\n{indent(_value(found.value), '  ')}" if found.folded else _value(found.value)


def _chunks(response: Response) -> str:
    return _value({"chunks": response.model_dump()["chunks"]})


def _value(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a value as indented YAML, with unprintable characters escaped."""
    return indent(emit(value if isinstance(value, dict) and value else {"body": value}), _MARGIN)


def counted(number: int, what: str) -> str:
    """Return ``1 exchange`` or ``2 exchanges``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _printable(line: str) -> str:
    return line if line.isprintable() else ascii(line)[1:-1]
