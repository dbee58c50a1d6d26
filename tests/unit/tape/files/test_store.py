"""Tapes as files of a folder."""

import pytest

from messages_tape.errors import TapeFormatError, TapeMismatchError, TapeMissingError, TapeUsageError, UnsafeTapeError
from messages_tape.files.store import Mode, finish, open_tape, read_tape, save, tape_path, use_tape
from messages_tape.format.file import dump
from messages_tape.secrets.scrub import Rules
from support.tapes import exchange, raw_request, reply, tape

TAPE = tape(exchange({"a": 1}, reply("old")))


def answer(session, body=None, said='"new"'):
    """Send a request to the session; record a response if it records."""
    step = session.step_for(raw_request(body or {"a": 1}), 0.0)
    if hasattr(step, "recording"):
        step.recording.head(200, [("content-type", "application/json")], 0.0)
        step.recording.chunk(said.encode(), 0.0)
        step.recording.stop(None, 0.0)
    return step


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "old.tape.yaml").write_text(dump(TAPE), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "mode", "action"),
    [
        ("old", Mode.NONE, "replay"),
        ("old", Mode.ONCE, "replay"),
        ("new", Mode.ONCE, "record"),
        ("old", Mode.REWRITE, "record"),
        ("new", Mode.REWRITE, "record"),
        ("old", Mode.VERIFY, "verify"),
        ("old", Mode.LIVE, "live"),
        ("new", Mode.LIVE, "live"),
    ],
)
def test_the_mode_and_the_file_decide_the_action(folder, name, mode, action):
    assert open_tape(folder, name, mode).action == action


@pytest.mark.parametrize("mode", [Mode.NONE, Mode.VERIFY])
def test_a_missing_tape_cannot_be_played(folder, mode):
    with pytest.raises(TapeMissingError, match=r'there is no tape "new" .*run this with mode "once"'):
        open_tape(folder, "new", mode)


def test_the_error_of_an_invalid_file_names_it(folder):
    (folder / "bad.tape.yaml").write_text("hello")
    (folder / "worse.tape.yaml").write_bytes(b"\xff")
    with pytest.raises(TapeFormatError, match=r"bad\.tape\.yaml: not a tape"):
        open_tape(folder, "bad")
    with pytest.raises(TapeFormatError, match=r"worse\.tape\.yaml: 'utf-8'"):
        open_tape(folder, "worse")
    with pytest.raises(TapeMissingError, match=r"there is no tape none\.tape\.yaml"):
        read_tape(folder / "none.tape.yaml")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../b", "", "a b", ".hidden", "a//b", "a/", "..", "a\n"])
def test_names_outside_of_the_folder_are_rejected(folder, name):
    with pytest.raises(TapeUsageError, match="is not a valid tape name"):
        tape_path(folder, name)


def test_a_recording_becomes_a_file_with_its_date(folder):
    session = open_tape(folder, "suite/new", Mode.ONCE)
    answer(session)
    path = save(session, folder, kind="vllm")
    assert path == folder / "suite" / "new.tape.yaml"
    made = read_tape(path)
    assert made.upstream.kind == "vllm"
    assert len(made.upstream.date) == len("2026-11-20")
    assert sorted(folder.rglob("*")) == sorted([folder / "old.tape.yaml", path.parent, path])


def test_nothing_recorded_writes_nothing(folder):
    assert save(open_tape(folder, "old", Mode.REWRITE), folder) is None
    assert save(open_tape(folder, "old"), folder) is None
    assert read_tape(folder / "old.tape.yaml") == TAPE


def test_an_unsafe_tape_does_not_replace_the_old_one(folder):
    session = open_tape(folder, "old", Mode.REWRITE)
    answer(session, said='"sk-0123456789abcdef"')
    with pytest.raises(UnsafeTapeError, match='tape "old" was not saved'):
        save(session, folder)
    report = finish(session, folder)
    assert "begins with sk-" in report.refused
    assert report.failures == (report.refused,)
    assert read_tape(folder / "old.tape.yaml") == TAPE


def test_the_text_of_the_file_is_scanned_as_well(folder, monkeypatch):
    """In case a part of the tape escapes the scan of the model."""
    monkeypatch.setattr("messages_tape.core.session.scan", lambda *_: [])
    session = open_tape(folder, "new", Mode.ONCE)
    answer(session, said='"sk-0123456789abcdef"')
    with pytest.raises(UnsafeTapeError, match=r"line \d+: a key that begins with sk-"):
        save(session, folder)
    assert not (folder / "new.tape.yaml").exists()


def test_a_failed_write_leaves_the_old_tape(folder, monkeypatch):
    """A failed write, as on a full disk, leaves the old tape and no temporary file."""

    def full(*_):
        raise OSError("no space left")

    session = open_tape(folder, "old", Mode.REWRITE)
    answer(session)
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="no space left"):
        save(session, folder)
    assert [path.name for path in folder.iterdir()] == ["old.tape.yaml"]
    assert read_tape(folder / "old.tape.yaml") == TAPE


def test_use_tape_saves_at_the_end(folder):
    with use_tape(folder, "new", Mode.ONCE) as session:
        answer(session)
    with use_tape(folder, "new") as session:
        assert answer(session).label == "exchange 1"


def test_use_tape_saves_nothing_if_the_block_raises(folder):

    def fail_half_way():
        with use_tape(folder, "old", Mode.REWRITE) as session:
            answer(session)
            raise AssertionError("half-way")

    with pytest.raises(AssertionError, match="half-way"):
        fail_half_way()
    assert read_tape(folder / "old.tape.yaml") == TAPE


def test_use_tape_raises_on_a_mismatch(folder):
    with pytest.raises(TapeMismatchError) as raised, use_tape(folder, "old") as session:
        answer(session, {"b": 1})
    assert str(raised.value).startswith('tape "old":\nPOST /v1/messages is not on tape "old".')
    assert len(raised.value.failures) == 2


def test_options_reach_the_session(folder):
    session = open_tape(folder, "old", Mode.NONE, rules=Rules(harmless=frozenset({"x"})), hint="Do this.", ambient=())
    assert session.harmless == {"x"}
    assert answer(session, {"b": 1}).exchange.response.status == 409
    assert session.report().unexpected[0].endswith("Do this.")
