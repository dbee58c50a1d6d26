"""Matches requests to recorded exchanges: by method, path, query and body; equal requests in recorded order.

A new recording is matched with the old one in the same way, so that exchanges that did not change keep their recorded
timings, and the diff of the file shows only what is new.
"""

import json
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from messages_tape.format.json_values import without
from messages_tape.format.model import Exchange, Ignore, Request, Tape


def key(request: Request, ignore: Ignore) -> str:
    """Return the matching key of a request; two requests match if their keys are equal.

    The key ignores headers, the order of JSON keys and query parameters, JSON white space, and how a number is
    written (``1`` and ``1.0``).
    """
    query = sorted(pair for pair in parse_qsl(request.query, keep_blank_values=True) if pair[0] not in ignore.query)
    body = ""
    if request.body and request.body.form == "json":
        body = "json " + json.dumps(normalized(request.body.value, ignore), sort_keys=True)
    elif request.body:
        value = request.body.value
        body = f"{request.body.form} {value if isinstance(value, str) else value.hex()}"
    return json.dumps([request.method, request.path, [] if "*" in ignore.query else query, body])


def normalized(value: object, ignore: Ignore) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON body in the form used for matching: without ignored paths, numbers normalized."""
    return _plain(without(value, ignore.body))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Playlist:
    """The exchanges of a tape that are still to be played.

    Args:
        exchanges: In recorded order.
        ignore: Query parameters and body paths that matching ignores.
    """

    def __init__(self, exchanges: Iterable[Exchange], ignore: Ignore) -> None:
        self._ignore = ignore
        self._left: dict[str, deque[int]] = {}
        self._last: dict[str, int] = {}
        for number, exchange in enumerate(exchanges):
            self._left.setdefault(key(exchange.request, ignore), deque()).append(number)

    def take(self, request: Request) -> int | None:
        """Mark the next matching exchange as played and return its position; return None if all are played."""
        request_key = key(request, self._ignore)
        try:
            number = self._left[request_key].popleft()  # atomic: threads may share a tape
        except (KeyError, IndexError):
            return None
        self._last[request_key] = number
        return number

    def last(self, request: Request) -> int | None:
        """Return the position of the exchange played last for an equal request, or None."""
        return self._last.get(key(request, self._ignore))

    def matches(self, request: Request) -> bool:
        """Return whether any exchange matches a request, played or not."""
        return key(request, self._ignore) in self._left

    @property
    def unplayed(self) -> list[int]:
        """The positions of the exchanges that no request has matched yet."""
        return sorted(number for left in self._left.values() for number in left)


def keep_old_timings(new: Tape, old: Tape) -> Tape:
    """Return the new tape with the old timings wherever the recorded bytes are the same.

    If only timings and the date differ, the old tape is returned unchanged, with its date.
    """
    exchanges = _with_old_timings(new.exchanges, old.exchanges, old.ignore)
    ambient = _with_old_timings(new.ambient, old.ambient, old.ignore)
    kept = new.model_copy(update={"exchanges": exchanges, "ambient": ambient})
    upstream = kept.upstream.model_copy(update={"date": old.upstream.date})
    return old if kept.model_copy(update={"upstream": upstream}) == old else kept


def _with_old_timings(new: tuple[Exchange, ...], old: tuple[Exchange, ...], ignore: Ignore) -> tuple[Exchange, ...]:
    playlist = Playlist(old, ignore)
    places = [playlist.take(exchange.request) for exchange in new]
    return tuple(
        exchange if at is None else _with_timings_of(old[at], exchange)
        for exchange, at in zip(new, places, strict=True)
    )


def _with_timings_of(old: Exchange, new: Exchange) -> Exchange:
    """Return the new exchange; its status line, each chunk and its end have the old timing if they are the same."""
    update: dict[str, Any] = {}
    if new.response and old.response:
        count = len(old.response.chunks)
        pairs = zip(new.response.chunks, (*old.response.chunks, *new.response.chunks[count:]), strict=False)
        chunks = tuple(before if now.data == before.data else now for now, before in pairs)
        after = old.response.after if new.response.status == old.response.status else new.response.after
        update["response"] = new.response.model_copy(update={"chunks": chunks, "after": after})
    if new.end.model_copy(update={"after": old.end.after}) == old.end:
        update["end"] = old.end
    return new.model_copy(update=update)
