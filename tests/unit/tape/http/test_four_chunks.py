"""The four-chunk experiment, which no recorder before this one passed.

A stream of four chunks: one event; half an event, ending inside a character; the other half; two events at once. A
stream that dies after its first chunk. A client that leaves after one. The upstream sends a chunk only when the client
has read the one before, so a recorder that holds chunks back, or reads the stream to its end first, never finishes.
"""

import re

import pytest

from messages_tape import Mode, TapeSelection, TapeServer, read_tape, serving, transports_for, use_tape
from support.scripted_upstream import EVENT, FOUR, GAP_SECONDS
from support.wire_client import CLIENTS, TIMEOUT_SECONDS, ignore

ROUTES = {"/four": None, "/dies": None, "/stays": 1}
"""Path -> after how many chunks the client leaves."""
CLOCK_SECONDS = 0.01
"""What two clocks may differ by."""
AN_HOUR = "3600.0"
"""Seconds between two recorded chunks that a test does not survive if they are waited for."""


def get_all(client, base, transport=None, upstream=None):
    """Return what a client sees of the three routes, by path; a live upstream hears of each chunk that was read."""
    on_chunk = (lambda url: upstream.was_read(url.removeprefix(base))) if upstream else ignore
    urls = {base + path: take for path, take in ROUTES.items()}
    found = client.get_all(urls, transport=transport, on_chunk=on_chunk)
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


def check_pace(seen):
    """Assert that no chunk came earlier than it was recorded."""
    for number, at in enumerate(seen["/four"].times):
        assert at > number * GAP_SECONDS - CLOCK_SECONDS


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
    assert all(chunk.seconds > GAP_SECONDS - CLOCK_SECONDS for chunk in chunks[1:])  # the head may have been read late
    text = (folder / "four.tape.yaml").read_text(encoding="utf-8")
    assert len(re.findall(r"    - \[\d+\.", text)) == 6
    assert text.count("base64") == 2  # the two halves of a character


def stretch(folder):
    """Write an hour between all chunks of the tape."""
    path = folder / "four.tape.yaml"
    text, count = re.subn(r"(?m)^(    - \[)\d+\.\d+", rf"\g<1>{AN_HOUR}", path.read_text(encoding="utf-8"))
    assert count == 6
    path.write_text(text, encoding="utf-8")


def test_the_experiment_itself(wire, client):
    """Each client sees the chunks and the ends without the harness."""
    check_bytes(get_all(client, wire.address, upstream=wire), client)


def test_through_the_transport(wire, client, tmp_path):
    """Recorded and played byte for byte and chunk for chunk; recording holds no chunk back, playing waits for none."""
    with use_tape(tmp_path, "four", Mode.REWRITE) as session:
        recorded = get_all(client, wire.address, wired(client, session), upstream=wire)
    check_bytes(recorded, client)
    check_tape(tmp_path)
    stretch(tmp_path)
    with use_tape(tmp_path, "four") as session:
        played = get_all(client, "http://nowhere.invalid", wired(client, session))
    check_bytes(played, client)


def test_through_the_server(wire, client, tmp_path):
    """The same for a program of which only the base URL can be set."""
    selection = TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.address)
    with serving(TapeServer(selection)) as url:
        selection.select("four")
        before = len(wire.requests)
        recorded = get_all(client, url, upstream=wire)
        (stayed,) = (one for one in wire.requests[before:] if one.path == "/stays")
        assert stayed.closed.wait(TIMEOUT_SECONDS), "the server lets the upstream go when its client leaves"
        assert selection.eject().failures == ()
    check_bytes(recorded, client)
    check_tape(tmp_path)
    stretch(tmp_path)
    selection = TapeSelection(tmp_path)
    with serving(TapeServer(selection)) as url:
        selection.select("four")
        played = get_all(client, url)
        assert selection.eject().failures == ()
    check_bytes(played, client)


@pytest.mark.parametrize("name", ["httpx-async", "httpx2-sync"])
def test_at_recorded_speed(wire, tmp_path, name):
    """On request a tape is played no faster than it was recorded, through either adapter."""
    client = CLIENTS[name]
    with use_tape(tmp_path, "four", Mode.REWRITE) as session:
        get_all(client, wire.address, wired(client, session), upstream=wire)
    with use_tape(tmp_path, "four") as session:
        played = get_all(client, wire.address, wired(client, session, pace=True))
    check_bytes(played, client)
    check_pace(played)
    selection = TapeSelection(tmp_path)
    with serving(TapeServer(selection, pace=True)) as url:
        selection.select("four")
        played = get_all(client, url)
    check_bytes(played, client)
    check_pace(played)
