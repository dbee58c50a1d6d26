"""Tapes that two recorders write: nothing is lost."""

import sys
import threading
from pathlib import Path

import pytest

from messages_tape.cli.main import main
from messages_tape.errors import TapeConflictError
from messages_tape.files.store import Mode, finish, locked, open_tape, read_tape, recording_turn, save, write_whole
from messages_tape.format.file import dump, load
from messages_tape.format.model import Ignore
from messages_tape.http.selection import TapeSelection
from support.scripted_upstream import responds
from support.tapes import exchange, raw_request, reply, tape

NAME = "hello.tape.yaml"
TAPE = Path("recordings/up/hello.tape.yaml")
MODELS = raw_request(path="/v1/models", method="GET")


def record(session, raw, said="new", at=0.0):
    """Make a session record an exchange."""
    recording = session.step_for(raw, at).recording
    recording.head(200, [("content-type", "application/json")], at)
    recording.chunk(f'"{said}"'.encode(), at + 0.25)
    recording.stop(None, at + 0.5)


def recorder(folder, body, mode=Mode.ONCE, **more):
    """Return a session that has recorded a request."""
    session = open_tape(folder, "hello", mode)
    record(session, raw_request(body), **more)
    return session


def bodies(file):
    return [one.request.body.value for one in load(file.read_text(encoding="utf-8")).exchanges]


@pytest.mark.parametrize("mode", [Mode.ONCE, Mode.REWRITE])
def test_the_second_recorder_gets_an_error_and_its_recording_is_kept(tmp_path, mode):
    """The first tape stays; the message names the files and the remedy."""
    first, second = recorder(tmp_path, {"a": 1}, mode), recorder(tmp_path, {"b": 2}, mode)
    save(first, tmp_path)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(TapeConflictError, match=rf"changed .*{NAME} during .* recording is in .*{NAME}.conflict-1: "):
        save(second, tmp_path)
    assert (tmp_path / NAME).read_bytes() == before
    assert bodies(tmp_path / f"{NAME}.conflict-1") == [{"b": 2}]
    assert sorted(file.name for file in tmp_path.iterdir()) == [NAME, f"{NAME}.conflict-1"]


def recorder_of(folder, names, mode):
    """Return a session that has recorded a request for each name."""
    session = open_tape(folder, "hello", mode)
    for name in names:
        record(session, raw_request({name: 1}))
    return session


@pytest.mark.parametrize(
    ("mode", "start", "first", "second", "saved"),
    [
        (Mode.ONCE, "", "aa", "a", False),
        (Mode.ONCE, "", "ba", "ab", False),
        (Mode.ONCE, "", "ab", "a", False),
        (Mode.ONCE, "", "a", "ab", True),
        (Mode.REWRITE, "ab", "a", "c", False),
        (Mode.REWRITE, "ab", "b", "ba", True),
    ],
)
def test_a_recording_replaces_another_only_if_it_begins_with_it(tmp_path, mode, start, first, second, saved):
    """Number and order count: a lost or moved exchange would fail the other's test when it is played."""
    if start:
        save(recorder_of(tmp_path, start, Mode.ONCE), tmp_path)
    one, other = recorder_of(tmp_path, first, mode), recorder_of(tmp_path, second, mode)
    save(one, tmp_path)
    report = finish(other, tmp_path)
    assert bool(report.failures) is not saved
    assert "".join(name for body in bodies(tmp_path / NAME) for name in body) == (second if saved else first)
    assert (tmp_path / f"{NAME}.conflict-1").exists() is not saved


def test_each_conflicting_recording_has_a_file_of_its_own(tmp_path):
    """Each is kept under a name of its own."""
    sessions = [recorder(tmp_path, {"n": number}) for number in range(3)]
    reports = [finish(session, tmp_path) for session in sessions]
    assert [bool(report.failures) for report in reports] == [False, True, True]
    kept = [bodies(tmp_path / f"{NAME}{end}") for end in ("", ".conflict-1", ".conflict-2")]
    assert kept == [[{"n": 0}], [{"n": 1}], [{"n": 2}]]


def test_a_tape_that_was_edited_during_the_recording_is_not_replaced(tmp_path):
    """Also if the edit made it invalid."""
    for edited in (dump(tape(exchange({"mine": 1}, reply("x")))), "half a ta"):
        (tmp_path / NAME).write_text(dump(tape(exchange({"a": 1}, reply("old")))), encoding="utf-8")
        session = recorder(tmp_path, {"a": 1}, Mode.REWRITE)
        (tmp_path / NAME).write_text(edited, encoding="utf-8")
        assert "another process changed" in finish(session, tmp_path).refused
        assert (tmp_path / NAME).read_text(encoding="utf-8") == edited


def test_an_ignore_list_that_was_edited_during_the_recording_is_kept(tmp_path):
    """The edit is not a conflict, because the list is not recorded; nor is a comment, which no recording keeps."""
    old = tape(exchange({"a": 1}, reply("old")))
    (tmp_path / NAME).write_text(dump(old), encoding="utf-8")
    session = recorder(tmp_path, {"a": 1}, Mode.REWRITE)
    edited = old.model_copy(update={"ignore": Ignore(body=("id",))})
    (tmp_path / NAME).write_text(f"{dump(edited)}# mine\n", encoding="utf-8")
    save(session, tmp_path)
    saved = read_tape(tmp_path / NAME)
    assert saved.ignore == edited.ignore
    assert saved.exchanges[0].response.chunks[0].data == b'"new"'
    assert [file.name for file in tmp_path.iterdir()] == [NAME]


