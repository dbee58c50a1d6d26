"""Pings, disconnects, backpressure, and the lane of a provider over time."""

import asyncio
import json
import time

import psutil
import pytest

from support.native_upstream import (
    assert_same,
    error_body,
    message,
    open_request,
    post,
    request_body,
    text_frames,
    wait_until,
)
from support.scripted_upstream import HANG_SECONDS, UPSTREAM_KEY, Answer, responds, silent, streamed

from .conftest import PROBE_SECONDS

pytestmark = pytest.mark.integration

QUIET_SECONDS = 0.6
"""Four ping intervals."""
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
FRAMES = text_frames("m", "Hello", " there")
OK = responds(json.dumps(message("m")).encode())
MEGABYTE_BYTES = 1024 * 1024


def renamed(raw: bytes, model: str, to: str = "up") -> bytes:
    """Return the upstream's bytes with the client's model name."""
    return raw.replace(b'"model": "m"', b'"model": "%s/%s"' % (to.encode(), model.encode()))


async def test_pings_fill_a_pause_between_two_events(impatient):
    """One per interval of silence; the stream continues after them, unchanged."""
    gate = impatient.upstream.gate()

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(FRAMES[0] + FRAMES[1])
        await gate.wait()
        for part in FRAMES[2:]:
            await answer.chunk(part)
        await answer.end()

    async with impatient.open(script, "on", stream=True) as (client, exchange):
        await client.head()
        before = b"".join(await client.read_until(PING + PING))
        gate.open()
        after = (await client.rest()).body
    assert_same((before + after).replace(PING, b""), renamed(b"".join(FRAMES), exchange.json["model"], "on"))


SPLIT_EVENTS = {
    "in_the_data": (FRAMES[2][:50], FRAMES[2][50:]),
    "in_the_name": (FRAMES[2][:9], FRAMES[2][9:]),
    "after_the_name": (FRAMES[2][: FRAMES[2].index(b"\n") + 1], FRAMES[2][FRAMES[2].index(b"\n") + 1 :]),
    "before_the_empty_line": (FRAMES[2][:-1], b"\n"),
    "before_both_line_ends": (FRAMES[2][:-2], b"\n\n"),
    "crlf_before_the_empty_line": (FRAMES[2].replace(b"\n", b"\r\n")[:-2], b"\r\n"),
    "crlf_in_the_empty_line": (FRAMES[2].replace(b"\n", b"\r\n")[:-3], b"\n\r\n"),
    "in_a_comment": (b": bu", b"sy\n\n"),
}


@pytest.mark.parametrize("name", SPLIT_EVENTS)
async def test_no_ping_is_sent_inside_an_event(impatient, name):
    """However long the upstream pauses between two halves of an event; pings continue after the second half."""
    first, second = SPLIT_EVENTS[name]
    first_gate, second_gate = impatient.upstream.gate(), impatient.upstream.gate()

    async def script(answer: Answer) -> None:
        await answer.head()
        await answer.chunk(FRAMES[0] + FRAMES[1] + first)
        await first_gate.wait()
        await answer.chunk(second)
        await second_gate.wait()
        await answer.chunk(b"".join(FRAMES[3:]))
        await answer.end()

    async with impatient.open(script, "on", stream=True) as (client, _exchange):
        await client.head()
        await client.read_until(first)
        assert await client.is_quiet(QUIET_SECONDS)
        first_gate.open()
        assert b"".join(await client.read_until(PING)) == second + PING
        second_gate.open()
        assert (await client.rest()).body.replace(PING, b"") == b"".join(FRAMES[3:])


@pytest.mark.parametrize("status", [200, 429])
async def test_nothing_is_sent_before_the_status_of_the_upstream(impatient, status):
    """An error keeps its status, however long the upstream takes."""
    gate = impatient.upstream.gate()

    async def script(answer: Answer) -> None:
        await gate.wait()
        await (streamed(*FRAMES) if status == 200 else responds(error_body("rate_limit_error", "x"), 429))(answer)

    async with impatient.open(script, "on", stream=True) as (client, _exchange):
        assert await client.is_quiet(QUIET_SECONDS)
        gate.open()
        reply = await client.rest()
    assert reply.status == status
    assert PING not in reply.body


