"""Which recorded exchange answers a request: the same method, path, query and body, in order among equal ones."""

import json
from collections import deque
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from messages_tape.format.model import Exchange, Ignore, Request
from messages_tape.format.paths import without


def key(request: Request, ignore: Ignore) -> str:
    """Return what requests that count as the same have in common.

    The order of keys and of query parameters does not count, nor how JSON is laid out or a number is written
    (``1`` and ``1.0``). Headers do not count.
    """
    query = sorted(pair for pair in parse_qsl(request.query, keep_blank_values=True) if pair[0] not in ignore.query)
    return json.dumps([request.method, request.path, [] if "*" in ignore.query else query, _body(request, ignore)])


def compared(value: object, ignore: Ignore) -> Any:  # noqa: ANN401 - any JSON value
    """Return of a JSON body what counts."""
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
        ignore: What the comparison leaves out.
    """

    def __init__(self, exchanges: Iterable[Exchange], ignore: Ignore) -> None:
        self._ignore = ignore
        self._left: dict[str, deque[int]] = {}
        self._last: dict[str, int] = {}
        for number, exchange in enumerate(exchanges):
            self._left.setdefault(key(exchange.request, ignore), deque()).append(number)

    def take(self, request: Request) -> int | None:
        """Return the position of the exchange that answers a request and count it as played, None if none is left."""
        wanted = key(request, self._ignore)
        try:
            number = self._left[wanted].popleft()  # one step: threads may share a tape
        except (KeyError, IndexError):
            return None
        self._last[wanted] = number
        return number

    def last(self, request: Request) -> int | None:
        """Return the position of the exchange that answered such a request before."""
        return self._last.get(key(request, self._ignore))

    def knows(self, request: Request) -> bool:
        """Say whether there is an exchange for a request, played or not."""
        return key(request, self._ignore) in self._left

    @property
    def unplayed(self) -> list[int]:
        """The positions of those that no request has taken."""
        return sorted(number for left in self._left.values() for number in left)
