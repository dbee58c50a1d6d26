"""Tapes that no test names, whether a run or the source of the tests tells which ones they do."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from messages_tape.format.file import SUFFIX
from messages_tape.http.selection import AMBIENT_TAPE

from .names_in_source import Named, named_in


def tapes_under(folder: Path, upstreams: Iterable[str] = (".",)) -> list[Path]:
    """Return the files of the tapes of some upstreams, by default of all.

    Args:
        folder: Of all tapes.
        upstreams: Folders in it, which need not be there.
    """
    return sorted(path for upstream in upstreams for path in (folder / upstream).rglob(f"*{SUFFIX}"))


def name_of(path: Path, folder: Path) -> str:
    """Return the name of a tape under the folder of all tapes, such as ``vllm/hello``."""
    return path.relative_to(folder).as_posix().removesuffix(SUFFIX)


def orphans(tapes: Iterable[Path], folder: Path, named: Named) -> list[Path]:
    """Return the tapes that no test names; those of ambient calls belong to all tests.

    Args:
        tapes: Files.
        folder: Of all tapes.
        named: What tests name.
    """
    return [path for path in tapes if path.name != f"{AMBIENT_TAPE}{SUFFIX}" and not named.has(name_of(path, folder))]


def sources(place: Path) -> Iterator[Path]:
    """Yield the Python files of a folder and its folders, but for hidden ones; or the file itself."""
    if place.is_file():
        yield place
        return
    for path in sorted(place.rglob("*.py")):
        if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(place).parts):
            yield path


def named_by_uncollected(places: Iterable[Path]) -> Named:
    """Return what tests name that a run did not collect, going by their source.

    Args:
        places: Files, or folders of them; a file that is no Python could name anything.
    """
    named = Named()
    for path in sorted({path for place in places for path in sources(place) if path.suffix == ".py"}):
        try:
            named |= named_in(path.read_text(encoding="utf-8", errors="replace"), path.as_posix())
        except (SyntaxError, ValueError):  # the latter for null characters
            named |= Named(computed=(path.as_posix(),))
    return named
