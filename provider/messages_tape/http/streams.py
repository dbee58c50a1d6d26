"""Bodies of responses: teed while they pass, or played from a tape. One class for async and one for sync programs.

They get their base class, which httpx and httpx2 check for, in ``transport.py``.
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
"""httpx or httpx2, or something of theirs: they have one interface and no types in common."""


class Ending:
    """A block at whose end a recording ends, in the way the block does.

    Args:
        recording: What ends.
        clean: Whether it also ends when nothing was raised.
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
    """Passes a body on as it comes and tells a recording.

    Args:
        real: The body.
        recording: Told of every piece, when it comes, and of the end.
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
        """Close the body; the client leaves if it did not end."""
        self._recording.leave(monotonic())
        await self._real.aclose()


class SyncTee:
    """The twin of ``AsyncTee``."""

    def __init__(self, real: Http, recording: Recording) -> None:
        self._real = real
        self._recording = recording

    def __iter__(self) -> Iterator[bytes]:
        with Ending(self._recording, clean=True):
            for data in self._real:
                self._recording.chunk(data, monotonic())
                yield data

    def close(self) -> None:
        """Close the body; the client leaves if it did not end."""
        self._recording.leave(monotonic())
        self._real.close()


@dataclass(frozen=True, slots=True)
class Playback:
    """How exchanges are played.

    Args:
        pace: At recorded speed; else at once.
        patience: Seconds to wait for a client to leave that left when it was recorded.
        failure: Makes the exception of a reset; the second argument says whether the response had begun.
        timeout: Makes the exception for a client that does not leave.
        stayed: Told of such a client.
        left: Told of a client that leaves earlier than the recorded one, and after how many chunks.
    """

    pace: bool
    patience: float
    failure: Callable[[End, bool], Exception]
    timeout: Callable[[], Exception]
    stayed: Callable[[Play], None]
    left: Callable[[Play, int], None]


class _Leaving:
    """Tells of a client that leaves, once.

    Args:
        play: What is played.
        stage: How it is played.
    """

    def __init__(self, play: Play, stage: Playback) -> None:
        self._play = play
        self._stage = stage
        self._told = False
        self.taken = 0

    def tell(self) -> None:
        """Take the end of a body, which is an early one if the recorded one was whole and this one is not."""
        response, end = self._play.exchange.response, self._play.exchange.end
        if response and end.how == "complete" and self.taken < len(response.chunks) and not self._told:
            self._told = True
            self._stage.left(self._play, self.taken)


class Pacer:
    """When the next piece is due: counted from the first, so that the work in between does not add up."""

    def __init__(self, *, pace: bool) -> None:
        self._due = monotonic()
        self._pace = pace

    def wait(self, seconds: float) -> float:
        """Return how long to wait for what came so many seconds after what came before."""
        self._due += seconds
        return max(self._due - monotonic(), 0.0) if self._pace else 0.0


def _patience(stage: Playback, play: Play) -> float:
    """Return how long to wait for a client to leave: as long as the recorded one took, and some time more."""
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
        """Wait for the head of the response; raise what there was instead."""
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
        """Let a client leave."""
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
    """The twin of ``AsyncPlayed``."""

    def __init__(self, play: Play, stage: Playback) -> None:
        self._play = play
        self._stage = stage
        self._left = threading.Event()
        self._leaving = _Leaving(play, stage)

    def begin(self) -> None:
        """Wait for the head of the response; raise what there was instead."""
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
        """Let a client leave."""
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
