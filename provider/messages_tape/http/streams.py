"""Response body streams: a tee that records a live body, and a player of recorded ones; each async and sync.

``transport.py`` adds the base class that httpx or httpx2 requires.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from types import TracebackType
from typing import Any

from messages_tape.core.recording import Recording
from messages_tape.core.steps import Play
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
        self._recording.leave(monotonic())
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
        self._recording.leave(monotonic())
        self._real.close()


@dataclass(frozen=True, slots=True)
class Playback:
    """Settings and callbacks for playing exchanges.

    Args:
        pace: Play at recorded speed; otherwise without delays.
        patience: Seconds to wait for the client to disconnect where the recorded client disconnected.
        failure: Creates the exception of a connection reset; the second argument says whether the response had begun.
        timeout: Creates the exception for a client that does not disconnect within ``patience``.
        stayed: Called for such a client.
        left: Called if a client disconnects before the end of a response that was recorded to its end; the second
            argument is the number of chunks it received.
    """

    pace: bool
    patience: float
    failure: Callable[[End, bool], Exception]
    timeout: Callable[[], Exception]
    stayed: Callable[[Play], None]
    left: Callable[[Play, int], None]


class _Leaving:
    """Reports a client that disconnects early, at most once.

    Args:
        play: The exchange being played.
        stage: How it is played.
    """

    def __init__(self, play: Play, stage: Playback) -> None:
        self._play = play
        self._stage = stage
        self._told = False
        self.taken = 0

    def tell(self) -> None:
        """Handle the close of a body: report it if the recording is complete and chunks remain."""
        response, end = self._play.exchange.response, self._play.exchange.end
        if response and end.how == "complete" and self.taken < len(response.chunks) and not self._told:
            self._told = True
            self._stage.left(self._play, self.taken)


class Pacer:
    """Schedules chunks relative to the start of the response, so that processing time does not accumulate."""

    def __init__(self, *, pace: bool) -> None:
        self._due = monotonic()
        self._pace = pace

    def wait(self, seconds: float) -> float:
        """Return the seconds to wait for a chunk that was recorded ``seconds`` after the previous one."""
        self._due += seconds
        return max(self._due - monotonic(), 0.0) if self._pace else 0.0


def _patience(stage: Playback, play: Play) -> float:
    """Return the seconds to wait for a disconnect: the recorded time plus ``patience``."""
    return stage.patience + play.exchange.end.after


class AsyncPlayed:
    """Plays a body and the end of its exchange.

    Args:
        play: The exchange.
        stage: How it is played.
    """

    def __init__(self, play: Play, stage: Playback) -> None:
        self._play = play
        self._stage = stage
        self._left = asyncio.Event()
        self._leaving = _Leaving(play, stage)

    async def begin(self) -> None:
        """Wait as long as the response headers took; raise the recorded failure if there was no response."""
        exchange = self._play.exchange
        cue = Pacer(pace=self._stage.pace)
        await asyncio.sleep(cue.wait(exchange.response.after if exchange.response else 0.0))
        if not exchange.response:
            await self._end(cue)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        cue = Pacer(pace=self._stage.pace)
        response = self._play.exchange.response
        for seconds, data in response.chunks if response else ():
            await asyncio.sleep(cue.wait(seconds))
            self._leaving.taken += 1
            yield data
        await self._end(cue)

    async def aclose(self) -> None:
        """Handle the disconnect of the client."""
        self._left.set()
        self._leaving.tell()

    async def _end(self, cue: Pacer) -> None:
        end = self._play.exchange.end
        if end.how != "client_closed":
            await asyncio.sleep(cue.wait(end.after))
        elif not await self._is_left():
            self._stage.stayed(self._play)
            raise self._stage.timeout()
        if end.how == "reset":
            raise self._stage.failure(end, self._play.exchange.response is not None)

    async def _is_left(self) -> bool:
        try:
            return await asyncio.wait_for(self._left.wait(), _patience(self._stage, self._play))
        except TimeoutError:
            return False


class SyncPlayed:
    """The sync version of ``AsyncPlayed``."""

    def __init__(self, play: Play, stage: Playback) -> None:
        self._play = play
        self._stage = stage
        self._left = threading.Event()
        self._leaving = _Leaving(play, stage)

    def begin(self) -> None:
        """Wait as long as the response headers took; raise the recorded failure if there was no response."""
        exchange = self._play.exchange
        cue = Pacer(pace=self._stage.pace)
        sleep(cue.wait(exchange.response.after if exchange.response else 0.0))
        if not exchange.response:
            self._end(cue)

    def __iter__(self) -> Iterator[bytes]:
        cue = Pacer(pace=self._stage.pace)
        response = self._play.exchange.response
        for seconds, data in response.chunks if response else ():
            sleep(cue.wait(seconds))
            self._leaving.taken += 1
            yield data
        self._end(cue)

    def close(self) -> None:
        """Handle the disconnect of the client."""
        self._left.set()
        self._leaving.tell()

    def _end(self, cue: Pacer) -> None:
        end = self._play.exchange.end
        if end.how != "client_closed":
            sleep(cue.wait(end.after))
        elif not self._left.wait(_patience(self._stage, self._play)):
            self._stage.stayed(self._play)
            raise self._stage.timeout()
        if end.how == "reset":
            raise self._stage.failure(end, self._play.exchange.response is not None)
