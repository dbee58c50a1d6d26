"""The tape server, for programs in other processes."""

import asyncio
import json
import logging
import socket
import time

import anthropic
import httpx
import openai
import pytest

from messages_tape import CONTROL_PATH, Mode, TapeSelection, TapeServer, TapeUsageError, dump, read_tape, serving
from support.scripted_upstream import responds, streamed
from support.tapes import JSON, exchange, reply, response, tape
from support.wire_client import CLIENTS

HTTPX = CLIENTS["httpx-sync"]


def put(folder, *exchanges, name="hello", **fields):
    (folder / f"{name}.tape.yaml").write_text(dump(tape(*exchanges, **fields)), encoding="utf-8")


@pytest.fixture
def playing(tmp_path):
    """A server that plays; the tape has one exchange."""
    put(tmp_path, exchange({"a": 1}, reply("hi")))
    with serving(TapeServer(TapeSelection(tmp_path))) as url, httpx.Client(base_url=url) as http:
        yield http


@pytest.fixture
def recording(wire, tmp_path):
    """A server that records, and a client of it."""
    server = TapeServer(TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.address))
    server.selection.select("new")
    with serving(server) as url, httpx.Client(base_url=url) as http:
        http.selection = server.selection
        yield http


def control(http, method, body=None, **params):
    answer = http.request(method, CONTROL_PATH, json=body, params=params)
    return answer.status_code, answer.json()


def test_a_tape_is_selected_played_and_ejected_over_http(playing):
    """As a test in another process does."""
    status, report = control(playing, "PUT", {"name": "hello"})
    assert (status, report["tape"], report["action"], len(report["unplayed"])) == (200, "hello", "replay", 1)
    assert playing.post("/v1/messages", json={"a": 1}).json() == "hi"
    status, report = control(playing, "GET")
    assert (status, report["failures"]) == (200, [])
    status, report = control(playing, "DELETE")
    assert (status, report["tape"], report["failures"]) == (200, "hello", [])
    assert control(playing, "DELETE") == (404, {"error": "no tape is selected"})


def test_an_unplayed_exchange_is_a_failure_in_the_report(playing):
    control(playing, "PUT", {"name": "hello", "mode": "none"})
    assert control(playing, "DELETE")[1]["failures"] == ["exchange 1 (POST /v1/messages) was not played"]


def test_an_unexpected_request_gets_409_and_is_a_failure_in_the_report(playing):
    """Also if the stack swallowed the response."""
    control(playing, "PUT", {"name": "hello"})
    answer = playing.post("/v1/messages", json={"a": 2})
    assert answer.status_code == 409
    assert "a: recorded 1, now 2" in answer.json()["error"]["message"]
    assert control(playing, "DELETE")[1]["unexpected"] == [answer.json()["error"]["message"]]


def test_sdks_show_the_diff_and_do_not_retry(playing):
    control(playing, "PUT", {"name": "hello"})
    url, messages = str(playing.base_url), [{"role": "user", "content": "hi"}]
    with (
        pytest.raises(openai.ConflictError, match="is not on tape"),
        openai.OpenAI(api_key="k", base_url=url) as client,
    ):
        client.chat.completions.create(model="m", messages=messages)
    with (
        pytest.raises(anthropic.ConflictError, match="is not on tape"),
        anthropic.Anthropic(api_key="k", base_url=url) as client,
    ):
        client.messages.create(model="m", max_tokens=1, messages=messages)
    unexpected = control(playing, "DELETE")[1]["unexpected"]
    assert len(unexpected) == 2
    assert not any("times)" in text for text in unexpected)


@pytest.mark.parametrize(
    ("method", "body", "status", "complaint"),
    [
        ("PUT", {"name": "gone"}, 404, 'there is no tape "gone"'),
        ("PUT", {"name": "../x"}, 409, "is not a valid tape name"),
        ("PUT", {"name": "hello", "mode": "rewrite"}, 409, "needs the address of an upstream"),
        ("PUT", {"name": "hello", "mode": "often"}, 400, "the modes are none, once, rewrite, verify, live"),
        ("PUT", {"tape": "hello"}, 400, "send {"),
        ("PUT", ["hello"], 400, "send {"),
        ("PUT", None, 400, "send {"),
        ("POST", {"name": "hello"}, 405, "supports GET, PUT and DELETE"),
    ],
)
def test_invalid_control_requests(playing, method, body, status, complaint):
    found, answer = control(playing, method, body)
    assert (found, complaint in answer["error"]) == (status, True)
    assert control(playing, "GET")[1]["tape"] == "(none selected)"


