"""The cache of loaded media."""

from llama_stack_provider_messages.translated.media.cache import MediaCache, weight_of
from llama_stack_provider_messages.translation.messages_to_chat import Failed, LoadedFile, LoadedText

SMALL = LoadedText(("x" * 100,))


def test_a_stored_value_is_returned():
    cache = MediaCache(100_000)
    cache.put("a", SMALL)
    assert cache.get("a") is SMALL
    assert cache.get("b") is None


def test_the_least_recently_used_value_is_evicted():
    """Reading a value counts as use."""
    cache = MediaCache(4 * weight_of(SMALL))
    for key in "abcd":
        cache.put(key, SMALL)
    cache.get("a")
    cache.put("e", SMALL)
    assert [key for key in "abcde" if cache.get(key)] == ["a", "c", "d", "e"]


def test_a_value_above_a_quarter_of_the_capacity_is_not_stored():
    """It would evict all others."""
    cache = MediaCache(10_000)
    cache.put("a", LoadedFile("image/png", "x" * 5_000))
    assert cache.get("a") is None


def test_a_value_that_is_stored_again_counts_once():
    cache = MediaCache(4 * weight_of(SMALL))
    cache.put("a", SMALL)
    for _ in range(10):
        cache.put("b", Failed("x"))
    assert cache.get("a") is SMALL
    assert cache.get("b") == Failed("x")


def test_a_value_expires():
    """The content of a URL changes."""
    now = [0.0]
    cache = MediaCache(100_000, 300, lambda: now[0])
    cache.put("a", SMALL)
    now[0] = 300
    assert cache.get("a") is SMALL
    now[0] = 301
    assert cache.get("a") is None
    cache.put("a", SMALL)
    assert cache.get("a") is SMALL
