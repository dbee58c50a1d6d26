"""Tapes that two recorders write: the second one finds out, and nothing is lost."""

import sys
import threading
from pathlib import Path

import pytest

from messages_tape.cli.main import main
from messages_tape.errors import TapeConflictError
from messages_tape.files.store import Mode, finish, locked, open_tape, read_tape, recording_turn, save, write_whole
from messages_tape.format.file import dump, load
from messages_tape.http.selection import TapeSelection
from support.tapes import exchange, raw_request, reply, tape
from support.wire_upstream import Script

NAME = "hello.tape.yaml"
TAPE = Path("recordings/up/hello.tape.yaml")
MODELS = raw_request(path="/v1/models", method="GET")


def record(session, raw, said="new", at=0.0):
    """Have a session record an exchange."""
    recording = session.step_for(raw, at).recording
    recording.head(200, [("content-type", "application/json")], at)
    recording.chunk(f'"{said}"'.encode(), at + 0.25)
    recording.stop(None, at + 0.5)


def recorder(folder, body, mode=Mode.ONCE, **more):
    """Return a session that has recorded a question."""
    session = open_tape(folder, "hello", mode)
    record(session, raw_request(body), **more)
    return session


def bodies(file):
    return [one.request.body.value for one in load(file.read_text(encoding="utf-8")).exchanges]


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.REWRITE])
def test_the_second_recorder_of_a_new_tape_is_told_and_its_work_is_kept(tmp_path, mode):
    """The first one's tape stays; the message names the files and what to do."""
    first, second = recorder(tmp_path, {"a": 1}, mode), recorder(tmp_path, {"b": 2}, mode)
    save(first, tmp_path)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(TapeConflictError, match=rf"changed .*{NAME} during .* recording is in .*{NAME}.conflict-1: "):
        save(second, tmp_path)
    assert (tmp_path / NAME).read_bytes() == before
    assert bodies(tmp_path / f"{NAME}.conflict-1") == [{"b": 2}]
    assert sorted(file.name for file in tmp_path.iterdir()) == [NAME, f"{NAME}.conflict-1"]


def test_a_conflict_takes_the_place_of_no_other(tmp_path):
    """Each is kept under a name of its own."""
    sessions = [recorder(tmp_path, {"n": number}) for number in range(3)]
    reports = [finish(session, tmp_path) for session in sessions]
    assert [bool(report.failures) for report in reports] == [False, True, True]
    kept = [bodies(tmp_path / f"{NAME}{end}") for end in ("", ".conflict-1", ".conflict-2")]
    assert kept == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]


def test_a_tape_that_was_edited_while_it_was_recorded_anew_stays(tmp_path):
    """Also one that was broken by that: it is somebody's work."""
    for edited in (dump(tape(exchange({"mine": 1}, reply("x")))), "half a ta"):
        (tmp_path / NAME).write_text(dump(tape(exchange({"a": 1}, reply("old")))), encoding="utf-8")
        session = recorder(tmp_path, {"a": 1}, Mode.REWRITE)
        (tmp_path / NAME).write_text(edited, encoding="utf-8")
        assert "another process changed" in finish(session, tmp_path).refused
        assert (tmp_path / NAME).read_text(encoding="utf-8") == edited


def test_two_recorders_of_the_same_scenario_agree(tmp_path):
    """They differ in time only, which is no conflict."""
    first, second = recorder(tmp_path, {"a": 1}), recorder(tmp_path, {"a": 1}, at=7.125)
    save(first, tmp_path)
    before = (tmp_path / NAME).read_bytes()
    assert save(second, tmp_path) == tmp_path / NAME
    assert (tmp_path / NAME).read_bytes() == before


def test_a_session_that_saves_twice_is_no_other_one(tmp_path):
    session = recorder(tmp_path, {"a": 1})
    save(session, tmp_path)
    record(session, raw_request({"b": 2}))
    save(session, tmp_path)
    assert bodies(tmp_path / NAME) == [{"a": 1}, {"b": 2}]


def test_a_tape_that_was_removed_meanwhile_is_written(tmp_path):
    (tmp_path / NAME).write_text(dump(tape(exchange({"a": 1}, reply("old")))), encoding="utf-8")
    session = recorder(tmp_path, {"b": 2}, Mode.REWRITE)
    (tmp_path / NAME).unlink()
    save(session, tmp_path)
    assert bodies(tmp_path / NAME) == [{"b": 2}]


