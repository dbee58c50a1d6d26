"""Redirects: a client follows them to the tape as it followed them to the upstream, and a tape names no host."""

import httpx
import pytest

from messages_tape import (
    Mode,
    Rules,
    TapeSelection,
    TapeServer,
    open_tape,
    read_tape,
    save,
    serving,
    transports_for,
    use_tape,
)
from messages_tape.secrets.secret_values import SecretValues
from support.scripted_upstream import ScriptedUpstream, responds, streamed
from support.wire_client import CLIENTS

BODY = {"model": "m"}
HTTPX = CLIENTS["httpx-sync"]
ELSEWHERE = "https://elsewhere.invalid/v1/login?next=x"


@pytest.fixture
def moved(wire):
    """The upstream with a route that redirects; each test sets the location."""

    def to(location, base=""):
        headers = {"location": location}
        wire.scripts[f"{base}/v1/old"] = streamed(b"moved", status=307, headers=headers, chunked=False)
        wire.scripts[f"{base}/v1/new"] = responds(b'{"n": 1}')
        return wire

    return to


def follow(client, url, transport=None):
    return client.get(f"{url}/v1/old", transport=transport, method="POST", json=BODY, follow_redirects=True)


@pytest.mark.parametrize("location", ["{url}/v1/new?a=1", "/v1/new?a=1", "new?a=1"])
def test_a_client_with_a_transport_follows_a_redirect_to_the_tape(moved, client, tmp_path, location):
    """For any host."""
    wire = moved("")
    moved(location.format(url=wire.address))
    transport = transports_for(client.http)[not client.is_async]
    with use_tape(tmp_path, "t", Mode.ONCE) as session:
        live = follow(client, wire.address, transport(session))
    assert (live.status, live.pieces) == (200, [b'{"n": 1}'])
    path = tmp_path / "t.tape.yaml"
    assert "127.0.0.1" not in path.read_text()
    first, second = read_tape(path).exchanges
    assert first.response.headers["location"] == location.format(url="")
    assert (second.request.method, second.request.path, second.request.query) == ("POST", "/v1/new", "a=1")
    with use_tape(tmp_path, "t") as session:
        played = follow(client, "http://nowhere.invalid", transport(session))
    assert (played.status, played.pieces, played.error) == (200, [b'{"n": 1}'], None)


@pytest.mark.parametrize("base", ["", "/base"])
@pytest.mark.parametrize("location", ["{url}{base}/v1/new?a=1", "{base}/v1/new?a=1", "new?a=1"])
def test_a_client_of_the_server_follows_a_redirect_to_the_server(moved, tmp_path, location, base):
    """Also while recording: otherwise the next request would not be recorded."""
    wire = moved("", base)
    moved(location.format(url=wire.address, base=base), base)
    selection = TapeSelection(tmp_path, Mode.REWRITE, upstream=f"{wire.address}{base}")
    selection.select("t")
    with serving(TapeServer(selection)) as url:
        live = follow(HTTPX, url)
    assert (live.status, live.pieces) == (200, [b'{"n": 1}'])
    first, second = read_tape(tmp_path / "t.tape.yaml").exchanges
    assert first.response.headers["location"] == "/v1/new?a=1"
    assert (second.request.path, second.request.query) == ("/v1/new", "a=1")
    selection = TapeSelection(tmp_path)
    selection.select("t")
    with serving(TapeServer(selection)) as url:
        played = follow(HTTPX, url)
        assert selection.report().failures == ()
    assert (played.status, played.pieces) == (200, [b'{"n": 1}'])


@pytest.mark.parametrize("location", ["{https}/base/v1/new", "{url}/v1/other", "/base?x=1", "/based/v1/new"])
def test_a_redirect_outside_of_the_base_url_is_passed_through(moved, tmp_path, location):
    """Another scheme of the same host, or a path outside of the upstream's base path."""
    wire = moved("")
    https = wire.address.replace("http://", "https://")
    location = location.format(url=wire.address, https=https)
    wire.scripts["/base/v1/old"] = streamed(b"moved", status=307, headers={"location": location}, chunked=False)
    with serving(TapeServer(TapeSelection(tmp_path, Mode.LIVE, upstream=f"{wire.address}/base"))) as url:
        answer = httpx.post(f"{url}/v1/old", json=BODY, trust_env=False)
    assert answer.headers["location"] == (location if "//" in location else wire.address + location)


def test_a_redirect_to_another_host_is_passed_through_and_recorded_without_the_host(moved, tmp_path):
    """The server does not see the next request."""
    wire = moved(ELSEWHERE)
    selection = TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.address)
    selection.select("t")
    with serving(TapeServer(selection)) as url:
        answer = httpx.post(f"{url}/v1/old", json=BODY, trust_env=False)
    assert answer.headers["location"] == ELSEWHERE
    (one,) = read_tape(tmp_path / "t.tape.yaml").exchanges
    assert one.response.headers["location"] == "/v1/login?next=x"


def test_an_invalid_redirect_is_passed_through(moved, tmp_path):
    wire = moved("http://[::1/v1/new")
    app = TapeServer(TapeSelection(tmp_path, Mode.LIVE, upstream=wire.address))
    with serving(app) as url, httpx.HTTPTransport() as real:  # a client would say what is wrong with it
        answer = real.handle_request(httpx.Request("POST", f"{url}/v1/old", json=BODY))
        answer.read()
    assert (answer.status_code, answer.headers["location"]) == (307, "http://[::1/v1/new")


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("http://10.1.2.3:8000/v1/x", "/v1/x"),
        ("https://user:pass@inner.example/v1/x?a=1#top", "/v1/x?a=1"),
        ("//inner.example/v1/x", "/v1/x"),
        ("//inner.example//other.example/x", "/other.example/x"),
        ("http://inner.example", "/"),
        ("http://inner.example?a=1", "/?a=1"),
        ("/v1/x?api_key=abcd&a=1", "/v1/x?api_key=REDACTED&a=1"),
        ("/v1/x#access=planted0123456789", "/v1/x"),
        ("../x", "../x"),
        ("", ""),
        ("http://[inner.example/x", "/"),
    ],
)
def test_a_recorded_redirect_has_no_host_and_no_key(location, kept):
    assert Rules().response_headers_of([("Location", location)], SecretValues(), 1) == {"location": kept}


def test_a_key_in_a_redirect_is_not_written(tmp_path):
    """The key that the request sent, anywhere in the location."""
    key = "planted0123456789"
    with ScriptedUpstream() as upstream:
        headers = {"location": f"{upstream.address}/v1/{key}?again={key}"}
        upstream.scripts["/v1/old"] = streamed(b"moved", status=307, headers=headers)
        session = open_tape(tmp_path, "t", Mode.ONCE)
        transport = transports_for(httpx)[1](session)
        HTTPX.get(f"{upstream.address}/v1/old", transport=transport, headers={"authorization": f"Bearer {key}"})
    save(session, tmp_path)
    assert key not in (tmp_path / "t.tape.yaml").read_text()
