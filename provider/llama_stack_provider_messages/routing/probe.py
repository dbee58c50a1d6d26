"""Probes whether an upstream has a Messages endpoint, and caches the result.

The probe is ``POST /v1/messages`` with the body ``{}``, which is invalid, so that no server generates anything. It has
to be POST, because Go's routers answer 404 to a known path with another method.

    response                                             the upstream has the endpoint
    404, 405, 501, a redirect                            no
    400, 422                                             yes: it validated the request
    any other status with an error body of the API       yes: for example 401 without credentials
    any other response, or no connection                 inconclusive

A conclusive result is kept for minutes, an inconclusive one for ten seconds; it does not replace a conclusive one,
because an upstream that is down for a moment has not changed. A request waits only for the first probe of its upstream:
later probes run in the background while the last result stays in use. Example: Ollama is started after the stack. The
first request is translated (``unanswered``), and a request ten seconds later starts the probe that finds the endpoint.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from llama_stack_api_messages.json_bytes import loads_or_none
from llama_stack_provider_messages.errors.body import NO_ROUTE
from llama_stack_provider_messages.upstream.state import SharedTasks

_INCONCLUSIVE_SECONDS = 10.0
"""How long an inconclusive result is kept; also the minimum for every result."""
_INVALID_REQUEST = frozenset({400, 422})

type SendProbe = Callable[[], Awaitable[tuple[int, bytes]]]
"""Sends the probe; returns status and body, status 0 if there is no response."""


def verdict(status: int, body: bytes) -> bool | None:
    """Return whether the response to a probe shows a Messages endpoint; None if it is inconclusive."""
    if status in NO_ROUTE or 300 <= status < 400:
        return False
    if status in _INVALID_REQUEST:
        return True
    decoded = loads_or_none(body)
    return True if isinstance(decoded, dict) and decoded.get("type") == "error" else None


@dataclass(slots=True)
class _Result:
    """A probe result; the times are those of the clock.

    Attributes:
        native: Whether the upstream has the endpoint; None: inconclusive.
        probed_at: Time of the probe.
        expires_at: Time of the next probe.
    """

    native: bool | None
    probed_at: float
    expires_at: float


class Probes:
    """The probe results, by name of the upstream.

    Args:
        seconds: Lifetime of a conclusive result.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._results: dict[str, _Result] = {}
        self._running = SharedTasks()

    async def speaks_messages(self, name: str, send: SendProbe) -> bool | None:
        """Return the probe result of an upstream; waits for a probe only if there was none yet."""
        result = self._results.get(name)
        if result is None or self._clock() >= result.expires_at:
            task = self._running.start(name, lambda: self._probe(name, send))
            if result is None:
                await asyncio.shield(task)
        return self._results[name].native

    def recheck_soon(self, name: str) -> None:
        """Shorten the lifetime of a result, because the upstream failed in a way that may mean it has changed."""
        if result := self._results.get(name):
            result.expires_at = min(result.expires_at, result.probed_at + _INCONCLUSIVE_SECONDS)

    async def _probe(self, name: str, send: SendProbe) -> None:
        native = verdict(*await send())
        lifetime = _INCONCLUSIVE_SECONDS if native is None else self._seconds
        if native is None and name in self._results:  # a short outage does not change the result
            native = self._results[name].native
        now = self._clock()
        self._results[name] = _Result(native, now, now + lifetime)

    async def close(self) -> None:
        """Cancel the running probes of this event loop."""
        await self._running.close()
