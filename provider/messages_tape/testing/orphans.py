"""Finds tapes that no test names; the names come from a test run or from the source of the tests."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from messages_tape.format.file import SUFFIX
from messages_tape.http.selection import AMBIENT_TAPE

from .names_in_source import Named, named_in


def tapes_under(folder: Path, upstreams: Iterable[str] = (".",)) -> list[Path]:
    """Return the tape files of some upstreams, by default of all.

    Args:
        folder: Folder of all tapes.
        upstreams: Its subfolders to search; missing ones are skipped.
    """
    return sorted(path for upstream in upstreams for path in (folder / upstream).rglob(f"*{SUFFIX}"))


def name_of(path: Path, folder: Path) -> str:
    """Return the name of a tape relative to the folder of all tapes, such as ``vllm/hello``."""
    return path.relative_to(folder).as_posix().removesuffix(SUFFIX)


def orphans(tapes: Iterable[Path], folder: Path, named: Named) -> list[Path]:
    """Return the tapes that no test names; ambient tapes belong to all tests and are left out.

    Args:
        tapes: Tape files.
        folder: Folder of all tapes.
        named: The tapes that tests name.
    """
    return [path for path in tapes if path.name != f"{AMBIENT_TAPE}{SUFFIX}" and not named.has(name_of(path, folder))]


def sources(place: Path) -> Iterator[Path]:
    """Yield the Python files of a folder and its subfolders, without hidden ones; for a file, the file itself."""
    if place.is_file():
        yield place
        return
    for path in sorted(place.rglob("*.py")):
        if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(place).parts):
            yield path


def named_by_uncollected(places: Iterable[Path]) -> Named:
    """Return the tapes named in the source of tests that a run did not collect.

    Args:
        places: Files or folders; a file that is not valid Python counts as a computed name.
    """
    named = Named()
    for path in sorted({path for place in places for path in sources(place) if path.suffix == ".py"}):
        try:
            named |= named_in(path.read_text(encoding="utf-8", errors="replace"), path.as_posix())
        except (SyntaxError, ValueError):  # ValueError: null characters
            named |= Named(computed=(path.as_posix(),))
    return named
