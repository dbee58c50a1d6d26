"""Probes whether an upstream has a Messages endpoint, and caches the result.

    POST /v1/messages {}     a request that no server can answer with a generation

    no such route            404, 405, 501, a redirect             translated
    credentials missing      401, 403 with an API error body       native
    invalid request          400, 422                              native
    any other response       with an API error body                native
                             other body, or no connection          not known: translated, and probe again soon

The method has to be POST, because Go's routers answer 404 to a known path with another method. A request waits only for
the first probe of its upstream: later probes run in the background while the last result stays in use.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llama_stack_provider_messages.errors.body import NO_ROUTE

_SOON_SECONDS = 10.0
"""How long an inconclusive result is kept; also the minimum for every result."""
_NOT_UNDERSTOOD = frozenset({400, 422})

type Ask = Callable[[], Awaitable[tuple[int, bytes]]]
"""Sends the probe; returns status and body, status 0 if there is no response."""


def verdict(status: int, body: bytes) -> bool | None:
    """Return whether the response to a probe shows a Messages endpoint; None if it is inconclusive."""
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
    """The probe results, by name of the upstream.

    Args:
        seconds: Lifetime of a conclusive result.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def speaks_messages(self, name: str, ask: Ask) -> bool | None:
        """Return the probe result of an upstream; waits for a probe only if there was none yet."""
        known = self._known.get(name)
        if known is None or self._clock() >= known.until:
            task = self._start(name, ask)
            if known is None:
                await asyncio.shield(task)
        return self._known[name].native

    def doubt(self, name: str) -> None:
        """Shorten the lifetime of a result, because the upstream failed in a way that may mean it has changed."""
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
        if not settled and name in self._known:  # a short outage does not change the result
            native = self._known[name].native
        now = self._clock()
        self._known[name] = _Known(native, now, now + (self._seconds if settled else _SOON_SECONDS))

    async def close(self) -> None:
        """Cancel the running probes of this event loop."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._running.values() if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()