@pytest.mark.parametrize("status", [200, 429])
async def test_pings_are_sent_before_the_status_of_the_upstream_if_configured(impatient, status):
    """An error of the upstream is then an error event."""
    gate = impatient.upstream.gate()

    async def script(answer: Answer) -> None:
        await gate.wait()
        await (streamed(*FRAMES) if status == 200 else responds(error_body("rate_limit_error", "x"), 429))(answer)

    async with impatient.open(script, "early", stream=True) as (client, exchange):
        assert await client.head() == 200
        assert client.headers["x-messages-lane"].startswith("native; reason=")
        await client.read_until(PING + PING)
        gate.open()
        body = (await client.rest()).body.replace(PING, b"")
    if status == 200:
        assert_same(body, renamed(b"".join(FRAMES), exchange.json["model"], "early"))
    else:
        assert body.startswith(b"event: error\ndata: ")
        assert json.loads(body.split(b"data: ")[1])["error"] == {"type": "rate_limit_error", "message": "x"}


async def test_the_status_of_a_fast_upstream_is_kept_with_early_pings(impatient):
    """Without silence no ping is sent, and the status is the upstream's own."""
    reply, _exchange = await impatient.send(responds(error_body("rate_limit_error", "x"), 429), "early", stream=True)
    assert reply.status == 429


async def endless(answer: Answer) -> None:
    """Write as fast as the client reads."""
    await answer.head()
    await answer.chunk(FRAMES[0] + FRAMES[1])
    while True:
        await answer.chunk(FRAMES[2] * 200)


async def three_events_then_silent(answer: Answer) -> None:
    await answer.head()
    for part in FRAMES[:3]:
        await answer.chunk(part)
    await silent(answer)


async def half_a_message_then_silent(answer: Answer) -> None:
    await answer.head(200, "application/json")
    await answer.chunk(b'{"type":"message"')
    await silent(answer)


@pytest.mark.parametrize("script", [three_events_then_silent, endless])
async def test_a_disconnect_in_the_middle_closes_the_upstream(relay, script):
    """Both a silent upstream and one that never stops."""
    async with relay.open(script, stream=True) as (client, exchange):
        await client.head()
        await client.read_until(FRAMES[2])
        client.disconnect()
        await wait_until(exchange.closed.is_set, "the close of the upstream")


@pytest.mark.parametrize(("script", "stream"), [(silent, True), (silent, False), (half_a_message_then_silent, False)])
async def test_a_disconnect_before_the_response_closes_the_upstream(relay, script, stream):
    """Before the status, and while the upstream's message is being read."""
    async with relay.open(script, stream=stream) as (client, exchange):
        client.disconnect()
        await wait_until(exchange.closed.is_set, "the close of the upstream")


async def test_a_disconnect_after_early_pings_closes_the_upstream(impatient):
    """The response has begun before that of the upstream."""
    async with impatient.open(silent, "early", stream=True) as (client, exchange):
        await client.head()
        await client.read_until(PING)
        client.disconnect()
        await wait_until(exchange.closed.is_set, "the close of the upstream")


async def bytes_until_stall(exchange) -> int:
    """Wait until the upstream has not been able to write for half a second; return the number of bytes written."""
    sent, since = -1, time.monotonic()
    deadline = since + HANG_SECONDS
    while time.monotonic() - since < 0.5:
        assert time.monotonic() < deadline, f"still written after {exchange.sent} bytes"
        if exchange.sent != sent:
            sent, since = exchange.sent, time.monotonic()
        await asyncio.sleep(0.02)
    return sent


