"""What is kept from one request to the next."""

import asyncio
import gc
import weakref

import pytest

from llama_stack_provider_messages.upstream import state
from llama_stack_provider_messages.upstream.state import COOLDOWN_SECONDS, BoundedDict, Cooldown, PerLoop


@pytest.fixture(autouse=True)
def few_keys(monkeypatch):
    monkeypatch.setattr(state, "MAX_KEYS", 3)


def test_the_key_that_was_set_longest_ago_is_removed():
    """Setting a key again makes it the newest."""
    kept = BoundedDict()
    for key in "abcad":
        kept[key] = key
    assert list(kept) == ["c", "a", "d"]


def test_a_cooldown_ends():
    """After its time, which begins again with each failure."""
    now = [100.0]
    cooldown = Cooldown(lambda: now[0])
    assert not cooldown.active("a")
    cooldown.start("a")
    now[0] += COOLDOWN_SECONDS - 1
    assert (cooldown.active("a"), cooldown.active("b")) == (True, False)
    cooldown.start("a")
    now[0] += COOLDOWN_SECONDS - 1
    assert cooldown.active("a")
    now[0] += 1
    assert not cooldown.active("a")


def test_cooldowns_are_bounded():
    """The oldest is forgotten."""
    cooldown = Cooldown(lambda: 0.0)
    for key in "abcd":
        cooldown.start(key)
    assert [cooldown.active(key) for key in "abcd"] == [False, True, True, True]


def test_each_loop_has_its_own_value():
    """Made once; removing it leaves that of another loop."""
    kept = PerLoop()

    async def get():
        return kept.get(object), kept.get(object)

    async def pop():
        return kept.pop()

    loop = asyncio.new_event_loop()
    first, again = loop.run_until_complete(get())
    assert first is again
    assert asyncio.run(get())[0] is not first
    assert asyncio.run(pop()) is None
    assert loop.run_until_complete(pop()) is first
    assert loop.run_until_complete(pop()) is None
    loop.close()


def test_a_value_is_forgotten_with_its_loop():
    """The values of closed event loops do not accumulate."""
    kept = PerLoop()

    class Value:
        pass

    async def get():
        return weakref.ref(kept.get(Value))

    value = asyncio.run(get())
    gc.collect()
    assert value() is None
