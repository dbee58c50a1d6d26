"""A new recording differs from the old one only where something is different."""

from messages_tape.core.settle import settled
from messages_tape.format.file import dump
from messages_tape.format.model import Chunk, End, Upstream
from support.tapes import exchange, response, tape


def timed(body, *chunks, after=0.0, end=0.0, status=200):
    answer = response(status=status).model_copy(
        update={"chunks": tuple(Chunk(*chunk) for chunk in chunks), "after": after}
    )
    return exchange(body, answer).model_copy(update={"end": End(how="complete", after=end)})


OLD = tape(timed(1, (0.1, b"a"), (0.2, b"b"), after=0.3, end=0.4), upstream=Upstream(model="m", date="2026-01-01"))
NOW = Upstream(model="m", date="2026-11-20")


def test_the_same_again_is_the_old_tape():
    """With its timings and its date: there is no diff to review."""
    new = tape(timed(1, (0.15, b"a"), (0.25, b"b"), after=0.35, end=0.45), upstream=NOW)
    assert settled(new, OLD) is OLD


def test_what_stayed_keeps_its_timing_and_what_changed_has_its_own():
    new = tape(timed(1, (0.15, b"a"), (0.25, b"c"), (0.35, b"d"), after=0.35, end=0.45), upstream=NOW)
    merged = settled(new, OLD)
    assert merged.exchanges[0].response.chunks == (Chunk(0.1, b"a"), Chunk(0.25, b"c"), Chunk(0.35, b"d"))
    assert merged.upstream.date == "2026-11-20"
    old, now = dump(OLD).splitlines(), dump(merged).splitlines()
    assert [line for line in now if line not in old] == [
        '  date: "2026-11-20"',
        "    - [0.25, c]".replace("c", '"c"'),
        '    - [0.35, "d"]',
    ]


def test_fewer_chunks_and_another_status():
    merged = settled(tape(timed(1, (0.15, b"a"), after=0.35, end=0.45, status=201), upstream=NOW), OLD)
    assert merged.exchanges[0] == timed(1, (0.1, b"a"), after=0.35, end=0.4, status=201)


def test_exchanges_are_paired_by_their_requests():
    new = tape(timed(2, (0.5, b"a")), timed(1, (0.15, b"a"), (0.25, b"b")), upstream=NOW)
    assert settled(new, OLD).exchanges == (
        timed(2, (0.5, b"a")),
        timed(1, (0.1, b"a"), (0.2, b"b"), after=0.3, end=0.4),
    )


def test_another_end_keeps_its_own():
    new = exchange(1, how="reset", error="ConnectError")
    assert settled(tape(new, upstream=NOW), OLD).exchanges == (new,)


def test_ambient_exchanges_settle_too():
    old = OLD.model_copy(update={"ambient": (timed(None, (0.1, b"x")),)})
    new = OLD.model_copy(update={"ambient": (timed(None, (0.9, b"x")),), "upstream": NOW})
    assert settled(new, old) is old
