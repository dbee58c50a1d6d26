"""``messages-tape check``: finds problems in the tapes of a folder."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from messages_tape.files.review import FORMAT_REMEDY, review
from messages_tape.reading.render import counted
from messages_tape.testing.names_in_source import Named
from messages_tape.testing.orphans import orphans

from .files import named_by_tests, tapes_in
from .terminal import give, tell


def run(arguments: Namespace) -> int:
    """Print one line per finding; return the exit code: 1 if there are findings, else 0.

    Raises:
        TapeUsageError: The folder of the tapes or the folder of the tests is missing.
    """
    tapes = tapes_in(arguments.folder)
    named = None if arguments.allow_unnamed else named_by_tests(arguments.tests)
    harmless = frozenset(arguments.harmless)
    found = [line for path in tapes for line in _in_file(path, harmless)]
    if named is not None:
        found += [f"{path}: {_remedy(named)}" for path in orphans(tapes, arguments.folder, named)]
    for line in found:
        give(f"{line}\n")
    tell(f"{counted(len(tapes), 'tape')} in {arguments.folder}: {counted(len(found), 'finding') if found else 'ok'}")
    return int(bool(found))


def _in_file(path: Path, harmless: frozenset[str]) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        yield f"{path}: not UTF-8; {FORMAT_REMEDY}"
        return
    yield from (f"{path}: {line}" for line in review(text, harmless))


def _remedy(named: Named) -> str:
    computed = f" ({', '.join(named.computed)}: write these names as literals)" if named.computed else ""
    return f"no test names it; remove it with `messages-tape prune --yes`, or name it in a test{computed}"
