"""Probes: what their answers mean, how long they hold, who waits for them."""

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
def test_what_an_answer_says(status, body, expected):
    """A missing route, a form that is understood, or nothing that would tell."""
    assert verdict(status, body) is expected


class Upstream:
    """Counts probes, and answers each with what it is told, when it is told."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self):
        self.asked += 1
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


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("answer", "expected", "seconds"), [(YES, True, TTL), (NO, False, TTL), (NOTHING, None, SOON)])
async def test_a_verdict_holds_for_a_while(probes, clock, answer, expected, seconds):
    """What is no verdict only for seconds; to the moment."""
    up = Upstream(answer)
    assert await probes.speaks_messages("up", up) is expected
    clock.now += seconds - 0.1
    assert await probes.speaks_messages("up", up) is expected
    await settle()
    assert up.asked == 1
    clock.now += 0.1
    assert await probes.speaks_messages("up", up) is expected
    await settle()
    assert up.asked == 2


async def test_one_probe_serves_all_who_ask_first(probes):
    """They wait for it, and each gets its verdict."""
    up = Upstream(YES)
    up.open.clear()
    asking = [asyncio.create_task(probes.speaks_messages("up", up)) for _ in range(5)]
    await settle()
    assert up.asked == 1
    assert not any(task.done() for task in asking)
    up.open.set()
    assert await asyncio.gather(*asking) == [True] * 5
    assert up.asked == 1


async def test_who_asks_first_and_leaves_does_not_take_the_probe_along(probes):
    """Those who wait for it get its verdict; so does the next one if nobody waits."""
    up = Upstream(YES)
    up.open.clear()
    first, second = (asyncio.create_task(probes.speaks_messages("up", up)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    up.open.set()
    assert await second is True
    other = Upstream(NO)
    other.open.clear()
    alone = asyncio.create_task(probes.speaks_messages("other", other))
    await settle()
    alone.cancel()
    await settle()
    other.open.set()
    assert await probes.speaks_messages("other", other) is False
    assert (up.asked, other.asked) == (1, 1)


async def test_nobody_waits_for_a_second_probe(probes, clock):
    """The last verdict is used while it runs, however many ask; then the new one."""
    up = Upstream(YES, NO)
    await probes.speaks_messages("up", up)
    clock.now += TTL
    up.open.clear()
    assert [await probes.speaks_messages("up", up) for _ in range(3)] == [True] * 3
    await settle()
    assert up.asked == 2
    up.open.set()
    await settle()
    assert await probes.speaks_messages("up", up) is False
    assert up.asked == 2


@pytest.mark.parametrize(("answer", "expected"), [(YES, True), (NO, False)])
async def test_an_upstream_that_is_away_has_not_changed(probes, clock, answer, expected):
    """The older verdict stays in force, and it is asked again soon."""
    up = Upstream(answer, NOTHING)
    await probes.speaks_messages("up", up)
    clock.now += TTL
    for asked in (2, 3):
        assert await probes.speaks_messages("up", up) is expected
        await settle()
        assert up.asked == asked
        clock.now += SOON - 0.1
        assert await probes.speaks_messages("up", up) is expected
        await settle()
        assert up.asked == asked
        clock.now += 0.1


async def test_an_upstream_that_was_away_at_first_is_known_once_it_answers(probes, clock):
    """Nobody waits then either."""
    up = Upstream(NOTHING, YES)
    assert await probes.speaks_messages("up", up) is None
    clock.now += SOON
    assert await probes.speaks_messages("up", up) is None
    await settle()
    assert await probes.speaks_messages("up", up) is True
    clock.now += TTL - 0.1
    assert await probes.speaks_messages("up", up) is True
    await settle()
    assert up.asked == 2


async def test_doubt_asks_again_with_the_next_request(probes, clock):
    """Without making it wait; of what is not known there is none."""
    up = Upstream(YES, NO)
    probes.doubt("up")
    await probes.speaks_messages("up", up)
    clock.now += SOON
    probes.doubt("up")
    assert await probes.speaks_messages("up", up) is True
    await settle()
    assert await probes.speaks_messages("up", up) is False
    assert up.asked == 2


async def test_doubt_does_not_ask_more_than_once_in_a_while(probes, clock):
    """A client that asks for unknown models all the time is no reason to probe all the time."""
    up = Upstream(YES)
    for _ in range(100):
        await probes.speaks_messages("up", up)
        await settle()
        probes.doubt("up")
        clock.now += 0.3
    assert up.asked == 3


async def test_upstreams_are_told_apart(probes, clock):
    """Each has its own verdict and its own probe."""
    ups = {"a": Upstream(YES), "b": Upstream(NO)}
    assert [await probes.speaks_messages(name, up) for name, up in ups.items()] == [True, False]
    probes.doubt("a")
    clock.now += SOON
    for name, up in ups.items():
        await probes.speaks_messages(name, up)
    await settle()
    assert [up.asked for up in ups.values()] == [2, 1]


async def test_a_probe_that_fails_in_an_unforeseen_way_is_tried_again(probes):
    """Who waited is told; the next one asks anew."""
    up = Upstream(ValueError("bug"), YES)
    with pytest.raises(ValueError, match="bug"):
        await probes.speaks_messages("up", up)
    assert await probes.speaks_messages("up", up) is True


async def test_closing_ends_the_probes_under_way(probes):
    """Nothing runs on."""
    up = Upstream(YES)
    up.open.clear()
    asking = asyncio.create_task(probes.speaks_messages("up", up))
    await settle()
    await probes.close()
    await settle()
    assert asking.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_another_loop_does_not_wait_for_the_probe_of_a_dead_one():
    """The platform runs more than one in its life; verdicts stay, tasks do not."""
    probes, up = Probes(TTL, Clock()), Upstream(YES)

    async def leave():
        up.open.clear()
        asking = asyncio.create_task(probes.speaks_messages("up", up))
        await settle()
        asking.cancel()

    async def ask():
        up.open = asyncio.Event()
        up.open.set()
        return await asyncio.wait_for(probes.speaks_messages("up", up), 5)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    abandoned = probes._running["up"]
    assert asyncio.run(ask()) is True
    assert up.asked == 2
    assert asyncio.run(ask()) is True
    assert up.asked == 2
    abandoned.cancel()
    loop.run_until_complete(asyncio.gather(abandoned, return_exceptions=True))
    loop.close()


def test_the_form_of_the_api_is_what_the_api_says():
    """As the error bodies of this server are."""
    assert verdict(401, json.dumps({"type": "error", "error": {}, "request_id": None}).encode()) is True
