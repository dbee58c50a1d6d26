"""Whether an upstream has a Messages endpoint: asked once in a while, remembered in between.

    POST /v1/messages {}     a body that no server can answer with a generation

    no such route            404, 405, 501, a redirect             translate
    its credentials missing  401, 403 in the form of the API       native
    not understood           400, 422                              native
    anything else            in the form of the API                native
                             no connection, or another form        not known: translate, and ask again soon

Go's routers answer 404 to a known path with another method, so it has to be POST. A request waits for the first probe
of its upstream and never for another one: later ones run beside it, with the last verdict still in force.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_SOON_SECONDS = 10.0
"""How long an inconclusive result is kept; also the minimum for every result."""
NO_ROUTE = frozenset({404, 405, 501})
"""What servers answer to a path they do not have."""
_NOT_UNDERSTOOD = frozenset({400, 422})

type Ask = Callable[[], Awaitable[tuple[int, bytes]]]
"""Sends the probe; returns status and body, status 0 if there is no answer."""


def verdict(status: int, body: bytes) -> bool | None:
    """Return what the answer to a probe says: whether there is a Messages endpoint; None if it does not tell."""
    if status in NO_ROUTE or 300 <= status < 400:
        return False
    if status in _NOT_UNDERSTOOD or _own_form(body):
        return True
    return None


def _own_form(body: bytes) -> bool:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(decoded, dict) and decoded.get("type") == "error"


@dataclass(slots=True)
class _Known:
    native: bool | None
    since: float
    until: float


class Probes:
    """The verdicts, by name of the upstream.

    Args:
        seconds: How long one holds.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def speaks_messages(self, name: str, ask: Ask) -> bool | None:
        """Return the verdict on an upstream, waiting for it only if there never was one."""
        known = self._known.get(name)
        if known is None or self._clock() >= known.until:
            task = self._start(name, ask)
            if known is None:
                await asyncio.shield(task)
        return self._known[name].native

    def doubt(self, name: str) -> None:
        """Have an upstream asked again soon, because it failed in a way that may mean it changed."""
        if known := self._known.get(name):
            known.until = min(known.until, known.since + _SOON_SECONDS)

    def _start(self, name: str, ask: Ask) -> asyncio.Task[None]:
        task = self._running.get(name)
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._running[name] = asyncio.create_task(self._probe(name, ask))
        return task

    async def _probe(self, name: str, ask: Ask) -> None:
        native = verdict(*await ask())
        settled = native is not None
        if not settled and name in self._known:  # an upstream that is away for a moment has not changed
            native = self._known[name].native
        now = self._clock()
        self._known[name] = _Known(native, now, now + (self._seconds if settled else _SOON_SECONDS))

    async def close(self) -> None:
        """End the probes under way in this loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._running.values() if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
