"""The transports, inside a program."""

import asyncio
import gzip
import json
import threading

import anthropic
import httpx
import httpx2
import openai
import pytest

from messages_tape import (
    Mode,
    SyncTapeTransport,
    TapeTransport,
    dump,
    open_tape,
    read_tape,
    save,
    transports_for,
    use_tape,
)
from support.attacks import cpu_bound
from support.scripted_upstream import HANG, raw, responds, streamed
from support.tapes import JSON, events, exchange, reply, response, tape
from support.wire_client import CLIENTS

NOWHERE = "http://nowhere.invalid/v1/messages"
BODY = {"model": "m", "messages": []}


def wired(client, session, real=None, **options):
    return transports_for(client.http)[not client.is_async](session, real, **options)


def sync_wired(client, session):
    return transports_for(client.http)[1](session)


def put(folder, *exchanges, name="t", **fields):
    (folder / f"{name}.tape.yaml").write_text(dump(tape(*exchanges, **fields)), encoding="utf-8")


def test_httpx_and_httpx2_get_the_same_adapter():
    """Each on the base classes of its module, which clients check."""
    assert transports_for(httpx) == (TapeTransport, SyncTapeTransport)
    one, other = transports_for(httpx2)
    assert issubclass(one, httpx2.AsyncBaseTransport)
    assert issubclass(other, httpx2.BaseTransport)
    assert transports_for(httpx2) == (one, other)


def test_a_unary_exchange(wire, client, tmp_path):
    """Path, query and JSON of the request; status, headers and body of the response."""
    wire.scripts["/v1/messages"] = streamed(
        b'{"id": "msg_1", "n": 1}', headers={**JSON, "retry-after": "3", "x-odd": "1"}, chunked=False, status=429
    )
    url = f"{wire.address}/v1/messages?beta=true&name=%C3%A4%2F"
    with use_tape(tmp_path, "t", Mode.ONCE) as session:
        live = client.get(url, transport=wired(client, session), method="POST", json=BODY)
    (one,) = read_tape(tmp_path / "t.tape.yaml").exchanges
    assert one.request.method == "POST"
    assert one.request.path == "/v1/messages"
    assert one.request.query == "beta=true&name=%C3%A4%2F"
    assert one.request.body == ("json", BODY)
    assert one.response.headers == {**JSON, "content-length": "23", "retry-after": "3"}
    with use_tape(tmp_path, "t") as session:
        url = "http://nowhere.invalid/v1/messages?name=%C3%A4%2F&beta=true"
        played = client.get(url, transport=wired(client, session), method="POST", json=BODY)
    assert (played.status, played.pieces) == (live.status, live.pieces) == (429, [b'{"id": "msg_1", "n": 1}'])


def test_a_header_that_is_not_ascii_is_played(client, tmp_path):
    """Httpx reads such bytes, but does not write them by itself."""
    headers = {"content-type": "text/plain; name=caf\u00e9"}
    put(tmp_path, exchange(answer=response("x", headers=headers), method="GET", path="/x"))
    with use_tape(tmp_path, "t") as session, client.http.Client(transport=sync_wired(client, session)) as http:
        assert http.get("http://nowhere.invalid/x").headers["content-type"] == headers["content-type"]


def test_recording_asks_for_uncompressed_responses(wire, client, tmp_path):
    """A tape is text. Without a tape the header of the program is kept."""
    wire.scripts["/zip"] = streamed(gzip.compress(b"hello"), headers={"content-encoding": "gzip"})
    for mode, wish in ((Mode.REWRITE, "identity"), (Mode.LIVE, "gzip")):
        session = open_tape(tmp_path, "t", mode)
        seen = client.get(f"{wire.address}/zip", transport=wired(client, session), headers={"accept-encoding": "gzip"})
        assert gzip.decompress(b"".join(seen.pieces)) == b"hello"
        assert wire.requests[-1].headers["accept-encoding"] == wish


