"""Probes: the meaning of the responses, the lifetime of the results, and which requests wait."""

import asyncio
import json

import pytest

from llama_stack_provider_messages.routing.probe import Probes, verdict

TTL, SOON = 300.0, 10.0
OWN = b'{"type":"error","error":{"type":"x","message":"no"}}'
YES, NO, NOTHING = (400, b""), (404, b""), (0, b"")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b"", False),
        (404, OWN, False),
        (405, OWN, False),
        (501, b"", False),
        (300, b"", False),
        (301, OWN, False),
        (399, b"", False),
        (400, b"", True),
        (400, b"<html>", True),
        (422, b'{"detail":[]}', True),
        (401, OWN, True),
        (403, OWN, True),
        (429, OWN, True),
        (500, OWN, True),
        (529, OWN, True),
        (200, OWN, True),
        (401, b'{"error":{"message":"no"}}', None),
        (403, b"", None),
        (429, b"", None),
        (500, b"<html>", None),
        (503, b'{"type":"message"}', None),
        (500, b'["error"]', None),
        (500, b'"error"', None),
        (500, b"[" * 200_000, None),
        (500, b"\xff", None),
        (200, b"{}", None),
        (299, b"", None),
        (402, b"", None),
        (0, b"", None),
    ],
)
def test_the_verdict_of_a_response(status, body, expected):
    """A missing route, a validated request, an error body of the API, or inconclusive."""
    assert verdict(status, body) is expected


