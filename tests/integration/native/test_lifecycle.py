"""Pings, disconnects, backpressure, and which lane a provider is on as time goes by."""

import asyncio
import json
import time

import psutil
import pytest

from support.native_upstream import ask, assert_same, error_body, message, post, spoken, talk, until
from support.scripted_upstream import Answer, silent, streamed, whole

pytestmark = pytest.mark.integration

HANG_SECONDS = 60
QUIET = 0.6
"""Seconds without a ping, at four ping intervals."""
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
FRAMES = spoken("m", "Hello", " there")
OK = whole(json.dumps(message("m")).encode())
MEGABYTE = 1024 * 1024


def renamed(raw: bytes, model: str, to: str = "up") -> bytes:
    """Return what a client sees of what the upstream sent."""
    return raw.replace(b'"model": "m"', b'"model": "%s/%s"' % (to.encode(), model.encode()))


async def test_pings_fill_a_pause_between_two_events(lively):
    """One per interval of silence; the answer goes on behind them, unchanged."""
    gate = lively.upstream.gate()

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(FRAMES[0] + FRAMES[1])
        await gate.wait()
        for part in FRAMES[2:]:
            await answer.chunk(part)
        await answer.end()

    async with lively.talk(script, "on", stream=True) as (one, exchange):
        await one.head()
        before = b"".join(await one.read_until(PING + PING))
        gate.open()
        after = (await one.rest()).body
    assert_same((before + after).replace(PING, b""), renamed(b"".join(FRAMES), exchange.json["model"], "on"))


HALVES = {
    "in_the_data": (FRAMES[2][:50], FRAMES[2][50:]),
    "in_the_name": (FRAMES[2][:9], FRAMES[2][9:]),
    "behind_the_name": (FRAMES[2][: FRAMES[2].index(b"\n") + 1], FRAMES[2][FRAMES[2].index(b"\n") + 1 :]),
    "before_the_empty_line": (FRAMES[2][:-1], b"\n"),
    "before_both_line_ends": (FRAMES[2][:-2], b"\n\n"),
    "crlf_before_the_empty_line": (FRAMES[2].replace(b"\n", b"\r\n")[:-2], b"\r\n"),
    "crlf_in_the_empty_line": (FRAMES[2].replace(b"\n", b"\r\n")[:-3], b"\n\r\n"),
    "in_a_comment": (b": bu", b"sy\n\n"),
}


@pytest.mark.parametrize("name", HALVES)
async def test_no_ping_stands_inside_of_an_event(lively, name):
    """However long an upstream waits between two halves; behind the second one they come again."""
    first, second = HALVES[name]
    halves, rest = lively.upstream.gate(), lively.upstream.gate()

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(FRAMES[0] + FRAMES[1] + first)
        await halves.wait()
        await answer.chunk(second)
        await rest.wait()
        await answer.chunk(b"".join(FRAMES[3:]))
        await answer.end()

    async with lively.talk(script, "on", stream=True) as (one, _exchange):
        await one.head()
        await one.read_until(first)
        assert await one.is_quiet(QUIET)
        halves.open()
        assert b"".join(await one.read_until(PING)) == second + PING
        rest.open()
        assert (await one.rest()).body.replace(PING, b"") == b"".join(FRAMES[3:])


@pytest.mark.parametrize("status", [200, 429])
async def test_nothing_is_said_before_the_upstream_has(lively, status):
    """A refusal keeps its status however long it takes; the 200 is the upstream's own."""
    gate = lively.upstream.gate()

    async def script(answer: Answer) -> None:
        await gate.wait()
        await (streamed(*FRAMES) if status == 200 else whole(error_body("rate_limit_error", "x"), 429))(answer)

    async with lively.talk(script, "on", stream=True) as (one, _exchange):
        assert await one.is_quiet(QUIET)
        gate.open()
        reply = await one.rest()
    assert reply.status == status
    assert PING not in reply.body