def test_live_writes_nothing(wire, client, tmp_path):
    wire.scripts["/whole"] = streamed(b"one", b"two")
    with use_tape(tmp_path, "t", Mode.LIVE) as session:
        assert client.get(f"{wire.address}/whole", transport=wired(client, session)).pieces == [b"one", b"two"]
    assert [*tmp_path.iterdir()] == []


def test_a_refused_connection_is_recorded_and_raised_again(client, tmp_path):
    with use_tape(tmp_path, "t", Mode.ONCE) as session:
        live = client.get("http://127.0.0.1:9/x", transport=wired(client, session))
    assert type(live.error) is client.http.ConnectError
    (one,) = read_tape(tmp_path / "t.tape.yaml").exchanges
    assert (one.response, one.end.how, one.end.error) == (None, "reset", "ConnectError")
    with use_tape(tmp_path, "t") as session:
        played = client.get("http://127.0.0.1:9/x", transport=wired(client, session))
    assert type(played.error) is client.http.ConnectError
    assert str(played.error) == str(live.error)


def test_an_upstream_that_closes_before_the_response(wire, client, tmp_path):
    wire.scripts["/refuses"] = raw(b"")
    with use_tape(tmp_path, "t", Mode.ONCE) as session:
        live = client.get(f"{wire.address}/refuses", transport=wired(client, session))
    with use_tape(tmp_path, "t") as session:
        played = client.get(f"{wire.address}/refuses", transport=wired(client, session))
    assert type(played.error) is type(live.error) is client.http.RemoteProtocolError


@pytest.mark.parametrize(
    ("error", "begun", "raised"),
    [
        ("ReadTimeout", True, "ReadTimeout"),
        ("ReadError", True, "ReadError"),
        ("SSLError", True, "ReadError"),
        ("SSLError", False, "ConnectError"),
        ("Client", False, "ConnectError"),
        ("__name__", True, "ReadError"),
        ("", True, "ReadError"),
    ],
)
def test_a_failure_is_raised_as_the_recorded_exception(client, tmp_path, error, begun, raised):
    """If httpx has no such exception, as the closest one."""
    put(tmp_path, exchange(answer=response("a") if begun else None, how="reset", error=error, method="GET"))
    with use_tape(tmp_path, "t") as session:
        seen = client.get(NOWHERE, transport=wired(client, session))
    assert type(seen.error) is getattr(client.http, raised)
    assert seen.pieces == ([b"a"] if begun else [])


@pytest.mark.parametrize("answer", [response("a"), None])
def test_a_client_that_waits_where_the_recorded_one_disconnected_gets_a_timeout(client, tmp_path, answer):
    """The report has a failure."""
    put(tmp_path, exchange(answer=answer, how="client_closed", method="GET"))
    session = open_tape(tmp_path, "t")
    seen = client.get(NOWHERE, transport=wired(client, session, patience=0.05))
    assert type(seen.error) is client.http.ReadTimeout
    (failure,) = session.report().failures
    assert "this client waited for more" in failure


@pytest.mark.parametrize(("chunks", "take", "missed"), [
    (("a", "b"), 1, True),
    (("a", "b"), 2, False),
    (("data: 1\n\n", "data: {", "}\n\n", "data: [DONE]\n\n"), 2, True),
    (("data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"), 1, True),
    (("data: 1\n\n", "data: 2\n\n", "data: [DONE]\n\n"), 2, False),
    (("data: 1\n\n", "\n", ": ping\n\n"), 1, False),
    (('data: {"type": "ping"}\n\n', 'event: message_stop\ndata: {"type": "message_stop"}\n\n'), 1, False),
    (('data: {"type": "message_stop"}\n\n', "data: more\n\n"), 1, False),
])  # fmt: skip
def test_a_client_that_disconnects_where_the_recorded_one_stayed_is_a_failure(client, tmp_path, chunks, take, missed):
    """Unless only the end marker, blank lines and comments remain, which some clients do not read."""
    kind = {"content-type": "text/plain" if chunks[0] == "a" else "text/event-stream"}
    answer = response(*chunks)
    put(tmp_path, exchange(answer=answer.model_copy(update={"headers": {**answer.headers, **kind}}), method="GET"))
    session = open_tape(tmp_path, "t")
    assert len(client.get(NOWHERE, transport=wired(client, session), take=take).pieces) == take
    text = f"stayed to the end, but this client disconnected at chunk {take} of {len(chunks)}"
    assert [text in failure for failure in session.report().failures] == [True] * missed
    assert session.report().notes == ()


