"""Response body streams: a tee that records a live body, and a player of recorded ones; each async and sync.

The difficult part is the end of a stream, because a program may depend on it: a retry after a broken connection, a
backend that is freed when its client disconnects. A tee sees three ends. The body ends by itself (``complete``), it
raises an exception (``reset``), or the client closes it first (``client_closed``), which arrives as ``aclose``, as a
closed generator or as a cancelled task.

A player ends a body in the same way. After a recorded ``client_closed`` it waits for the client to disconnect, as the
upstream would have; a client that keeps waiting gets a timeout, and the report has a failure. A client that disconnects
although the recorded one read to the end is reported too, with the number of chunks that it took.

``transport.py`` adds the base class that httpx or httpx2 requires.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from messages_tape.core.steps import Recording, Replay
from messages_tape.format.model import End

type Http = Any
"""httpx or httpx2, or an object of theirs: they share the interface but no types."""


class Ending:
    """A context manager that ends a recording with the exception that the block raises.

    Args:
        recording: The recording.
        clean: Whether to end it also if the block raises nothing.
    """

    def __init__(self, recording: Recording, *, clean: bool) -> None:
        self._recording = recording
        self._clean = clean

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None or self._clean:
            self._recording.stop(error, monotonic())


class AsyncTee:
    """Passes a live body through and records each chunk, its time, and the end.

    Args:
        real: The live body.
        recording: The recording.
    """

    def __init__(self, real: Http, recording: Recording) -> None:
        self._real = real
        self._recording = recording

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with Ending(self._recording, clean=True):
            async for data in self._real:
                self._recording.chunk(data, monotonic())
                yield data

    async def aclose(self) -> None:
        """Close the body; if it has not ended, record that the client disconnected."""
        self._recording.client_disconnected(monotonic())
        await self._real.aclose()


class SyncTee:
    """The sync version of ``AsyncTee``."""

    def __init__(self, real: Http, recording: Recording) -> None:
        self._real = real
        self._recording = recording

    def __iter__(self) -> Iterator[bytes]:
        with Ending(self._recording, clean=True):
            for data in self._real:
                self._recording.chunk(data, monotonic())
                yield data

    def close(self) -> None:
        """Close the body; if it has not ended, record that the client disconnected."""
        self._recording.client_disconnected(monotonic())
        self._real.close()


@dataclass(frozen=True, slots=True)
class Playback:
    """Settings and callbacks for playing exchanges.

    Args:
        pace: Play at recorded speed; otherwise without delays.
        patience: Seconds to wait for the client to disconnect where the recorded client disconnected.
        failure: Creates the exception of a connection reset; the second argument says whether the response had begun.
        timeout: Creates the exception for a client that does not disconnect within ``patience``.
        client_waited: Called for such a client.
        client_closed: Called once when the client closes the body, early or not; the second argument is the number of
            chunks it received.
    """

    pace: bool
    patience: float
    failure: Callable[[End, bool], Exception]
    timeout: Callable[[], Exception]
    client_waited: Callable[[Replay], None]
    client_closed: Callable[[Replay, int], None]


class Pacer:
    """Schedules chunks relative to the start of the response, so that processing time does not accumulate."""

    def __init__(self, *, pace: bool) -> None:
        self._due = monotonic()
        self._pace = pace

    def wait(self, seconds: float) -> float:
        """Return the seconds to wait for a chunk that was recorded ``seconds`` after the previous one."""
        self._due += seconds
        return max(self._due - monotonic(), 0.0) if self._pace else 0.0


class AsyncPlayed:
    """Plays a body and the end of its exchange.

    Args:
        replay: The step.
        playback: How it is played.
    """

    def __init__(self, replay: Replay, playback: Playback) -> None:
        self._replay = replay
        self._playback = playback
        self._disconnected = asyncio.Event()
        self._taken = 0

    async def begin(self) -> None:
        """Wait as long as the response headers took; raise the recorded failure if there was no response."""
        exchange = self._replay.exchange
        pacer = Pacer(pace=self._playback.pace)
        await asyncio.sleep(pacer.wait(exchange.response.after if exchange.response else 0.0))
        if not exchange.response:
            await self._end(pacer)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pacer = Pacer(pace=self._playback.pace)
        response = self._replay.exchange.response
        for seconds, data in response.chunks if response else ():
            await asyncio.sleep(pacer.wait(seconds))
            self._taken += 1
            yield data
        await self._end(pacer)

    async def aclose(self) -> None:
        """Handle the disconnect of the client."""
        if not self._disconnected.is_set():
            self._disconnected.set()
            self._playback.client_closed(self._replay, self._taken)

    async def _end(self, pacer: Pacer) -> None:
        end = self._replay.exchange.end
        if end.how != "client_closed":
            await asyncio.sleep(pacer.wait(end.after))
        else:
            try:
                await asyncio.wait_for(self._disconnected.wait(), self._playback.patience + end.after)
            except TimeoutError:
                self._playback.client_waited(self._replay)
                raise self._playback.timeout() from None
        if end.how == "reset":
            raise self._playback.failure(end, self._replay.exchange.response is not None)


class SyncPlayed:
    """The sync version of ``AsyncPlayed``."""

    def __init__(self, replay: Replay, playback: Playback) -> None:
        self._replay = replay
        self._playback = playback
        self._disconnected = threading.Event()
        self._taken = 0

    def begin(self) -> None:
        """Wait as long as the response headers took; raise the recorded failure if there was no response."""
        exchange = self._replay.exchange
        pacer = Pacer(pace=self._playback.pace)
        sleep(pacer.wait(exchange.response.after if exchange.response else 0.0))
        if not exchange.response:
            self._end(pacer)

    def __iter__(self) -> Iterator[bytes]:
        pacer = Pacer(pace=self._playback.pace)
        response = self._replay.exchange.response
        for seconds, data in response.chunks if response else ():
            sleep(pacer.wait(seconds))
            self._taken += 1
            yield data
        self._end(pacer)

    def close(self) -> None:
        """Handle the disconnect of the client."""
        if not self._disconnected.is_set():
            self._disconnected.set()
            self._playback.client_closed(self._replay, self._taken)

    def _end(self, pacer: Pacer) -> None:
        end = self._replay.exchange.end
        if end.how != "client_closed":
            sleep(pacer.wait(end.after))
        elif not self._disconnected.wait(self._playback.patience + end.after):
            self._playback.client_waited(self._replay)
            raise self._playback.timeout()
        if end.how == "reset":
            raise self._playback.failure(end, self._replay.exchange.response is not None)