def test_a_second_tape_cannot_be_selected(playing):
    control(playing, "PUT", {"name": "hello"})
    assert control(playing, "PUT", {"name": "hello"})[0] == 409


def test_a_stack_can_start_with_no_tape_and_no_upstream(playing):
    """It lists models and checks the health of the upstream; these calls are on no tape."""
    assert playing.get("/v1/models").raise_for_status().json() == {"object": "list", "data": []}
    assert playing.get("/health").json() == {"status": "ok"}
    control(playing, "PUT", {"name": "hello"})
    playing.post("/v1/messages", json={"a": 1})
    assert control(playing, "DELETE")[1]["failures"] == []


def test_the_upstream_gets_the_request_as_it_was_sent(wire, recording):
    """Path, query, headers and body, except hop-by-hop headers."""
    wire.scripts["/v1/a%2Fb"] = responds(b"{}")
    headers = {
        "x-api-key": "abcdefgh1",
        "X-Mine": "1",
        "connection": "keep-alive, x-hop",
        "x-hop": "1",
        "te": "trailers",
    }
    recording.post("/v1/a%2Fb?x=%20y&z", content=b'{ "a":  1}', headers=headers)
    heard = wire.requests[-1]
    assert (heard.method, heard.target) == ("POST", "/v1/a%2Fb?x=%20y&z")
    assert heard.body == b'{ "a":  1}'
    assert heard.headers["host"] == wire.address.removeprefix("http://")
    assert heard.headers["x-api-key"] == "abcdefgh1"
    assert heard.headers["x-mine"] == "1"
    assert heard.headers["accept-encoding"] == "identity"
    assert not heard.headers.keys() & {"x-hop", "te", "connection"}


def test_the_client_gets_the_response_as_it_was_sent(wire, recording):
    """All headers while recording; a content-length if the upstream sent one, otherwise chunked."""
    answers = {"/length": streamed(b"{}", headers={**JSON, "X-Odd": "1", "keep-alive": "x"}, chunked=False, status=418)}
    wire.scripts |= {**answers, "/chunks": responds(b"{}")}
    answer = recording.get("/length")
    assert answer.status_code == 418
    assert dict(answer.headers) == {**JSON, "x-odd": "1", "content-length": "2"}
    assert recording.get("/chunks").headers["transfer-encoding"] == "chunked"


def test_the_address_of_the_upstream_may_have_a_path(wire, tmp_path):
    """The tape has the path that the client sent."""
    wire.scripts["/openai/v1/x"] = responds(b"{}")
    server = TapeServer(TapeSelection(tmp_path, Mode.REWRITE, upstream=f"{wire.address}/openai/"))
    server.selection.select("new")
    with serving(server) as url:
        assert httpx.get(f"{url}/v1/x").json() == {}
    assert server.selection.close() == ()
    assert read_tape(tmp_path / "new.tape.yaml").exchanges[0].request.path == "/v1/x"


def test_ambient_calls_are_recorded_apart_and_played_without_the_upstream(wire, tmp_path):
    """The start of a stack, then a scenario."""
    wire.scripts |= {
        "/v1/models": responds(b'{"data": ["real"]}'),
        "/v1/x": responds(b"{}"),
    }

    def scenario(url):
        assert httpx.get(f"{url}/v1/models").json() == {"data": ["real"]}
        assert httpx.put(f"{url}{CONTROL_PATH}", json={"name": "new"}).status_code == 200
        assert httpx.get(f"{url}/v1/x").json() == {}
        return httpx.delete(f"{url}{CONTROL_PATH}").json()["failures"]

    with serving(TapeServer(TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.address))) as url:
        assert scenario(url) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ambient.tape.yaml", "new.tape.yaml"]
    with serving(TapeServer(TapeSelection(tmp_path))) as url:
        assert scenario(url) == []


