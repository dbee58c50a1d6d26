"""Which tape is played, for clients in other processes."""

import pytest

from messages_tape.errors import TapeMissingError, TapeUsageError
from messages_tape.files.store import Mode, read_tape
from messages_tape.format.file import dump
from messages_tape.http.selection import TapeSelection
from messages_tape.secrets.scrub import RawRequest
from support.tapes import exchange, raw_request, reply, tape

MODELS = raw_request(path="/v1/models", method="GET")
HELLO = raw_request({"a": 1})
UPSTREAM = "http://127.0.0.1:9"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hello.tape.yaml").write_text(dump(tape(exchange({"a": 1}, reply("hi")))), encoding="utf-8")
    return tmp_path


def put_ambient(folder, answer="from the ambient tape"):
    one = exchange(path="/v1/models", method="GET", answer=reply(answer))
    (folder / "ambient.tape.yaml").write_text(dump(tape(ambient=(one,))), encoding="utf-8")


def ask(selection, raw, said="new"):
    step = selection.session_for(raw).step_for(raw, 0.0)
    if hasattr(step, "recording"):
        step.recording.head(200, [("content-type", "application/json")], 0.0)
        step.recording.chunk(f'"{said}"'.encode(), 0.0)
        step.recording.stop(None, 0.0)
        return type(step).__name__
    return step.exchange.response.chunks[0].data.decode() if hasattr(step, "exchange") else type(step).__name__


def test_the_selected_tape_is_played_until_it_is_ejected(folder):
    selection = TapeSelection(folder)
    assert selection.select("hello").name == "hello"
    assert ask(selection, HELLO) == '"hi"'
    assert selection.report().tape == "hello"
    report = selection.eject()
    assert (report.tape, report.failures) == ("hello", ())
    assert selection.eject() is None


def test_one_tape_at_a_time(folder):
    selection = TapeSelection(folder)
    selection.select("hello")
    with pytest.raises(TapeUsageError, match='tape "hello" is selected; eject it first'):
        selection.select("hello")


def test_a_missing_tape_is_not_selected(folder):
    selection = TapeSelection(folder)
    with pytest.raises(TapeMissingError):
        selection.select("gone")
    assert selection.eject() is None


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.REWRITE, Mode.VERIFY, Mode.LIVE])
def test_modes_that_use_the_upstream_need_its_address(folder, mode):
    with pytest.raises(TapeUsageError, match=f'mode "{mode}" needs the address of an upstream'):
        TapeSelection(folder, mode)
    with pytest.raises(TapeUsageError, match="needs the address of an upstream"):
        TapeSelection(folder).select("hello", mode)
    assert TapeSelection(folder, upstream=UPSTREAM).select("hello", mode)


def test_a_request_without_a_tape_fails_the_next_report(folder):
    """A stack may send a request after its test has ended: it gets a 409, and the next report has it."""
    selection = TapeSelection(folder)
    assert "No tape was selected when this request arrived." in ask(selection, HELLO)
    assert selection.report().tape == "(none selected)"
    selection.select("hello")
    ask(selection, HELLO)
    (failure,) = selection.eject().failures
    assert failure.startswith('POST /v1/messages is not on tape "(none selected)".')
    selection.select("hello")
    ask(selection, HELLO)
    assert selection.eject().failures == ()


def test_ambient_calls_are_answered_by_their_own_tape(folder):
    """Before a tape is selected, and while one is."""
    put_ambient(folder)
    selection = TapeSelection(folder)
    assert ask(selection, MODELS) == '"from the ambient tape"'
    selection.select("hello")
    assert ask(selection, MODELS) == '"from the ambient tape"'
    assert ask(selection, HELLO) == '"hi"'
    assert selection.eject().failures == ()


def test_ambient_calls_without_an_ambient_tape_get_generated_responses(folder):
    selection = TapeSelection(folder)
    assert ask(selection, MODELS) == '{"object": "list", "data": []}'
    path = folder / "named.tape.yaml"
    path.write_text(dump(tape(exchange({"model": "tiny"}, reply("hi")))), encoding="utf-8")
    selection.select("named")
    assert '"id": "tiny"' in ask(selection, MODELS)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tiny"])
def test_an_ambient_call_on_the_selected_tape_is_played_from_there(folder, path):
    """It wins over the ambient tape, may be repeated, and has to be requested."""
    put_ambient(folder)
    mine = tape(exchange(path=path, method="GET", answer=reply("mine")), exchange({"a": 1}, reply("hi")))
    (folder / "mine.tape.yaml").write_text(dump(mine), encoding="utf-8")
    selection, call = TapeSelection(folder), raw_request(path=path, method="GET")
    selection.select("mine")
    assert [ask(selection, call), ask(selection, call), ask(selection, HELLO)] == ['"mine"', '"mine"', '"hi"']
    assert selection.eject().failures == ()
    selection.select("mine")
    assert ask(selection, HELLO) == '"hi"'
    assert selection.eject().failures == (f"exchange 1 (GET {path}) was not played",)


PROBE = RawRequest("POST", "/v1/messages", body=b"{}")


