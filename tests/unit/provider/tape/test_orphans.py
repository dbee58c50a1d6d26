"""Tapes that no test plays."""

from llama_stack_provider_messages.tape.orphans import orphans


def test_what_nobody_names_is_found(tmp_path):
    """Of upstreams in use, in any folder of theirs; the tape of ambient calls belongs to all."""
    for name in ("up/used", "up/old", "up/a/old", "up/ambient", "lone/old", "other/old"):
        path = tmp_path / f"{name}.tape.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "up" / "notes.txt").touch()
    found = orphans(tmp_path, [("up", "used"), ("up", "missing"), ("lone", ""), ("empty", "x")])
    assert [(upstream, name) for upstream, name, _ in found] == [("lone", "old"), ("up", "a/old"), ("up", "old")]
    assert all(path.exists() for _, _, path in found)