def test_ambient_calls_of_two_recorders_are_put_together(tmp_path):
    """Workers of one run share that tape: it has no order, so nobody is in the way of another."""
    selections = [TapeSelection(tmp_path, Mode.REWRITE, upstream="http://127.0.0.1:9") for _ in range(2)]
    health = raw_request(path="/health", method="GET")
    for selection, call in zip(selections, (MODELS, health), strict=True):
        record(selection.session_for(call), call)
    assert [selection.close() for selection in selections] == [(), ()]
    record(selections[0].session_for(MODELS), MODELS, "newer")
    assert selections[0].close() == ()
    found = {one.request.path: one.response.chunks[0].data for one in read_tape(tmp_path / "ambient.tape.yaml").ambient}
    assert found == {"/v1/models": b'"newer"', "/health": b'"new"'}


def test_ambient_calls_leave_the_exchanges_that_somebody_else_recorded(tmp_path):
    calls = open_tape(tmp_path, "hello", Mode.ONCE)
    record(calls, MODELS)
    save(recorder(tmp_path, {"a": 1}), tmp_path)
    save(calls, tmp_path)
    assert bodies(tmp_path / NAME) == [{"a": 1}]
    assert len(read_tape(tmp_path / NAME).ambient) == 1


def test_threads_that_save_at_once_lose_nothing(tmp_path):
    """One is the tape, the others are beside it, each whole."""
    sessions = [recorder(tmp_path, {"n": number, "long": "x" * 50_000}) for number in range(8)]
    reports, together = [], threading.Barrier(len(sessions))

    def saving(session):
        together.wait(10)
        reports.append(finish(session, tmp_path))

    threads = [threading.Thread(target=saving, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(not report.refused for report in reports) == 1
    assert sorted(body["n"] for file in tmp_path.iterdir() for body in bodies(file)) == [*range(8)]
    assert len([*tmp_path.iterdir()]) == 8


def test_two_who_write_one_file_use_two_part_files(tmp_path, monkeypatch):
    """Also in one process: what one has half written is not what the other puts in place."""
    seen = []
    monkeypatch.setattr("pathlib.Path.replace", lambda part, _: seen.append(part.name))
    for _ in range(2):
        write_whole(tmp_path / NAME, "x")
    assert len(set(seen)) == 2
    assert all(name.startswith(f".{NAME}.") and name.endswith(".part") for name in seen)


def test_without_locks_tapes_are_saved_all_the_same(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(tmp_path):
        assert save(recorder(tmp_path, {"a": 1}), tmp_path)


def test_a_process_that_records_finds_a_tape_that_another_one_wrote(wire, tmp_path, capfd):
    """The other one is the client here, which is sure to write in between."""
    wire.scripts["/v1/x"] = Script([b"{}"], headers={"content-type": "application/json"})
    theirs = dump(tape(exchange({"theirs": 1}, reply("x"))))
    client = (
        "import os, pathlib, sys, urllib.request as u; u.urlopen(os.environ['TAPE_URL'] + '/v1/x');"
        "pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    )
    words = ["record", "--upstream", wire.url, str(tmp_path / "hello")]
    assert main([*words, "--", sys.executable, "-c", client, str(tmp_path / NAME), theirs]) == 1
    said = capfd.readouterr().err
    assert f"{tmp_path / NAME}: " in said
    assert f"{NAME}.conflict-1" in said
    assert (tmp_path / NAME).read_text() == theirs
    assert load((tmp_path / f"{NAME}.conflict-1").read_text()).exchanges[0].request.path == "/v1/x"


def test_the_next_holder_learns_that_it_is_recorded(tmp_path):
    """What the first one says is kept for the run."""
    for before, after in ((False, False), (False, True), (True, True)):
        with recording_turn(tmp_path, TAPE) as marker:
            assert marker.exists() is before
            if after:
                marker.touch()
    with recording_turn(tmp_path, TAPE.with_name("bye.tape.yaml")) as marker:
        assert not marker.exists()


def test_a_holder_that_fails_says_nothing(tmp_path):
    """And does not keep the others waiting."""

    def fails():
        with recording_turn(tmp_path, TAPE):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with recording_turn(tmp_path, TAPE) as marker:
        assert not marker.exists()


def test_a_second_one_waits_for_the_first(tmp_path):
    """It comes in when the first one is out, and knows."""
    came, learned = threading.Event(), []

    def second():
        with recording_turn(tmp_path, TAPE) as marker:
            learned.append(marker.exists())
            came.set()

    thread = threading.Thread(target=second)
    with recording_turn(tmp_path, TAPE) as marker:
        thread.start()
        assert not came.wait(0.1)
        marker.touch()
    thread.join(10)
    assert learned == [True]