async def test_a_slow_client_slows_the_upstream_down(relay):
    """The server reads from the upstream only as fast as the client does; a disconnect still closes the upstream."""
    server = psutil.Process(relay.process.pid)
    await post(relay.url, request_body(f"up/{relay.upstream.play(streamed(*FRAMES))}", stream=True))
    before = server.memory_info().rss
    model = relay.upstream.play(endless)
    async with open_request(relay.url, request_body(f"up/{model}", stream=True), receive=2**16) as client:
        await client.head()
        (exchange,) = await relay.upstream.seen(model)
        sent = await bytes_until_stall(exchange)
        grown = server.memory_info().rss - before
        print(f"stalled after {sent / MEGABYTE_BYTES:.1f} MB; the server grew by {grown / MEGABYTE_BYTES:.1f} MB")
        client.disconnect()
        await wait_until(exchange.closed.is_set, "the close of the upstream")
    assert sent < 32 * MEGABYTE_BYTES  # mostly the kernel's buffers of two sockets
    assert grown < 8 * MEGABYTE_BYTES


async def test_a_slow_client_gets_the_complete_stream(relay):
    """After a pause of the client, thirty megabytes arrive complete and once."""
    piece = b"".join(FRAMES[2].replace(b"Hello", b"%05d" % number) for number in range(1000))
    chunks = [FRAMES[0], FRAMES[1], *[piece] * 250, *FRAMES[-3:]]
    model = relay.upstream.play(streamed(*chunks))
    async with open_request(relay.url, request_body(f"up/{model}", stream=True), receive=2**16) as client:
        await client.head()
        (exchange,) = await relay.upstream.seen(model)
        await bytes_until_stall(exchange)
        reply = await client.rest()
    assert reply.ended
    assert_same(reply.body, renamed(b"".join(chunks), model))


async def test_a_connection_that_the_upstream_has_closed_is_not_reused(relay):
    """A closed idle connection does not fail the next request."""

    async def respond_and_close(answer: Answer) -> None:
        await OK(answer)
        answer.drop()

    for _ in range(10):
        reply, exchange = await relay.send(respond_and_close)
        assert reply.status == 200, reply.body
        await wait_until(lambda number=exchange.connection: number not in relay.upstream.open, "the close")


async def test_a_disconnect_does_not_affect_the_next_request(relay):
    """The upstream connection of a truncated response is not reused."""
    for _ in range(3):
        async with relay.open(three_events_then_silent, stream=True) as (client, _exchange):
            await client.head()
            await client.read_until(FRAMES[2])
        reply, _exchange = await relay.send(OK)
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
async def test_the_lane_of_a_provider(impatient, name, expected, stream):
    """It is configured, or found by a probe of a vLLM; other provider types are translated without a probe."""
    model = impatient.upstream.play(streamed(*FRAMES) if stream else OK)
    reply = await post(impatient.url, request_body(f"{name}/{model}", stream))
    assert reply.status == 200, reply.body
    assert lane(reply) == expected
    assert len(impatient.upstream.of(model)) == (expected == "native")
    assert bool(probes(impatient, name)) == name.startswith("p")


async def test_the_probe_generates_nothing(impatient):
    """It is an empty object with the provider's key and a content type."""
    await post(impatient.url, request_body(f"p400/{impatient.upstream.play(OK)}"))
    probe = probes(impatient, "p400")[0]
    assert probe.body == b"{}"
    assert probe.headers["content-type"] == "application/json"
    assert probe.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


async def test_concurrent_first_requests_share_one_probe(relay):
    """Twenty requests wait for its result, and later ones use it."""
    gate = relay.upstream.probe_gates["first"] = relay.upstream.gate()
    model = relay.upstream.play(OK)
    tasks = [asyncio.create_task(post(relay.url, request_body(f"first/{model}"))) for _ in range(20)]
    await wait_until(lambda: probes(relay, "first"), "the probe")
    assert not relay.upstream.of(model)
    gate.open()
    replies = await asyncio.gather(*tasks)
    assert [(reply.status, lane(reply)) for reply in replies] == [(200, "native")] * 20
    assert (await post(relay.url, request_body(f"first/{model}"))).status == 200
    assert len(probes(relay, "first")) == 1
    assert len(relay.upstream.of(model)) == 21


