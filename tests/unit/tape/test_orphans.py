"""Tapes that no test names."""

import pytest

from messages_tape.testing.names_in_source import Named, name_of, orphans, tapes_under


@pytest.fixture
def folder(tmp_path):
    for name in ("up/used", "up/old", "up/a/old", "up/ambient", "up/a/ambient", "lone/old", "other/old", "other/used"):
        path = tmp_path / f"{name}.tape.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "up" / "notes.txt").touch()
    return tmp_path


def found(folder, tapes, *named):
    return [name_of(path, folder) for path in orphans(tapes, folder, Named(frozenset(named)))]


def test_tapes_that_no_test_names_are_found(folder):
    """For the upstreams in use, in any of their folders; ambient tapes belong to all tests."""
    tapes = tapes_under(folder, {"up", "lone", "empty"})
    assert found(folder, tapes, ("up", "used"), ("up", "missing"), ("empty", "x")) == ["lone/old", "up/a/old", "up/old"]
    assert all(path.exists() for path in tapes)


def test_a_name_without_an_upstream_matches_every_upstream(folder):
    """As in the source of tests, which does not say which upstream a run will use."""
    assert found(folder, tapes_under(folder), ("", "used"), ("up", "old")) == ["lone/old", "other/old", "up/a/old"]