@pytest.mark.parametrize("status", [200, 429])
async def test_pings_come_before_the_upstream_has_answered_where_asked_for(lively, status):
    """Then a refusal is an event."""
    gate = lively.upstream.gate()

    async def script(answer: Answer) -> None:
        await gate.wait()
        await (streamed(*FRAMES) if status == 200 else whole(error_body("rate_limit_error", "x"), 429))(answer)

    async with lively.talk(script, "early", stream=True) as (one, exchange):
        assert await one.head() == 200
        assert one.headers["x-messages-lane"].startswith("native; reason=")
        await one.read_until(PING + PING)
        gate.open()
        body = (await one.rest()).body.replace(PING, b"")
    if status == 200:
        assert_same(body, renamed(b"".join(FRAMES), exchange.json["model"], "early"))
    else:
        assert body.startswith(b"event: error\ndata: ")
        assert json.loads(body.split(b"data: ")[1])["error"] == {"type": "rate_limit_error", "message": "x"}


async def test_an_early_status_is_the_upstreams_where_it_is_fast(lively):
    """Pings before the status cost nothing where there is no silence."""
    reply, _exchange = await lively.say(whole(error_body("rate_limit_error", "x"), 429), "early", stream=True)
    assert reply.status == 429


async def endless(answer: Answer) -> None:
    """Write as fast as the other side takes it."""
    await answer.head()
    await answer.chunk(FRAMES[0] + FRAMES[1])
    while True:
        await answer.chunk(FRAMES[2] * 200)


async def trickle(answer: Answer) -> None:
    await answer.head()
    for part in FRAMES[:3]:
        await answer.chunk(part)
    await silent(answer)


async def half(answer: Answer) -> None:
    await answer.head(200, "application/json")
    await answer.chunk(b'{"type":"message"')
    await silent(answer)


@pytest.mark.parametrize("script", [trickle, endless])
async def test_leaving_in_the_middle_closes_the_upstream(relay, script):
    """A silent one and one that never stops."""
    async with relay.talk(script, stream=True) as (one, exchange):
        await one.head()
        await one.read_until(FRAMES[2])
        one.leave()
        await until(exchange.closed.is_set, "the close of the upstream")


@pytest.mark.parametrize(("script", "stream"), [(silent, True), (silent, False), (half, False)])
async def test_leaving_before_the_reply_closes_the_upstream(relay, script, stream):
    """Before the status, and while a whole reply is being read."""
    async with relay.talk(script, stream=stream) as (one, exchange):
        one.leave()
        await until(exchange.closed.is_set, "the close of the upstream")


async def test_leaving_after_early_pings_closes_the_upstream(lively):
    """Also where the reply began before the upstream's."""
    async with lively.talk(silent, "early", stream=True) as (one, exchange):
        await one.head()
        await one.read_until(PING)
        one.leave()
        await until(exchange.closed.is_set, "the close of the upstream")


async def stalled(exchange) -> int:
    """Return how much the upstream could write, once it could write nothing more for a while."""
    sent, since = -1, time.monotonic()
    deadline = since + HANG_SECONDS
    while time.monotonic() - since < 0.5:
        assert time.monotonic() < deadline, f"still written after {exchange.sent} bytes"
        if exchange.sent != sent:
            sent, since = exchange.sent, time.monotonic()
        await asyncio.sleep(0.02)
    return sent


async def test_a_slow_client_slows_the_upstream_down(relay):
    """What nobody reads is not fetched: the server's memory stays flat, and leaving still closes the upstream."""
    server = psutil.Process(relay.process.pid)
    await post(relay.url, ask(f"up/{relay.upstream.play(streamed(*FRAMES))}", stream=True))
    before = server.memory_info().rss
    model = relay.upstream.play(endless)
    async with talk(relay.url, ask(f"up/{model}", stream=True), receive=2**16) as one:
        await one.head()
        (exchange,) = await relay.upstream.seen(model)
        sent = await stalled(exchange)
        grown = server.memory_info().rss - before
        print(f"stalled after {sent / MEGABYTE:.1f} MB; the server grew by {grown / MEGABYTE:.1f} MB")
        one.leave()
        await until(exchange.closed.is_set, "the close of the upstream")
    assert sent < 32 * MEGABYTE  # the buffers of two sockets of the kernel, most of it
    assert grown < 8 * MEGABYTE


