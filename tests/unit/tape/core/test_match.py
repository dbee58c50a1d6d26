"""Which exchange matches a request; and a new recording differs from the old one only where something changed."""

import pytest

from messages_tape.core.match import Playlist, keep_old_timings, key
from messages_tape.format.file import dump
from messages_tape.format.model import Body, Chunk, End, Ignore, Upstream
from support.tapes import exchange, request, response, tape

NOTHING = Ignore()
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8}


@pytest.mark.parametrize(
    "same",
    [
        request({"max_tokens": 8, "messages": [{"content": "hi", "role": "user"}], "model": "m"}),
        request({**BODY, "max_tokens": 8.0}),
        request(BODY, accept="x"),
    ],
)
def test_key_order_number_format_and_headers_do_not_matter(same):
    assert key(same, NOTHING) == key(request(BODY), NOTHING)


@pytest.mark.parametrize(
    "other",
    [
        request(BODY, path="/v1/other"),
        request(BODY, method="PUT"),
        request(BODY, query="beta=true"),
        request({**BODY, "max_tokens": 9}),
        request({**BODY, "max_tokens": "8"}),
        request({**BODY, "max_tokens": True}),
        request({**BODY, "extra": None}),
        request({**BODY, "messages": BODY["messages"] * 2}),
        request(),
        request(Body("text", "{}")),
        request(Body("base64", b"\xff")),
    ],
)
def test_method_path_query_and_each_value_of_the_body_matter(other):
    assert key(other, NOTHING) != key(request(BODY), NOTHING)


def test_true_is_not_one():
    """In Python they are equal; in JSON they are not."""
    assert key(request({"a": True}), NOTHING) != key(request({"a": 1}), NOTHING)
    assert key(request({"a": False}), NOTHING) != key(request({"a": 0.0}), NOTHING)


def test_texts_and_bytes_are_compared_exactly():
    assert key(request(Body("text", "a")), NOTHING) != key(request(Body("text", "b")), NOTHING)
    assert key(request(Body("base64", b"\xff")), NOTHING) != key(request(Body("base64", b"\xfe")), NOTHING)


def test_the_order_of_query_parameters_does_not_matter():
    assert key(request(query="b=2&a=1&a="), NOTHING) == key(request(query="a=1&a=&b=2"), NOTHING)
    assert key(request(query="a=1"), NOTHING) != key(request(query="a=2"), NOTHING)


@pytest.mark.parametrize(
    ("ignore", "query"), [(Ignore(query=("b",)), "a=1&b=7"), (Ignore(query=("*",)), "x=1"), (Ignore(query=("*",)), "")]
)
def test_ignored_parameters_do_not_matter(ignore, query):
    assert key(request(query=query), ignore) == key(request(query="a=1" if "*" not in ignore.query else "z"), ignore)


@pytest.mark.parametrize(
    "path", ["metadata", "metadata.user_id", "messages.0.content.0.id", "messages.*.content.*.id", "*.user_id"]
)
def test_ignored_paths_do_not_matter(path):
    """A ``*`` matches any key or position."""

    def body(id_, user):
        return request({"messages": [{"content": [{"id": id_, "text": "hi"}]}], "metadata": {"user_id": user}})

    one, other = (body("a", "x"), body("a", "y")) if "m" in path.split(".")[-1] or "user" in path else (
        body("a", "x"), body("b", "x"),
    )  # fmt: skip
    assert key(one, Ignore(body=(path,))) == key(other, Ignore(body=(path,)))
    assert key(one, NOTHING) != key(other, NOTHING)


def test_other_paths_still_matter():
    ignore = Ignore(body=("messages.*.id",))
    assert key(request({"messages": [{"id": 1, "a": 1}]}), ignore) != key(
        request({"messages": [{"id": 1, "a": 2}]}), ignore
    )


def test_equal_requests_are_played_in_recorded_order():
    """The same request may have two responses; other requests may come in between or before."""
    playlist = Playlist([exchange({"a": 1}), exchange({"a": 2}), exchange({"a": 1})], NOTHING)
    assert playlist.take(request({"a": 2})) == 1
    assert playlist.take(request({"a": 1})) == 0
    assert playlist.unplayed == [2]
    assert playlist.take(request({"a": 1})) == 2
    assert playlist.take(request({"a": 1})) is None
    assert playlist.take(request({"a": 3})) is None
    assert playlist.unplayed == []


def timed(body, *chunks, after=0.0, end=0.0, status=200):
    answer = response(status=status).model_copy(
        update={"chunks": tuple(Chunk(*chunk) for chunk in chunks), "after": after}
    )
    return exchange(body, answer).model_copy(update={"end": End(how="complete", after=end)})


OLD = tape(timed(1, (0.1, b"a"), (0.2, b"b"), after=0.3, end=0.4), upstream=Upstream(model="m", date="2026-01-01"))
NOW = Upstream(model="m", date="2026-11-20")


def test_an_unchanged_recording_is_the_old_tape():
    """With its timings and its date: there is nothing to review."""
    new = tape(timed(1, (0.15, b"a"), (0.25, b"b"), after=0.35, end=0.45), upstream=NOW)
    assert keep_old_timings(new, OLD) is OLD


def test_unchanged_chunks_keep_their_timings():
    new = tape(timed(1, (0.15, b"a"), (0.25, b"c"), (0.35, b"d"), after=0.35, end=0.45), upstream=NOW)
    merged = keep_old_timings(new, OLD)
    assert merged.exchanges[0].response.chunks == (Chunk(0.1, b"a"), Chunk(0.25, b"c"), Chunk(0.35, b"d"))
    assert merged.upstream.date == "2026-11-20"
    old, now = dump(OLD).splitlines(), dump(merged).splitlines()
    assert [line for line in now if line not in old] == [
        '  date: "2026-11-20"',
        "    - [0.25, c]".replace("c", '"c"'),
        '    - [0.35, "d"]',
    ]


def test_fewer_chunks_and_another_status():
    merged = keep_old_timings(tape(timed(1, (0.15, b"a"), after=0.35, end=0.45, status=201), upstream=NOW), OLD)
    assert merged.exchanges[0] == timed(1, (0.1, b"a"), after=0.35, end=0.4, status=201)


def test_exchanges_are_paired_by_their_requests():
    new = tape(timed(2, (0.5, b"a")), timed(1, (0.15, b"a"), (0.25, b"b")), upstream=NOW)
    assert keep_old_timings(new, OLD).exchanges == (
        timed(2, (0.5, b"a")),
        timed(1, (0.1, b"a"), (0.2, b"b"), after=0.3, end=0.4),
    )


def test_a_changed_end_has_its_new_timing():
    new = exchange(1, how="reset", error="ConnectError")
    assert keep_old_timings(tape(new, upstream=NOW), OLD).exchanges == (new,)


def test_ambient_exchanges_keep_their_timings():
    old = OLD.model_copy(update={"ambient": (timed(None, (0.1, b"x")),)})
    new = OLD.model_copy(update={"ambient": (timed(None, (0.9, b"x")),), "upstream": NOW})
    assert keep_old_timings(new, old) is old