def test_live_relays_compressed_responses_unchanged(wire, tmp_path):
    wire.scripts["/zip"] = streamed(b"not really gzip", headers={"content-encoding": "gzip"})
    with serving(TapeServer(TapeSelection(tmp_path, Mode.LIVE, upstream=wire.address))) as url:
        seen = HTTPX.get(f"{url}/zip", headers={"accept-encoding": "gzip"})
    assert seen.pieces == [b"not really gzip"]
    assert wire.requests[-1].headers["accept-encoding"] == "gzip"
    assert [*tmp_path.iterdir()] == []


def test_verify_sends_to_the_upstream_and_plays_the_tape(wire, tmp_path):
    put(tmp_path, exchange({"a": 1}, reply({"n": 1})))
    wire.scripts["/v1/messages"] = responds(b'{"n": "one"}')
    with serving(TapeServer(TapeSelection(tmp_path, Mode.VERIFY, upstream=wire.address))) as url:
        httpx.put(f"{url}{CONTROL_PATH}", json={"name": "hello"})
        assert httpx.post(f"{url}/v1/messages", json={"a": 1}).json() == {"n": 1}
        report = httpx.delete(f"{url}{CONTROL_PATH}").json()
    assert report["differences"] == ["exchange 1 (POST /v1/messages): n: number on the tape, text live"]
    assert report["failures"] == []


@pytest.mark.parametrize("error", ["ConnectError", "RemoteProtocolError", "ReadTimeout"])
def test_a_missing_response_is_played_as_a_closed_connection(tmp_path, error):
    """A server cannot refuse a connection that it has accepted; a closed one is the closest."""
    put(tmp_path, exchange(how="reset", error=error, method="GET"))
    server = TapeServer(TapeSelection(tmp_path))
    server.selection.select("hello")
    with serving(server) as url:
        seen = HTTPX.get(f"{url}/v1/messages")
    assert type(seen.error) is httpx.RemoteProtocolError
    assert "without sending a response" in str(seen.error)


def test_a_refused_connection_is_recorded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = TapeServer(TapeSelection(tmp_path, Mode.REWRITE, upstream=f"http://127.0.0.1:{port}"))
    server.selection.select("new")
    with serving(server) as url:
        assert type(HTTPX.get(f"{url}/x").error) is httpx.RemoteProtocolError
    assert server.selection.close() == ()
    (one,) = read_tape(tmp_path / "new.tape.yaml").exchanges
    assert (one.response, one.end.error) == (None, "ConnectError")


@pytest.mark.parametrize("length", [{}, {"content-length": "9"}])
def test_a_broken_stream_breaks_after_the_same_chunks(tmp_path, length):
    """Chunked or with a content-length: the client gets an incomplete read."""
    put(tmp_path, exchange(answer=response("a", "b", headers=length), how="reset", error="ReadError", method="GET"))
    server = TapeServer(TapeSelection(tmp_path))
    server.selection.select("hello")
    with serving(server) as url:
        seen = HTTPX.get(f"{url}/v1/messages")
    assert b"".join(seen.pieces) == b"ab"
    assert type(seen.error) is httpx.RemoteProtocolError
    assert "peer closed connection" in str(seen.error)


def test_a_client_that_waits_where_the_recorded_one_disconnected_is_a_failure(tmp_path):
    put(tmp_path, exchange(answer=response("a"), how="client_closed", method="GET"))
    server = TapeServer(TapeSelection(tmp_path), patience=0.05)
    server.selection.select("hello")
    with serving(server) as url:
        assert type(HTTPX.get(f"{url}/v1/messages").error) is httpx.RemoteProtocolError
        (failure,) = server.selection.close()
    assert "this client waited for more" in failure


def test_a_request_belongs_to_the_tape_that_was_selected_when_it_arrived(tmp_path):
    """Its body may be complete only after the next test has begun."""
    for name in ("a", "b"):
        put(tmp_path, exchange({"n": name}, reply(name)), name=name)
    selection = TapeSelection(tmp_path)
    selection.select("a")

    async def late():
        parts = [{"body": b'{"n": ', "more_body": True}, {"body": b'"a"}'}]
        sent = []

        async def receive():
            if len(parts) == 1:
                selection.eject()
                selection.select("b")
            if not parts:
                await asyncio.Event().wait()
            return {"type": "http.request", **parts.pop(0)}

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": []}
        await TapeServer(selection)(scope, receive, send)
        return sent

    assert asyncio.run(late())[0]["status"] == 200
    assert [text for text in selection.eject().failures if "is not on tape" in text] == []