async def test_a_slow_client_gets_everything_in_the_end(relay):
    """A pause of the reader loses and repeats nothing of thirty megabytes."""
    piece = b"".join(FRAMES[2].replace(b"Hello", b"%05d" % number) for number in range(1000))
    chunks = [FRAMES[0], FRAMES[1], *[piece] * 250, *FRAMES[-3:]]
    model = relay.upstream.play(streamed(*chunks))
    async with talk(relay.url, ask(f"up/{model}", stream=True), receive=2**16) as one:
        await one.head()
        (exchange,) = await relay.upstream.seen(model)
        await stalled(exchange)
        reply = await one.rest()
    assert reply.ended
    assert_same(reply.body, renamed(b"".join(chunks), model))


async def test_a_connection_the_upstream_has_closed_is_not_used(relay):
    """An idle connection that went away costs no request an error."""

    async def once(answer: Answer) -> None:
        await OK(answer)
        answer.drop()

    for _ in range(10):
        reply, exchange = await relay.say(once)
        assert reply.status == 200, reply.body
        await until(lambda number=exchange.connection: number not in relay.upstream.open, "the close")


async def test_a_cut_reply_does_not_spoil_the_next(relay):
    """A connection that a client left in the middle, or whose reply was no reply, is not used again."""
    for _ in range(3):
        async with relay.talk(trickle, stream=True) as (one, _exchange):
            await one.head()
            await one.read_until(FRAMES[2])
        reply, _exchange = await relay.say(OK)
        assert (reply.status, reply.json["content"][0]["text"]) == (200, "Hello")


def lane(reply) -> str:
    assert "; reason=" in reply.headers["x-messages-lane"]
    return reply.headers["x-messages-lane"].partition(";")[0]


