import asyncio
import os
import signal
import threading
from concurrent.futures import Future

import pytest

from llama_stack_provider_messages.local.engine import Engine
from llama_stack_provider_messages.local.process import EngineError


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class ProcessDouble:
    """A run that starts and ends when the test says so."""

    pid = 4711

    def __init__(self, clock):
        self._clock = clock
        self.ready = Future()
        self.ready.set_running_or_notify_cancel()
        self.ended = threading.Event()
        self.started_at = self.ended_at = clock()
        self.end = ""
        self.stopped = False

    def start(self):
        pass

    def stop(self):
        self.stopped = True
        self.finish("was stopped")

    def finish(self, how):
        self.end, self.ended_at = how, self._clock()
        if not self.ready.done():
            self.ready.set_exception(EngineError(how))
        self.ended.set()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def runs():
    return []


@pytest.fixture
def engine(clock, runs):
    def new():
        runs.append(ProcessDouble(clock))
        return runs[-1]

    return Engine(new, clock)


async def test_nothing_is_started_before_it_is_needed(engine, runs):
    assert runs == []
    assert engine.pid is None
    with pytest.raises(EngineError, match="not running"):
        _ = engine.running_address


async def test_many_requests_start_one_engine(engine, runs):
    waiting = [asyncio.create_task(engine.address()) for _ in range(50)]
    await asyncio.sleep(0)
    runs[0].ready.set_result("http://x")
    assert await asyncio.gather(*waiting) == ["http://x"] * 50
    assert len(runs) == 1
    assert engine.running_address == "http://x"
    assert engine.pid == 4711


async def test_a_request_that_goes_away_does_not_cancel_the_start_for_others(engine, runs):
    first, second = asyncio.create_task(engine.address()), asyncio.create_task(engine.address())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    runs[0].ready.set_result("http://x")
    assert await second == "http://x"
    assert first.cancelled()


def test_threads_and_loops_share_one_engine(engine, runs):
    """The platform starts providers in one event loop and serves in another."""
    engine.start()
    runs[0].ready.set_result("http://x")
    assert [asyncio.run(engine.address()) for _ in range(2)] == ["http://x"] * 2
    assert len(runs) == 1


async def test_a_failed_start_fails_those_who_wait_and_is_tried_again(engine, runs):
    waiting = [asyncio.create_task(engine.address()) for _ in range(3)]
    await asyncio.sleep(0)
    runs[0].finish("broken")
    assert all(isinstance(one, EngineError) for one in await asyncio.gather(*waiting, return_exceptions=True))
    assert engine.failure == "broken"
    engine.start()
    assert len(runs) == 2
    assert engine.failure == ""


def test_a_crash_is_followed_by_a_new_run(engine, runs):
    engine.start()
    runs[0].ready.set_result("http://x")
    runs[0].finish("crashed")
    assert engine.wait_for_end(0) == "crashed"
    engine.start()
    assert len(runs) == 2


def starts(engine):
    try:
        engine.start()
    except EngineError:
        return False
    return True


def test_a_crash_loop_pauses_longer_and_longer(engine, runs, clock):
    """The third failure in a row waits a second, then the pauses double up to 30 s."""
    pauses = []
    for _ in range(10):
        start = clock.now
        while not starts(engine):
            clock.now += 0.5
        pauses.append(clock.now - start)
        runs[-1].finish("crashed")
    assert pauses == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]


def test_a_long_run_clears_earlier_failures(engine, runs, clock):
    for _ in range(3):
        engine.start()
        runs[-1].finish("crashed")
    with pytest.raises(EngineError, match="3 times in a row and is tried again in 1 s; last time it crashed"):
        engine.start()
    clock.now += 1
    engine.start()
    clock.now += 60
    runs[-1].finish("crashed")
    engine.start()
    assert len(runs) == 5


def test_close_ends_the_engine_for_good(engine, runs):
    engine.start()
    engine.close()
    assert runs[0].stopped
    with pytest.raises(EngineError, match="shut down"):
        engine.start()


def test_close_without_an_engine_does_nothing(engine):
    engine.close()
    assert engine.wait_for_end(0) == ""


def test_wait_for_end_of_a_living_engine_gives_up(engine, runs):
    engine.start()
    assert engine.wait_for_end(0.01) == ""


async def test_a_killed_child_is_started_again(new_process):
    """With real processes: kill -9, and the next request has an engine."""
    engine = Engine(lambda: new_process("serves"))
    await engine.address()
    first = engine.pid
    os.kill(first, signal.SIGKILL)
    assert await asyncio.to_thread(engine.wait_for_end, 10) == "was ended by signal 9 (Killed)"
    assert await engine.address() == "http://127.0.0.1:9"
    assert engine.pid not in (None, first)
    await asyncio.to_thread(engine.close)