def test_two_recordings_that_differ_in_time_only_do_not_conflict(tmp_path):
    first, second = recorder(tmp_path, {"a": 1}), recorder(tmp_path, {"a": 1}, at=7.125)
    save(first, tmp_path)
    before = (tmp_path / NAME).read_bytes()
    assert save(second, tmp_path) == tmp_path / NAME
    assert (tmp_path / NAME).read_bytes() == before


def test_a_session_may_save_twice(tmp_path):
    session = recorder(tmp_path, {"a": 1})
    save(session, tmp_path)
    record(session, raw_request({"b": 2}))
    save(session, tmp_path)
    assert bodies(tmp_path / NAME) == [{"a": 1}, {"b": 2}]


def test_a_tape_that_was_deleted_during_the_recording_is_written(tmp_path):
    (tmp_path / NAME).write_text(dump(tape(exchange({"a": 1}, reply("old")))), encoding="utf-8")
    session = recorder(tmp_path, {"b": 2}, Mode.REWRITE)
    (tmp_path / NAME).unlink()
    save(session, tmp_path)
    assert bodies(tmp_path / NAME) == [{"b": 2}]


def test_ambient_calls_of_two_recorders_are_merged(tmp_path):
    """The workers of a run share the ambient tape, which has no order."""
    selections = [TapeSelection(tmp_path, Mode.REWRITE, upstream="http://127.0.0.1:9") for _ in range(2)]
    health = raw_request(path="/health", method="GET")
    for selection, call in zip(selections, (MODELS, health), strict=True):
        record(selection.session_for(call), call)
    assert [selection.close() for selection in selections] == [(), ()]
    record(selections[0].session_for(MODELS), MODELS, "newer")
    assert selections[0].close() == ()
    found = {one.request.path: one.response.chunks[0].data for one in read_tape(tmp_path / "ambient.tape.yaml").ambient}
    assert found == {"/v1/models": b'"newer"', "/health": b'"new"'}


def test_saving_ambient_calls_keeps_exchanges_of_another_recorder(tmp_path):
    calls = open_tape(tmp_path, "hello", Mode.ONCE)
    record(calls, MODELS)
    save(recorder(tmp_path, {"a": 1}), tmp_path)
    save(calls, tmp_path)
    assert bodies(tmp_path / NAME) == [{"a": 1}]
    assert len(read_tape(tmp_path / NAME).ambient) == 1


def test_threads_that_save_at_once_lose_nothing(tmp_path):
    """One recording is the tape, the others are next to it, all complete."""
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


def test_two_writers_of_one_file_use_two_temporary_files(tmp_path, monkeypatch):
    """Also in one process: neither replaces the file with a partial text of the other."""
    seen = []
    monkeypatch.setattr("pathlib.Path.replace", lambda part, _: seen.append(part.name))
    for _ in range(2):
        write_whole(tmp_path / NAME, "x")
    assert len(set(seen)) == 2
    assert all(name.startswith(f".{NAME}.") and name.endswith(".part") for name in seen)


def test_tapes_are_saved_on_platforms_without_file_locks(tmp_path, monkeypatch):
    """As on Windows."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(tmp_path):
        assert save(recorder(tmp_path, {"a": 1}), tmp_path)


def test_record_reports_a_tape_that_another_process_wrote(wire, tmp_path, capfd):
    """The client of the command writes it, which is certainly during the recording."""
    wire.scripts["/v1/x"] = responds(b"{}")
    theirs = dump(tape(exchange({"theirs": 1}, reply("x"))))
    client = (
        "import os, pathlib, sys, urllib.request as u; u.urlopen(os.environ['TAPE_URL'] + '/v1/x');"
        "pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    )
    words = ["record", "--upstream", wire.address, str(tmp_path / "hello")]
    assert main([*words, "--", sys.executable, "-c", client, str(tmp_path / NAME), theirs]) == 1
    said = capfd.readouterr().err
    assert f"another process changed {tmp_path / NAME} during this recording" in said
    assert f"{NAME}.conflict-1" in said
    assert (tmp_path / NAME).read_text() == theirs
    assert load((tmp_path / f"{NAME}.conflict-1").read_text()).exchanges[0].request.path == "/v1/x"


def test_the_next_turn_sees_that_the_tape_was_recorded(tmp_path):
    """For the rest of the run."""
    for before, after in ((False, False), (False, True), (True, True)):
        with recording_turn(tmp_path, TAPE) as marker:
            assert marker.exists() is before
            if after:
                marker.touch()
    with recording_turn(tmp_path, TAPE.with_name("bye.tape.yaml")) as marker:
        assert not marker.exists()


def test_a_failed_turn_leaves_the_tape_unrecorded(tmp_path):
    """The next test does not wait for it."""

    def fails():
        with recording_turn(tmp_path, TAPE):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with recording_turn(tmp_path, TAPE) as marker:
        assert not marker.exists()


def test_the_second_turn_waits_for_the_first(tmp_path):
    """Then it sees that the tape was recorded."""
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