async def test_a_disconnect_does_not_cancel_the_probe(impatient):
    """Other requests may wait for its result."""
    gate = impatient.upstream.probe_gates["counted"] = impatient.upstream.gate()
    model = impatient.upstream.play(OK)
    async with open_request(impatient.url, request_body(f"counted/{model}")) as first:
        await wait_until(lambda: probes(impatient, "counted"), "the probe")
        second = asyncio.create_task(post(impatient.url, request_body(f"counted/{model}")))
        first.disconnect()
    gate.open()
    assert ((await second).status, lane(await second)) == (200, "native")


async def test_an_upstream_is_probed_again_when_the_result_expires(impatient):
    """If an upstream gains or loses the Messages API, its lane changes without a restart."""
    model = impatient.upstream.play(OK)

    async def lane_becomes(status: int, expected: str) -> None:
        impatient.upstream.probe_statuses["turning"] = status
        deadline = time.monotonic() + HANG_SECONDS
        while lane(reply := await post(impatient.url, request_body(f"turning/{model}"))) != expected:
            assert reply.status == 200, reply.body
            assert time.monotonic() < deadline, f"still not {expected}"
            await asyncio.sleep(0.05)

    await lane_becomes(404, "translated")
    await lane_becomes(400, "native")
    await lane_becomes(404, "translated")
    probes_before = len(probes(impatient, "turning"))
    start = time.monotonic()
    for _ in range(20):
        await post(impatient.url, request_body(f"turning/{model}"))
    assert len(probes(impatient, "turning")) - probes_before <= 1 + (time.monotonic() - start) / PROBE_SECONDS


@pytest.mark.parametrize(
    ("name", "header", "expected"),
    [
        ("header", "translated", "translated"),
        ("header", "native", "native"),
        ("off", "native", "native"),
        ("on", "translated", "translated"),
    ],
)
async def test_a_request_may_choose_the_lane_if_allowed(impatient, name, header, expected):
    """The header has precedence over probe and configuration."""
    model = impatient.upstream.play(OK)
    reply = await post(impatient.url, request_body(f"{name}/{model}"), [("x-messages-lane", header)])
    assert (reply.status, lane(reply)) == (200, expected)
    assert len(impatient.upstream.of(model)) == (expected == "native")


async def test_an_unknown_lane_is_rejected(impatient):
    """No request is sent to the upstream."""
    model = impatient.upstream.play(OK)
    reply = await post(impatient.url, request_body(f"on/{model}"), [("x-messages-lane", "scenic")])
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert not impatient.upstream.of(model)


@pytest.mark.parametrize("last", [b"", b": a comment\n\n"])
async def test_an_upstream_that_keeps_its_connection_open_does_not_delay_the_end(relay, last):
    """After the last event the response ends, and the upstream's connection is closed."""

    async def script(answer):
        await answer.head(200, "text/event-stream")
        for data in [*text_frames(answer.exchange.json["model"], "Hi"), last]:
            if data:
                await answer.chunk(data)
        await asyncio.Event().wait()

    async with relay.open(script, stream=True) as (client, exchange):
        reply = await client.rest()
        await wait_until(exchange.closed.is_set, "the close of the upstream")
    assert reply.ended
    assert b"message_stop" in reply.body
    assert reply.body.endswith(last)
    assert b"event: error" not in reply.body


async def test_an_upstream_without_token_counting_is_asked_once(native, relay):
    """Claude Code sends two dozen count requests at once; the missing route is not requested for each of them.

    A content block that only the upstream knows does not fail the count.
    """
    odd = [{"role": "user", "content": [{"type": "hologram", "text": "four"}, {"type": "text", "text": "times " * 40}]}]
    before = len(native.others), len(native.probes)
    for _ in range(5):
        reply = await post(relay.url, request_body("yes/uncounted", messages=odd), path="/v1/messages/count_tokens")
        assert (reply.status, reply.headers["x-messages-token-count"]) == (200, "estimate")
        assert 40 < reply.json["input_tokens"] < 100
    assert len(native.others) - before[0] == 1
    assert len(native.probes) == before[1]
