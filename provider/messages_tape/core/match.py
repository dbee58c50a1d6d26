"""Matches requests to recorded exchanges: by method, path, query and body; equal requests in recorded order."""

import json
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from messages_tape.format.json_values import without
from messages_tape.format.model import Exchange, Ignore, Request


def key(request: Request, ignore: Ignore) -> str:
    """Return the matching key of a request; two requests match if their keys are equal.

    The key ignores headers, the order of JSON keys and query parameters, JSON white space, and how a number is
    written (``1`` and ``1.0``).
    """
    query = sorted(pair for pair in parse_qsl(request.query, keep_blank_values=True) if pair[0] not in ignore.query)
    return json.dumps([request.method, request.path, [] if "*" in ignore.query else query, _body(request, ignore)])


def compared(value: object, ignore: Ignore) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON body in the form used for matching: without ignored paths, numbers normalized."""
    return _plain(without(value, ignore.body))


def _body(request: Request, ignore: Ignore) -> str:
    body = request.body
    if body is None:
        return ""
    if body.form == "json":
        return "json " + json.dumps(compared(body.value, ignore), sort_keys=True)
    return body.form + " " + (body.value if isinstance(body.value, str) else body.value.hex())


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
        """Mark the next matching exchange as played and return its position, or None if there is none left."""
        wanted = key(request, self._ignore)
        try:
            number = self._left[wanted].popleft()  # atomic: threads may share a tape
        except (KeyError, IndexError):
            return None
        self._last[wanted] = number
        return number

    def last(self, request: Request) -> int | None:
        """Return the position of the exchange played last for an equal request, or None."""
        return self._last.get(key(request, self._ignore))

    def knows(self, request: Request) -> bool:
        """Return whether any exchange matches a request, played or not."""
        return key(request, self._ignore) in self._left

    @property
    def unplayed(self) -> list[int]:
        """The positions of the exchanges that no request has matched yet."""
        return sorted(number for left in self._left.values() for number in left)