def test_a_client_may_disconnect_from_an_incomplete_stream(client, tmp_path):
    """The recorded client disconnected as well."""
    put(tmp_path, exchange(answer=response("a", "b"), how="client_closed", method="GET"))
    session = open_tape(tmp_path, "t")
    client.get(NOWHERE, transport=wired(client, session), take=1)
    assert session.report().failures == ()


async def test_a_cancelled_task_is_a_disconnect(tmp_path):
    """While it waits for the first or the next chunk, which arrives neither in the recording nor in the playback."""
    waiting = asyncio.Event()

    class Silent(httpx.AsyncByteStream):
        async def __aiter__(self):
            yield b"a"
            waiting.set()
            await asyncio.Event().wait()

    class Real(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            if request.url.path == "/never":
                waiting.set()
                await asyncio.Event().wait()
            return httpx.Response(200, stream=Silent())

    async def cancelled(session, path):
        waiting.clear()
        async with httpx.AsyncClient(transport=TapeTransport(session, Real())) as client:
            task = asyncio.create_task(client.get(f"http://x{path}"))
            await asyncio.wait_for(waiting.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with use_tape(tmp_path, "t", Mode.REWRITE) as session:
        await cancelled(session, "/silent")
        await cancelled(session, "/never")
    silent, never = read_tape(tmp_path / "t.tape.yaml").exchanges
    assert silent.end.how == never.end.how == "client_closed"
    assert [chunk.data for chunk in silent.response.chunks] == [b"a"]
    assert never.response is None
    with use_tape(tmp_path, "t") as session:
        async with httpx.AsyncClient(transport=TapeTransport(session)) as client:
            for path in ("/silent", "/never"):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.get(f"http://x{path}"), 0.1)


async def test_a_played_stream_can_be_closed_by_another_task(tmp_path):
    put(tmp_path, exchange(answer=response("a"), how="client_closed", method="GET"))
    with use_tape(tmp_path, "t") as session:
        async with httpx.AsyncClient(transport=TapeTransport(session, patience=60)) as client:
            answer = await client.send(client.build_request("GET", NOWHERE), stream=True)
            pieces = answer.aiter_raw()
            assert await anext(pieces) == b"a"
            waiting = asyncio.create_task(anext(pieces, None))
            await asyncio.sleep(0)
            await answer.aclose()
            assert await asyncio.wait_for(waiting, 5) is None


def test_a_played_stream_can_be_closed_by_another_thread(tmp_path):
    put(tmp_path, exchange(answer=response("a"), how="client_closed", method="GET"))
    with use_tape(tmp_path, "t") as session, httpx.Client(transport=SyncTapeTransport(session, patience=60)) as client:
        answer = client.send(client.build_request("GET", NOWHERE), stream=True)
        pieces = answer.iter_raw()
        assert next(pieces) == b"a"
        closer = threading.Timer(0.05, answer.close)
        closer.start()
        assert next(pieces, None) is None
        closer.join()


def test_an_exception_that_is_being_handled_does_not_end_the_stream(wire, client, tmp_path):
    """Programs send another request inside ``except``."""
    wire.scripts["/fine"] = streamed(b"data: 1\n\n")
    with use_tape(tmp_path, "t", Mode.REWRITE) as session:
        try:
            json.loads("an earlier attempt")
        except ValueError:
            client.get(f"{wire.address}/fine", transport=wired(client, session))
    assert read_tape(tmp_path / "t.tape.yaml").exchanges[0].end.how == "complete"


def test_a_request_that_is_not_on_the_tape_gets_409(client, tmp_path):
    put(tmp_path, exchange({"model": "m", "messages": ["other"]}, reply("x")))
    session = open_tape(tmp_path, "t")
    seen = client.get(NOWHERE, transport=wired(client, session), method="POST", json=BODY)
    assert seen.status == 409
    assert 'messages.0: recorded "other", now nothing' in json.loads(seen.pieces[0])["error"]["message"]
    assert len(session.report().unexpected) == 1


def test_the_sdks_show_the_diff_and_do_not_retry(tmp_path):
    put(tmp_path)
    session = open_tape(tmp_path, "t")
    transport = transports_for(httpx2)[1](session)
    with httpx2.Client(transport=transport) as http:
        messages = [{"role": "user", "content": "hi"}]
        with pytest.raises(openai.ConflictError, match='POST /v1/chat/completions is not on tape "t"'):
            openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http).chat.completions.create(
                model="m", messages=messages
            )
        with pytest.raises(anthropic.ConflictError, match='POST /v1/messages is not on tape "t"'):
            anthropic.Anthropic(api_key="k", base_url="http://x", http_client=http).messages.create(
                model="m", max_tokens=1, messages=messages
            )
    assert not any("times" in text for text in session.report().unexpected)


