"""A queue for slow work of requests, such as downloads: bounded, and fair between requests.

The problem: one request with many slow files would take all places, and every other request would wait for its end. So
a free place goes to the request that has the fewest places, and among those to the one that has waited longest. A place
that is taken stays taken, therefore the caller limits how many one request takes, and for how long.

What cannot begin soon is refused: the client gets a 529 at once or after ``wait_seconds``, and may try again.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from llama_stack_api_messages.errors import OverloadedError


class FairQueue:
    """Limits how much work runs at a time, and how much waits; belongs to one event loop.

    Args:
        name: What the work does, for the error message, such as ``reading PDFs``.
        places: How much runs at a time.
        max_waiting: How much may wait.
        wait_seconds: How long it may wait.
    """

    def __init__(self, name: str, places: int, max_waiting: int, wait_seconds: float) -> None:
        self._name = name
        self._places = places
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds
        self._running: Counter[Hashable] = Counter()
        self._waiting: list[tuple[Hashable, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def place(self, request: Hashable) -> AsyncIterator[None]:
        """Wait for a place, and hold it during the block.

        Args:
            request: Identifies the request that the work belongs to.

        Raises:
            OverloadedError: Too much is waiting, or has been waiting for too long.
        """
        if len(self._waiting) >= self._max_waiting:
            raise self._overloaded()
        entry = request, asyncio.get_running_loop().create_future()
        self._waiting.append(entry)
        self._start_waiting()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await entry[1]
        except BaseException as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:  # it got a place at the same moment
                self._leave(request)
            if isinstance(error, TimeoutError):
                raise self._overloaded() from None
            raise
        try:
            yield
        finally:
            self._leave(request)

    def _leave(self, request: Hashable) -> None:
        self._running[request] -= 1
        self._running += Counter()  # forgets requests without places
        self._start_waiting()

    def _start_waiting(self) -> None:
        while self._waiting and self._running.total() < self._places:
            entry = min(self._waiting, key=lambda waiting: self._running[waiting[0]])
            self._waiting.remove(entry)
            self._running[entry[0]] += 1
            entry[1].set_result(None)

    def _overloaded(self) -> OverloadedError:
        return OverloadedError(
            f"This server is busy {self._name} for other requests; try again in a few seconds",
            headers={"retry-after": "5"},
        )