@pytest.mark.parametrize(("path", "status"), [("/v1/messages", 400), ("/v1/chat/completions", 404)])
def test_a_route_probe_gets_a_generated_response(folder, path, status):
    """A stack sends it once, during any test; the selected tape's requests show whether the route exists."""
    said = exchange({"model": "tiny"}, reply("hi"), path=path)
    (folder / "named.tape.yaml").write_text(dump(tape(said)), encoding="utf-8")
    selection = TapeSelection(folder)
    selection.select("named")
    assert selection.session_for(PROBE).step_for(PROBE, 0.0).exchange.response.status == status
    assert selection.report().unexpected == ()
    other = RawRequest("POST", "/v1/messages", body=b'{"b": 1}')
    assert "is not on tape" in ask(selection, other)
    assert len(selection.report().unexpected) == 1


def test_a_route_probe_is_recorded_if_the_upstream_is_available(folder):
    """On the ambient tape or, if that is only played, on the selected one; it is not an exchange."""
    selection = TapeSelection(folder, Mode.REWRITE, upstream=UPSTREAM)
    selection.select("new")
    assert [ask(selection, PROBE), ask(selection, HELLO)] == ["Record", "Record"]
    assert selection.eject().exchanges == 1
    assert [one.request.path for one in read_tape(folder / "ambient.tape.yaml").ambient] == ["/v1/messages"]
    put_ambient(folder)
    selection = TapeSelection(folder, Mode.ONCE, upstream=UPSTREAM)
    selection.select("newer")
    assert [ask(selection, PROBE), ask(selection, HELLO)] == ["Record", "Record"]
    selection.eject()
    newer = read_tape(folder / "newer.tape.yaml")
    assert (len(newer.exchanges), len(newer.ambient)) == (1, 1)
    selection = TapeSelection(folder)
    selection.select("newer")
    assert [ask(selection, PROBE), ask(selection, HELLO)] == ['"new"', '"new"']
    assert selection.eject().failures == ()


def test_ambient_calls_are_recorded_on_their_own_tape(folder):
    """So that a scenario's tape does not depend on when a stack refreshes its models."""
    selection = TapeSelection(folder, Mode.REWRITE, upstream=UPSTREAM, facts={"kind": "vllm"})
    assert ask(selection, MODELS) == "Record"
    selection.select("new")
    assert [ask(selection, MODELS), ask(selection, HELLO)] == ["Record", "Record"]
    assert selection.eject().exchanges == 1
    assert [one.request.path for one in read_tape(folder / "ambient.tape.yaml").ambient] == ["/v1/models"]
    new = read_tape(folder / "new.tape.yaml")
    assert (len(new.exchanges), new.ambient, new.upstream.kind) == (1, (), "vllm")


def test_a_tape_recorded_beside_a_played_ambient_tape_generates_ambient_responses(folder):
    selection = TapeSelection(folder, upstream=UPSTREAM)
    selection.select("new", Mode.REWRITE)
    assert ask(selection, MODELS) == '{"object": "list", "data": []}'


def test_once_records_ambient_calls_once(folder):
    put_ambient(folder)
    assert ask(TapeSelection(folder, Mode.ONCE, upstream=UPSTREAM), MODELS) == '"from the ambient tape"'


def test_verify_plays_ambient_calls(folder):
    put_ambient(folder)
    assert ask(TapeSelection(folder, Mode.VERIFY, upstream=UPSTREAM), MODELS) == '"from the ambient tape"'


def test_live_relays_everything(folder):
    selection = TapeSelection(folder, Mode.LIVE, upstream=UPSTREAM)
    assert [ask(selection, MODELS), ask(selection, HELLO)] == ["Live", "Live"]
    selection.select("hello")
    assert [ask(selection, MODELS), ask(selection, HELLO)] == ["Live", "Live"]
    assert selection.eject().failures == ()


def test_the_ambient_tape_cannot_be_selected(folder):
    with pytest.raises(TapeUsageError, match='"ambient" is the name of the tape of ambient calls'):
        TapeSelection(folder).select("ambient")


def test_eject_without_keep_saves_nothing(folder):
    selection = TapeSelection(folder, Mode.REWRITE, upstream=UPSTREAM)
    selection.select("new")
    ask(selection, HELLO)
    assert selection.eject(keep=False).exchanges == 1
    assert not (folder / "new.tape.yaml").exists()


def test_a_tape_that_cannot_be_saved_is_a_failure(folder):
    selection = TapeSelection(folder, Mode.REWRITE, upstream=UPSTREAM)
    ask(selection, MODELS, "sk-0123456789abcdef")
    selection.select("new")
    ask(selection, HELLO, "sk-0123456789abcdef")
    (failure,) = selection.eject().failures
    assert 'tape "new" was not saved' in failure
    assert 'tape "ambient" was not saved' in failure
    assert [path.name for path in folder.iterdir()] == ["hello.tape.yaml"]


def test_closing_ejects_and_returns_unreported_failures(folder):
    selection = TapeSelection(folder)
    selection.select("hello")
    assert selection.close() == ("exchange 1 (POST /v1/messages) was not played",)
    ask(selection, HELLO)
    (stray,) = selection.close()
    assert "(none selected)" in stray