def test_an_early_disconnect_from_a_server_is_a_note(tmp_path):
    """It is not a failure, because the number of chunks sent before the disconnect is detected depends on timing."""
    answer = response("data: 1\n\n", "data: 2\n\n")
    slow = tuple(chunk._replace(seconds=60.0 * number) for number, chunk in enumerate(answer.chunks))
    put(tmp_path, exchange(answer=answer.model_copy(update={"chunks": slow}), method="GET"))
    server = TapeServer(TapeSelection(tmp_path), pace=True)
    server.selection.select("hello")
    with serving(server) as url:
        assert HTTPX.get(f"{url}/v1/messages", take=1).pieces == [b"data: 1\n\n"]
        deadline = time.monotonic() + 60
        while server.in_progress and time.monotonic() < deadline:
            time.sleep(0.01)
        report = server.selection.eject()
    assert report.failures == ()
    (note,) = report.notes
    assert note.endswith("stayed to the end, but this client disconnected at chunk 1 of 2")


def test_the_tape_is_saved_when_the_server_stops(wire, tmp_path, caplog):
    """Failures are logged then."""
    wire.scripts["/v1/x"] = responds(b"{}")
    selection = TapeSelection(tmp_path, Mode.REWRITE, upstream=wire.address)
    with serving(TapeServer(selection)) as url:
        httpx.get(f"{url}/v1/x")
        selection.select("new")
        httpx.get(f"{url}/v1/x")
    assert read_tape(tmp_path / "new.tape.yaml").exchanges
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "No tape was selected when this request arrived." in caplog.text


def asgi(server, method="GET", path="/v1/messages"):
    """Return how a server without the extension responds: status, body, whether it was complete."""

    async def ask():
        sent, requests = [], [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            return requests.pop() if requests else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
        await server(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent)
        complete = bool(sent) and sent[-1]["type"] == "http.response.body" and not sent[-1].get("more_body")
        return sent[0]["status"], body, complete

    return asyncio.run(ask())


def test_asgi_servers_without_the_extension_fail_in_the_closest_way(tmp_path):
    """A 502 before the response, and a response without an end after it has begun."""
    put(
        tmp_path,
        exchange(how="reset", error="ConnectError", method="GET"),
        exchange(answer=response("a"), how="reset", method="GET"),
    )
    server = TapeServer(TapeSelection(tmp_path))
    server.selection.select("hello")
    status, body, complete = asgi(server)
    assert (status, complete) == (502, True)
    assert "closed the connection before the response (ConnectError)" in json.loads(body)["error"]["message"]
    assert asgi(server) == (200, b"a", False)


def test_a_client_that_disconnects_before_its_body_is_complete(tmp_path):
    async def ask():
        messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        async def send(message):
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/x", "query_string": b"", "headers": []}
        await TapeServer(TapeSelection(tmp_path))(scope, receive, send)

    asyncio.run(ask())


def test_websockets_are_not_served(tmp_path):
    async def never(*_):
        raise AssertionError

    asyncio.run(TapeServer(TapeSelection(tmp_path))({"type": "websocket"}, never, never))


def test_a_body_in_parts_is_joined(playing):
    control(playing, "PUT", {"name": "hello"})
    assert playing.post("/v1/messages", content=iter([b'{"a"', b": 1}"])).json() == "hi"


def test_a_port_can_be_chosen_and_a_used_one_is_an_error(tmp_path):
    with serving(TapeServer(TapeSelection(tmp_path))) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), serving(TapeServer(TapeSelection(tmp_path)), port=port):
            pass
    with serving(TapeServer(TapeSelection(tmp_path)), port=port) as again:
        assert again == url


def test_an_app_that_does_not_start_is_an_error():
    async def broken(scope, receive, send):
        raise ValueError("no")

    with pytest.raises(TapeUsageError, match="did not start"), serving(broken):
        pass