def probes(relay, name: str) -> list:
    return [probe for probe in relay.upstream.probes if probe.target == f"/{name}/v1/messages"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p400", "native"),
        ("p401", "native"),
        ("p422", "native"),
        ("p404", "translated"),
        ("p405", "translated"),
        ("p501", "translated"),
        ("other", "translated"),
        ("on", "native"),
        ("off", "translated"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_lane_of_a_provider(lively, name, expected, stream):
    """What configuration says, else what a vLLM answers to an empty request; other types are translated unasked."""
    model = lively.upstream.play(streamed(*FRAMES) if stream else OK)
    reply = await post(lively.url, ask(f"{name}/{model}", stream))
    assert reply.status == 200, reply.body
    assert lane(reply) == expected
    assert len(lively.upstream.of(model)) == (expected == "native")
    assert bool(probes(lively, name)) == name.startswith("p")


async def test_the_probe_is_no_generation(lively):
    """It is an empty object with the provider's key, and what a client would need to be understood."""
    await post(lively.url, ask(f"p400/{lively.upstream.play(OK)}"))
    probe = probes(lively, "p400")[0]
    assert probe.body == b"{}"
    assert probe.headers["content-type"] == "application/json"
    assert probe.headers["authorization"] == "Bearer sk-upstream-secret-0123456789"


async def test_one_probe_serves_all_first_requests(relay):
    """Twenty at once wait for the same answer, and later ones find it."""
    gate = relay.upstream.probe_gates["first"] = relay.upstream.gate()
    model = relay.upstream.play(OK)
    asked = [asyncio.create_task(post(relay.url, ask(f"first/{model}"))) for _ in range(20)]
    await until(lambda: probes(relay, "first"), "the probe")
    assert not relay.upstream.of(model)
    gate.open()
    replies = await asyncio.gather(*asked)
    assert [(reply.status, lane(reply)) for reply in replies] == [(200, "native")] * 20
    assert (await post(relay.url, ask(f"first/{model}"))).status == 200
    assert len(probes(relay, "first")) == 1
    assert len(relay.upstream.of(model)) == 21


async def test_a_client_that_leaves_does_not_take_the_probe_along(lively):
    """Who asked first and left is not missed by those who wait for the same answer."""
    gate = lively.upstream.probe_gates["counted"] = lively.upstream.gate()
    model = lively.upstream.play(OK)
    async with talk(lively.url, ask(f"counted/{model}")) as first:
        await until(lambda: probes(lively, "counted"), "the probe")
        second = asyncio.create_task(post(lively.url, ask(f"counted/{model}")))
        first.leave()
    gate.open()
    assert ((await second).status, lane(await second)) == (200, "native")


async def test_an_upstream_is_probed_again_after_a_while(lively):
    """One that learns the Messages API, and one that forgets it, change the lane without a restart."""
    model = lively.upstream.play(OK)

    async def turns(status: int, expected: str) -> None:
        lively.upstream.probe_statuses["turning"] = status
        deadline = time.monotonic() + HANG_SECONDS
        while lane(reply := await post(lively.url, ask(f"turning/{model}"))) != expected:
            assert reply.status == 200, reply.body
            assert time.monotonic() < deadline, f"still not {expected}"
            await asyncio.sleep(0.05)

    await turns(404, "translated")
    await turns(400, "native")
    await turns(404, "translated")
    asked = len(probes(lively, "turning"))
    started = time.monotonic()
    for _ in range(20):
        await post(lively.url, ask(f"turning/{model}"))
    assert len(probes(lively, "turning")) - asked <= 1 + (time.monotonic() - started) / 0.5


@pytest.mark.parametrize(
    ("name", "header", "expected"),
    [
        ("header", "translated", "translated"),
        ("header", "native", "native"),
        ("off", "native", "native"),
        ("on", "translated", "translated"),
    ],
)
async def test_a_request_may_choose_the_lane_where_allowed(lively, name, header, expected):
    """Against probe and configuration; the reply says whose choice it was."""
    model = lively.upstream.play(OK)
    reply = await post(lively.url, ask(f"{name}/{model}"), [("x-messages-lane", header)])
    assert (reply.status, lane(reply)) == (200, expected)
    assert len(lively.upstream.of(model)) == (expected == "native")


async def test_a_lane_that_does_not_exist_is_refused(lively):
    """A wrong word is not taken for one of the right ones."""
    model = lively.upstream.play(OK)
    reply = await post(lively.url, ask(f"on/{model}"), [("x-messages-lane", "scenic")])
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert not lively.upstream.of(model)


@pytest.mark.parametrize("last", [b"", b": a comment\n\n"])
async def test_an_upstream_that_stays_open_behind_its_last_event_does_not_hold_the_client(relay, last):
    """The reply ends, and the connection is closed."""

    async def script(answer):
        await answer.head(200, "text/event-stream")
        for data in [*spoken(answer.exchange.json["model"], "Hi"), last]:
            if data:
                await answer.chunk(data)
        await asyncio.Event().wait()

    async with relay.talk(script, stream=True) as (one, exchange):
        reply = await one.rest()
        await until(exchange.closed.is_set, "the upstream to be closed")
    assert reply.ended
    assert b"message_stop" in reply.body
    assert reply.body.endswith(last)
    assert b"event: error" not in reply.body


async def test_an_upstream_without_a_counter_is_asked_for_counts_once_in_a_while(native, relay):
    """Claude Code counts two dozen at a time; what is not there is neither asked for nor probed again each time.

    What only the upstream understands is no reason to refuse a count.
    """
    odd = [{"role": "user", "content": [{"type": "hologram", "text": "four"}, {"type": "text", "text": "times " * 40}]}]
    before = len(native.others), len(native.probes)
    for _ in range(5):
        reply = await post(relay.url, ask("yes/uncounted", messages=odd), path="/v1/messages/count_tokens")
        assert (reply.status, reply.headers["x-messages-token-count"]) == (200, "estimate")
        assert 40 < reply.json["input_tokens"] < 100
    assert len(native.others) - before[0] == 1
    assert len(native.probes) == before[1]