def test_the_sdk_reads_a_recorded_stream(wire, tmp_path):
    """The newest SDK, over httpx2, recorded and played."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    parts = events(
        *({**chunk, "choices": [{"index": 0, "delta": {"content": word}}]} for word in ("Hi", " you")), "[DONE]"
    )
    wire.scripts["/v1/chat/completions"] = streamed(*(piece.encode() for piece in parts))

    def say(session):
        with httpx2.Client(transport=transports_for(httpx2)[1](session)) as http:
            client = openai.OpenAI(api_key="key-0123456789", base_url=f"{wire.address}/v1", http_client=http)
            stream = client.chat.completions.create(model="m", messages=[], stream=True)
            return "".join(part.choices[0].delta.content for part in stream)

    with use_tape(tmp_path, "t", Mode.ONCE) as session:
        assert say(session) == "Hi you"
    (one,) = read_tape(tmp_path / "t.tape.yaml").exchanges
    assert one.end.how == "complete"
    assert "key-0123456789" not in (tmp_path / "t.tape.yaml").read_text()
    with use_tape(tmp_path, "t") as session:
        assert say(session) == "Hi you"


@pytest.mark.parametrize("body", [b"plain", b"\xff\x00"])
def test_bodies_that_are_streamed_or_not_json(wire, client, tmp_path, body):
    """The upstream gets them complete, and they are compared exactly."""
    wire.scripts["/upload"] = responds(b"{}")

    def parts():
        yield from (body[:1], body[1:])

    async def async_parts():
        for part in parts():
            yield part

    def content():
        return async_parts() if client.is_async else parts()

    headers = {"content-length": str(len(body))}
    with use_tape(tmp_path, "t", Mode.ONCE) as session:
        client.get(
            f"{wire.address}/upload",
            transport=wired(client, session),
            method="POST",
            content=content(),
            headers=headers,
        )
    assert wire.requests[-1].body == body
    with use_tape(tmp_path, "t") as session:
        url = "http://nowhere.invalid/upload"
        assert (
            client.get(url, transport=wired(client, session), method="POST", content=content(), headers=headers).status
            == 200
        )


def test_verify_plays_the_tape_and_reports_differences(wire, client, tmp_path):
    """The program gets the recorded response, so that its next request is the recorded one too."""
    put(tmp_path, exchange(BODY, reply({"id": "a", "usage": {"n": 1}})))
    wire.scripts["/v1/messages"] = streamed(b'{"id": "b",', b' "extra": null}', headers=JSON)
    session = open_tape(tmp_path, "t", Mode.VERIFY)
    seen = client.get(f"{wire.address}/v1/messages", transport=wired(client, session), method="POST", json=BODY)
    assert json.loads(b"".join(seen.pieces)) == {"id": "a", "usage": {"n": 1}}
    assert session.report().differences == (
        "exchange 1 (POST /v1/messages): usage: object, only on the tape",
        "exchange 1 (POST /v1/messages): extra: null, only live",
    )
    assert session.report().failures == ()


def test_verify_of_an_unreachable_upstream(client, tmp_path):
    put(tmp_path, exchange(BODY, reply({"id": "a"})))
    session = open_tape(tmp_path, "t", Mode.VERIFY)
    url = "http://127.0.0.1:9/v1/messages"
    assert client.get(url, transport=wired(client, session), method="POST", json=BODY).status == 200
    assert session.report().differences == (
        "exchange 1 (POST /v1/messages): response: status 200 on the tape, no response (ConnectError) live",
    )


def test_verify_disconnects_where_the_recorded_client_did(wire, client, tmp_path):
    """The upstream may send for ever."""
    wire.scripts["/endless"] = streamed(*[b"data: 1\n\n"] * 3, end=HANG)
    put(tmp_path, exchange(answer=response("data: 1\n\n"), how="client_closed", method="GET", path="/endless"))
    session = open_tape(tmp_path, "t", Mode.VERIFY)
    seen = client.get(f"{wire.address}/endless", transport=wired(client, session), take=1)
    assert seen.pieces == [b"data: 1\n\n"]
    assert wire.requests[-1].closed.wait(60)
    assert session.report().differences == ()


def test_the_real_transport_is_opened_and_closed_with_the_adapter(tmp_path):
    """Also its context manager."""
    calls = []

    class Real(httpx.AsyncBaseTransport, httpx.BaseTransport):
        async def __aenter__(self):
            calls.append("aenter")
            return self

        async def __aexit__(self, *_):
            calls.append("aexit")

        def __enter__(self):
            calls.append("enter")
            return self

        def __exit__(self, *_):
            calls.append("exit")

        async def aclose(self):
            calls.append("aclose")

        def close(self):
            calls.append("close")

    async def use(real):
        async with TapeTransport(open_tape(tmp_path, "t"), real) as transport:
            await transport.aclose()

    put(tmp_path)
    for real in (Real(), None):
        asyncio.run(use(real))
        with SyncTapeTransport(open_tape(tmp_path, "t"), real) as transport:
            transport.close()
    assert calls == ["aenter", "aclose", "aexit", "enter", "close", "exit"]


def test_threads_may_share_a_tape(client, tmp_path):
    """Each exchange is played once, with any number of concurrent requests."""
    put(tmp_path, *(exchange(answer=reply(number), method="GET", path=f"/{number % 3}") for number in range(12)))
    with use_tape(tmp_path, "t") as session:
        transport = wired(client, session)
        seen = []
        for _ in range(4):
            seen += client.get_all({f"http://x/{at}": None for at in range(3)}, transport=transport).values()
    assert sorted(json.loads(one.pieces[0]) for one in seen) == [*range(12)]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_stream_of_ten_thousand_chunks(tmp_path, name):
    """The time grows with the length of the stream, not with its square."""
    client = CLIENTS[name]
    pieces = [f"data: word {number}\n\n".encode() for number in range(10_000)]
    base = client.http.AsyncByteStream if client.is_async else client.http.SyncByteStream

    class Stream(base):
        def __iter__(self):
            return iter(pieces)

        async def __aiter__(self):
            for piece in pieces:
                yield piece

    transport_base = client.http.AsyncBaseTransport if client.is_async else client.http.BaseTransport

    class Real(transport_base):
        def handle_request(self, request):
            return client.http.Response(200, headers={"content-type": "text/event-stream"}, stream=Stream())

        async def handle_async_request(self, request):
            return self.handle_request(request)

    with cpu_bound(10):
        session = open_tape(tmp_path, "t", Mode.REWRITE)
        assert client.get("http://x/", transport=wired(client, session, Real())).pieces == pieces
        save(session, tmp_path)
        with use_tape(tmp_path, "t") as session:
            assert client.get("http://x/", transport=wired(client, session)).pieces == pieces
