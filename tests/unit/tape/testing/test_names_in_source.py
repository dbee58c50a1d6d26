"""Tapes that tests name, and tapes that no test names."""

import pytest

from messages_tape.testing.names_in_source import Named, name_of, named_in, tapes_under, unnamed_tapes


@pytest.mark.parametrize(
    ("source", "tapes", "computed"),
    [
        ('@pytest.mark.tape("vllm/hello")\ndef test(): pass', {("", "vllm/hello")}, ()),
        ('from pytest import mark\n@mark.tape("a")\nasync def test(): pass', {("", "a")}, ()),
        ('@pytest.mark.tape("a", upstream="vllm")\nclass Test: pass', {("vllm", "a")}, ()),
        ('pytestmark = [pytest.mark.tape(name="a")]', {("", "a")}, ()),
        ('pytest.param(1, marks=pytest.mark.tape("a"))', {("", "a")}, ()),
        ('with use_tape(folder, "a"): pass', {("", "a")}, ()),
        ('tape.open_tape(folder, name="a")', {("", "a")}, ()),
        ('selection.select("a"); selectors.select(1); x.select()', {("", "a")}, ()),
        ('Deck(folder).select(f"{x}")', set(), ("t.py:1",)),
        ("selection = TapeSelection(folder)\nselection.select(name)", set(), ("t.py:2",)),
        ('elsewhere.select(f"{x}")', set(), ()),
        ('tape = pytest.mark.tape\n@tape("a")\ndef test(): pass', set(), ("t.py:1",)),
        ("from x import use_tape as playing", set(), ("t.py:1",)),
        ("partial(use_tape, folder)", set(), ("t.py:1",)),
        ("\n@pytest.mark.tape(NAME)\ndef test(): pass", set(), ("t.py:2",)),
        ('@pytest.mark.tape("a", upstream=WHO)\ndef test(): pass', set(), ("t.py:1",)),
        ('use_tape(folder, f"{x}")', set(), ("t.py:1",)),
        ("pytest.mark.tape()", set(), ("t.py:1",)),
        ('pytest.mark.other("a"); player.tape("a"); (lambda: 1)("a"); tape("a")', set(), ()),
    ],
)
def test_the_tapes_that_a_source_names(source, tapes, computed):
    assert named_in(source, "t.py") == Named(frozenset(tapes), computed)


@pytest.mark.parametrize(
    ("tapes", "name", "found"),
    [
        ({("", "hello")}, "hello", True),
        ({("", "hello")}, "vllm/hello", True),
        ({("", "vllm/hello")}, "vllm/hello", True),
        ({("", "vllm/hello")}, "tgi/hello", False),
        ({("vllm", "hello")}, "vllm/hello", True),
        ({("vllm", "hello")}, "tgi/hello", False),
        ({("", "chat/hello")}, "vllm/chat/hello", True),
        ({("", "hello")}, "vllm/chat/hello", True),
        ({("", "hat/hello")}, "vllm/chat/hello", False),
        ({("", "hello")}, "vllm/hello2", False),
        (set(), "hello", False),
    ],
)
def test_a_name_without_an_upstream_matches_in_any_folder(tapes, name, found):
    """The same test plays the tapes of any upstream that is chosen."""
    assert Named(frozenset(tapes)).has(name) is found


@pytest.fixture
def folder(tmp_path):
    for name in ("up/used", "up/old", "up/a/old", "up/ambient", "up/a/ambient", "lone/old", "other/old", "other/used"):
        path = tmp_path / f"{name}.tape.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "up" / "notes.txt").touch()
    return tmp_path


def found(folder, tapes, *named):
    return [name_of(path, folder) for path in unnamed_tapes(tapes, folder, Named(frozenset(named)))]


def test_tapes_that_no_test_names_are_found(folder):
    """For the upstreams in use, in any of their folders; ambient tapes belong to all tests."""
    tapes = tapes_under(folder, {"up", "lone", "empty"})
    assert found(folder, tapes, ("up", "used"), ("up", "missing"), ("empty", "x")) == ["lone/old", "up/a/old", "up/old"]
    assert all(path.exists() for path in tapes)


def test_a_name_without_an_upstream_matches_every_upstream(folder):
    """As in the source of tests, which does not say which upstream a run will use."""
    assert found(folder, tapes_under(folder), ("", "used"), ("up", "old")) == ["lone/old", "other/old", "up/a/old"]
