"""The four-chunk experiment, which no recorder before this one passed.

A stream of four chunks, 0.2 s apart: one event; half an event, ending inside a character; the other half; two events
at once. A stream that dies after its first chunk. A client that leaves after one.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from messages_tape import Mode, TapeSelection, TapeServer, read_tape, serving, transports_for, use_tape
from support.wire_client import CLIENTS
from support.wire_upstream import EVENT, FOUR, GAP, Script

ROUTES = {"/four": None, "/dies": None, "/stays": 1}
"""Path -> after how many chunks the client leaves."""
TOLERANCE = 0.5
"""Seconds that a busy machine may delay a chunk; a drained stream would delay the first by three gaps."""
AT_ONCE = 3 * GAP
FIRST_BYTE_SECONDS = 0.020
ROUNDS = 6


def get_all(client, base, transport=None):
    """Return what a client sees of the three routes, by path."""
    found = client.get_all({base + path: take for path, take in ROUTES.items()}, transport=transport)
    return {url.removeprefix(base): seen for url, seen in found.items()}


def wired(client, session, **options):
    """Return the transport for a client."""
    return transports_for(client.http)[not client.is_async](session, **options)


def check_bytes(seen, client):
    """Assert the chunks and the ends, exactly."""
    assert seen["/four"].pieces == [*FOUR]
    assert seen["/dies"].pieces == seen["/stays"].pieces == [EVENT]
    assert seen["/four"].error is seen["/stays"].error is None
    assert type(seen["/dies"].error) is client.http.RemoteProtocolError
    assert "peer closed connection" in str(seen["/dies"].error)
    assert {one.status for one in seen.values()} == {200}


def check_moments(seen):
    """Assert that each chunk came when the upstream sent it, and not when the stream was over."""
    for number, at in enumerate(seen["/four"].times, 1):
        assert number * GAP - 0.01 < at < number * GAP + TOLERANCE
    for path in ("/dies", "/stays"):
        assert GAP - 0.01 < seen[path].times[0] < GAP + TOLERANCE


def check_tape(folder):
    tape = read_tape(folder / "four.tape.yaml")
    by_path = {one.request.path: one for one in tape.exchanges}
    assert {path: one.end.how for path, one in by_path.items()} == {
        "/four": "complete",
        "/dies": "reset",
        "/stays": "client_closed",
    }
    assert by_path["/dies"].end.error == "RemoteProtocolError"
    chunks = by_path["/four"].response.chunks
    assert [chunk.data for chunk in chunks] == [*FOUR]
    assert sum(chunk.seconds for chunk in chunks) == pytest.approx(4 * GAP, abs=TOLERANCE)
    text = (folder / "four.tape.yaml").read_text(encoding="utf-8")
    assert text.count("    - [0.") == 6
    assert text.count("base64") == 2  # the two halves of a character


@pytest.fixture(scope="module")
def live(wire):
    """What each client sees with no harness."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(CLIENTS, pool.map(lambda one: get_all(one, wire.url), CLIENTS.values()), strict=True))


@pytest.mark.parametrize("name", CLIENTS)
def test_the_experiment_itself(live, name):
    check_bytes(live[name], CLIENTS[name])
    check_moments(live[name])


def test_through_the_transport(wire, client, tmp_path):
    """Recorded and played byte for byte and chunk for chunk; recording delays nothing."""
    with use_tape(tmp_path, "four", Mode.REWRITE) as session:
        recorded = get_all(client, wire.url, wired(client, session))
    check_bytes(recorded, client)
    check_moments(recorded)
    check_tape(tmp_path)
    with use_tape(tmp_path, "four") as session:
        played = get_all(client, "http://nowhere.invalid", wired(client, session))
    check_bytes(played, client)
    assert played["/four"].times[-1] < AT_ONCE


def test_through_the_server(wire, client, tmp_path):
    """The same in front of a program whose only seam is an address."""
    deck = TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.url)
    with serving(TapeServer(deck)) as url:
        deck.select("four")
        before = len(wire.heard)
        recorded = get_all(client, url)
        (stayed,) = (heard for heard in wire.heard[before:] if "/stays" in heard.line)
        assert stayed.left.wait(5), "the server lets the upstream go when its client leaves"
        assert deck.eject().failures == ()
    check_bytes(recorded, client)
    check_moments(recorded)
    check_tape(tmp_path)
    deck = TapeSelection(tmp_path)
    with serving(TapeServer(deck)) as url:
        deck.select("four")
        played = get_all(client, url)
        assert deck.eject().failures == ()
    check_bytes(played, client)
    assert played["/four"].times[-1] < AT_ONCE


@pytest.mark.parametrize("name", ["httpx-async", "httpx2-sync"])
def test_at_recorded_speed(wire, tmp_path, name):
    """On request a tape is played as fast as it was recorded, through either adapter."""
    client = CLIENTS[name]
    with use_tape(tmp_path, "four", Mode.REWRITE) as session:
        get_all(client, wire.url, wired(client, session))
    with use_tape(tmp_path, "four") as session:
        played = get_all(client, wire.url, wired(client, session, pace=True))
    check_bytes(played, client)
    check_moments(played)
    deck = TapeSelection(tmp_path)
    with serving(TapeServer(deck, pace=True)) as url:
        deck.select("four")
        played = get_all(client, url)
    check_bytes(played, client)
    check_moments(played)


def first_byte(client, url, transport=None):
    return client.get(url, transport=transport, take=1).times[0]


def test_the_first_byte_is_not_late(wire, client, tmp_path):
    """While recording it comes within 20 ms of the live one, through either adapter; the best of some rounds counts."""
    wire.scripts["/once"] = Script([EVENT], GAP)
    deck = TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.url)
    times = {"live": [], "transport": [], "server": []}
    with serving(TapeServer(deck)) as url:
        deck.select("server")
        for number in range(ROUNDS):
            times["live"].append(first_byte(client, f"{wire.url}/once"))
            with use_tape(tmp_path, f"transport{number}", Mode.REWRITE) as session:
                times["transport"].append(first_byte(client, f"{wire.url}/once", wired(client, session)))
            times["server"].append(first_byte(client, f"{url}/once"))
            best = {name: min(found) for name, found in times.items()}
            if max(best.values()) - best["live"] < FIRST_BYTE_SECONDS:
                return
    raise AssertionError(best)
