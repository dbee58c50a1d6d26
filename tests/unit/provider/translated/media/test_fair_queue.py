"""The queue in which slow work of requests waits."""

import asyncio

import pytest

from llama_stack_api_messages.errors import OverloadedError
from llama_stack_provider_messages.translated.media.fair_queue import FairQueue


class Work:
    """Work that runs until it is told to end; notes what runs."""

    def __init__(self, queue):
        self.queue = queue
        self.running = []
        self.tasks = {}

    async def _run(self, name, end):
        async with self.queue.place(name[0]):
            self.running.append(name)
            await end.wait()
            self.running.remove(name)

    async def begin(self, *names):
        """Begin work; the first letter of its name is its request."""
        for name in names:
            end = asyncio.Event()
            self.tasks[name] = asyncio.ensure_future(self._run(name, end)), end
        await settled()

    async def end(self, name):
        task, end = self.tasks[name]
        end.set()
        await task
        await settled()


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


def queue(places=2, waiting=10, seconds=60):
    return FairQueue("testing", places, waiting, seconds)


async def test_only_so_much_runs_at_a_time():
    work = Work(queue())
    await work.begin("a1", "a2", "a3")
    assert work.running == ["a1", "a2"]
    await work.end("a1")
    assert work.running == ["a2", "a3"]


async def test_a_free_place_goes_to_the_request_with_the_fewest_places():
    """And not to that which was there first."""
    work = Work(queue())
    await work.begin("a1", "a2", "a3", "a4", "b1", "c1")
    await work.end("a1")
    assert work.running == ["a2", "b1"]
    await work.end("b1")
    assert work.running == ["a2", "c1"]
    await work.end("a2")
    assert work.running == ["c1", "a3"]


async def test_more_than_may_wait_is_refused_at_once():
    """With the status that clients retry."""
    work = Work(queue(waiting=1))
    await work.begin("a1", "a2", "a3")
    with pytest.raises(OverloadedError, match="busy testing for other requests; try again") as refusal:
        async with work.queue.place("b"):
            pytest.fail("it ran")
    assert refusal.value.headers == {"retry-after": "5"}
    await work.end("a1")
    assert work.running == ["a2", "a3"]


async def test_what_waits_for_too_long_is_refused():
    """Its place in the queue is free."""
    work = Work(queue(places=1, waiting=1, seconds=0.01))
    await work.begin("a1")
    for _ in range(2):
        with pytest.raises(OverloadedError):
            async with work.queue.place("b"):
                pytest.fail("it ran")
    await work.end("a1")
    await work.begin("b1")
    assert work.running == ["b1"]


@pytest.mark.parametrize("at_the_same_moment", [False, True])
async def test_work_that_is_cancelled_while_it_waits_takes_no_place(at_the_same_moment):
    """Also if a place has just become free."""
    work = Work(queue(places=1))
    await work.begin("a1", "b1", "c1")
    task, _ = work.tasks["b1"]
    if at_the_same_moment:
        work.tasks["a1"][1].set()
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if not at_the_same_moment:
        await work.end("a1")
    await settled()
    assert work.running == ["c1"]


async def test_work_that_fails_leaves_its_place():
    work = Work(queue(places=1))
    with pytest.raises(ZeroDivisionError):
        async with work.queue.place("a"):
            raise ZeroDivisionError
    await work.begin("b1")
    assert work.running == ["b1"]