class Upstream:
    """Counts probes, and answers each with the next scripted response once the gate is open."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.probes = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self):
        self.probes += 1
        await self.open.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
async def clock():
    return Clock()


@pytest.fixture
async def probes(clock):
    made = Probes(TTL, clock)
    yield made
    await made.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def run_tasks():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("answer", "expected", "seconds"), [(YES, True, TTL), (NO, False, TTL), (NOTHING, None, SOON)])
async def test_a_result_is_kept_for_its_lifetime(probes, clock, answer, expected, seconds):
    """An inconclusive one only for seconds; both exactly."""
    up = Upstream(answer)
    assert await probes.speaks_messages("up", up) is expected
    clock.now += seconds - 0.1
    assert await probes.speaks_messages("up", up) is expected
    await run_tasks()
    assert up.probes == 1
    clock.now += 0.1
    assert await probes.speaks_messages("up", up) is expected
    await run_tasks()
    assert up.probes == 2


async def test_concurrent_first_requests_share_one_probe(probes):
    """They wait for it, and each gets its result."""
    up = Upstream(YES)
    up.open.clear()
    waiting = [asyncio.create_task(probes.speaks_messages("up", up)) for _ in range(5)]
    await run_tasks()
    assert up.probes == 1
    assert not any(task.done() for task in waiting)
    up.open.set()
    assert await asyncio.gather(*waiting) == [True] * 5
    assert up.probes == 1


async def test_a_cancelled_request_does_not_cancel_the_probe(probes):
    """The other waiting requests get its result; without any, the next request does."""
    up = Upstream(YES)
    up.open.clear()
    first, second = (asyncio.create_task(probes.speaks_messages("up", up)) for _ in range(2))
    await run_tasks()
    first.cancel()
    await run_tasks()
    assert first.cancelled()
    up.open.set()
    assert await second is True
    other = Upstream(NO)
    other.open.clear()
    alone = asyncio.create_task(probes.speaks_messages("other", other))
    await run_tasks()
    alone.cancel()
    await run_tasks()
    other.open.set()
    assert await probes.speaks_messages("other", other) is False
    assert (up.probes, other.probes) == (1, 1)


async def test_no_request_waits_for_a_later_probe(probes, clock):
    """The last result is used while it runs, for all requests; then the new one."""
    up = Upstream(YES, NO)
    await probes.speaks_messages("up", up)
    clock.now += TTL
    up.open.clear()
    assert [await probes.speaks_messages("up", up) for _ in range(3)] == [True] * 3
    await run_tasks()
    assert up.probes == 2
    up.open.set()
    await run_tasks()
    assert await probes.speaks_messages("up", up) is False
    assert up.probes == 2


@pytest.mark.parametrize(("answer", "expected"), [(YES, True), (NO, False)])
async def test_an_inconclusive_probe_does_not_replace_a_result(probes, clock, answer, expected):
    """The older result stays in use, and the upstream is probed again soon."""
    up = Upstream(answer, NOTHING)
    await probes.speaks_messages("up", up)
    clock.now += TTL
    for count in (2, 3):
        assert await probes.speaks_messages("up", up) is expected
        await run_tasks()
        assert up.probes == count
        clock.now += SOON - 0.1
        assert await probes.speaks_messages("up", up) is expected
        await run_tasks()
        assert up.probes == count
        clock.now += 0.1


async def test_an_upstream_that_is_down_at_first_is_found_by_a_later_probe(probes, clock):
    """No request waits for that one."""
    up = Upstream(NOTHING, YES)
    assert await probes.speaks_messages("up", up) is None
    clock.now += SOON
    assert await probes.speaks_messages("up", up) is None
    await run_tasks()
    assert await probes.speaks_messages("up", up) is True
    clock.now += TTL - 0.1
    assert await probes.speaks_messages("up", up) is True
    await run_tasks()
    assert up.probes == 2


async def test_after_doubt_the_next_request_starts_a_probe(probes, clock):
    """The request does not wait for it; doubt about an unknown upstream does nothing."""
    up = Upstream(YES, NO)
    probes.recheck_soon("up")
    await probes.speaks_messages("up", up)
    clock.now += SOON
    probes.recheck_soon("up")
    assert await probes.speaks_messages("up", up) is True
    await run_tasks()
    assert await probes.speaks_messages("up", up) is False
    assert up.probes == 2


async def test_repeated_doubt_does_not_probe_more_often(probes, clock):
    """A client that requests unknown models all the time does not cause a probe each time."""
    up = Upstream(YES)
    for _ in range(100):
        await probes.speaks_messages("up", up)
        await run_tasks()
        probes.recheck_soon("up")
        clock.now += 0.3
    assert up.probes == 3


async def test_upstreams_have_separate_results(probes, clock):
    """Doubt about one does not probe the other."""
    ups = {"a": Upstream(YES), "b": Upstream(NO)}
    assert [await probes.speaks_messages(name, up) for name, up in ups.items()] == [True, False]
    probes.recheck_soon("a")
    clock.now += SOON
    for name, up in ups.items():
        await probes.speaks_messages(name, up)
    await run_tasks()
    assert [up.probes for up in ups.values()] == [2, 1]


async def test_a_probe_that_raises_is_retried(probes):
    """The waiting request gets the exception; the next request starts a new probe."""
    up = Upstream(ValueError("bug"), YES)
    with pytest.raises(ValueError, match="bug"):
        await probes.speaks_messages("up", up)
    assert await probes.speaks_messages("up", up) is True


async def test_close_cancels_the_running_probes(probes):
    """No task is left."""
    up = Upstream(YES)
    up.open.clear()
    waiting = asyncio.create_task(probes.speaks_messages("up", up))
    await run_tasks()
    await probes.close()
    await run_tasks()
    assert waiting.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_new_event_loop_does_not_wait_for_the_probe_of_a_stopped_one():
    """The platform runs several event loops one after the other; results are kept, tasks are not."""
    probes, up = Probes(TTL, Clock()), Upstream(YES)

    async def leave():
        up.open.clear()
        waiting = asyncio.create_task(probes.speaks_messages("up", up))
        await run_tasks()
        waiting.cancel()

    async def request():
        up.open = asyncio.Event()
        up.open.set()
        return await asyncio.wait_for(probes.speaks_messages("up", up), 60)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    (abandoned,) = asyncio.all_tasks(loop)
    assert asyncio.run(request()) is True
    assert up.probes == 2
    assert asyncio.run(request()) is True
    assert up.probes == 2
    abandoned.cancel()
    loop.run_until_complete(asyncio.gather(abandoned, return_exceptions=True))
    loop.close()


def test_an_error_body_as_this_server_sends_it_is_recognised():
    """This server may be the upstream of another one."""
    assert verdict(401, json.dumps({"type": "error", "error": {}, "request_id": None}).encode()) is True
